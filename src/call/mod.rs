//! One LLM call as it passes: fed by the host's callbacks, it ends as an encoded span.
//!
//! [`begin`] decides whether a call is traced; [`Call`] then takes headers and pieces of bodies as they come, and
//! [`Call::finish`] writes down what was seen. Nothing here touches the host, so tests and tools feed it the same way.

#[cfg(not(target_family = "wasm"))]
mod explain;
mod gateway;
mod input;
mod name;
mod parameters;
mod reader;
mod report;
mod request;
mod response;
mod routing;
mod whose;

use std::cell::RefCell;
use std::rc::Rc;

use crate::budget::Budget;
use crate::config::Settings;
use crate::context::{self, Context, Gathered, Identity, Surroundings};
use crate::counters::{Counter, Counters};
use crate::headers::{self, Header};
use crate::measures::Sample;
use crate::provider::{self, Route, Skip};
use crate::trace::{Ending, IdSource, SpanId, Times, TraceId};
#[cfg(not(target_family = "wasm"))]
use crate::trace::{Facts, Observation};
pub use gateway::{
    GatewayFact, GatewayIds, attempts_of_count, attempts_of_times, kong_has_metrics, response_flags, upstream_time,
};
use request::RequestSide;
use response::ResponseSide;
use routing::Routing;
use whose::{project, surroundings};

/// What all calls of a VM share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Bytes that the VM may hold.
    pub budget: Rc<Budget>,
    /// Ids of traces and spans.
    pub ids: Rc<RefCell<IdSource>>,
}

impl Shared {
    /// Shared state with a budget of `memory` bytes, and ids from this randomness.
    #[must_use]
    pub fn new(memory: usize, seed: [u64; 2]) -> Self {
        Self { budget: Budget::new(memory), ids: Rc::new(RefCell::new(IdSource::new(seed))) }
    }
}

/// What the host says of the beginning of a call.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// The same as the client sent it, where the gateway has normalised it.
    pub sent_path: Option<&'a [u8]>,
    /// All request headers.
    pub headers: &'a [Header<'a>],
    /// Nanoseconds since 1970.
    pub now: u64,
    /// The host's number of the context, for the ids.
    pub context_id: u32,
    /// What the gateway itself knows the request by.
    pub gateway: GatewayIds<'a>,
    /// Names of the gateway's route; none where the host does not tell. Matters only where the configuration asks for it.
    pub routes: Option<&'a [Vec<u8>]>,
    /// These are all headers; false where the host may have left some out.
    pub all_headers: bool,
    /// The gateway's properties.
    pub properties: Properties<'a>,
}

/// How the gateway is asked for a property: by the steps of its path; none where it has none.
#[derive(Clone, Copy)]
pub struct Properties<'a>(pub &'a dyn Fn(&[&str]) -> Option<Vec<u8>>);

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Properties")
    }
}

impl Default for Properties<'_> {
    fn default() -> Self {
        Self(&|_| None)
    }
}

/// A piece of a body.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// Its size alone: the filter chose not to read it, for the reason given.
    Unread(usize, Unread),
}

/// Why a piece of a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Larger than is read at once (`max_read` on WasmX, 4 MiB on Envoy).
    TooLarge,
    /// nginx has written it to disk, where a filter cannot read it.
    OnDisk,
    /// The host did not hand it over.
    NotAvailable,
    /// The body is longer than is looked at (16 MiB).
    BeyondScan,
}

/// What the host says of the end of a call.
#[derive(Debug, Default, Clone, Copy)]
pub struct End<'a> {
    /// Nanoseconds since 1970.
    pub now: u64,
    /// Envoy's `response.code_details`.
    pub details: Option<&'a str>,
    /// How the call ended if the answer was not whole, where the host tells it otherwise.
    pub ending: Option<Ending>,
    /// What the gateway says of the call.
    pub gateway: &'a [GatewayFact],
}

/// Decides whether a call may be traced, by its path alone.
///
/// # Errors
/// The reason for which it is not; counted.
pub fn find_route(path: &[u8], settings: &Settings, counters: &Counters) -> Result<Route, Skip> {
    provider::find(path, &settings.ignore_paths, &settings.providers)
        .inspect_err(|skip| counters.add(counter(*skip), 1))
}

fn counter(skip: Skip) -> Counter {
    match skip {
        Skip::IgnoredPath => Counter::SkippedIgnoredPath,
        Skip::NotAi => Counter::SkippedNotAi,
        Skip::Method => Counter::SkippedMethod,
        Skip::Upgrade => Counter::SkippedUpgrade,
        Skip::NoProject => Counter::SkippedNoProject,
    }
}

/// A call that is over.
#[derive(Debug)]
pub struct Finished {
    /// Its span, encoded.
    pub span: Vec<u8>,
    /// Number of the project's target ([`crate::config::Projects`]) under these settings.
    pub project: usize,
    /// The settings with which the call began.
    pub settings: Rc<Settings>,
    /// What is measured of it.
    pub sample: Sample,
}

/// A call in flight.
#[derive(Debug)]
pub struct Call {
    settings: Rc<Settings>,
    counters: Rc<Counters>,
    routing: Routing,
    project: usize,
    trace_id: TraceId,
    span_id: SpanId,
    times: Times,
    /// When the answer was whole.
    answered_at: Option<u64>,
    path: String,
    gathered: Gathered,
    surroundings: Surroundings,
    context: Context,
    /// Where the call belongs, once that is decided.
    identity: Option<Identity>,
    request_id: Option<String>,
    request: RequestSide,
    response: ResponseSide,
    upgraded: bool,
}

impl Call {
    /// Begins the capture of a call that has a route.
    ///
    /// # Errors
    /// Its method does not ask for an inference, or its project has no keys; counted.
    pub fn begin(
        settings: &Rc<Settings>,
        counters: &Rc<Counters>,
        shared: &Shared,
        route: Route,
        at: &Beginning<'_>,
    ) -> Result<Self, Skip> {
        let routing = Routing::begin(route, at).inspect_err(|skip| counters.add(counter(*skip), 1))?;
        let project = project(settings, at).inspect_err(|skip| counters.add(counter(*skip), 1))?;
        let request_id = headers::find(at.headers, "x-request-id");
        let known_by = [request_id.unwrap_or_default(), at.gateway.request];
        let (trace_id, span_id) = shared.ids.try_borrow_mut().map_or_else(
            |_| IdSource::new([0, 0]).next(at.now, at.context_id, &known_by),
            |mut ids| ids.next(at.now, at.context_id, &known_by),
        );
        Ok(Self {
            project,
            trace_id,
            span_id,
            times: Times { start: at.now, first_content: None, end: at.now },
            answered_at: None,
            path: name::trace_name(at.sent_path.unwrap_or(at.path)),
            gathered: Gathered::new(&settings.context, at.headers, at.properties.0),
            surroundings: surroundings(settings, at),
            context: Context::default(),
            identity: None,
            request_id: request_id
                .or(Some(at.gateway.request).filter(|id| !id.is_empty()))
                .map(|id| String::from_utf8_lossy(id.get(..id.len().min(200)).unwrap_or(id)).into_owned()),
            request: RequestSide::new(at.headers, settings, &shared.budget),
            response: ResponseSide::new(routing.api(), settings, &shared.budget),
            routing,
            settings: Rc::clone(settings),
            counters: Rc::clone(counters),
            upgraded: false,
        })
    }

    /// How many more bytes of the request's body are worth reading.
    #[must_use]
    pub fn request_room(&self) -> usize {
        self.request.room()
    }

    /// Takes the next piece of the request's body.
    pub fn request_piece(&mut self, piece: Piece<'_>) {
        self.request.push(piece);
    }

    /// Takes the headers of the answer.
    pub fn response_headers(&mut self, headers: &[Header<'_>]) {
        self.routing.settle(&self.request);
        self.response.begin(&self.routing, headers, &self.request);
        // Another protocol begins: its bytes are no answer.
        self.upgraded |= self.response.status() == Some(101);
    }

    /// The connection changes its protocol: there is no answer, and the call can be finished.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// How many more bytes of the answer are worth reading.
    #[must_use]
    pub fn response_room(&self) -> usize {
        self.response.room()
    }

    /// Takes the next piece of the answer; `clock` (nanoseconds since 1970) is asked once, at the first content.
    pub fn response_piece(&mut self, piece: Piece<'_>, clock: &dyn Fn() -> u64) {
        if self.response.push(piece) && self.times.first_content.is_none() {
            // A clock may be set back.
            self.times.first_content = Some(clock().max(self.times.start));
        }
    }

    /// The host said that the answer is whole.
    pub fn response_ended(&mut self) {
        self.response.end_of_stream = true;
    }

    /// Notes when the answer was whole, once it is. A call ends then: nginx's log phase may come seconds later, with a
    /// client that reads slowly or keeps its side open.
    pub fn note_end(&mut self, clock: &dyn Fn() -> u64) {
        if self.answered_at.is_none() && self.response.is_complete() {
            self.answered_at = Some(clock());
        }
    }

    /// The host should be asked for its details of the ending.
    #[must_use]
    pub fn wants_details(&self) -> bool {
        let is_whole = self.response.is_complete() && self.response.status().is_some_and(|status| status < 400);
        // What states no usage may be the gateway's own answer: then there is none.
        !is_whole || !self.response.has_usage()
    }

    /// Ends the call: what it becomes; none where it turned out not to be an LLM call.
    #[must_use]
    pub fn finish(mut self, end: &End<'_>) -> Option<Finished> {
        match self.close(end) {
            Ok(()) => Some(report::write(&self, end)),
            Err(skip) => {
                self.counters.add(counter(skip), 1);
                None
            }
        }
    }

    /// Ends the call as [`Call::finish`] does, and says what was read of it: one JSON object (docs/design.md, "Explain"),
    /// and the encoded span.
    ///
    /// # Errors
    /// Why it is not traced.
    #[cfg(not(target_family = "wasm"))]
    pub fn explain(mut self, end: &End<'_>) -> Result<(String, Vec<u8>), Skip> {
        self.close(end)?;
        Ok(explain::explain(&self, end))
    }

    /// Ends the call, and hands on what the trace would say.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn observe<T>(
        mut self,
        end: &End<'_>,
        act: impl FnOnce(&Observation<'_>, &Facts) -> T,
    ) -> Result<T, Skip> {
        self.close(end)?;
        Ok(report::observe(&self, end, act))
    }

    /// No more will come.
    fn close(&mut self, end: &End<'_>) -> Result<(), Skip> {
        if self.upgraded {
            return Err(Skip::Upgrade);
        }
        if self.response.status().is_none() {
            self.routing.settle(&self.request);
        }
        if self.routing.is_foreign {
            return Err(Skip::NotAi);
        }
        let end = self.answered_at.unwrap_or(end.now);
        self.times.end = end.max(self.times.start);
        self.request.finish();
        self.response.finish();
        self.response.api().into_iter().for_each(|api| self.routing.turn(api));
        if !self.response.is_stream() {
            // One JSON text in a line brings content, too.
            self.times.first_content = None;
        }
        self.find_context();
        self.count_cuts();
        Ok(())
    }

    fn find_context(&mut self) {
        let (context, identity) = self.asked().resolve();
        self.counters.add(Counter::ContextDropped, context.dropped.into());
        self.context = context;
        self.identity.get_or_insert(identity);
    }

    fn asked(&self) -> context::Asked<'_> {
        context::Asked {
            rules: &self.settings.context,
            gathered: &self.gathered,
            document: self.request.document(),
            surroundings: self.surroundings,
            own: self.trace_id,
        }
    }

    /// What answers tell the caller, where they are to tell it: the trace that the call is to be, which is decided now, or
    /// why it is none.
    #[must_use]
    pub fn announcement(&mut self) -> Option<Result<TraceId, Skip>> {
        // Where another protocol begins, nothing is touched.
        if !self.settings.response_headers || self.upgraded {
            return None;
        }
        if self.routing.is_foreign {
            return Some(Err(Skip::NotAi));
        }
        let identity = self.asked().identify();
        Some(Ok(self.identity.insert(identity).trace))
    }

    fn count_cuts(&self) {
        let cuts = [
            (Counter::CutMemory, self.request.memory_short() || self.response.memory_short()),
            (Counter::CutLimit, self.request.is_cut() || self.response.is_cut()),
            (Counter::CutUnreadable, self.request.unread().is_some() || self.response.unread().is_some()),
            (Counter::CutEncoding, self.request.wire.is_undecoded() || self.response.wire.is_undecoded()),
        ];
        cuts.into_iter().filter(|(_, cut)| *cut).for_each(|(counter, _)| self.counters.add(counter, 1));
    }

    /// How the transport ended.
    fn ending(&self, end: &End<'_>) -> Ending {
        let details = end.details.unwrap_or_default();
        let begins = |starts: &[&str]| starts.iter().any(|start| details.starts_with(start));
        if self.response.is_complete() {
            Ending::Complete
        } else if let Some(ending) = end.ending {
            ending
        } else if begins(&["downstream", "http2.remote_", "http3.remote_"]) {
            Ending::ClientGone
        } else if begins(&["upstream"]) {
            Ending::UpstreamReset
        } else if details.contains("timeout") {
            Ending::GatewayTimeout
        } else {
            Ending::Cut
        }
    }
}
