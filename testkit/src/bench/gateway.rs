//! The gateways that are compared, and one measurement of one of them.

use super::Failure;
use super::cpu::{TICKS_PER_SECOND, Ticks};
use super::settings::Settings;
use super::traces::Traces;
use super::workload::Workload;
use super::wrk::Wrk;
use crate::envoy::{Envoy, EnvoyOptions, WasmFilter};
use crate::upstream::BenchUpstream;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long traces may take to leave after a measurement; their cost belongs to it.
const DRAIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);

/// What is in the filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variant {
    Bare,
    NullTap,
    LiveLangfuse,
    DeadLangfuse,
}

impl Variant {
    pub(super) const ALL: [Self; 4] = [Self::Bare, Self::NullTap, Self::LiveLangfuse, Self::DeadLangfuse];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare Envoy",
            Self::NullTap => "null tap",
            Self::LiveLangfuse => "filter, Langfuse answers",
            Self::DeadLangfuse => "filter, Langfuse never answers",
        }
    }

    /// It is the filter.
    pub(super) fn exports(self) -> bool {
        matches!(self, Self::LiveLangfuse | Self::DeadLangfuse)
    }

    fn filter(self, settings: &Settings, langfuse: SocketAddr) -> Option<WasmFilter> {
        match self {
            Self::Bare => None,
            Self::NullTap => Some(WasmFilter::new("null-tap", &settings.null_tap, &Value::Null)),
            Self::LiveLangfuse | Self::DeadLangfuse => {
                let config = json!({"langfuse_enabled": true, "langfuse_public_key": "pk", "langfuse_secret_key": "sk",
                    "langfuse_endpoint": format!("http://{langfuse}")});
                Some(WasmFilter::new("ai-tracing", &settings.filter, &config))
            }
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Processor time of Envoy for each request, export included, microseconds.
    pub(super) cpu_us: f64,
    pub(super) requests_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) failed: u64,
    /// Of the traces offered in this measurement, those taken by Langfuse.
    pub(super) sent: f64,
    /// Cores used by Envoy, by wrk with the servers, and by everybody else meanwhile.
    pub(super) cores: f64,
    pub(super) load_cores: f64,
    pub(super) other_cores: f64,
    /// Resident memory afterwards.
    pub(super) memory: u64,
}

/// What every gateway is between.
#[derive(Debug)]
pub(super) struct LoadSide {
    pub(super) wrk: Wrk,
    pub(super) upstream: BenchUpstream,
}

/// One running Envoy.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) variant: Variant,
    envoy: Envoy,
}

impl Gateway {
    pub(super) async fn start(
        variant: Variant,
        settings: &Settings,
        upstream: SocketAddr,
        langfuse: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut options = EnvoyOptions::new(upstream);
        if let Some(filter) = variant.filter(settings, langfuse) {
            options = options.with_langfuse(langfuse).with_filter(filter);
        }
        let started = Envoy::try_start(options).await;
        let envoy = started.map_err(|log| Failure::Failed(format!("{}: {log}", variant.title())))?;
        Ok(Self { variant, envoy })
    }

    /// Loads it and waits until its traces have left.
    pub(super) async fn measure(
        &mut self,
        load: &LoadSide,
        workload: Workload,
        time: Duration,
    ) -> Result<Sample, Failure> {
        self.measured(load, workload, time, true).await
    }

    /// Loads it only: whatever of its traces is still there meets the next load.
    pub(super) async fn measure_undrained(
        &mut self,
        load: &LoadSide,
        workload: Workload,
        time: Duration,
    ) -> Result<Sample, Failure> {
        self.measured(load, workload, time, false).await
    }

    async fn measured(
        &mut self,
        load: &LoadSide,
        workload: Workload,
        time: Duration,
        drain: bool,
    ) -> Result<Sample, Failure> {
        let (begun, streams) = (Instant::now(), load.upstream.paced_streams());
        let (ticks, traces) = (self.ticks(), self.traces().await);
        let seen = load.wrk.run(self.envoy.addr(), workload, time).await?;
        let (seconds, loaded) = (begun.elapsed().as_secs_f64(), self.ticks().since(ticks));
        // A paced stream takes so long that those which wrk cut off count too.
        let requests = match workload {
            Workload::PacedStream => load.upstream.paced_streams() - streams,
            Workload::Chat | Workload::Stream | Workload::LongStream => seen.requests as f64,
        };
        let after = if drain { self.drain().await } else { self.traces().await };
        let traces = after.since(&traces);
        let used = self.ticks().since(ticks);
        self.check_alive(workload)?;
        let cores = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / seconds;
        Ok(Sample {
            cpu_us: used.gateway as f64 / TICKS_PER_SECOND * 1e6 / requests.max(1.0),
            requests_per_second: requests / seen.seconds.max(1e-3),
            p50_ms: seen.p50_ms,
            p99_ms: seen.p99_ms,
            failed: seen.failed,
            sent: traces.sent as f64 / traces.offered.max(1) as f64,
            cores: cores(loaded.gateway),
            load_cores: cores(loaded.load),
            other_cores: cores(loaded.others()),
            memory: self.envoy.memory_bytes(),
        })
    }

    fn check_alive(&mut self, workload: Workload) -> Result<(), Failure> {
        if self.envoy.is_running() {
            return Ok(());
        }
        let (title, log) = (self.variant.title(), self.envoy.log());
        Err(Failure::Failed(format!("{title}: Envoy ended under the {}:\n{log}", workload.name())))
    }

    /// What the filter has counted so far.
    pub(super) async fn traces(&self) -> Traces {
        if !self.variant.exports() {
            return Traces::default();
        }
        let names = "wasmcustom.ai_tracing_traces|downstream_rq_total";
        Traces::read(&self.envoy.admin(&format!("/stats?filter={names}")).await)
    }

    /// Waits until Langfuse has all traces: no export runs into the next measurement.
    async fn drain(&self) -> Traces {
        let deadline = Instant::now() + DRAIN;
        loop {
            let traces = self.traces().await;
            let finished = traces.all_counted() && (self.variant != Variant::LiveLangfuse || traces.pending() == 0);
            if finished || Instant::now() > deadline {
                return traces;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn ticks(&self) -> Ticks {
        Ticks::now(self.envoy.cpu_ticks())
    }
}
