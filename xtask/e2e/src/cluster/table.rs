//! The nodes' counters as a table.

use bytesize::ByteSize;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::counts::Counts;

/// Returns a table with one line for each node, and one for all.
pub(super) fn of_nodes(names: &[String], counts: &[Counts], shares: &[f64]) -> String {
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
    table.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let texts = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn several_nodes_have_a_line_for_all_and_one_has_none() {
        let counts = Counts { gets: 1_000, ..Counts::default() };
        let names = ["a", "b"].map(str::to_owned);
        let table = of_nodes(&names, &[counts; 2], &[0.25, 0.75]);
        assert!(table.contains(" 25.0 % ") && table.contains(" 75.0 % "), "{table}");
        assert!(table.contains("│ all") && table.contains(" 2,000 "), "{table}");
        assert!(!of_nodes(&names[..1], &[counts], &[1.0]).contains("│ all"), "{table}");
    }
}
