//! What the stand-in has received.

use super::Generation;
use super::behaviour::Behaviour;
use super::ingestion::Legacy;
use super::otlp::{Batch, Sender};
use super::server::Request;
use super::span::Span;
use super::{rules, span};
use crate::http1::Headers;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Instant;

/// One request that reached the stand-in.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Path and query.
    pub path: String,
    /// The status it was answered with; `None` when it was left without an answer.
    pub status: Option<u16>,
    /// How many spans of it were accepted.
    pub spans: usize,
    /// The body's length on the wire.
    pub bytes: usize,
    /// The request's headers.
    pub headers: Headers,
    /// When it had arrived whole.
    pub at: Instant,
}

impl RequestRecord {
    pub(super) fn new(request: &Request, status: Option<u16>, spans: usize) -> Self {
        let (path, headers) = (request.head.target.clone(), request.head.headers.clone());
        Self { path, status, spans, bytes: request.body.len(), headers, at: Instant::now() }
    }
}

/// Trace id and span id in hex.
type SpanKey = (String, String);

/// What came first under a key.
#[derive(Debug, Default)]
struct Delivered {
    /// As OTLP; empty where it came by ingestion.
    bytes: Vec<u8>,
    start: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) spans: Vec<Span>,
    pub(super) violations: Vec<String>,
    pub(super) duplicates: usize,
    pub(super) requests: Vec<RequestRecord>,
    pub(super) self_checks: usize,
    pub(super) ingested: Vec<Value>,
    pub(super) legacy: Legacy,
    pub(super) generation: Generation,
    pub(super) forbidden: Vec<String>,
    seen: HashMap<SpanKey, Delivered>,
    behaviour: Behaviour,
    behaviour_left: Option<usize>,
}

impl State {
    pub(super) fn forbid(&mut self, secret: &str) {
        assert!(!secret.is_empty(), "an empty secret is in every span");
        self.forbidden.push(secret.to_owned());
    }

    pub(super) fn behave(&mut self, behaviour: Behaviour, count: Option<usize>) {
        self.behaviour = behaviour;
        self.behaviour_left = count;
    }

    pub(super) fn drops_this_connection(&mut self) -> bool {
        self.behaviour == Behaviour::DropAtAccept && self.next_behaviour() == Behaviour::DropAtAccept
    }

    /// The behaviour for one request, counting it.
    pub(super) fn next_behaviour(&mut self) -> Behaviour {
        match &mut self.behaviour_left {
            None => self.behaviour.clone(),
            Some(0) => {
                self.behave(Behaviour::Normal, None);
                Behaviour::Normal
            }
            Some(left) => {
                *left -= 1;
                self.behaviour.clone()
            }
        }
    }

    pub(super) fn store(&mut self, batch: Batch) {
        self.self_checks += usize::from(batch.span_count() == 0);
        self.violations.extend(batch.violations);
        for resource in &batch.resource_spans {
            for scope in &resource.scope_spans {
                for span in &scope.spans {
                    self.store_span(batch.sender, resource, scope, span);
                }
            }
        }
    }

    fn store_span(
        &mut self,
        sender: Sender,
        resource: &otlp::ResourceSpans,
        scope: &otlp::ScopeSpans,
        span: &otlp::Span,
    ) {
        let key = (span::hex(&span.trace_id), span::hex(&span.span_id));
        let bytes = span.encode_to_vec();
        match self.seen.entry(key) {
            Entry::Occupied(earlier) if earlier.get().bytes == bytes => {
                self.duplicates += 1;
                return;
            }
            Entry::Occupied(earlier) => {
                let same_start = earlier.get().start == span.start_time_unix_nano;
                let what = match earlier.get().bytes.is_empty() {
                    true => "by OTLP after ingestion",
                    false if same_start => "with other content",
                    false => "with another start time",
                };
                self.violations.push(format!("span {:?}: the same span id came again {what}", span.name));
            }
            Entry::Vacant(new) => drop(new.insert(Delivered { bytes, start: span.start_time_unix_nano })),
        }
        let span = span::from_otlp(resource, scope, span);
        self.violations.extend(rules::violations(&span, sender, &self.forbidden));
        self.spans.push(span);
    }

    /// Notes an observation that came by ingestion; false where the span is known already.
    pub(super) fn delivered_by_ingestion(&mut self, span: &Span) -> bool {
        let delivered = Delivered { start: span.start, ..Delivered::default() };
        self.seen.insert((span.trace_id.clone(), span.span_id.clone()), delivered).is_none()
    }

    pub(super) fn clear(&mut self) {
        let kept = Self {
            forbidden: std::mem::take(&mut self.forbidden),
            behaviour: self.behaviour.clone(),
            behaviour_left: self.behaviour_left,
            generation: self.generation,
            ..Self::default()
        };
        *self = kept;
    }
}
