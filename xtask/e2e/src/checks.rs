//! What a task has checked, as the table that it prints at its end.

use std::fmt::Display;

use anyhow::{Result, bail};

/// The checks of a task, in the order in which they were made.
#[derive(Default)]
pub struct Checks {
    rows: Vec<Row>,
}

struct Row {
    subject: String,
    check: String,
    /// What was found; an error where it is not what should be.
    found: Result<String, String>,
}

impl Checks {
    /// Notes that `check` was made of `subject`, with what it found.
    pub fn add(&mut self, subject: impl Display, check: impl Display, found: Result<impl Display>) {
        let found = match found {
            Ok(found) => Ok(found.to_string()),
            Err(error) => Err(format!("{error:#}")),
        };
        self.rows.push(Row { subject: subject.to_string(), check: check.to_string(), found });
    }

    /// Prints the table.
    ///
    /// # Errors
    ///
    /// When a check failed, or none was made.
    pub fn finish(self) -> Result<()> {
        print!("\n{}", self.table());
        let failed = self.rows.iter().filter(|row| row.found.is_err()).count();
        match (self.rows.len(), failed) {
            (0, _) => bail!("nothing was checked"),
            (_, 0) => Ok(()),
            (all, failed) => bail!("{failed} of {all} checks failed"),
        }
    }

    fn table(&self) -> String {
        let width = |cell: fn(&Row) -> &str| {
            self.rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0)
        };
        let (subjects, checks) = (width(|row| &row.subject), width(|row| &row.check));
        let mut table = String::new();
        for Row { subject, check, found } in &self.rows {
            let (mark, found) = match found {
                Ok(found) => ("ok    ", found),
                Err(found) => ("FAILED", found),
            };
            let line = format!("{mark}  {subject:subjects$}  {check:checks$}  {found}");
            table.push_str(line.trim_end());
            table.push('\n');
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_table_is_aligned_and_marks_what_failed() {
        let mut checks = Checks::default();
        checks.add("2 Rust, 1 Go", "values are right", Ok("6,300 gets"));
        checks.add("MariaDB", "汉字", Err::<&str, _>(anyhow!("cause").context("broken")));
        let expected = "\
ok      2 Rust, 1 Go  values are right  6,300 gets
FAILED  MariaDB       汉字                broken: cause
";
        assert_eq!(checks.table(), expected);
        assert_eq!(checks.finish().unwrap_err().to_string(), "1 of 2 checks failed");
    }

    #[test]
    fn a_task_that_checked_nothing_has_failed() {
        assert!(Checks::default().finish().is_err());
    }
}
