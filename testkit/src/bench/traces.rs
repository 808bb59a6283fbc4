//! The filter's own account: every trace offered is sent, dropped for a reason, or still pending.

use std::collections::BTreeMap;
use std::fmt;

/// Counters of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// Calls that reached the listener.
    pub(super) calls: u64,
    pub(super) offered: u64,
    pub(super) sent: u64,
    /// By reason.
    pub(super) dropped: BTreeMap<String, u64>,
}

impl Traces {
    /// Reads Envoy's `/stats`.
    pub(super) fn read(stats: &str) -> Self {
        let mut traces = Self::default();
        for (name, value) in stats.lines().filter_map(|line| line.split_once(": ")) {
            let Ok(value) = value.parse() else { continue };
            match name.strip_prefix("wasmcustom.ai_tracing_traces_") {
                Some("offered") => traces.offered = value,
                Some("sent") => traces.sent = value,
                Some(name) => {
                    if let Some(reason) = name.strip_prefix("dropped") {
                        traces.dropped.insert(reason.trim_start_matches(['_', '.']).to_owned(), value);
                    }
                }
                None if name == "http.listener_0.downstream_rq_total" => traces.calls = value,
                None => {}
            }
        }
        traces
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Neither sent nor dropped.
    pub(super) fn pending(&self) -> u64 {
        self.offered.saturating_sub(self.sent + self.dropped())
    }

    /// The counters are published on a timer: they are complete when there is one trace for each call.
    pub(super) fn all_counted(&self) -> bool {
        self.offered >= self.calls
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        let dropped = |(reason, count): (&String, &u64)| {
            (reason.clone(), count.saturating_sub(earlier.dropped.get(reason).copied().unwrap_or_default()))
        };
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            offered: self.offered.saturating_sub(earlier.offered),
            sent: self.sent.saturating_sub(earlier.sent),
            dropped: self.dropped.iter().map(dropped).collect(),
        }
    }
}

impl fmt::Display for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, offered, sent, .. } = self;
        let reasons = self.dropped.iter().filter(|(_, count)| **count > 0);
        let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let (dropped, pending) = (self.dropped(), self.pending());
        write!(
            formatter,
            "{calls} calls; {offered} traces offered = {sent} sent + {dropped} dropped{reasons} + {pending} pending"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_read_and_balanced() {
        let traces = Traces::read(
            "http.listener_0.downstream_rq_total: 12\nhttp.admin.downstream_rq_total: 99\n\
             wasmcustom.ai_tracing_traces_offered: 10\nwasmcustom.ai_tracing_traces_sent: 6\n\
             wasmcustom.ai_tracing_traces_dropped_reason=queue_full: 3\n",
        );
        assert_eq!((traces.calls, traces.offered, traces.dropped(), traces.pending()), (12, 10, 3, 1));
        assert!(!traces.all_counted());
        assert_eq!(traces.since(&traces).offered, 0);
        assert!(traces.to_string().ends_with("3 dropped (reason=queue_full 3) + 1 pending"), "{traces}");
    }
}
