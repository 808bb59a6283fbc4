//! Room for output: what the call's limit and the VM's budget still allow.

use crate::budget::Lease;
use crate::json::{Value, close_truncated};

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

    /// The value as it was sent; what there is no room for is cut off, to JSON again. None where nothing of it fits.
    pub(super) fn keep(&mut self, value: Value<'_>) -> Option<String> {
        let mut kept = String::new();
        self.append(&mut kept, value.raw());
        if kept.len() < value.raw().len() {
            kept = String::from_utf8_lossy(&close_truncated(kept.as_bytes())).into_owned();
            // What is left of `15` is another number.
            kept.truncate(if value.is_object() || value.is_array() || value.is_string() { kept.len() } else { 0 });
        }
        Some(kept).filter(|kept| !kept.is_empty())
    }

    /// Gives back the room of `bytes` that were dropped again.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes).min(self.max);
        self.spare = self.spare.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn a_value_is_kept_as_far_as_there_is_room() {
        let budget = Budget::new(1 << 20);
        for (value, max, expected) in [
            (r#"{"a":"text"}"#, 12, Some(r#"{"a":"text"}"#)),
            (r#"{"a":"text"}"#, 8, Some(r#"{"a":"te"}"#)),
            (r#"{"a":"text"}"#, 0, None),
            ("1500", 4, Some("1500")),
            ("1500", 2, None),
            ("null", 3, None),
        ] {
            let mut room = Room::new(max, budget.capture_lease());
            assert_eq!(room.keep(Value::parse(value.as_bytes()).unwrap()).as_deref(), expected, "{max} of {value}");
            assert_eq!(room.cut, max < value.len());
        }
    }
}
