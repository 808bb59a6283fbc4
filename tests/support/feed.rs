//! Feeds a whole exchange to the core in chosen pieces, as a host would, and decodes the span that comes out.

use std::rc::Rc;

use ai_tracing::call::{Beginning, Call, End, GatewayIds, Piece, Properties, Shared, find_route};
use ai_tracing::config::Settings;
use ai_tracing::counters::Counters;
use ai_tracing::export::otlp::{Resource, encode_batch};
use ai_tracing::headers::Header;
use ai_tracing::provider::Skip;
use testkit::cassettes::Cassette;
use testkit::langfuse::{Span, read_batch};

/// A moment in 2026, in nanoseconds.
pub const NOW: u64 = 1_795_318_664_000_000_000;

/// One exchange, its bodies in pieces, and how it ends.
pub struct Exchange<'a> {
    pub path: String,
    pub request_headers: Vec<(&'a str, &'a [u8])>,
    pub request: Vec<&'a [u8]>,
    pub status: Option<u16>,
    pub response_headers: Vec<(&'a str, &'a [u8])>,
    pub response: Vec<&'a [u8]>,
    pub end_of_stream: bool,
    pub details: Option<&'a str>,
}

impl<'a> Exchange<'a> {
    /// The exchange of a cassette, whole.
    pub fn of(cassette: &'a Cassette) -> Self {
        fn pairs(headers: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
        }
        Self {
            path: cassette.target(),
            request_headers: [(":authority", cassette.request.host.as_bytes())]
                .into_iter()
                .chain(pairs(&cassette.request.headers))
                .collect(),
            request: vec![&cassette.request.body],
            status: Some(cassette.response.status),
            response_headers: pairs(&cassette.response.headers),
            response: vec![&cassette.response.body],
            end_of_stream: true,
            details: None,
        }
    }

    /// The call at its end, and what the host says of that.
    fn call(&self, settings: &str) -> (Call, End<'_>) {
        self.begin(settings).expect("an LLM call")
    }

    /// Why the call is not traced, if it is not.
    pub fn skip(&self, settings: &str) -> Option<Skip> {
        self.begin(settings).and_then(|(call, end)| call.explain(&end)).err()
    }

    fn begin(&self, settings: &str) -> Result<(Call, End<'_>), Skip> {
        let settings = Rc::new(Settings::load(settings.as_bytes(), &|_| None).expect("a valid configuration"));
        let counters = Rc::new(Counters::default());
        let route = find_route(self.path.as_bytes(), &settings, &counters)?;
        let mut headers: Vec<Header<'_>> = vec![(b":method", b"POST")];
        headers.extend(self.request_headers.iter().map(|(k, v)| (k.as_bytes(), *v)));
        let (path, gateway) = (self.path.as_bytes(), GatewayIds::default());
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
        let mut call =
            Call::begin(&settings, &counters, &Shared::new(settings.memory_budget, [1, 2]), route, &beginning)?;
        self.request.iter().for_each(|bytes| call.request_piece(Piece::Bytes(bytes)));
        if let Some(status) = self.status {
            let status = status.to_string();
            let mut headers: Vec<Header<'_>> = vec![(b":status", status.as_bytes())];
            headers.extend(self.response_headers.iter().map(|(k, v)| (k.as_bytes(), *v)));
            call.response_headers(&headers);
            for bytes in &self.response {
                call.response_piece(Piece::Bytes(bytes), &|| NOW + 400_000_000);
            }
        }
        if self.end_of_stream {
            call.response_ended();
        }
        Ok((call, End { now: NOW + 1_250_000_000, details: self.details, gateway: &[], ..End::default() }))
    }

    /// The encoded span, without its random ids.
    pub fn span_bytes(&self, settings: &str) -> Vec<u8> {
        let (call, end) = self.call(settings);
        let mut span = call.finish(&end).expect("a traced call").span;
        // Fields 1 and 2 are the ids: tag, length, 16 bytes; tag, length, 8 bytes.
        span[2..18].fill(1);
        span[20..28].fill(1);
        span
    }

    /// What was read, field by field.
    pub fn explain(&self, settings: &str) -> serde_json::Value {
        let (call, end) = self.call(settings);
        let (fields, _) = call.explain(&end).expect("a traced call");
        serde_json::from_str(&fields).expect("JSON")
    }

    /// The span as Langfuse reads it, with no rule broken.
    pub fn span(&self, settings: &str) -> Span {
        let resource = Resource { service_name: "test" };
        let batch = encode_batch(resource, &[self.span_bytes(settings)]);
        let (mut spans, violations) = read_batch(&batch).expect("valid protobuf");
        assert!(violations.is_empty(), "{violations:#?}");
        assert_eq!(spans.len(), 1);
        spans.remove(0)
    }
}
