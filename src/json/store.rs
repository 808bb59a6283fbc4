//! What is kept of a body: its beginning, and the members that begin behind it.

use std::ops::Range;

use super::Limits;
use crate::budget::Lease;

/// Kept of all members behind the head together.
pub(super) const TAIL_MAX: usize = 256 * 1024;
/// Of the tail, this much is kept also where the budget is used up: model and usage fit into it.
const TAIL_ALLOWANCE: usize = 8 * 1024;

/// Where bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// In the beginning of the body, at its own offset.
    Head,
    /// Behind it, one after another.
    Tail,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Store {
    limits: Limits,
    lease: Lease,
    head: Vec<u8>,
    tail: Vec<u8>,
    seen: usize,
    memory_short: bool,
}

impl Store {
    pub(super) fn new(limits: Limits, lease: Lease) -> Self {
        Self { limits, lease, head: Vec::new(), tail: Vec::new(), seen: 0, memory_short: false }
    }

    /// Notes that the next bytes of the body have come, and keeps those that belong to the head; returns their offset.
    pub(super) fn push(&mut self, chunk: &[u8]) -> usize {
        let base = self.seen;
        self.seen = self.seen.saturating_add(chunk.len());
        if base == self.head.len() {
            self.keep_head(chunk);
        }
        base
    }

    fn keep_head(&mut self, chunk: &[u8]) {
        let base = self.head.len();
        let wanted = chunk.len().min(self.limits.head.saturating_sub(base));
        if self.head.capacity() < base + wanted && !self.grow_head(base + wanted) {
            self.memory_short = true;
            return;
        }
        self.head.extend_from_slice(chunk.get(..wanted).unwrap_or_default());
    }

    fn grow_head(&mut self, wanted: usize) -> bool {
        let target = wanted.max(self.head.capacity() * 2).min(self.limits.head.max(wanted));
        if !self.lease.grow(target - self.head.capacity()) {
            return false;
        }
        self.head.reserve_exact(target - self.head.len());
        true
    }

    /// Appends to the tail what fits into `room`; returns how many bytes were kept.
    pub(super) fn keep_in_tail(&mut self, bytes: &[u8], room: usize) -> usize {
        let room = room.min(TAIL_MAX.saturating_sub(self.tail.len()));
        let kept = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        let allowed = self.tail.len() + kept.len() <= TAIL_ALLOWANCE;
        if allowed {
            self.lease.take(kept.len());
        } else if !self.lease.grow(kept.len()) {
            self.memory_short = true;
            return 0;
        }
        self.tail.extend_from_slice(kept);
        kept.len()
    }

    /// Copies bytes of the head to the tail, at most `cap`; returns where they stand there.
    pub(super) fn move_to_tail(&mut self, range: &Range<usize>, cap: usize) -> Range<usize> {
        let kept = range.start..range.end.min(self.head.len()).min(range.start.saturating_add(cap));
        let start = self.tail.len();
        self.lease.take(kept.len());
        self.tail.extend_from_slice(self.head.get(kept).unwrap_or_default());
        start..self.tail.len()
    }

    /// Bytes of the body so far.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn bytes(&self, place: Place) -> &[u8] {
        match place {
            Place::Head => &self.head,
            Place::Tail => &self.tail,
        }
    }

    /// The head is the whole body so far.
    pub(super) fn is_whole(&self) -> bool {
        self.head.len() == self.seen
    }

    /// Where the head ends or, while all bytes so far are in it, may end at the most.
    pub(super) fn head_end(&self) -> usize {
        if self.is_whole() { self.limits.head } else { self.head.len() }
    }

    /// Something was not kept because the VM's budget was used up.
    pub(super) fn memory_short(&self) -> bool {
        self.memory_short
    }
}
