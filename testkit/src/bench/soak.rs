//! A long time at saturation with a Langfuse that never answers: memory stays flat, and clients notice nothing.
//!
//! `SOAK_MINUTES` (10) sets its length. Then as many rounds as minutes compare the client's latencies of a live and a
//! dead Langfuse in pairs. It reports and exits with 1 when the memory grows.

use std::time::{Duration, Instant};

use super::Failure;
use super::gateway::{Gateway, LoadSide, Variant};
use super::numbers::Spread;
use super::settings::Settings;
use super::sink::{Answering, Sink};
use super::workload::Workload;
use super::wrk::Wrk;
use crate::upstream::BenchUpstream;

/// One measurement of memory.
const STEP: Duration = Duration::from_secs(10);
/// The queue and the allocator fill up first.
const FILLING: f64 = 0.2;
/// Growth of the highest memory from the first half to the second that counts as none: one page of Wasm memory more
/// here or there, and Envoy's own.
const FLAT: f64 = 1.02;

/// Runs the soak and prints it.
pub async fn soak() -> Result<(), Failure> {
    let settings = Settings::read()?;
    let minutes = super::settings::number::<u64>("SOAK_MINUTES", 10)?.max(1);
    let scripts = tempfile::tempdir().map_err(|error| Failure::Failed(error.to_string()))?;
    let load = LoadSide { wrk: Wrk::prepare(scripts)?, upstream: BenchUpstream::start().await };
    let (live, dead) = (Sink::start(Answering::AtOnce), Sink::start(Answering::Never));
    let mut gateway = Gateway::start(Variant::DeadLangfuse, &settings, load.upstream.addr(), dead.addr()).await?;
    let memory = memory_over(&mut gateway, &load, Duration::from_secs(60 * minutes)).await?;
    let traces = gateway.traces().await;
    println!("dead Langfuse, {minutes} minutes at saturation: {traces}");
    drop(gateway);
    let growth = growth(&memory);
    #[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let line: Vec<String> = memory.iter().map(|bytes| format!("{:.1}", mib(*bytes))).collect();
    println!("memory of Envoy every {} s, MiB: {}", STEP.as_secs(), line.join(" "));
    println!("highest in the second half / first half (after filling up): {growth:.3}");
    let mut pair = [
        Gateway::start(Variant::LiveLangfuse, &settings, load.upstream.addr(), live.addr()).await?,
        Gateway::start(Variant::DeadLangfuse, &settings, load.upstream.addr(), dead.addr()).await?,
    ];
    println!("{}", latencies(&mut pair, &load, minutes, settings.duration).await?);
    if growth > FLAT {
        return Err(Failure::Failed(format!("memory grows: {growth:.3}")));
    }
    Ok(())
}

async fn memory_over(gateway: &mut Gateway, load: &LoadSide, time: Duration) -> Result<Vec<u64>, Failure> {
    let (begun, mut memory) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        let sample = gateway.measure_undrained(load, Workload::Chat, STEP).await?;
        if sample.failed > 0 {
            return Err(Failure::Failed(format!("{} calls failed", sample.failed)));
        }
        memory.push(sample.memory);
        eprintln!("{:.0} s: {:.1} MiB", begun.elapsed().as_secs_f64(), sample.memory as f64 / 1024.0 / 1024.0);
    }
    Ok(memory)
}

/// The highest of the second half over the highest of the first, once the caps are reached.
fn growth(memory: &[u64]) -> f64 {
    let filled = memory.iter().skip((memory.len() as f64 * FILLING) as usize).copied().collect::<Vec<_>>();
    let (first, second) = filled.split_at(filled.len() / 2);
    let highest = |part: &[u64]| part.iter().copied().max().unwrap_or(1) as f64;
    highest(second) / highest(first)
}

/// The client's latencies in pairs of one round each: dead minus live.
async fn latencies(pair: &mut [Gateway; 2], load: &LoadSide, rounds: u64, time: Duration) -> Result<String, Failure> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut samples = [None, None];
        for place in 0..2 {
            let index = if round.is_multiple_of(2) { place } else { 1 - place };
            samples[index] = Some(pair[index].measure_undrained(load, Workload::Chat, time).await?);
        }
        let [Some(live), Some(dead)] = samples else { continue };
        p50.push((dead.p50_ms - live.p50_ms) / live.p50_ms);
        p99.push((dead.p99_ms - live.p99_ms) / live.p99_ms);
    }
    let shown = |name: &str, differences: &[f64]| {
        let spread = Spread::of(differences.iter().map(|difference| difference * 100.0));
        spread.map_or_else(String::new, |spread| format!("{name} {spread:.1} %"))
    };
    Ok(format!(
        "client's latency, dead against live Langfuse, {rounds} paired rounds: {}; {}",
        shown("p50", &p50),
        shown("p99", &p99)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_after_filling_up() {
        assert!(growth(&[1, 5, 10, 10, 10, 10, 10, 10, 10, 10]) <= FLAT);
        assert!(growth(&[1, 5, 10, 11, 12, 13, 14, 15, 16, 17]) > FLAT);
    }
}
