//! One exchange, run through [`Call`] whole and in pieces, and what must hold of every trace.

use std::cell::Cell;
use std::rc::Rc;

use miniz_oxide::deflate::compress_to_vec_zlib;

use super::frames::frames;
use super::input::pieces;
use crate::call::{Beginning, Call, End, GatewayIds, Piece, Properties, Shared, find_route};
use crate::config::{CaptureLimits, Settings, environment_name};
use crate::context::GATEWAY_PREFIX;
use crate::counters::Counters;
use crate::export::otlp::encode_span;
use crate::headers::Header;
use crate::json::Value;
use crate::provider::{Count, Usage};
use crate::trace::{Facts, Observation, TraceId};

/// A moment in 2026, in nanoseconds.
const NOW: u64 = 1_795_318_664_000_000_000;

/// What may be held beyond a budget: small members of two bodies, and the first step of a buffer.
const ALLOWANCE: usize = 20 * 1024;

/// What beside the path tells the API of a call.
pub(super) struct Way {
    pub host: &'static [u8],
    pub header: Option<&'static str>,
    pub model: &'static str,
}

/// How an exchange ends, and how its bodies are encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// The host says that it ended.
    Said,
    /// The client closed.
    ClientGone,
    /// The announced length was reached.
    ByLength,
    /// Said, and both bodies were compressed.
    Compressed,
    /// The upstream failed.
    UpstreamReset,
}

impl Ending {
    pub(super) const ALL: [Self; 5] =
        [Self::Said, Self::ClientGone, Self::ByLength, Self::Compressed, Self::UpstreamReset];

    fn details(self) -> Option<&'static str> {
        match self {
            Self::Said | Self::Compressed => Some("via_upstream"),
            Self::ClientGone => Some("downstream_remote_disconnect"),
            Self::UpstreamReset => Some("upstream_reset_after_response_started{protocol_error}"),
            Self::ByLength => None,
        }
    }
}

/// See the module's documentation.
pub(super) struct Exchange<'a> {
    settings: Rc<Settings>,
    memory: usize,
    path: String,
    pub request_headers: Vec<Header<'a>>,
    pub request: &'a [u8],
    pub status: Option<u16>,
    pub response_headers: Vec<Header<'a>>,
    pub response: &'a [u8],
    /// The lines of the answer are sent as messages of an event stream.
    pub frames: bool,
    pub ending: Ending,
    /// The trace that the caller was told.
    announced: Cell<Option<TraceId>>,
}

/// The bodies as they are sent.
struct Wire {
    request: Vec<u8>,
    response: Vec<u8>,
    length: String,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(settings: &Settings, path: &str) -> Self {
        Self {
            settings: Rc::new(settings.clone()),
            memory: 64 << 20,
            path: path.to_owned(),
            request_headers: vec![(b":method", b"POST")],
            request: b"",
            status: Some(200),
            response_headers: Vec::new(),
            response: b"",
            frames: false,
            ending: Ending::Said,
            announced: Cell::new(None),
        }
    }

    /// Takes one of four limits: none, small captures, no captures, no memory.
    pub(super) fn limit(&mut self, number: usize) {
        let capture = match number {
            1 => CaptureLimits { input: 60, output: 40, read: 1 << 20 },
            2 => CaptureLimits { input: 0, output: 0, read: 1 << 20 },
            _ => self.settings.capture,
        };
        self.settings = Rc::new(Settings { capture, ..(*self.settings).clone() });
        self.memory = if number == 3 { 3000 } else { self.memory };
    }

    /// Runs it whole and split, and checks what comes out.
    pub(super) fn check(&self, seed: u64) {
        let wire = self.wire();
        let shared = || Shared::new(self.memory, [1, 2]);
        let end = End { now: NOW + 1_250_000_000, details: self.ending.details(), gateway: &[], ..End::default() };
        let (request, response) = (&[&wire.request[..]][..], &[&wire.response[..]][..]);
        let told = |observation: &Observation<'_>, facts: &Facts| {
            self.check_observation(observation, facts);
            (format!("{facts:?}"), encode_span(observation))
        };
        let begin = |request: &[&[u8]], response: &[&[u8]]| self.feed(&wire, &shared(), request, response);
        let whole = begin(request, response).and_then(|call| call.observe(&end, told).ok());
        let (fields, span) = begin(request, response).and_then(|call| call.explain(&end).ok()).unzip();
        assert_eq!(span.as_ref(), whole.as_ref().map(|(_, span)| span), "the same call twice");
        assert!(fields.is_none_or(|fields| is_json(&fields)), "what is explained is JSON");
        for seed in [0, seed] {
            let call = begin(&pieces(&wire.request, seed), &pieces(&wire.response, seed));
            let split = call.and_then(|call| call.observe(&end, told).ok());
            // Memory that is used up is used up by what comes in pieces.
            assert!(self.memory < ALLOWANCE || split == whole, "split by {seed}:\n{split:?}\n{whole:?}");
        }
        let finished = begin(&pieces(&wire.request, seed), response).and_then(|call| call.finish(&end));
        assert_eq!(finished.is_some(), whole.is_some(), "finished as it is observed");
    }

    fn wire(&self) -> Wire {
        let (mut request, mut response) = (self.request.to_vec(), self.response.to_vec());
        if self.frames {
            response = frames(&response).0;
        }
        if self.ending == Ending::Compressed {
            (request, response) = (compress_to_vec_zlib(&request, 1), compress_to_vec_zlib(&response, 1));
        }
        Wire { length: response.len().to_string(), request, response }
    }

    /// The call, with all that passed of it; none where it is not traced.
    fn feed(&self, wire: &Wire, shared: &Shared, request: &[&[u8]], response: &[&[u8]]) -> Option<Call> {
        let counters = Rc::new(Counters::default());
        let route = find_route(self.path.as_bytes(), &self.settings, &counters).ok()?;
        let encoding: Option<Header<'_>> =
            (self.ending == Ending::Compressed).then_some((b"content-encoding", b"deflate"));
        let headers: Vec<Header<'_>> = self.request_headers.iter().copied().chain(encoding).collect();
        let path = self.path.as_bytes();
        let gateway = GatewayIds::default();
        let beginning = Beginning {
            path,
            sent_path: None,
            headers: &headers,
            now: NOW,
            context_id: 7,
            gateway,
            routes: None,
            all_headers: true,
            properties: Properties::default(),
        };
        let mut call = Call::begin(&self.settings, &counters, shared, route, &beginning).ok()?;
        let is_within = || shared.budget.used() <= self.memory + ALLOWANCE;
        for bytes in request {
            call.request_piece(Piece::Bytes(bytes));
            assert!(is_within(), "{} bytes held", shared.budget.used());
        }
        self.announced.set(None);
        let Some(status) = self.status else { return Some(call) };
        let status = status.to_string();
        let mut headers: Vec<Header<'_>> = vec![(b":status", status.as_bytes())];
        headers.extend(self.response_headers.iter().copied().chain(encoding));
        if self.ending == Ending::ByLength {
            headers.push((b"content-length", wire.length.as_bytes()));
        }
        call.response_headers(&headers);
        self.announced.set(call.announcement().and_then(Result::ok));
        for bytes in response {
            call.response_piece(Piece::Bytes(bytes), &|| NOW + 400_000_000);
            assert!(is_within(), "{} bytes held", shared.budget.used());
        }
        if matches!(self.ending, Ending::Said | Ending::Compressed) {
            call.response_ended();
        }
        Some(call)
    }

    /// What must hold of whose a call is said to be.
    fn check_context(&self, observation: &Observation<'_>) {
        assert!(observation.trace_id.0 != [0; 16] && observation.parent.is_none_or(|parent| parent.0 != [0; 8]));
        assert!(self.announced.get().is_none_or(|trace| trace == observation.trace_id), "told another trace");
        let ids = [observation.user, observation.session].into_iter().flatten();
        assert!(ids.chain(observation.tags.iter().copied()).all(|id| is_identity(id, 200)), "{observation:?}");
        let name = observation.trace_name.as_deref().unwrap_or("none");
        assert!(is_identity(name, 1000) || self.path.starts_with(name));
        assert!(observation.tags.len() <= 64 && observation.trace_metadata.len() <= 100, "{observation:?}");
        assert_eq!(environment_name(observation.environment).as_deref(), Some(observation.environment));
        let forged = observation.trace_metadata.iter().any(|(key, _)| key.starts_with(GATEWAY_PREFIX));
        assert!(!forged, "forged: {observation:?}");
        let keys = observation.trace_metadata.iter().chain(&observation.metadata).map(|(key, _)| key);
        let mut keys: Vec<&str> = keys.map(|key| &**key).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair.first() != pair.last()), "a key twice: {keys:?}");
    }

    /// What must hold of every trace.
    fn check_observation(&self, observation: &Observation<'_>, facts: &Facts) {
        let answer = &facts.answer;
        if let Some(usage) = &answer.usage {
            check_usage(usage);
        }
        for object in [&observation.usage_details, &observation.parameters].into_iter().flatten() {
            assert!(is_json(object) && object.starts_with('{'), "{object}");
        }
        let cost = observation.cost_details.as_deref();
        assert!(cost.is_none_or(|cost| is_json(cost) && cost.starts_with('{')), "{cost:?}");
        let output = answer.output.as_deref();
        assert!(output.is_none_or(is_json), "the output is no JSON: {output:?}");
        let was_json = |body: &[u8]| Value::parse(body).is_some_and(Value::is_object);
        let input = observation.input.as_deref();
        assert!(input.is_none_or(|input| is_json(input) || !was_json(self.request)), "no JSON any more: {input:?}");
        let output = observation.output.as_deref();
        assert!(
            output.is_none_or(|output| is_json(output) || !was_json(self.response)),
            "no JSON any more: {output:?}"
        );
        self.check_context(observation);
        let is_short = |text: &Option<String>, max| text.as_ref().is_none_or(|text| text.len() <= max);
        assert!(is_short(&answer.id, 256) && is_short(&answer.model, 256) && is_short(&answer.finish_reason, 256));
    }
}

/// What a caller says stays within Langfuse's limits, and below no name of the gateway's.
fn is_identity(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control)
}

/// The buckets are no fewer tokens than the provider said, and no more.
fn check_usage(usage: &Usage) {
    let sum: u128 = usage.buckets.iter().map(|(_, tokens)| u128::from(tokens)).sum();
    let total = usage.buckets.total();
    assert_eq!(sum.min(u128::from(u64::MAX)), u128::from(total), "{usage:?}");
    let written = usage.buckets.to_json();
    let written = Value::parse(written.as_bytes()).expect("JSON").get("total").number();
    assert_eq!(written, Some(total), "{usage:?}");
    let stated: u128 =
        usage.counts.stated().filter(|(count, _)| *count != Count::Total).map(|(_, n)| u128::from(n)).sum();
    let reported = usage.counts.get(Count::Total).unwrap_or(0);
    assert!(total >= reported && sum <= stated.max(u128::from(reported)), "{usage:?}");
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
