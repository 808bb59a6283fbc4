//! A strict stand-in for Langfuse: the endpoints that an exporter uses, on a local port.
//!
//! It refuses what Langfuse refuses (`otlp`, `ingestion`), and notes as a *violation* what Langfuse accepts and then
//! silently gets wrong (`rules`). OTLP/HTTP: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>; what Langfuse
//! makes of it: <https://langfuse.com/integrations/native/opentelemetry>.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

mod auth;
mod behaviour;
mod ingestion;
mod otlp;
mod rules;
mod server;
mod span;
mod state;

pub use behaviour::{AnswerFormat, Behaviour, ResetAt};
use otlp::Sender;
pub use span::Span;
pub use state::RequestRecord;

use crate::server::Server;
use crate::waiting::Watched;
use state::State;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Decodes a protobuf batch without a server: its spans, and the rules that they break.
pub fn read_batch(body: &[u8]) -> Result<(Vec<Span>, Vec<String>), String> {
    let message = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let scopes = message.resource_spans.iter().flat_map(|r| r.scope_spans.iter().map(move |scope| (r, scope)));
    let spans: Vec<Span> = scopes
        .flat_map(|(resource, scope)| scope.spans.iter().map(move |one| span::from_otlp(resource, scope, one)))
        .collect();
    let violations = spans.iter().flat_map(|span| rules::violations(span, Sender::Exporter, &[])).collect();
    Ok((spans, violations))
}

/// Decodes a legacy batch without a server: its observations as spans, and the rules that they break. A body that is no
/// batch, an event that this Langfuse refuses, and an observation whose trace is missing are errors.
pub fn read_ingestion(body: &[u8], generation: Generation) -> Result<(Vec<Span>, Vec<String>), String> {
    ingestion::read(body, generation)
}

/// How to start a [`StandIn`].
#[derive(Clone, Debug)]
pub struct StandInOptions {
    /// Must match; Langfuse itself only looks at the secret key.
    pub public_key: String,
    /// Must match. Registered as a secret that no span may contain.
    pub secret_key: String,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Which Langfuse to be.
    pub generation: Generation,
    /// Whether applications with an SDK of Langfuse export here too: their requests are then told by what SDKs alone
    /// send, and not held to the rules that are about the filter alone.
    pub with_applications: bool,
}

/// Which endpoints take traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generation {
    /// Langfuse v4: OTLP; the ingestion endpoint refuses traces event by event.
    #[default]
    V4,
    /// Langfuse v4 that writes in both ways (`LANGFUSE_MIGRATION_V4_WRITE_MODE` `dual` or `legacy`): both endpoints.
    V4Dual,
    /// Langfuse v3 from August 2025: both endpoints.
    V3,
    /// Langfuse v3 before 3.22: the OTLP path is 404, the ingestion endpoint takes traces; it does not know embeddings.
    BeforeOtlp,
    /// Langfuse v2: as before OTLP, and of token counts it only reads `usage`.
    V2,
}

impl Generation {
    fn has_otlp(self) -> bool {
        matches!(self, Self::V4 | Self::V4Dual | Self::V3)
    }

    fn takes_legacy_traces(self) -> bool {
        self != Self::V4
    }

    /// `embedding-create`, `tool-create`, …
    fn knows_new_types(self) -> bool {
        self.has_otlp()
    }
}

impl Default for StandInOptions {
    fn default() -> Self {
        Self {
            public_key: "pk-lf-testkit".into(),
            secret_key: "sk-lf-testkit-secret".into(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            generation: Generation::V4,
            with_applications: false,
        }
    }
}

/// A running stand-in; stops when dropped.
#[derive(Debug)]
pub struct StandIn {
    server: Server,
    state: Arc<Watched<State>>,
}

impl StandIn {
    /// Starts it.
    pub async fn start(options: StandInOptions) -> Self {
        let bind = options.bind;
        let state = Arc::new(Watched::<State>::default());
        state.change(|state| {
            state.forbid(&options.secret_key);
            state.generation = options.generation;
        });
        let (shared, options) = (Arc::clone(&state), Arc::new(options));
        let server = Server::start("langfuse", bind, move |stream| {
            server::serve(stream, Arc::clone(&shared), Arc::clone(&options))
        });
        Self { server, state }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://127.0.0.1:PORT`, what users give as `langfuse_endpoint`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// How it behaves from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.state.change(|state| state.behave(behaviour, None));
    }

    /// How it behaves for the next `count` requests (or connections, for [`Behaviour::DropAtAccept`]); normal then.
    pub fn set_behaviour_for(&self, behaviour: Behaviour, count: usize) {
        self.state.change(|state| state.behave(behaviour, Some(count)));
    }

    /// Which Langfuse it is from now on: an upgrade, a downgrade.
    pub fn set_generation(&self, generation: Generation) {
        self.state.change(|state| state.generation = generation);
    }

    /// No span may contain this text from now on: a violation names the place, not the text.
    pub fn forbid(&self, secret: &str) {
        self.state.change(|state| state.forbid(secret));
    }

    /// The spans stored, in order of arrival, exact repetitions left out. A legacy observation is one of them once its
    /// trace is known, or where it has a parent.
    pub fn spans(&self) -> Vec<Span> {
        self.state.read().spans.clone()
    }

    /// Waits for at least `count` spans; panics with all that is known when the time is over.
    pub async fn wait_for_spans(&self, count: usize, timeout: Duration) -> Vec<Span> {
        let found =
            self.state.wait_for(timeout, |state| (state.spans.len() >= count).then(|| state.spans.clone())).await;
        found.unwrap_or_else(|| panic!("wanted {count} spans within {timeout:?}; {}", self.summary()))
    }

    /// Waits for `count` spans and gives what is there when they are, or when the time is over.
    pub async fn spans_within(&self, count: usize, timeout: Duration) -> Vec<Span> {
        let _ = self.state.wait_for(timeout, |state| (state.spans.len() >= count).then_some(())).await;
        self.spans()
    }

    /// Waits until the spans stored are as wanted; panics with all that is known when the time is over.
    pub async fn wait_until(&self, predicate: impl Fn(&[Span]) -> bool, timeout: Duration) -> Vec<Span> {
        let found = self.state.wait_for(timeout, |state| predicate(&state.spans).then(|| state.spans.clone())).await;
        found.unwrap_or_else(|| panic!("not as wanted within {timeout:?}; {}", self.summary()))
    }

    /// Waits for at least `count` requests, answered or not; panics when the time is over.
    pub async fn wait_for_requests(&self, count: usize, timeout: Duration) -> Vec<RequestRecord> {
        let enough = |state: &State| (state.requests.len() >= count).then(|| state.requests.clone());
        let found = self.state.wait_for(timeout, enough).await;
        found.unwrap_or_else(|| panic!("wanted {count} requests within {timeout:?}; {}", self.summary()))
    }

    /// What Langfuse would have accepted and got wrong, each with the span's name.
    pub fn violations(&self) -> Vec<String> {
        self.state.read().violations.clone()
    }

    /// Panics when there are violations.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        assert!(self.violations().is_empty(), "{}", self.summary());
    }

    /// How many spans came again, byte for byte the same.
    pub fn duplicates(&self) -> usize {
        self.state.read().duplicates
    }

    /// All requests, in order of arrival, self checks included.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.state.read().requests.clone()
    }

    /// How many well-formed OTLP requests carried no span: the filter's self check.
    pub fn self_checks(&self) -> usize {
        self.state.read().self_checks
    }

    /// The events that the ingestion endpoint accepted, repetitions included.
    pub fn ingested(&self) -> Vec<serde_json::Value> {
        self.state.read().ingested.clone()
    }

    /// Forgets all it has received; behaviour, generation and forbidden texts stay.
    pub fn clear(&self) {
        self.state.change(State::clear);
    }

    fn summary(&self) -> String {
        let state = self.state.read();
        let names: Vec<_> = state.spans.iter().map(|span| (&span.name, span.text("langfuse.trace.name"))).collect();
        let requests: Vec<_> = state.requests.iter().map(|request| (request.status, request.spans)).collect();
        format!(
            "{} spans: {names:?}; {} observations without a trace; violations: {:#?}; duplicates: {}; \
             requests (status, spans): {requests:?}",
            names.len(),
            state.legacy.waiting(),
            state.violations,
            state.duplicates
        )
    }
}
