//! What the filter costs: bare Envoy, a null tap (`benches/null-tap`), the filter with a Langfuse that answers and with
//! one that never does, in alternating rounds under the load of `wrk`. It reports and never judges by its exit code:
//! only the ratios within one run mean anything, a slow machine is no failure.
//!
//! `BENCH_ROUNDS` (5) and `BENCH_SECONDS` (3, per measurement) set its length, `BENCH_WORKLOADS` (`chat,stream`) what is
//! measured; `AI_TRACING_WASM` and `NULL_TAP_WASM` name other modules.

mod cpu;
mod gateway;
mod numbers;
mod report;
mod settings;
mod sink;
mod soak;
mod table;
mod traces;
mod workload;
mod wrk;

pub use soak::soak;

use crate::upstream::BenchUpstream;
use gateway::{Gateway, LoadSide, Variant};
use numbers::Results;
use settings::Settings;
use sink::{Answering, Sink};
use std::fmt;
use std::time::Duration;
use tempfile::TempDir;
use workload::Workload;
use wrk::Wrk;

/// Load before the first round, for each gateway and workload.
const WARM_UP: Duration = Duration::from_secs(1);

/// Why nothing was measured.
#[derive(Debug)]
pub enum Failure {
    /// A program or file is missing; says how to get it.
    Missing(String),
    /// Anything else.
    Failed(String),
}

impl Failure {
    /// 2 when something must be installed or built first.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(formatter, "missing: {what}"),
            Self::Failed(what) => formatter.write_str(what),
        }
    }
}

/// Measures, and prints the tables.
pub async fn run() -> Result<(), Failure> {
    let settings = Settings::read()?;
    let scripts = tempfile::tempdir().map_err(|error| Failure::Failed(error.to_string()))?;
    let mut bench = Bench::start(&settings, scripts).await?;
    bench.warm_up().await?;
    let mut results = Results::default();
    for round in 0..settings.rounds {
        eprintln!("round {} of {}", round + 1, settings.rounds);
        bench.round(round, &mut results).await?;
    }
    let traces = bench.traces().await;
    println!("{}", report::render(&settings, &results, &traces));
    Ok(())
}

/// The gateways and all around them; what runs ends when it is dropped.
struct Bench {
    gateways: Vec<Gateway>,
    load: LoadSide,
    duration: Duration,
    workloads: Vec<Workload>,
    _sinks: (Sink, Sink),
}

impl Bench {
    async fn start(settings: &Settings, scripts: TempDir) -> Result<Self, Failure> {
        let load = LoadSide { wrk: Wrk::prepare(scripts)?, upstream: BenchUpstream::start().await };
        let (live, dead) = (Sink::start(Answering::AtOnce), Sink::start(Answering::Never));
        let mut gateways = Vec::new();
        for variant in Variant::ALL {
            let langfuse = if variant == Variant::DeadLangfuse { dead.addr() } else { live.addr() };
            gateways.push(Gateway::start(variant, settings, load.upstream.addr(), langfuse).await?);
        }
        let (duration, workloads) = (settings.duration, settings.workloads.clone());
        Ok(Self { gateways, load, duration, workloads, _sinks: (live, dead) })
    }

    async fn warm_up(&mut self) -> Result<(), Failure> {
        for gateway in &mut self.gateways {
            for &workload in &self.workloads {
                gateway.measure(&self.load, workload, WARM_UP).await?;
            }
        }
        Ok(())
    }

    /// Every workload on every gateway; who comes first changes from round to round.
    async fn round(&mut self, round: usize, results: &mut Results) -> Result<(), Failure> {
        for &workload in &self.workloads {
            for place in 0..self.gateways.len() {
                let index = place_in_round(round, place, self.gateways.len());
                let gateway = &mut self.gateways[index];
                let sample = gateway.measure(&self.load, workload, self.duration).await?;
                results.push(workload, gateway.variant, sample);
            }
        }
        Ok(())
    }

    async fn traces(&self) -> Vec<(Variant, traces::Traces)> {
        let mut all = Vec::new();
        for gateway in self.gateways.iter().filter(|gateway| gateway.variant.exports()) {
            all.push((gateway.variant, gateway.traces().await));
        }
        all
    }
}

/// Another one begins each round, and every other round goes backwards: no two always follow each other.
fn place_in_round(round: usize, place: usize, count: usize) -> usize {
    let place = if round.is_multiple_of(2) { place } else { count - place };
    (round + place) % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_everyone_and_another_first() {
        let order = |round| (0..4).map(|place| place_in_round(round, place, 4)).collect::<Vec<_>>();
        let firsts: std::collections::BTreeSet<_> = (0..8).map(|round| order(round)[0]).collect();
        assert_eq!(firsts.len(), 4);
        for round in 0..8 {
            let mut sorted = order(round);
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
        }
    }
}
