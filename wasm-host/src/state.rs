//! What a worker knows: shared by the worker and by the host calls of its instances.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::callout::{Callout, Reading};
use crate::chaos::Chaos;
use crate::exchange::{Request, Response};
use crate::law::{Effect, Host, Rule, Violation};
use crate::log::{Author, Level, LogLine};
use crate::metrics::Metrics;
use crate::personality::{Personality, WasmX};
use crate::phase::Phase;
use crate::random::Random;

pub(crate) type Shared = Rc<RefCell<State>>;

/// Whose context it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The root of that index.
    Root(usize),
    /// The stream of that index.
    Stream(usize),
}

/// A context in an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub instance: usize,
    /// The guest's number for it.
    pub context: u32,
    pub subject: Subject,
}

/// The callback that runs, and the context for which calls are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub phase: Phase,
    pub subject: Option<Subject>,
}

/// One timer. On WasmX a root may have several, and none of them is ever taken away from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub period_ns: u64,
    pub due_ns: u64,
    /// The instance that set it.
    pub instance: usize,
    /// The incarnation that set it.
    pub of: usize,
}

/// One `ngx_proxy_wasm_exec_t` of a root: WasmX makes a new one where a request finds none in a new instance, and goes on
/// with an old one where that one's timer comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Incarnation {
    /// Its period; its timers go on while it is not 0.
    pub period_ns: u64,
    /// It has had a tick of its own, without which a call traps in the tick of another.
    pub has_ticked: bool,
}

/// A root context.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub name: String,
    pub config: Vec<u8>,
    pub context: u32,
    /// The instance in which it was configured.
    pub configured_in: Option<usize>,
    pub timers: Vec<Timer>,
    pub incarnations: Vec<Incarnation>,
    /// The incarnation that the instance knows.
    pub current: usize,
    /// The one whose timer ticks.
    pub ticking: Option<usize>,
    /// `on_done` was called and asked to go on.
    pub kept: bool,
    /// `proxy_done` was called.
    pub done: bool,
    /// It is over: no more callbacks.
    pub ended: bool,
}

/// An exchange.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub owner: Owner,
    pub root: usize,
    pub request: Request,
    pub request_spooled: bool,
    pub response: Option<Response>,
    /// Buffers of the chunk that is being handed out.
    pub chunk: Vec<Vec<u8>>,
    pub since_ns: u64,
    pub received: usize,
    pub details: &'static str,
    pub harm: Vec<String>,
    /// A status that the gateway itself gave.
    pub local_status: Option<u16>,
    /// No more callbacks: its instance is gone, or it never reached the filter.
    pub detached: bool,
    /// Its context went with a store that was destroyed: it gets a new one with its next callback.
    pub lost: bool,
    pub over: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct State {
    pub personality: Personality,
    pub now_ns: u64,
    pub start_ns: u64,
    pub random: Random,
    pub environment: Vec<(String, String)>,
    pub properties: HashMap<String, Vec<u8>>,
    pub log: Vec<LogLine>,
    pub violations: Vec<Violation>,
    pub place: Place,
    /// Contexts by instance and number.
    pub contexts: HashMap<(usize, u32), Subject>,
    pub roots: Vec<Root>,
    pub streams: Vec<Stream>,
    pub callouts: Vec<Callout>,
    pub next_token: u32,
    /// Calls made in the callback that runs.
    pub called_now: usize,
    pub calls_from_answers: usize,
    pub leaked: usize,
    /// The answer of which the filter is being told.
    pub reading: Option<Reading>,
    pub metrics: Metrics,
    pub chaos: Chaos,
}

impl State {
    /// Records that a rule was broken; false where it is none of this host.
    pub(crate) fn broke(&mut self, rule: Rule, detail: &str) -> bool {
        if rule.host() == Host::WasmX && self.wasmx().is_none() {
            return false;
        }
        if rule.effect() == Effect::Leak {
            self.leaked += 1;
        }
        let context = format!("{} in {}: {detail}", self.describe(), self.place.phase.export());
        self.violations.push(Violation { rule, context });
        true
    }

    fn describe(&self) -> String {
        match self.place.subject {
            Some(Subject::Root(root)) => format!("root {root}"),
            Some(Subject::Stream(stream)) => format!("stream {stream}"),
            None => "no context".to_owned(),
        }
    }

    pub(crate) fn wasmx(&self) -> Option<&WasmX> {
        self.personality.wasmx()
    }

    pub(crate) fn host_log(&mut self, level: Level, text: impl Into<String>) {
        self.log.push(LogLine { level, author: Author::Host, text: text.into() });
    }

    /// The stream for which calls are made.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        match self.place.subject {
            Some(Subject::Stream(stream)) => self.streams.get(stream),
            _ => None,
        }
    }

    /// See [`State::stream`].
    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self.place.subject {
            Some(Subject::Stream(stream)) => self.streams.get_mut(stream),
            _ => None,
        }
    }

    /// The root for which calls are made, or that of the stream.
    pub(crate) fn root_index(&self) -> Option<usize> {
        match self.place.subject? {
            Subject::Root(root) => Some(root),
            Subject::Stream(stream) => self.streams.get(stream).map(|stream| stream.root),
        }
    }

    /// The clock as the host shows it: Envoy's has nanoseconds, WasmX's milliseconds out of a floating point number.
    pub(crate) fn visible_now_ns(&self) -> u64 {
        match self.wasmx() {
            Some(_) => ((self.now_ns / 1_000_000) as f64 / 1000.0 * 1e9) as u64,
            None => self.now_ns + 123_456,
        }
    }
}
