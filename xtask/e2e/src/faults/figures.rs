//! What is measured in a scenario, beside its limits.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::load::Samples;
use crate::cargo::root;
use crate::report::Report;

/// The figures of one scenario, in the order in which they are told.
#[derive(Default)]
pub(super) struct Figures(Vec<Figure>);

struct Figure {
    what: String,
    value: f64,
    /// What it may be at most; `None` if it only tells.
    limit: Option<f64>,
    unit: &'static str,
    /// Why it is what it is, where that helps.
    note: Option<String>,
}

impl Figures {
    /// Adds a figure that may not exceed `limit`.
    pub(super) fn at_most(&mut self, what: &str, value: f64, limit: f64, unit: &'static str) {
        let what = what.to_owned();
        self.0.push(Figure { what, value, limit: Some(limit), unit, note: None });
    }

    /// Adds a figure that only tells.
    pub(super) fn tell(&mut self, what: &str, value: f64, unit: &'static str) {
        self.0.push(Figure { what: what.to_owned(), value, limit: None, unit, note: None });
    }

    /// Adds how many requests failed, of which there may be so many of a hundred.
    pub(super) fn errors(&mut self, samples: &Samples, percent: f64) {
        let failed = 100.0 * samples.errors() as f64 / samples.len().max(1) as f64;
        self.at_most("requests that failed", failed, percent, "%");
        if let Some(figure) = self.0.last_mut() {
            figure.note = samples.an_error().map(str::to_owned);
        }
    }

    /// Tells each figure, and whether it is within its limit.
    pub(super) fn report(&self, report: &mut Report) {
        for figure in &self.0 {
            match figure.limit {
                None => report.note(&figure.text()),
                Some(limit) => {
                    let note = figure.note.iter().map(|note| format!(" ({note})"));
                    let text = format!("{}, of {}{}", figure.text(), limit, figure.unit);
                    report.claim(&(text + &note.collect::<String>()), figure.value <= limit);
                }
            }
        }
    }
}

impl Figure {
    fn text(&self) -> String {
        format!("{}: {}{}", self.what, shown(self.value), self.unit)
    }
}

/// A number as it is best read.
fn shown(value: f64) -> String {
    match value {
        _ if value.fract() == 0.0 => format!("{value}"),
        _ if value < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// All figures of a run, as they stand in `benches/results/faults.md`.
#[derive(Default)]
pub(super) struct Table(String);

impl Table {
    pub(super) fn add(&mut self, scenario: &str, figures: &Figures) {
        for (at, figure) in figures.0.iter().enumerate() {
            let name = if at == 0 { scenario } else { "" };
            let limit =
                figure.limit.map_or("–".to_owned(), |limit| format!("{limit}{}", figure.unit));
            let Figure { what, value, unit, .. } = figure;
            // A `String` takes whatever is written.
            let _ = writeln!(self.0, "| {name} | {what} | {}{unit} | {limit} |", shown(*value));
        }
    }

    /// Writes the table.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn write(&self) -> Result<()> {
        let path = root().join("benches/results/faults.md");
        let text = format!(
            "# faults\n\n`cargo xtask faults --write`: real nodes over SQLite on one machine, which asks \
             them, too.\n\n| scenario | | measured | at most |\n|---|---|---|---|\n{}",
            self.0
        );
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
