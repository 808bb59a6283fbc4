//! W3C Baggage (<https://www.w3.org/TR/baggage/#header-content>): the keys under which Langfuse's SDKs hand context on.
//!
//! Python's exporter writes a space as `+` (`quote_plus`), so that is what a `+` is here.

use super::value::percent_decoded;

/// Entries that are looked at (the limit of Langfuse's gateway).
const ENTRIES_MAX: usize = 64;
/// The key of the claim of Langfuse's SDKs that a trace is theirs.
const CLAIM: &str = "langfuse_trace_id";

/// Keys and values, decoded; entries that are broken are left out.
#[derive(Debug, Default)]
pub(super) struct Baggage {
    entries: Vec<(String, String)>,
    /// Langfuse's SDKs write it last, so it is found also behind the others.
    claim: Option<String>,
    /// Entries that are broken or too many.
    pub dropped: u32,
}

impl Baggage {
    /// Reads the headers of that name, in wire order.
    pub(super) fn new<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut baggage = Self::default();
        let entries = headers.flat_map(|value| value.split(|byte| *byte == b','));
        for entry in entries.filter(|entry| !entry.trim_ascii().is_empty()) {
            match Self::entry(entry) {
                Some((key, trace)) if key == CLAIM => baggage.claim = Some(trace),
                Some(entry) if baggage.entries.len() < ENTRIES_MAX => baggage.entries.push(entry),
                _ => baggage.dropped += 1,
            }
        }
        baggage
    }

    fn entry(entry: &[u8]) -> Option<(String, String)> {
        let entry = std::str::from_utf8(entry).ok()?;
        let (key, value) = entry.split(';').next()?.split_once('=')?;
        Some((percent_decoded(key.trim(), true)?, percent_decoded(value.trim(), true)?))
    }

    /// The trace that Langfuse's SDK says it has the parent of.
    pub(super) fn claimed_trace(&self) -> Option<&str> {
        self.claim.as_deref()
    }

    /// There is none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key; of several, the last, as the SDKs have it.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Keys without their beginning, and values, the last first.
    pub(super) fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().rev().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_across_headers_and_broken_ones_are_left_out() {
        let headers: [&[u8]; 4] = [b"a=1,b = %C3%A9+x ;p=q,,", b"c=%ZZ,d%20e=%2B,a=2", b"\xFF=1", b"nothing"];
        let baggage = Baggage::new(headers.into_iter());
        let found = |key| baggage.get(key);
        assert_eq!((found("a"), found("b"), found("c"), found("d e")), (Some("2"), Some("\u{e9} x"), None, Some("+")));
        assert_eq!(baggage.dropped, 3);
        assert_eq!(baggage.below("d ").collect::<Vec<_>>(), [("e", "+")]);
    }

    #[test]
    fn entries_are_bounded() {
        let entries: Vec<String> = (0..ENTRIES_MAX + 5).map(|number| format!("k{number}=v")).collect();
        let baggage = Baggage::new([entries.join(",").as_bytes()].into_iter());
        assert_eq!((baggage.entries.len(), baggage.dropped), (ENTRIES_MAX, 5));
        let with_claim = entries.join(",") + ",langfuse_trace_id=t";
        assert_eq!(Baggage::new([with_claim.as_bytes()].into_iter()).claimed_trace(), Some("t"));
    }
}
