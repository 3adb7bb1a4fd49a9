//! The rows of a database for nodes: a text that the example `import` makes a SQLite file of.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Writes a row as the line `"group"\t"key"\t"value"`, quoted as Go quotes strings.
///
/// # Errors
///
/// When `out` cannot be written to.
pub fn write(out: &mut impl Write, group: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
    let [group, key, value] = [group, key, value].map(quoted);
    writeln!(out, "{group}\t{key}\t{value}").context("cannot write the data")
}

/// Makes the file `database` of the rows in `text`, by the built example `import`.
///
/// # Errors
///
/// When it fails; the error holds what it printed.
pub fn import(program: &Path, text: &Path, database: &Path) -> Result<()> {
    let output = Command::new(program).arg(text).arg(database).output();
    let output = output.context("cannot run the example `import`")?;
    let printed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the example `import` failed: {printed}");
    Ok(())
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_leave_nothing_that_would_end_a_field() {
        assert_eq!(quoted(b"a\tb\n\"\\\0\xff"), r#""a\x09b\x0a\"\\\x00\xff""#);
        assert_eq!(quoted("é".as_bytes()), r#""\xc3\xa9""#);
    }
}
