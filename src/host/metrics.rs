//! Publishing counters as host metrics. Defined when first needed, so that a VM without traffic shows none.

use std::cell::RefCell;

use super::hostcalls;
use crate::counters::{Counter, Counters};

/// Metric ids of this VM, by counter; none where the host refused to define it.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    defined: RefCell<Vec<(Counter, Option<u32>)>>,
}

impl Metrics {
    /// Adds to the host's metrics what `counters` have counted since the last time.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.publish(|counter, by| {
            if let Some(metric) = self.metric(counter) {
                hostcalls::increment(metric, by);
            }
        });
    }

    fn metric(&self, counter: Counter) -> Option<u32> {
        let mut defined = self.defined.try_borrow_mut().ok()?;
        if let Some((_, metric)) = defined.iter().find(|(known, _)| *known == counter) {
            return *metric;
        }
        let metric = hostcalls::define_counter(counter.name());
        defined.push((counter, metric));
        metric
    }
}
