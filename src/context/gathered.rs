//! What a request's headers and the gateway's properties say that may become context, kept until the call is over:
//! only then is the body known, which may have more to say.

use super::jwt;
use super::names::Known;
use super::rules::{PROPERTY_SLOTS, Rules};
use crate::headers::Header;

/// Bytes of all that is kept.
const KEPT_MAX: usize = 32 * 1024;
/// Values that are kept.
const VALUES_MAX: usize = 256;
/// Bytes of Langfuse's own headers together, beyond which none of them counts (as its gateway has it).
const LANGFUSE_MAX: usize = 8 * 1024;

/// A value, and the rest of its header's name where that was known by its beginning.
#[derive(Debug)]
struct Kept {
    slot: usize,
    rest: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Gathered {
    text: Vec<u8>,
    kept: Vec<Kept>,
    /// A bit for each slot that may have a value: most have none, and are asked for.
    present: u64,
    /// Values that were too many or too long.
    pub(super) dropped: u32,
}

/// The slot's bit in [`Gathered::present`]; some share one.
fn bit(slot: usize) -> u64 {
    1 << (slot % 64)
}

impl Gathered {
    /// Walks over the headers, and asks `property` for what the rules need of the gateway.
    #[must_use]
    pub fn new(rules: &Rules, headers: &[Header<'_>], property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) -> Self {
        let mut gathered = Self::default();
        let (mut langfuse, mut tokens) = (0, 0);
        for (name, value) in headers {
            let Some((slot, prefix)) = rules.headers.find(name) else { continue };
            if rules.headers.is_langfuse(slot) {
                langfuse += value.len();
            }
            if rules.headers.token() == Some(slot) {
                tokens += 1;
                jwt::payload(value).iter().for_each(|payload| gathered.keep(slot, b"", payload));
            } else {
                gathered.keep(slot, prefix.and_then(|len| name.get(len..)).unwrap_or_default(), value);
            }
        }
        // Of two, the gateway may have verified the one that cannot be read.
        if tokens > 1 {
            gathered.forget(|slot| rules.headers.token() == Some(slot));
        }
        if langfuse > LANGFUSE_MAX {
            gathered.forget(|slot| rules.headers.is_langfuse(slot));
        }
        for (number, path) in rules.properties.iter().enumerate() {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            if let Some(value) = property(&path) {
                gathered.keep(PROPERTY_SLOTS + number, b"", &value);
            }
        }
        gathered
    }

    fn keep(&mut self, slot: usize, rest: &[u8], value: &[u8]) {
        let start = self.text.len();
        let end = start + rest.len() + value.len();
        if end > KEPT_MAX || self.kept.len() >= VALUES_MAX {
            self.dropped += 1;
            return;
        }
        self.present |= bit(slot);
        self.text.extend_from_slice(rest);
        self.text.extend_from_slice(value);
        self.kept.push(Kept { slot, rest: start..start + rest.len(), value: start + rest.len()..end });
    }

    fn forget(&mut self, is_forgotten: impl Fn(usize) -> bool) {
        let before = self.kept.len();
        self.kept.retain(|kept| !is_forgotten(kept.slot));
        self.dropped += u32::try_from(before - self.kept.len()).unwrap_or(u32::MAX);
    }

    /// The slot may have a value.
    pub(super) fn may_have(&self, slot: usize) -> bool {
        self.present & bit(slot) != 0
    }

    /// Values of a slot in wire order, with the rest of their headers' names.
    pub(super) fn all(&self, slot: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = |range: &std::ops::Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        self.kept.iter().filter(move |kept| kept.slot == slot).map(move |kept| (bytes(&kept.rest), bytes(&kept.value)))
    }

    /// The one value of a slot.
    ///
    /// # Errors
    /// Two contradict each other: either could be the forged one.
    pub(super) fn one(&self, slot: usize) -> Result<Option<&[u8]>, Contradiction> {
        let mut values = self.all(slot).map(|(_, value)| value);
        let first = values.next();
        if values.any(|other| Some(other) != first) { Err(Contradiction) } else { Ok(first) }
    }

    /// The usable text of a header that is read in any case.
    pub(super) fn known(&self, header: Known) -> Option<&str> {
        let value = self.one(header as usize).ok()??;
        std::str::from_utf8(value).ok().map(str::trim).filter(|text| !text.is_empty())
    }
}

/// Two headers of one name say different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contradiction;

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(headers: &[(&str, &str)]) -> Gathered {
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        Gathered::new(&Rules::default(), &headers, &|_| None)
    }

    #[test]
    fn headers_that_contradict_each_other_are_told_from_ones_that_repeat() {
        let of = |second: &str| gathered(&[("b3", "a"), ("x-other", "b"), ("B3", second)]);
        assert_eq!(of("a").one(Known::B3 as usize), Ok(Some(&b"a"[..])));
        assert_eq!(of("b").one(Known::B3 as usize), Err(Contradiction));
        assert_eq!((of("b").known(Known::B3), of("a").known(Known::B3)), (None, Some("a")));
    }

    #[test]
    fn langfuses_headers_count_up_to_8_kib_together() {
        let of = |length: usize| {
            let text = "x".repeat(length);
            let gathered = gathered(&[("baggage", &text), ("traceparent", "y"), ("x-request-id", "z")]);
            (
                gathered.known(Known::Traceparent).is_some(),
                gathered.known(Known::XRequestId).is_some(),
                gathered.dropped,
            )
        };
        assert_eq!(of(LANGFUSE_MAX - 1), (true, true, 0));
        assert_eq!(of(LANGFUSE_MAX), (false, true, 2));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = "x".repeat(KEPT_MAX);
        assert_eq!(gathered(&[("x-request-id", &long)]).dropped, 0);
        assert_eq!(gathered(&[("x-request-id", &long), ("b3", "1")]).dropped, 1);
        let many = vec![("b3", "1"); VALUES_MAX + 3];
        assert_eq!(gathered(&many).dropped, 3);
    }
}
