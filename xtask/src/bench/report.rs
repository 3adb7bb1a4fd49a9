//! The results as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::machine::Machine;
use super::results::{Contender, OURS, Scenario};

/// Returns the page for a benchmark: a row for each scenario, a column for each contender.
pub(super) fn table(name: &str, rounds: u32, machine: &Machine, results: &[Scenario]) -> String {
    let columns = columns(results);
    let mut page = heading(name, machine);
    let _ = writeln!(
        page,
        "Time of one operation, the median of {rounds} rounds. In brackets: how many times as long as\n\
         `{OURS}` it took, the median of the ratios within each round. **Bold** is faster than ours.\n"
    );
    let _ = writeln!(page, "| scenario | {} |", columns.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(columns.len()));
    for scenario in results {
        let cell = |column: &&str| {
            let found = scenario.contenders.iter().find(|contender| contender.name == **column);
            found.map_or_else(|| "–".to_owned(), cell)
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let _ = writeln!(page, "| {} | {} |", scenario.name, cells.join(" | "));
    }
    let versions: BTreeSet<String> =
        columns.iter().filter_map(|name| machine.version(name)).collect();
    let versions: Vec<String> = versions.into_iter().collect();
    let _ = write!(page, "\nVersions: {}.\n\n![{name}]({name}.svg)\n", versions.join(", "));
    page
}

/// Returns the page for a benchmark that prints its own table.
pub(super) fn printed(name: &str, machine: &Machine, text: &str) -> String {
    let text = text.trim_end();
    let fence = if text.lines().any(|line| line.starts_with('|')) { "" } else { "```\n" };
    format!("{}{fence}{text}\n{fence}", heading(name, machine))
}

/// Returns `nanoseconds` with three digits and the unit that fits.
pub(super) fn time(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let (size, unit) = units.into_iter().find(|(size, _)| nanoseconds >= *size).unwrap_or(units[3]);
    format!("{} {unit}", digits(nanoseconds / size))
}

/// Returns `value` with three digits.
pub(super) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn heading(name: &str, machine: &Machine) -> String {
    let Machine { cpu, cores, rustc, date, .. } = machine;
    format!("# {name}\n\n`cargo xtask bench {name}` on {date}: {cpu}, {cores} cores, {rustc}.\n\n")
}

/// Returns the names of all contenders, ours first, the others in the order in which they appear.
fn columns(results: &[Scenario]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for contender in results.iter().flat_map(|scenario| &scenario.contenders) {
        if !columns.contains(&&*contender.name) {
            columns.push(&contender.name);
        }
    }
    columns.sort_by_key(|name| *name != OURS);
    columns
}

fn cell(contender: &Contender) -> String {
    let time = time(contender.nanoseconds);
    match contender.ratio {
        Some(ratio) if contender.name != OURS && ratio < 1.0 => {
            format!("**{time} ({}×)**", digits(ratio))
        }
        Some(ratio) if contender.name != OURS => format!("{time} ({}×)", digits(ratio)),
        _ => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [0.25, 7.1234, 14.86, 999.4, 45_300.0, 7.8e5, 2.3e6, 4e9].map(time);
        let expected =
            ["0.25 ns", "7.12 ns", "14.9 ns", "999 ns", "45.3 µs", "780 µs", "2.30 ms", "4.00 s"];
        assert_eq!(times, expected);
    }

    #[test]
    fn cell_shows_the_ratio_and_marks_who_is_faster() {
        let contender =
            |name: &str, ratio| Contender { name: name.into(), nanoseconds: 20.0, ratio };
        assert_eq!(cell(&contender(OURS, Some(1.0))), "20.0 ns");
        assert_eq!(cell(&contender("rival", Some(2.5))), "20.0 ns (2.50×)");
        assert_eq!(cell(&contender("rival", Some(0.5))), "**20.0 ns (0.50×)**");
        assert_eq!(cell(&contender("rival", None)), "20.0 ns");
    }

    #[test]
    fn columns_begin_with_ours_wherever_it_appears() {
        let scenario = |names: &[&str]| Scenario {
            name: String::new(),
            contenders: names
                .iter()
                .map(|name| Contender { name: (*name).into(), nanoseconds: 1.0, ratio: None })
                .collect(),
        };
        let results = [scenario(&["b", "a"]), scenario(&[OURS, "a", "c"])];
        assert_eq!(columns(&results), [OURS, "b", "a", "c"]);
    }
}
