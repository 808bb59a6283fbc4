//! Publishing counts and measures as host metrics. But for the account of traces they are defined when first needed.

use std::cell::RefCell;

use super::abi::MetricType;
use super::hostcalls;
use crate::counters::{Counter, Counters};
use crate::measures::{Kind, Measures};

/// Metric ids of this VM; none where the host refused to define it.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    counters: RefCell<Vec<(Counter, Option<u32>)>>,
    /// By the number of the series.
    series: RefCell<Vec<Option<u32>>>,
}

impl Metrics {
    /// Adds to the host's metrics what has been counted and measured since the last time.
    pub(super) fn publish(&self, counters: &Counters, measures: &Measures) {
        self.define_account();
        counters.publish(|counter, by| {
            if let Some(metric) = self.counter(counter) {
                hostcalls::increment(metric, by);
            }
        });
        measures.publish(|number, name, kind, value| match (kind, self.series(number, name, kind)) {
            (Kind::Counter, Some(metric)) => hostcalls::increment(metric, value),
            (Kind::Histogram, Some(metric)) => hostcalls::record(metric, value),
            (_, None) => {}
        });
    }

    /// What became of traces can be asked for before there is one: `offered - sent - dropped` is a graph from the start.
    fn define_account(&self) {
        if self.counters.try_borrow().is_ok_and(|defined| defined.is_empty()) {
            for counter in Counter::ALL.iter().filter(|counter| counter.is_of_traces()) {
                self.counter(*counter);
            }
        }
    }

    fn counter(&self, counter: Counter) -> Option<u32> {
        let mut defined = self.counters.try_borrow_mut().ok()?;
        if let Some((_, metric)) = defined.iter().find(|(known, _)| *known == counter) {
            return *metric;
        }
        let metric = hostcalls::define_metric(MetricType::Counter, counter.name());
        defined.push((counter, metric));
        metric
    }

    fn series(&self, number: usize, name: &str, kind: Kind) -> Option<u32> {
        let mut defined = self.series.try_borrow_mut().ok()?;
        if number == defined.len() {
            let kind = if kind == Kind::Counter { MetricType::Counter } else { MetricType::Histogram };
            defined.push(hostcalls::define_metric(kind, name));
        }
        *defined.get(number)?
    }
}
