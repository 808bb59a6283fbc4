//! The upstream and the stand-in of one run, and what they saw, by the names of the calls.

use super::{Options, answers, calls};
use crate::langfuse::{Behaviour, RequestRecord, ResetAt, Span, StandIn, StandInOptions};
use crate::upstream::{Received, Script, Upstream};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Clocks of gateway and kit may differ by this much.
pub(super) const SKEW_NS: u64 = 5_000_000_000;

/// See the module's documentation.
pub(super) struct Kit {
    pub(super) options: Options,
    pub(super) upstream: Upstream,
    pub(super) langfuse: StandIn,
    /// When the run began, in nanoseconds since 1970.
    pub(super) started: u64,
}

impl Kit {
    pub(super) async fn start(options: Options) -> Self {
        let stand_in = StandInOptions {
            public_key: options.public_key.clone(),
            secret_key: options.secret_key.clone(),
            bind: options.langfuse,
            ..StandInOptions::default()
        };
        let langfuse = StandIn::start(stand_in).await;
        langfuse.forbid(&client_key(&options.run));
        langfuse.forbid(&options.public_key);
        let upstream = Upstream::start_on(options.upstream).await;
        let run = options.run.clone();
        upstream.fallback(move |request| answers::answer(&calls::of_request(&run, request)?, request));
        Self { options, upstream, langfuse, started: now() }
    }

    /// The requests of a call, in order of arrival.
    pub(super) fn requests(&self, name: &str) -> Vec<Received> {
        let of_call = |request: &Received| calls::of_request(&self.options.run, request).is_some_and(|of| of == name);
        self.upstream.received("").into_iter().filter(of_call).collect()
    }

    /// What the upstream answered to a call.
    pub(super) fn answer(&self, name: &str) -> Option<Script> {
        answers::answer(name, self.requests(name).last()?)
    }

    /// The spans of a call, in order of arrival; of the guide's calls those of earlier runs are left out.
    pub(super) fn spans(&self, name: &str) -> Vec<Span> {
        let of_call = |span: &Span| self.name(span).is_some_and(|of| of == name);
        self.langfuse.spans().into_iter().filter(of_call).collect()
    }

    /// How many requests the upstream got and how many traces Langfuse has of each call that must be traced.
    pub(super) fn tally(&self) -> BTreeMap<String, (usize, usize)> {
        let mut tally: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let requests = self.upstream.received("");
        for name in requests.iter().filter_map(|request| calls::of_request(&self.options.run, request)) {
            tally.entry(name).or_default().0 += 1;
        }
        for name in self.langfuse.spans().iter().filter_map(|span| self.name(span)) {
            tally.entry(name).or_default().1 += 1;
        }
        tally.retain(|name, _| calls::is_traced(name));
        tally
    }

    /// Waits until every call that must be traced has a trace; false when the time is over before.
    pub(super) async fn wait_for_traces(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.langfuse.spans().len();
            if self.tally().values().all(|(calls, traces)| traces >= calls) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.langfuse.spans_within(seen + 1, left).await;
        }
    }

    /// Waits until `count` traces of calls of that name have come, or the time is over.
    pub(super) async fn wait_for_spans(&self, name: &str, count: usize, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.spans(name).len() < count && Instant::now() < deadline {
            let seen = self.langfuse.spans().len();
            self.langfuse.spans_within(seen + 1, deadline.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Waits until [`Kit::failures`] is `count`; false when the time is over before.
    pub(super) async fn wait_for_failures(&self, count: usize, timeout: Duration) -> bool {
        let wait = async {
            loop {
                let seen = self.langfuse.requests().len();
                if self.failures() >= count {
                    return;
                }
                self.langfuse.wait_for_requests(seen + 1, timeout * 2).await;
            }
        };
        tokio::time::timeout(timeout, wait).await.is_ok()
    }

    /// Changes the stand-in; false for a word that it does not know.
    pub(super) fn behave(&self, how: &str) -> bool {
        let behaviour = match how {
            "normal" => Behaviour::Normal,
            "unavailable" => Behaviour::status(503),
            "refusing" => Behaviour::status(401),
            "dead" => Behaviour::Reset(ResetAt::BeforeAnswer),
            "breaking" => Behaviour::Reset(ResetAt::MidAnswer),
            _ => return false,
        };
        self.langfuse.set_behaviour(behaviour);
        true
    }

    /// How many requests Langfuse did not take so far, and how many traces came again because its answer was lost.
    pub(super) fn failures(&self) -> usize {
        let failed = |request: &&RequestRecord| request.status != Some(200);
        self.langfuse.requests().iter().filter(failed).count() + self.langfuse.duplicates()
    }

    /// The name of a span's call, if it is of this run.
    pub(super) fn name(&self, span: &Span) -> Option<String> {
        let name = calls::of_span(&self.options.run, span)?;
        let is_old = calls::is_of_guide(&name) && span.start + SKEW_NS < self.started;
        (!is_old).then_some(name)
    }
}

/// The key that the script's own calls carry; no trace may contain it.
fn client_key(run: &str) -> String {
    format!("sk-smoke-client-{run}")
}

/// Nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("a clock before 2554")
}
