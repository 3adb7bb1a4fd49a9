//! What a task tells while it runs: parts with headings, what was checked, and what it all came to.

use std::fmt::Display;
use std::time::Instant;

use anyhow::{Result, bail};
use console::style;

/// Prints each line as soon as there is something to say, and counts what held and what did not.
pub struct Report {
    start: Instant,
    parts: usize,
    part: String,
    passed: usize,
    /// The lines of checks that failed, shown again at the end.
    failed: Vec<String>,
}

impl Default for Report {
    fn default() -> Self {
        let (part, failed) = (String::new(), Vec::new());
        Self { start: Instant::now(), parts: 0, part, passed: 0, failed }
    }
}

impl Report {
    /// Begins a new part.
    pub fn part(&mut self, title: &str) {
        self.parts += 1;
        self.part = title.to_owned();
        println!("\n{} {}\n", style(format!("{}.", self.parts)).dim(), style(title).bold());
    }

    /// Prints lines of explanation.
    pub fn note(&self, text: &str) {
        text.lines().for_each(|line| println!("  {line}"));
    }

    /// Prints a check with what it found; an error is what should not be.
    pub fn check(&mut self, check: &str, found: Result<impl Display>) {
        match found {
            Ok(found) => self.pass(&joined(check, &found.to_string())),
            Err(error) => self.fail(&joined(check, &format!("{error:#}"))),
        }
    }

    /// Prints a claim and whether it holds.
    pub fn claim(&mut self, claim: &str, holds: bool) {
        if holds { self.pass(claim) } else { self.fail(claim) }
    }

    fn pass(&mut self, line: &str) {
        self.passed += 1;
        println!("  {} {line}", style("✓").green().bold());
    }

    fn fail(&mut self, line: &str) {
        self.failed.push(format!("{}: {line}", self.part));
        println!("  {} {line}", style("✗ does not hold:").red().bold());
    }

    /// Prints what it all came to.
    ///
    /// # Errors
    ///
    /// When a check failed, or none was made.
    pub fn finish(self) -> Result<()> {
        let (failed, all) = (self.failed.len(), self.passed + self.failed.len());
        println!();
        for line in &self.failed {
            println!("{} {line}", style("✗").red().bold());
        }
        let time = self.start.elapsed().as_secs_f64();
        let text = format!("{} of {all} checks passed, in {time:.1} s", self.passed);
        println!("{}", if failed == 0 { style(text).green() } else { style(text).red() }.bold());
        match (all, failed) {
            (0, _) => bail!("nothing was checked"),
            (_, 0) => Ok(()),
            _ => bail!("{failed} of {all} checks failed"),
        }
    }
}

fn joined(check: &str, found: &str) -> String {
    if found.is_empty() { check.to_owned() } else { format!("{check}: {found}") }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn what_failed_is_remembered_with_its_part_and_cause() {
        let mut report = Report::default();
        report.part("2 Rust, 1 Go");
        report.check("values are right", Ok("6,300 gets"));
        report.claim("each is loaded once", false);
        report.part("MariaDB");
        report.check("汉字", Err::<&str, _>(anyhow!("cause").context("broken")));
        let failed = ["2 Rust, 1 Go: each is loaded once", "MariaDB: 汉字: broken: cause"];
        assert_eq!((report.passed, &*report.failed), (1, &failed.map(str::to_owned)[..]));
        assert_eq!(report.finish().unwrap_err().to_string(), "2 of 3 checks failed");
    }

    #[test]
    fn a_task_whose_checks_all_pass_succeeds() {
        let mut report = Report::default();
        report.claim("it holds", true);
        report.check("it was found", Ok(""));
        report.finish().unwrap();
    }

    #[test]
    fn a_task_that_checked_nothing_has_failed() {
        assert!(Report::default().finish().is_err());
    }
}
