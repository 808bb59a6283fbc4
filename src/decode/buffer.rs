//! A buffer that is bounded twice: by its own limit and by the VM's budget; of a message of JSON that is long, media are
//! replaced while it comes ([`MediaFilter`]), so that what stands behind an image of megabytes is read.

use super::media::MediaFilter;
use crate::budget::Lease;

/// Longest message whose media stay, bytes: most have no more than a text, and are not walked through once more.
const PLAIN_MAX: usize = 64 * 1024;
/// What may stand before the JSON of a message.
const FIELD: &[u8] = b"data:";

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
    /// It holds JSON, whose media are replaced where it is long.
    holds_json: bool,
    filter: Option<Box<MediaFilter>>,
}

impl Buffer {
    pub(super) fn new(max: usize, lease: Lease) -> Self {
        Self { bytes: Vec::new(), lease, max, holds_json: false, filter: None }
    }

    /// A buffer for messages of JSON.
    pub(super) fn of_json(max: usize, lease: Lease) -> Self {
        Self { holds_json: true, ..Self::new(max, lease) }
    }

    /// Longest message that need not pass through the buffer, bytes.
    pub(super) fn direct_max(&self) -> usize {
        if self.holds_json { self.max.min(PLAIN_MAX) } else { self.max }
    }

    /// Appends `more`; false where there is no room for it.
    #[must_use]
    pub(super) fn append(&mut self, more: &[u8]) -> bool {
        if let Some(mut filter) = self.filter.take() {
            let mut kept = true;
            filter.push(more, &mut |bytes| kept = kept && self.keep(bytes));
            self.filter = Some(filter);
            return kept;
        }
        if !self.holds_json || self.bytes.len().saturating_add(more.len()) <= PLAIN_MAX {
            return self.keep(more);
        }
        self.filter = Some(Box::new(MediaFilter::new()));
        let before = std::mem::take(&mut self.bytes);
        self.lease.shrink(self.lease.held());
        let all = [before.as_slice(), more].concat();
        let field = if all.starts_with(FIELD) { FIELD.len() } else { 0 };
        let (field, json) = all.split_at_checked(field).unwrap_or_default();
        self.keep(field) && self.append(json)
    }

    /// The message has come to its end: hands out what the filter holds back; false where there is no room for it.
    #[must_use]
    pub(super) fn end(&mut self) -> bool {
        let mut kept = true;
        if let Some(mut filter) = self.filter.take() {
            filter.finish(&mut |bytes| kept = kept && self.keep(bytes));
        }
        kept
    }

    fn keep(&mut self, more: &[u8]) -> bool {
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
        self.filter = None;
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

    /// What a message is in a buffer of JSON, and whether there was room for it.
    fn read(message: &[u8], piece: usize, max: usize) -> (Vec<u8>, bool) {
        let mut buffer = Buffer::of_json(max, Budget::new(1 << 24).export_lease());
        let kept = message.chunks(piece).all(|piece| buffer.append(piece)) && buffer.end();
        (buffer.bytes().to_vec(), kept)
    }

    #[test]
    fn media_of_a_long_message_are_replaced_however_it_is_split() {
        let image = |len: usize| format!(r#"data: {{"inlineData":{{"data":"{}"}},"end":true}}"#, "A".repeat(len));
        let long = image(3 << 20);
        let (whole, kept) = read(long.as_bytes(), long.len(), 1 << 20);
        assert!(kept && whole.len() < 300, "{}", whole.len());
        assert!(whole.starts_with(b"data: {\"inlineData\":{\"data\":{\"mime\":") && whole.ends_with(b",\"end\":true}"));
        for piece in [1 << 20, 4096, 1021] {
            let (split, kept) = read(long.as_bytes(), piece, 1 << 20);
            let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(r#""bytes":2359296"#);
            assert!(kept && told(&split) && told(&whole), "{piece}");
        }
        let short = image(PLAIN_MAX / 2);
        assert_eq!(read(short.as_bytes(), 100, 1 << 20), (short.clone().into_bytes(), true));
        assert!(!read(format!("data: {{\"x\":\"{}\"}}", "é".repeat(1 << 20)).as_bytes(), 1 << 16, 1 << 20).1);
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
