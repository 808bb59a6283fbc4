//! How long to measure, and what.

use super::Failure;
use super::workload::Workload;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// What `make bench` runs with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) rounds: usize,
    pub(super) duration: Duration,
    pub(super) workloads: Vec<Workload>,
    pub(super) filter: PathBuf,
    pub(super) null_tap: PathBuf,
}

impl Settings {
    pub(super) fn read() -> Result<Self, Failure> {
        let null_tap = "benches/null-tap/target/wasm32-wasip1/release/null_tap.wasm";
        Ok(Self {
            rounds: number::<usize>("BENCH_ROUNDS", 5)?.max(1),
            duration: Duration::from_secs(number::<u64>("BENCH_SECONDS", 3)?.max(1)),
            workloads: workloads()?,
            filter: module("AI_TRACING_WASM", "filters/ai-tracing.wasm")?,
            null_tap: module("NULL_TAP_WASM", null_tap)?,
        })
    }
}

/// Those that are named; all of them where none is.
fn workloads() -> Result<Vec<Workload>, Failure> {
    let named = std::env::var("BENCH_WORKLOADS").unwrap_or_default();
    if named.trim().is_empty() {
        return Ok(Workload::ALL.to_vec());
    }
    let known = Workload::ALL.map(Workload::name).join(", ");
    let workload = |name: &str| {
        let found = Workload::ALL.into_iter().find(|workload| workload.name() == name.trim());
        found.ok_or_else(|| Failure::Failed(format!("BENCH_WORKLOADS: no workload \"{name}\"; there are: {known}")))
    };
    named.split(',').map(workload).collect()
}

pub(super) fn number<T: FromStr>(name: &str, default: T) -> Result<T, Failure> {
    match std::env::var(name).ok().filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| Failure::Failed(format!("{name}={text} is no number"))),
    }
}

fn module(variable: &str, default: &str) -> Result<PathBuf, Failure> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| crate::repository_root().join(default));
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure::Missing(format!("{}; build it with: make bench", path.display()))),
    }
}

/// A file's size.
pub(super) fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default()
}
