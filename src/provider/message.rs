//! One message of an answer: its whole JSON body, or one event, line, frame or element of a stream.

use crate::json::{Document, Fields};

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Name of the event, where the framing has one (`event:` of server-sent events, `:event-type` of AWS).
    pub event: &'a [u8],
    /// What it says.
    pub body: &'a Fields<'a>,
    /// It is the whole answer, no piece of a stream.
    pub whole: bool,
    /// The body that it was read from, of which not all may have been kept.
    pub document: Option<&'a Document>,
}

impl Message<'_> {
    /// How many elements the member `key` of the body has, also where not all of them were kept.
    #[must_use]
    pub fn children(&self, key: &str) -> u64 {
        let seen = self.document.and_then(|document| document.get(key)).map(|member| u64::from(member.children));
        seen.unwrap_or_else(|| u64::try_from(self.body.get(key).items().count()).unwrap_or(u64::MAX))
    }
}
