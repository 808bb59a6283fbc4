//! A buffer that is bounded twice: by its own limit and by the VM's budget.

use crate::budget::Lease;

/// Memory that is kept for the next message; a longer one's is given back.
const KEPT: usize = 64 * 1024;
/// Memory is leased in steps.
const STEP: usize = 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    lease: Lease,
    max: usize,
}

impl Buffer {
    pub(super) fn new(max: usize, lease: Lease) -> Self {
        Self { bytes: Vec::new(), lease, max }
    }

    /// Appends `more`; false (and nothing appended) where there is no room for it.
    #[must_use]
    pub(super) fn append(&mut self, more: &[u8]) -> bool {
        let wanted = self.bytes.len().saturating_add(more.len());
        if wanted > self.max {
            return false;
        }
        if wanted > self.lease.held() {
            let target = wanted.next_multiple_of(STEP).max(self.lease.held().saturating_mul(2).min(self.max));
            if !self.lease.grow(target - self.lease.held()) {
                return false;
            }
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        true
    }

    /// Its own limit, in bytes.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// A lease on the same budget that holds nothing.
    pub(super) fn another_lease(&self) -> Lease {
        self.lease.another()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.lease.held() > KEPT {
            self.bytes = Vec::new();
            self.lease.shrink(self.lease.held());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn it_is_refused_at_its_limit_and_at_the_budgets() {
        let budget = Budget::new(4 * STEP);
        let mut buffer = Buffer::new(10 * STEP, budget.export_lease());
        assert!(buffer.append(&[0; 4 * STEP]) && !buffer.append(&[0]));
        let mut small = Buffer::new(3, Budget::new(STEP).export_lease());
        assert!(small.append(b"abc") && !small.append(b"d"));
        assert_eq!(small.bytes(), b"abc");
    }

    #[test]
    fn what_a_long_message_took_is_given_back() {
        let budget = Budget::new(1 << 20);
        let mut buffer = Buffer::new(1 << 20, budget.export_lease());
        assert!(buffer.append(&[0; KEPT + 1]));
        buffer.clear();
        assert_eq!((budget.used(), buffer.is_empty()), (0, true));
    }
}
