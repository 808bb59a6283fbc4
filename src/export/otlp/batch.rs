//! Encoded spans as one `ExportTraceServiceRequest`.
//!
//! Protobuf repeats fields, so a batch is its spans one after another behind a short head; the same spans give the same
//! bytes on every try, which is what lets Langfuse fold a repeated delivery into one row.

use super::protobuf::{begin, bytes, field_len, varint_len};

/// What sent the spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// `service.name`: the gateway. (The environment is each span's own: a batch may hold spans of several.)
    pub service_name: &'a str,
}

const SCOPE_NAME: &str = env!("CARGO_PKG_NAME");
const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Encodes a batch; no spans at all encode to nothing (which Langfuse answers without storing anything).
#[must_use]
pub fn encode_batch(resource: Resource<'_>, spans: &[Vec<u8>]) -> Vec<u8> {
    if spans.is_empty() {
        return Vec::new();
    }
    let mut head = Vec::new();
    let (key, value) = ("service.name", resource.service_name);
    begin(&mut head, 1, field_len(key.len()) + field_len(field_len(value.len())));
    bytes(&mut head, 1, key.as_bytes());
    begin(&mut head, 2, field_len(value.len()));
    bytes(&mut head, 1, value.as_bytes());
    let scope = field_len(SCOPE_NAME.len()) + field_len(SCOPE_VERSION.len());
    let scope_spans = field_len(scope) + spans.iter().map(|span| field_len(span.len())).sum::<usize>();
    let resource_spans = field_len(head.len()) + field_len(scope_spans);

    let mut out = Vec::with_capacity(1 + varint_len(resource_spans) + resource_spans);
    begin(&mut out, 1, resource_spans);
    bytes(&mut out, 1, &head);
    begin(&mut out, 2, scope_spans);
    begin(&mut out, 1, scope);
    bytes(&mut out, 1, SCOPE_NAME.as_bytes());
    bytes(&mut out, 2, SCOPE_VERSION.as_bytes());
    spans.iter().for_each(|span| bytes(&mut out, 2, span));
    out
}
