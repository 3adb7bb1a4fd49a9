//! On what, when and with which versions was measured.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::workspace;

/// On what, when and with which versions was measured.
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) rustc: String,
    /// As in `2026-11-22`, UTC.
    pub(super) date: String,
    /// The crates that the benchmarks use directly, with their versions.
    versions: Vec<(String, String)>,
}

impl Machine {
    /// Reads what this machine tells of itself, and the versions from `Cargo.lock`.
    ///
    /// # Errors
    ///
    /// When rustc cannot be asked or the lock file cannot be read.
    pub(super) fn read() -> Result<Self> {
        let rustc = Command::new("rustc").arg("--version").output().context("rustc --version")?;
        let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
        #[expect(clippy::disallowed_methods, reason = "the date of the results")]
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Ok(Self {
            cpu: cpu(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            rustc: String::from_utf8_lossy(&rustc.stdout).trim().to_owned(),
            date: date(seconds / 86_400),
            versions: versions(&lock).context("Cargo.lock")?,
        })
    }

    /// Returns the crate and version behind the contender `name`, such as `moka 0.12.11` for `moka`
    /// and `moka-sync`; `None` if no crate has its name.
    pub(super) fn version(&self, name: &str) -> Option<String> {
        let plain = |name: &str| name.replace('_', "-");
        let name = plain(name);
        let is_behind = |krate: &str| {
            let rest = name.strip_prefix(&plain(krate));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        };
        let candidates = self.versions.iter().filter(|(krate, _)| is_behind(krate));
        let best = candidates.max_by_key(|(krate, _)| krate.len());
        best.map(|(krate, version)| format!("{krate} {version}"))
    }
}

/// Returns the model's name in `/proc/cpuinfo`, or the architecture where it tells none.
fn cpu(info: &str) -> String {
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
    model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Returns the versions of what the package `benches` depends on.
fn versions(lock: &str) -> Result<Vec<(String, String)>> {
    let lock: toml::Table = lock.parse()?;
    let packages: Vec<&toml::Table> = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .context("it lists no packages")?
        .iter()
        .filter_map(toml::Value::as_table)
        .collect();
    let text = |package: &toml::Table, field| Some(package.get(field)?.as_str()?.to_owned());
    let version_of = |name: &str| {
        let named = packages.iter().find(|package| text(package, "name").as_deref() == Some(name));
        named.and_then(|package| text(package, "version"))
    };
    let benches =
        packages.iter().find(|package| text(package, "name").as_deref() == Some("benches"));
    let dependencies = benches.and_then(|package| package.get("dependencies")?.as_array());
    // An entry is a name, and a version behind it only where the lock file has several.
    let versioned = |entry: &str| match entry.split_once(' ') {
        Some((name, version)) => Some((name.to_owned(), version.to_owned())),
        None => Some((entry.to_owned(), version_of(entry)?)),
    };
    let dependencies = dependencies.into_iter().flatten().filter_map(toml::Value::as_str);
    Ok(dependencies.filter_map(versioned).collect())
}

/// Returns the date that many days after 1970-01-01.
///
/// Counted from 0000-03-01, a year ends with its leap day and months follow a pattern of 153 days
/// in five; 146,097 days make 400 years.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", year + 400 * era)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        [[package]]
        name = "benches"
        version = "0.1.0"
        dependencies = ["carrotcache", "lru 0.19.1", "quick_cache"]
        [[package]]
        name = "carrotcache"
        version = "0.1.0"
        [[package]]
        name = "lru"
        version = "0.12.0"
        [[package]]
        name = "quick_cache"
        version = "0.7.1"
    "#;

    fn machine() -> Machine {
        let versions = versions(LOCK).unwrap();
        let (cpu, rustc, date) = Default::default();
        Machine { cpu, cores: 1, rustc, date, versions }
    }

    #[test]
    fn version_is_the_one_the_benchmarks_use() {
        assert_eq!(machine().version("lru").as_deref(), Some("lru 0.19.1"));
        assert_eq!(machine().version("quick-cache").as_deref(), Some("quick_cache 0.7.1"));
    }

    #[test]
    fn contender_may_say_more_than_its_crate() {
        assert_eq!(machine().version("quick_cache (sync)").as_deref(), Some("quick_cache 0.7.1"));
        assert_eq!(
            machine().version("carrotcache-one-shard").as_deref(),
            Some("carrotcache 0.1.0")
        );
        assert_eq!(machine().version("lru2"), None);
        assert_eq!(machine().version("mutex"), None);
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_779), "2026-11-22");
        assert_eq!(date(47_540), "2100-02-28");
        assert_eq!(date(47_541), "2100-03-01");
    }

    #[test]
    fn cpu_is_the_model_or_else_the_architecture() {
        assert_eq!(cpu("processor : 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(cpu(""), std::env::consts::ARCH);
    }
}
