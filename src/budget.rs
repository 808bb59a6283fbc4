//! One byte budget for everything a VM holds: captures in flight and queued spans of all root contexts.
//!
//! Several filters share one VM on both hosts (docs/design.md, "Memory"), and a Wasm memory never shrinks, so each
//! growing buffer asks here first. Who is refused keeps what it has and records why the rest is missing. A
//! quarter is kept for the export, so that calls in flight never starve the traces of calls that are over.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that may be held at once in this VM, and how many are.
#[derive(Debug)]
pub struct Budget {
    limit: Cell<usize>,
    captures: Cell<usize>,
    export: Cell<usize>,
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Capture,
    Export,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self { limit: Cell::new(limit), captures: Cell::new(0), export: Cell::new(0) })
    }

    /// Bytes held at present.
    #[must_use]
    pub fn used(&self) -> usize {
        self.captures.get().saturating_add(self.export.get())
    }

    /// Sets the limit: roots that share a VM each configure it, the last one counts.
    pub fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    /// A lease for spans that wait for export; it holds nothing yet.
    #[must_use]
    pub fn export_lease(self: &Rc<Self>) -> Lease {
        Lease { budget: Rc::clone(self), held: 0, purpose: Purpose::Export }
    }

    /// A lease for the capture of a call in flight; it holds nothing yet.
    #[must_use]
    pub fn capture_lease(self: &Rc<Self>) -> Lease {
        Lease { budget: Rc::clone(self), held: 0, purpose: Purpose::Capture }
    }

    fn has_room(&self, purpose: Purpose, bytes: usize) -> bool {
        let limit = self.limit.get();
        let reserve = limit / 4;
        let fits = |used: usize, limit: usize| used.saturating_add(bytes) <= limit;
        match purpose {
            Purpose::Capture => fits(self.captures.get(), limit - reserve) && fits(self.used(), limit),
            Purpose::Export => fits(self.export.get(), reserve) || fits(self.used(), limit),
        }
    }

    fn held_for(&self, purpose: Purpose) -> &Cell<usize> {
        match purpose {
            Purpose::Capture => &self.captures,
            Purpose::Export => &self.export,
        }
    }
}

/// What one owner holds of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Rc<Budget>,
    held: usize,
    purpose: Purpose,
}

impl Lease {
    /// Takes `bytes` more; false (and nothing taken) where that would exceed the budget.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.budget.has_room(self.purpose, bytes);
        if granted {
            self.take(bytes);
        }
        granted
    }

    /// Takes `bytes` more without asking: for what is small, bounded, and worth more than its memory.
    pub fn take(&mut self, bytes: usize) {
        let held = self.budget.held_for(self.purpose);
        held.set(held.get().saturating_add(bytes));
        self.held = self.held.saturating_add(bytes);
    }

    /// Another lease on the same budget, for the same purpose.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { budget: Rc::clone(&self.budget), held: 0, purpose: self.purpose }
    }

    /// Gives `bytes` back (at most what is held).
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        let held = self.budget.held_for(self.purpose);
        held.set(held.get().saturating_sub(bytes));
    }

    /// Bytes held by this lease.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_refused_at_the_limit_and_given_back_on_drop() {
        let budget = Budget::new(10);
        let mut first = budget.export_lease();
        assert!(first.grow(10));
        let mut second = budget.export_lease();
        assert!(!second.grow(1), "one byte over the limit");
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(second.grow(10));
        second.shrink(4);
        assert_eq!((second.held(), budget.used()), (6, 6));
    }

    #[test]
    fn captures_leave_a_quarter_to_the_export() {
        let budget = Budget::new(100);
        let mut capture = budget.capture_lease();
        assert!(capture.grow(75) && !capture.grow(1));
        capture.take(50);
        let mut export = budget.export_lease();
        assert!(export.grow(25) && !export.grow(1), "its quarter is its own whatever the captures took");
        drop((capture, export));
        let mut export = budget.export_lease();
        assert!(export.grow(100), "and it may have all where there are no captures");
        assert!(!budget.capture_lease().grow(1));
    }

    #[test]
    fn a_lowered_limit_refuses_growth_but_takes_nothing_away() {
        let budget = Budget::new(10);
        let mut lease = budget.export_lease();
        assert!(lease.grow(8));
        budget.set_limit(4);
        assert!(!lease.grow(1));
        assert_eq!(budget.used(), 8);
    }
}
