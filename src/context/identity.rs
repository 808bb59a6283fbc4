//! Which trace a call belongs to, and under which observation: docs/context.md has the order in which it is looked for.
//!
//! A session never becomes a trace: two calls of one conversation are two traces of one session.

use super::names::Known;
use super::resolve::Resolver;
use super::rules::ParentMode;
use super::trace_context::{self, Parent, id};
use crate::sha256::Sha256;
use crate::trace::{SpanId, TraceId};

/// The place of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Trace.
    pub trace: TraceId,
    /// The observation under which the call hangs.
    pub parent: Option<SpanId>,
    /// The parent is not in Langfuse, as far as is known: the call stands for the application there
    /// (`langfuse.internal.is_app_root`).
    pub is_app_root: bool,
    /// It is certain that the parent is not in Langfuse: nothing but such calls makes the trace there
    /// (`langfuse.internal.as_root`).
    pub is_trace_root: bool,
    /// W3C `tracestate`; empty = none.
    pub state: String,
    /// Ids that the caller gave in another form than Langfuse has, by their metadata keys.
    pub originals: Vec<(&'static str, String)>,
    /// What decided.
    pub source: IdentitySource,
}

/// What decided which trace a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// W3C `traceparent`.
    Traceparent,
    /// An explicit id of the trace.
    Explicit,
    /// The turn of a coding agent.
    Turn,
    /// Zipkin's headers.
    B3,
    /// `x-request-id`.
    RequestId,
    /// Nothing: the trace is the call's own.
    Own,
}

impl IdentitySource {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Traceparent => "header:traceparent",
            Self::Explicit => "trace_id",
            Self::Turn => "agent (its turn)",
            Self::B3 => "header:b3",
            Self::RequestId => "header:x-request-id",
            Self::Own => "random",
        }
    }
}

/// Finds the place of a call whose own trace would be `own`; `explicit` is the id of a trace that the caller names, and
/// of an observation in it.
pub(super) fn find(resolver: &Resolver<'_>, explicit: [Option<&str>; 2], own: TraceId) -> Identity {
    let [trace, parent] = explicit;
    let mut identity = joined(resolver)
        .or_else(|| Some(named(trace?, parent)))
        .or_else(|| turn(resolver))
        .or_else(|| b3(resolver))
        .or_else(|| request_id(resolver))
        .unwrap_or_else(|| Identity::own(own));
    let used = [format!("{:?}", identity.trace), identity.parent.map(|id| format!("{id:?}")).unwrap_or_default()];
    let names = ["caller_trace_id", "caller_parent_observation_id"];
    for ((name, id), used) in names.into_iter().zip(explicit).zip(used) {
        // What was mapped to another id, or is overruled, is said as it was given.
        identity.originals.extend(id.filter(|id| *id != used).map(|id| (name, id.to_owned())));
    }
    identity
}

/// The trace that the caller names, and the observation.
fn named(trace: &str, parent: Option<&str>) -> Identity {
    let parent = parent.map(|parent| SpanId(id(parent).unwrap_or_else(|| hashed(parent))));
    Identity::of(seeded(trace), parent, IdentitySource::Explicit)
}

impl Identity {
    fn of(trace: TraceId, parent: Option<SpanId>, source: IdentitySource) -> Self {
        let (is_app_root, is_trace_root) = (false, false);
        Self { trace, parent, is_app_root, is_trace_root, state: String::new(), originals: Vec::new(), source }
    }

    /// The trace is the application's, as far as is known: it has a name and metadata of its own.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.parent.is_some() && !self.is_trace_root
    }

    /// A call without a word of context.
    #[must_use]
    pub fn own(trace: TraceId) -> Self {
        Self::of(trace, None, IdentitySource::Own)
    }
}

/// The place that `traceparent` names.
fn joined(resolver: &Resolver<'_>) -> Option<Identity> {
    let parent = resolver.parent(Known::Traceparent).and_then(trace_context::traceparent)?;
    let mut identity = placed(resolver, parent, IdentitySource::Traceparent);
    identity.state = trace_context::tracestate(resolver.all(Known::Tracestate));
    Some(identity)
}

fn b3(resolver: &Resolver<'_>) -> Option<Identity> {
    let several = || {
        let trace = resolver.parent(Known::XB3Traceid)?;
        trace_context::b3_ids(trace, resolver.parent(Known::XB3Spanid))
    };
    let parent = resolver.parent(Known::B3).and_then(trace_context::b3).or_else(several)?;
    Some(placed(resolver, parent, IdentitySource::B3))
}

/// The place that a tracer names. Its parent is one of Langfuse's where the SDK's claim (`langfuse_trace_id`) says so.
fn placed(resolver: &Resolver<'_>, parent: Parent, source: IdentitySource) -> Identity {
    let claimed = resolver.baggage().claimed_trace() == Some(&format!("{:?}", parent.trace));
    let mode = resolver.rules().parent;
    let is_app_root = mode != ParentMode::Trust && parent.span.is_some() && !claimed;
    let is_trace_root = mode == ParentMode::Foreign && is_app_root;
    Identity { is_app_root, is_trace_root, ..Identity::of(parent.trace, parent.span, source) }
}

/// All calls of one turn of an agent are one trace.
fn turn(resolver: &Resolver<'_>) -> Option<Identity> {
    let agent = resolver.agent()?;
    let (session, turn) = (agent.session.as_deref().unwrap_or_default(), agent.turn.as_deref()?);
    let seed = format!("{}:{session}:{turn}", agent.name);
    Some(Identity::of(TraceId(hashed(&seed)), None, IdentitySource::Turn))
}

/// A request id that has the shape of a trace id: what a gateway makes for each request.
fn request_id(resolver: &Resolver<'_>) -> Option<Identity> {
    let trace = hex_or_uuid(resolver.parent(Known::XRequestId)?)?;
    Some(Identity::of(TraceId(trace), None, IdentitySource::RequestId))
}

/// The trace id that `text` is, or that Langfuse's SDKs make of it (`create_trace_id(seed=…)`).
fn seeded(text: &str) -> TraceId {
    TraceId(hex_or_uuid(text).unwrap_or_else(|| hashed(text)))
}

/// 32 hexadecimal digits, also with the dashes of a UUID.
fn hex_or_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.to_ascii_lowercase();
    let is_uuid = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
    if is_uuid { id(&text.replace('-', "")) } else { id(&text) }
}

/// The beginning of the SHA-256 of `seed`.
fn hashed<const N: usize>(seed: &str) -> [u8; N] {
    let mut hash = Sha256::new();
    hash.update(seed.as_bytes());
    hash.finish().first_chunk().copied().unwrap_or([1; N])
}
