//! Spans that wait: first in, first out, bounded by number and bytes; the oldest makes room for the newest.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::budget::{Budget, Lease};
use crate::config::ExportLimits;
use crate::counters::{Counter, Counters};

/// Bytes of a batch at the end of life.
const LAST_BATCH: usize = 8 * 1024 * 1024;

/// An encoded span and when it was offered (nanoseconds since 1970).
#[derive(Debug)]
pub(super) struct Waiting {
    pub span: Vec<u8>,
    pub since: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: ExportLimits,
    spans: VecDeque<Waiting>,
    bytes: usize,
    /// Memory of the queue and of the batches that were taken from it.
    lease: Lease,
    /// Everything is due, in few calls.
    ending: bool,
}

impl Queue {
    pub(super) fn new(limits: ExportLimits, budget: &Rc<Budget>) -> Self {
        Self { limits, spans: VecDeque::new(), bytes: 0, lease: budget.export_lease(), ending: false }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Adds a span; drops the oldest ones (or, if it does not fit alone, this one) where there is no room.
    pub(super) fn push(&mut self, span: Vec<u8>, now: u64, counters: &Counters) {
        let size = span.len();
        if size > self.limits.queue_bytes {
            return counters.add(Counter::DroppedTooLarge, 1);
        }
        while self.spans.len() >= self.limits.queue_items || self.bytes + size > self.limits.queue_bytes {
            if self.drop_oldest(Counter::DroppedQueueFull, counters).is_none() {
                break;
            }
        }
        while !self.lease.grow(span.capacity()) {
            if self.drop_oldest(Counter::DroppedMemory, counters).is_none() {
                return counters.add(Counter::DroppedMemory, 1);
            }
        }
        self.bytes += size;
        self.spans.push_back(Waiting { span, since: now });
    }

    /// From now on everything is due, in batches as large as servers take: there may be time for one call only.
    pub(super) fn end(&mut self) {
        self.ending = true;
        self.limits.batch_items = usize::MAX;
        self.limits.batch_bytes = self.limits.batch_bytes.max(LAST_BATCH);
    }

    fn drop_oldest(&mut self, reason: Counter, counters: &Counters) -> Option<()> {
        let oldest = self.spans.pop_front()?;
        self.bytes -= oldest.span.len();
        self.lease.shrink(oldest.span.capacity());
        counters.add(reason, 1);
        Some(())
    }

    /// A batch should be sent: it is full, or its first span has waited long enough.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let Some(oldest) = self.spans.front() else { return false };
        let age_ms = now.saturating_sub(oldest.since) / 1_000_000;
        // A clock that was set back must not hold traces for ever.
        let clock_back = oldest.since > now;
        self.spans.len() >= self.limits.batch_items
            || self.bytes >= self.limits.batch_bytes
            || age_ms >= self.limits.batch_age_ms
            || clock_back
            || self.ending
    }

    /// Takes a batch, the first span whatever its size. Its memory stays leased until [`Queue::release`].
    pub(super) fn take_batch(&mut self) -> Vec<Vec<u8>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.spans.front() {
            bytes += next.span.len();
            if batch.len() >= self.limits.batch_items || (bytes > self.limits.batch_bytes && !batch.is_empty()) {
                break;
            }
            if let Some(next) = self.spans.pop_front() {
                self.bytes -= next.span.len();
                batch.push(next.span);
            }
        }
        batch
    }

    /// Gives back the memory of spans that are no longer held.
    pub(super) fn release(&mut self, spans: &[Vec<u8>]) {
        self.lease.shrink(spans.iter().map(Vec::capacity).sum());
    }
}
