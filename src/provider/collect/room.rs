//! Room for output: what the call's limit and the VM's budget still allow.

use crate::budget::Lease;

/// Bytes that are taken from the budget at once.
const LEASE_STEP: usize = 4096;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    left: usize,
    /// Taken from the budget and not used yet.
    spare: usize,
    lease: Lease,
    /// Output was lost.
    pub cut: bool,
    /// Output was lost because the VM's budget was used up.
    pub memory_short: bool,
}

impl Room {
    pub(super) fn new(max: usize, lease: Lease) -> Self {
        Self { max, left: max, spare: 0, lease, cut: false, memory_short: false }
    }

    /// Nothing is to be kept at all.
    pub(super) fn is_closed(&self) -> bool {
        self.max == 0
    }

    /// Appends what there is room for.
    pub(super) fn append(&mut self, to: &mut String, text: &str) {
        let mut fitting = crate::trace::truncate(text, self.left);
        if fitting.len() > self.spare {
            let step = fitting.len().max(LEASE_STEP);
            if self.lease.grow(step) {
                self.spare += step;
            } else {
                self.memory_short = true;
                fitting = crate::trace::truncate(fitting, self.spare);
            }
        }
        self.cut |= fitting.len() < text.len();
        self.left -= fitting.len();
        self.spare -= fitting.len();
        to.push_str(fitting);
    }

    /// Gives back the room of `bytes` that were dropped again.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes).min(self.max);
        self.spare = self.spare.saturating_add(bytes);
    }
}
