//! Counts of what happened to calls and traces: kept in the VM, published to the host's metrics by the root context.
//!
//! Counters only (a gauge traps on one host or the other). A name carries its label as `_reason=value`, which Envoy's
//! `stats_tags` and Kong's `label_patterns` both take out with the pattern `(_reason=([a-z_]+))`.

use std::cell::Cell;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $counter:ident = $name:literal;)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $($(#[doc = $doc])+ $counter,)*
        }

        impl Counter {
            /// All counters.
            pub const ALL: &[Self] = &[$(Self::$counter),*];

            /// Name of the host metric.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$counter => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Traces handed to the export.
    Offered = "ai_tracing_traces_offered";
    /// Traces that Langfuse has taken.
    Sent = "ai_tracing_traces_sent";
    /// Dropped: the queue was full, this was the oldest.
    DroppedQueueFull = "ai_tracing_traces_dropped_reason=queue_full";
    /// Dropped: the VM's memory budget was used up.
    DroppedMemory = "ai_tracing_traces_dropped_reason=memory";
    /// Dropped: Langfuse refused the batch for good.
    DroppedRejected = "ai_tracing_traces_dropped_reason=rejected";
    /// Dropped: Langfuse refuses a trace of this size.
    DroppedTooLarge = "ai_tracing_traces_dropped_reason=too_large";
    /// Dropped: not taken within `retry_max_age`.
    DroppedExpired = "ai_tracing_traces_dropped_reason=expired";
    /// Dropped: the gateway lost what it had seen of the call, because the plan of a filter chain was freed (WasmX).
    DroppedReset = "ai_tracing_traces_dropped_reason=reset";
    /// Dropped: the gateway ended.
    DroppedShutdown = "ai_tracing_traces_dropped_reason=shutdown";
    /// Calls not traced: the path is in `ignore_paths`.
    SkippedIgnoredPath = "ai_tracing_calls_skipped_reason=ignored_path";
    /// Calls not traced: not an LLM API.
    SkippedNotAi = "ai_tracing_calls_skipped_reason=not_ai";
    /// Calls not traced: the method does not ask for an inference.
    SkippedMethod = "ai_tracing_calls_skipped_reason=method";
    /// Calls not traced: the connection changed its protocol.
    SkippedUpgrade = "ai_tracing_calls_skipped_reason=upgrade";
    /// Calls not traced: the Langfuse project that they belong to has no keys.
    SkippedNoProject = "ai_tracing_calls_skipped_reason=no_project";
    /// Values of callers' context that could not be used: not printable, not UTF-8, broken, over a limit, or two that
    /// contradict each other.
    ContextDropped = "ai_tracing_context_values_dropped";
    /// Calls whose content was not (all) kept: the VM's memory budget was used up.
    CutMemory = "ai_tracing_captures_cut_reason=memory";
    /// Calls whose content was not (all) kept: over `max_input_bytes` or `max_output_bytes`.
    CutLimit = "ai_tracing_captures_cut_reason=limit";
    /// Calls whose content the host did not let the filter read.
    CutUnreadable = "ai_tracing_captures_cut_reason=unreadable";
    /// Calls whose content has an encoding that is not read, or is corrupt.
    CutEncoding = "ai_tracing_captures_cut_reason=encoding";
    /// Export calls that were answered with success.
    ExportOk = "ai_tracing_export_calls_result=ok";
    /// Export calls that failed and are tried again.
    ExportRetried = "ai_tracing_export_calls_result=retried";
    /// Export calls that the host did not make.
    ExportNotCalled = "ai_tracing_export_calls_result=not_called";
    /// Export calls that were refused.
    ExportRefused = "ai_tracing_export_calls_result=refused";
}

impl Counter {
    /// It counts traces, and not calls or export calls.
    #[must_use]
    pub fn is_of_traces(self) -> bool {
        self.name().starts_with("ai_tracing_traces_")
    }
}

/// The counters of one root context.
#[derive(Debug)]
pub struct Counters {
    values: Vec<Cell<u64>>,
    published: Vec<Cell<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        let zeros = || Counter::ALL.iter().map(|_| Cell::new(0)).collect();
        Self { values: zeros(), published: zeros() }
    }
}

impl Counters {
    /// Counts `n` more.
    pub fn add(&self, counter: Counter, n: u64) {
        if let Some(value) = self.values.get(counter as usize) {
            value.set(value.get().saturating_add(n));
        }
    }

    /// The count.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).map_or(0, Cell::get)
    }

    /// Sum of all traces that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let dropped = |counter: &&Counter| counter.name().starts_with("ai_tracing_traces_dropped");
        Counter::ALL.iter().filter(dropped).map(|counter| self.get(*counter)).sum()
    }

    /// How many traces were dropped, and why, for a log line: `3 (queue_full 2, memory 1)`.
    #[must_use]
    pub fn drops_by_reason(&self) -> String {
        let reason = |counter: &Counter| {
            let reason = counter.name().strip_prefix("ai_tracing_traces_dropped_reason=")?;
            let count = self.get(*counter);
            (count > 0).then(|| format!("{reason} {count}"))
        };
        let reasons: Vec<String> = Counter::ALL.iter().filter_map(reason).collect();
        format!("{} ({})", self.dropped(), reasons.join(", "))
    }

    /// Hands out what has been counted since the last time.
    pub fn publish(&self, mut add: impl FnMut(Counter, u64)) {
        for (counter, (value, published)) in Counter::ALL.iter().zip(self.values.iter().zip(&self.published)) {
            let delta = value.get() - published.replace(value.get());
            if delta > 0 {
                add(*counter, delta);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_is_published_once() {
        let counters = Counters::default();
        counters.add(Counter::Sent, 2);
        counters.add(Counter::DroppedMemory, 3);
        let mut seen = Vec::new();
        counters.publish(|counter, n| seen.push((counter, n)));
        assert_eq!(seen, [(Counter::Sent, 2), (Counter::DroppedMemory, 3)]);
        counters.publish(|_, _| panic!("nothing new"));
        assert_eq!((counters.dropped(), counters.get(Counter::Sent)), (3, 2));
        assert_eq!(counters.drops_by_reason(), "3 (memory 3)");
    }

    #[test]
    fn labels_are_where_the_patterns_find_them() {
        for counter in Counter::ALL {
            let (name, label) = counter.name().split_once('=').unwrap_or((counter.name(), "x"));
            assert!(name.bytes().chain(label.bytes()).all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }
}
