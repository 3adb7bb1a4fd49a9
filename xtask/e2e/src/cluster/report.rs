//! How the demonstration looks: headings, claims, tables, a progress bar.

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use super::ask::Counts;

/// Prints, and keeps count of the claims that held and of those that did not.
#[derive(Default)]
pub(super) struct Report {
    acts: usize,
    held: usize,
    failed: usize,
}

impl Report {
    /// Starts a new part.
    pub(super) fn act(&mut self, title: &str) {
        self.acts += 1;
        println!("\n{} {}\n", style(format!("{}.", self.acts)).dim(), style(title).bold());
    }

    /// Prints a line of explanation.
    pub(super) fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// Prints a claim and whether it holds.
    pub(super) fn claim(&mut self, holds: bool, text: &str) {
        if holds {
            self.held += 1;
            println!("  {} {text}", style("✓").green().bold());
        } else {
            self.failed += 1;
            println!("  {} {text}", style("✗ does not hold:").red().bold());
        }
    }

    /// Prints one line for each node, and one for all.
    pub(super) fn nodes(&self, names: &[String], counts: &[Counts], shares: &[f64]) {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "node",
            "ring share",
            "gets",
            "hits",
            "hot hits",
            "peer loads",
            "db queries",
            "entries",
            "bytes",
        ]);
        for ((name, counts), share) in names.iter().zip(counts).zip(shares) {
            table.add_row(row(name, &format!("{:.1} %", share * 100.0), *counts));
        }
        if names.len() > 1 {
            table.add_row(row("all", "", counts.iter().copied().sum()));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{}", indented(&table.to_string()));
    }

    /// Returns a bar for `length` steps; it is drawn only on a terminal.
    pub(super) fn progress(&self, length: u64) -> ProgressBar {
        let template = "  {bar:40.yellow} {human_pos} of {human_len} requests, {eta} left";
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(length);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// Prints commands by which a reader can go on alone.
    pub(super) fn commands_to_try(&mut self, apis: &[String]) {
        self.act("Your turn");
        let first = apis.first().map_or("", String::as_str);
        let last = apis.last().map_or("", String::as_str);
        println!("  curl '{first}/api?key=Tom'");
        println!("  curl -G --data-urlencode 'key=U+1F955' '{last}/api?group=unicode'");
        println!("  curl -i '{first}/api?key=Nobody'");
        println!("  curl -s '{first}/stats'");
        println!("\n  The cluster stays up until Ctrl-C.");
    }

    /// Prints what it all came to.
    pub(super) fn verdict(&self, elapsed: Duration) {
        let all = self.held + self.failed;
        let text = format!("{} of {all} claims held, in {:.1} s", self.held, elapsed.as_secs_f64());
        let styled = if self.failed == 0 { style(text).green() } else { style(text).red() };
        println!("\n{}", styled.bold());
    }

    /// Returns how many claims did not hold.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }
}

fn row(name: &str, share: &str, counts: Counts) -> [String; 9] {
    [
        name.to_owned(),
        share.to_owned(),
        grouped(counts.gets),
        grouped(counts.hits),
        grouped(counts.hot_hits),
        grouped(counts.peer_loads),
        grouped(counts.queries),
        grouped(counts.items),
        ByteSize::b(counts.bytes).to_string(),
    ]
}

/// Returns `number` with its digits in groups of three: `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let texts = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn claims_are_counted() {
        let mut report = Report::default();
        report.claim(true, "a");
        report.claim(false, "b");
        report.claim(true, "c");
        assert_eq!((report.held, report.failed()), (2, 1));
    }
}
