//! The fast way for the common piece of a stream: like the one before, but for the text in it.
//!
//! Events of one stream mostly differ in one string alone. Once such an event was read and its one effect was that a text
//! was appended, what stands before and behind that text is kept; a later event that begins and ends the same, with one
//! JSON string between, has exactly the same structure, so its text is known without reading the rest again.

use std::borrow::Cow;

use super::choice::Slot;
use crate::json::Value;

/// Longest event that is kept as a template; real ones have some 300 bytes.
const TEMPLATE_MAX: usize = 1024;

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The choice's place in the collector.
    pub choice: usize,
    pub slot: Slot,
}

/// What stands around the text of an event.
#[derive(Debug, Default)]
pub(super) struct Template {
    event: Vec<u8>,
    /// Up to and with the quote before the text; empty = no template.
    before: Vec<u8>,
    /// From the quote behind the text.
    behind: Vec<u8>,
    target: Option<Target>,
}

impl Template {
    /// Takes the event as the template: all that it did was to append `text`, a string in `data`, to `target`.
    pub(super) fn learn(&mut self, event: &[u8], data: &[u8], text: &str, target: Target) {
        // The text is a part of `data`: where it stands there is the distance of the two.
        let Some(at) = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize) else { return };
        let end = at.saturating_add(text.len());
        if data.len() > TEMPLATE_MAX || text.len() < 2 || data.get(at..end) != Some(text.as_bytes()) {
            return;
        }
        self.target = Some(target);
        for (part, bytes) in [
            (&mut self.event, event),
            (&mut self.before, data.get(..=at).unwrap_or_default()),
            (&mut self.behind, data.get(end - 1..).unwrap_or_default()),
        ] {
            part.clear();
            part.extend_from_slice(bytes);
        }
    }

    /// The text of an event, where it is of this template, and where it goes.
    pub(super) fn text<'a>(&self, event: &[u8], data: &'a [u8]) -> Option<(Target, Cow<'a, str>)> {
        if self.before.is_empty() || event != self.event {
            return None;
        }
        let text = data.strip_prefix(self.before.as_slice())?.strip_suffix(self.behind.as_slice())?;
        if text.iter().all(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
            return Some((self.target?, Cow::Borrowed(std::str::from_utf8(text).ok()?)));
        }
        // With escapes: the string is checked, quotes included, which also proves that it is one string.
        let quoted = data.get(self.before.len() - 1..data.len() - self.behind.len() + 1)?;
        Some((self.target?, Value::parse(quoted)?.text()?))
    }

    /// What the template was learnt from no longer holds: its target has changed.
    pub(super) fn forget(&mut self) {
        self.before.clear();
    }
}
