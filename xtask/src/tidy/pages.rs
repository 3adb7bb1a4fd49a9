//! Pages in Markdown: prose that can be read in a terminal and reviewed line by line, and examples
//! that compile when they are copied from the page as GitHub shows it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use unicode_width::UnicodeWidthStr;

use crate::workspace;

/// The width of a line of prose, in columns of a terminal: a Chinese character takes two.
const COLUMNS: usize = 100;

/// Returns each line of a page below `root` that is too wide, or hidden by rustdoc but not by GitHub.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in workspace::files(root, "md")? {
        // `cargo xtask bench` writes the results, and tools keep their own pages elsewhere.
        let name = workspace::relative(&path);
        if path.starts_with(root.join("benches/results")) {
            continue;
        }
        let page = std::fs::read_to_string(&path).with_context(|| name.clone())?;
        faults.extend(
            faults_of(&page).into_iter().map(|(line, fault)| format!("{name}:{line}: {fault}")),
        );
    }
    Ok(faults)
}

/// Returns the number of each line at fault, and what is wrong with it.
fn faults_of(page: &str) -> Vec<(usize, String)> {
    let (prose, hidden) = lines_of_interest(page);
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        let columns = line.width();
        if hidden.contains(&number) {
            faults.push((number, format!("GitHub shows this hidden line: {line}")));
        }
        if prose.contains(&number) && columns > COLUMNS {
            faults.push((number, format!("{columns} columns, more than {COLUMNS}: wrap it")));
        }
    }
    faults
}

/// Returns the numbers of the lines that hold prose, and of those that rustdoc hides.
fn lines_of_interest(page: &str) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let number = |at: usize| page[..at].matches('\n').count() + 1;
    let (mut prose, mut hidden) = (BTreeSet::new(), BTreeSet::new());
    // How many tables, code blocks, links and images are open: what they hold cannot be wrapped.
    let mut unwrappable = 0_usize;
    let mut is_rust = false;
    for (event, range) in Parser::new_ext(page, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                unwrappable += 1;
                is_rust = matches!(&kind, CodeBlockKind::Fenced(words) if is_for_rustdoc(words));
            }
            Event::Start(tag) if cannot_be_wrapped(&tag.to_end()) => unwrappable += 1,
            Event::End(tag) if cannot_be_wrapped(&tag) => {
                unwrappable -= 1;
                is_rust &= tag != TagEnd::CodeBlock;
            }
            Event::Text(text) if is_rust => {
                let lines = (number(range.start)..).zip(text.lines());
                hidden.extend(lines.filter(|(_, line)| is_hidden(line)).map(|(number, _)| number));
            }
            Event::Text(text) | Event::Code(text)
                if unwrappable == 0 && text.contains(char::is_alphanumeric) =>
            {
                prose.extend(number(range.start)..=number(range.end));
            }
            _ => {}
        }
    }
    (prose, hidden)
}

fn cannot_be_wrapped(tag: &TagEnd) -> bool {
    matches!(tag, TagEnd::CodeBlock | TagEnd::Image | TagEnd::Link | TagEnd::Table)
}

/// Returns whether the words behind a fence make rustdoc take the block for Rust; one without any is
/// left alone, since in a README it is a picture or a session more often.
fn is_for_rustdoc(words: &str) -> bool {
    words.split([',', ' ']).any(|word| word == "rust")
}

/// Returns whether rustdoc leaves a line of an example out: it is `#`, or begins with `# `.
fn is_hidden(line: &str) -> bool {
    let line = line.trim_start();
    line == "#" || line.starts_with("# ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the numbers of the lines at fault.
    fn lines_at_fault(page: &str) -> Vec<usize> {
        faults_of(page).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn the_workspace_as_it_is_has_no_fault() {
        assert_eq!(check(workspace::root()).unwrap(), [""; 0]);
    }

    #[test]
    fn prose_past_the_last_column_is_a_fault() {
        let at_the_wall = "word ".repeat(20).trim_end().to_owned() + "s";
        let past = at_the_wall.clone() + "s";
        let page =
            format!("# Title\n\n{at_the_wall}\n{past}\n\n- item\n  {past}\n\n> {at_the_wall}\n");
        assert_eq!(lines_at_fault(&page), [4, 7, 9]);
    }

    #[test]
    fn a_chinese_character_takes_two_columns() {
        let at_the_wall = "缓存".repeat(25);
        assert_eq!(lines_at_fault(&format!("{at_the_wall}\n{at_the_wall}。\n")), [2]);
    }

    #[test]
    fn what_cannot_be_wrapped_is_no_fault() {
        let long = "https://example.org/".to_owned() + &"x".repeat(100);
        let words = "word ".repeat(30);
        let page = format!(
            "[{words}]({long})\n\n- [text]({long}),\n\n![{words}]({long})\n\n\
             [![badge]({long})]({long}) [![badge]({long})]({long})\n\n\
             | a | b |\n|---|---|\n| {words} | [text]({long}) |\n\n\
             ```text\n{words}\n```\n\n[name]: {long}\n"
        );
        assert_eq!(lines_at_fault(&page), [0; 0]);
        assert_eq!(lines_at_fault(&format!("See [text]({long}).\n")), [1]);
    }

    #[test]
    fn a_line_hidden_by_rustdoc_is_a_fault_in_rust_only() {
        let block =
            "```LANGUAGE\n#[derive(Debug)]\nstruct S;\n# use a::b;\n    # }\n#\n## x\n```\n";
        let page = |language: &str| format!("# Title\n\n{}", block.replace("LANGUAGE", language));
        for language in ["rust", "rust,no_run", "no_run, rust"] {
            assert_eq!(lines_at_fault(&page(language)), [6, 7, 8], "{language}");
        }
        for language in ["sh", "toml", ""] {
            assert_eq!(lines_at_fault(&page(language)), [0; 0], "{language}");
        }
    }
}
