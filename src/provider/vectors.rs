//! What a trace tells of vectors: how many, and of how many dimensions, never the vectors.
//!
//! Numbers may be packed: 8 dimensions in a byte where each is one bit (Cohere, Voyage, Jina, Mistral), and any of them as
//! base64. Where the answer does not tell which (it is OpenAI's shape), the request did.
//! Spec: <https://docs.cohere.com/reference/embed>, <https://docs.voyageai.com/docs/flexible-dimensions-and-quantization>,
//! <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>.

use std::borrow::Cow;

use super::collect::Collector;
use crate::json::{Document, ObjectWriter, Value};

/// What a dimension is written as.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A float of 4 bytes, or a number.
    #[default]
    Float,
    /// A float of 2 bytes.
    Half,
    /// A byte.
    Byte,
    /// A bit, of which 8 are in a byte.
    Bit,
}

/// Members of requests that ask for a type of elements: Voyage's and Mistral's, Jina's, vLLM's.
const ASKING: [&str; 3] = ["output_dtype", "embedding_type", "embed_dtype"];

impl Element {
    /// The element of that name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "int8" | "uint8" | "fp8_e4m3" | "fp8_e5m2" => Self::Byte,
            "binary" | "ubinary" => Self::Bit,
            "float16" | "bfloat16" => Self::Half,
            _ => Self::Float,
        }
    }

    /// The element that a request asks for.
    #[must_use]
    pub fn asked(request: &Document) -> Self {
        let asked = ASKING.iter().find_map(|name| request.value(name).non_empty().map(|word| Self::named(&word)));
        asked.unwrap_or_default()
    }

    fn bits(self) -> usize {
        match self {
            Self::Float => 32,
            Self::Half => 16,
            Self::Byte => 8,
            Self::Bit => 1,
        }
    }

    /// Dimensions of a vector: an array of numbers, or base64.
    fn dimensions(self, vector: Value<'_>) -> usize {
        match vector.text() {
            Some(base64) => {
                let characters = base64.bytes().filter(|byte| *byte != b'=').count();
                (characters * 3 / 4) * 8 / self.bits()
            }
            None => vector.items().count() * if self == Self::Bit { 8 } else { 1 },
        }
    }
}

impl Collector {
    /// There are so many vectors, of which the first is this: an array of numbers, base64, or (Mixedbread) either by the name
    /// of its element.
    pub fn vectors(&mut self, count: u64, first: Value<'_>) {
        match by_name(first) {
            Some((name, vector)) => self.vectors_of(Element::named(&name), count, vector),
            None => self.vectors_of(self.element, count, first),
        }
    }

    /// The same, where the answer tells the element.
    pub fn vectors_of(&mut self, element: Element, count: u64, first: Value<'_>) {
        let mut summary = ObjectWriter::default();
        summary.number("count", count);
        let dimensions = element.dimensions(first);
        if dimensions > 0 {
            summary.number("dimensions", u64::try_from(dimensions).unwrap_or(u64::MAX));
        }
        self.summary(summary.finish());
    }
}

/// Of what stands by the names of elements, the first; none where `value` is no such object. (Whichever is taken, the count
/// is the same.)
pub(super) fn by_name(value: Value<'_>) -> Option<(Cow<'_, str>, Value<'_>)> {
    value.members().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::json::Limits;

    #[test]
    fn dimensions_are_counted_by_what_they_are_written_as() {
        for (element, vector, dimensions) in [
            ("float", "[0.1,0.2,0.3]", 3),
            ("int8", "[1,-2,3]", 3),
            ("ubinary", "[255,1]", 16),
            // 8 bytes.
            ("float32", "\"AAAAAAAAAAA=\"", 2),
            ("bfloat16", "\"AAAAAAAAAAA=\"", 4),
            ("int8", "\"AAAAAAAAAAA=\"", 8),
            ("binary", "\"AAAAAAAAAAA=\"", 64),
            ("int8", "null", 0),
        ] {
            let vector = Value::parse(vector.as_bytes()).unwrap();
            assert_eq!(Element::named(element).dimensions(vector), dimensions, "{element}");
        }
    }

    #[test]
    fn the_request_tells_the_element() {
        for (body, element) in [
            (r#"{"output_dtype":"int8"}"#, Element::Byte),
            (r#"{"embedding_type":"ubinary"}"#, Element::Bit),
            (r#"{"embed_dtype":"float16"}"#, Element::Half),
            (r#"{"encoding_format":"base64","output_dtype":7}"#, Element::Float),
        ] {
            let mut request = Document::new(Limits { head: 1024, member: 1024 }, Budget::new(1 << 20).capture_lease());
            request.push(body.as_bytes());
            assert_eq!(Element::asked(&request), element, "{body}");
        }
    }
}
