//! What a trace says of one call: ids, level, metadata, and the observation that is exported.

mod facts;
mod ids;
mod level;
mod observation;

pub use facts::{Ending, Facts, Times};
pub use ids::{IdSource, SpanId, TraceId};
pub use level::{Level, Verdict};
pub use observation::{MetadataValue, Observation};

/// The longest prefix of `text` of at most `max` bytes that ends behind a whole character.
#[must_use]
pub fn truncate(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::truncate;

    #[test]
    fn truncates_at_a_character() {
        assert_eq!((truncate("aé", 2), truncate("aé", 3), truncate("é", 0)), ("a", "aé", ""));
    }
}
