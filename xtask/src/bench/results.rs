//! What criterion measured, round by round.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// The contender that all others are compared with.
pub(super) const OURS: &str = "carrotcache";

/// One contender in one scenario in one round.
#[derive(Debug, PartialEq)]
pub(super) struct Measurement {
    scenario: String,
    contender: String,
    /// The median of criterion's samples.
    nanoseconds: f64,
}

/// Reads the figures of the last run below criterion's folder `home`.
///
/// # Errors
///
/// When a file of criterion's is missing or does not hold what it should.
pub(super) fn read(home: &Path) -> Result<Vec<Measurement>> {
    let files = workspace::files(home, "json")?;
    let is_new = |path: &&PathBuf| path.ends_with("new/benchmark.json");
    files.iter().filter(is_new).map(|path| read_one(path)).collect()
}

fn read_one(benchmark: &Path) -> Result<Measurement> {
    let json = |path: &Path| -> Result<Value> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    };
    let estimates = json(&benchmark.with_file_name("estimates.json"))?;
    let nanoseconds = estimates["median"]["point_estimate"].as_f64();
    let id = json(benchmark)?;
    let text = |field: &str| id[field].as_str().map(str::to_owned);
    let scenario = text("group_id").context("a benchmark without a group")?;
    let (scenario, contender) = match (text("function_id"), text("value_str")) {
        (Some(contender), Some(value)) => (format!("{scenario}/{value}"), contender),
        (contender, value) => {
            (scenario, contender.or(value).context("a benchmark without a name")?)
        }
    };
    Ok(Measurement { scenario, contender, nanoseconds: nanoseconds.context("no median")? })
}

/// The figures of all rounds.
#[derive(Default)]
pub(super) struct Results {
    scenarios: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Results {
    /// Adds the figures of one round.
    pub(super) fn add(&mut self, round: Vec<Measurement>) {
        for Measurement { scenario, contender, nanoseconds } in round {
            let contenders = self.scenarios.entry(scenario).or_default();
            contenders.entry(contender).or_default().push(nanoseconds);
        }
    }

    /// Returns the scenarios in the order of their names, numbers by value, and in each the
    /// contenders: ours first, then the fastest.
    pub(super) fn sorted(&self) -> Vec<Scenario> {
        let mut scenarios: Vec<Scenario> = self.scenarios.iter().map(Scenario::new).collect();
        scenarios.sort_by_cached_key(|scenario| natural(&scenario.name));
        scenarios
    }
}

/// One workload and all who ran it.
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) contenders: Vec<Contender>,
}

/// One contender's figures in one scenario.
pub(super) struct Contender {
    pub(super) name: String,
    /// The median over the rounds.
    pub(super) nanoseconds: f64,
    /// How many times as long as ours it took: the median of the ratios within each round. `None`
    /// where ours did not run.
    pub(super) ratio: Option<f64>,
}

impl Scenario {
    fn new((name, times): (&String, &BTreeMap<String, Vec<f64>>)) -> Self {
        let ours = times.get(OURS);
        let contender = |(name, theirs): (&String, &Vec<f64>)| Contender {
            name: name.clone(),
            nanoseconds: median(theirs.clone()),
            ratio: ours.map(|ours| median(theirs.iter().zip(ours).map(|(t, o)| t / o).collect())),
        };
        let mut contenders: Vec<Contender> = times.iter().map(contender).collect();
        contenders.sort_by(|a, b| {
            let rank = |c: &Contender| (c.name != OURS, c.nanoseconds);
            rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1))
        });
        Self { name: name.clone(), contenders }
    }
}

/// Returns the value in the middle, or the mean of the two there.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// Cuts `name` into texts and numbers, so that `3x50` sorts before `100x50`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let is_boundary = |(a, b): (char, char)| a.is_ascii_digit() && !b.is_ascii_digit();
    let mut parts = vec![String::new()];
    let mut last = ' ';
    for c in name.chars() {
        if is_boundary((last, c)) {
            parts.push(String::new());
        }
        parts.last_mut().into_iter().for_each(|part| part.push(c));
        last = c;
    }
    let split = |part: String| {
        let digits = part.trim_start_matches(|c: char| !c.is_ascii_digit());
        let text = part[..part.len() - digits.len()].to_owned();
        (text, digits.parse().unwrap_or(0))
    };
    parts.into_iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(scenario: &str, contender: &str, nanoseconds: f64) -> Measurement {
        Measurement { scenario: scenario.into(), contender: contender.into(), nanoseconds }
    }

    #[test]
    fn ratio_is_the_median_of_the_ratios_within_rounds() {
        let mut results = Results::default();
        // The machine slows down for all from round to round; the ratio stays near 2.
        for (ours, theirs) in [(10.0, 20.0), (20.0, 44.0), (40.0, 76.0)] {
            results.add(vec![measured("s", OURS, ours), measured("s", "rival", theirs)]);
        }
        let scenarios = results.sorted();
        let [ours, rival] = &scenarios[0].contenders[..] else { panic!("two contenders") };
        assert_eq!((ours.name.as_str(), ours.ratio), (OURS, Some(1.0)));
        assert_eq!((rival.nanoseconds, rival.ratio), (44.0, Some(2.0)));
    }

    #[test]
    fn scenario_without_ours_has_no_ratios() {
        let mut results = Results::default();
        results.add(vec![measured("s", "rival", 1.0)]);
        assert_eq!(results.sorted()[0].contenders[0].ratio, None);
    }

    #[test]
    fn ours_comes_first_and_scenarios_sort_by_number() {
        let mut results = Results::default();
        results.add(vec![
            measured("get-100x50", "a", 1.0),
            measured("get-100x50", OURS, 2.0),
            measured("get-3x50", "slow", 9.0),
            measured("get-3x50", "fast", 1.0),
            measured("get-100x7", "a", 1.0),
        ]);
        let scenarios = results.sorted();
        let names: Vec<&str> = scenarios.iter().map(|s| &*s.name).collect();
        assert_eq!(names, ["get-3x50", "get-100x7", "get-100x50"]);
        assert_eq!(scenarios[0].contenders[0].name, "fast");
        assert_eq!(scenarios[2].contenders[0].name, OURS);
    }

    #[test]
    fn criterion_files_are_read_in_each_form_of_identity() {
        let home = tempfile::tempdir().unwrap();
        let add = |folder: &str, id: &str| {
            let folder = home.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("benchmark.json"), id).unwrap();
            let estimates = r#"{"mean":{},"median":{"point_estimate":7.5}}"#;
            std::fs::write(folder.join("estimates.json"), estimates).unwrap();
        };
        add("g/f/new", r#"{"group_id":"g","function_id":"f","value_str":null}"#);
        add("g/f/base", r#"{"group_id":"g","function_id":"stale","value_str":null}"#);
        add("g/f/1/new", r#"{"group_id":"g","function_id":"f","value_str":"1"}"#);
        add("g/p/new", r#"{"group_id":"g","function_id":null,"value_str":"p"}"#);
        let read = read(home.path()).unwrap();
        let expected =
            [measured("g/1", "f", 7.5), measured("g", "f", 7.5), measured("g", "p", 7.5)];
        assert_eq!(read, expected);
    }

    #[test]
    fn median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
