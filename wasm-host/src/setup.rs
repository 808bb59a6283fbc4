//! How a worker is to be started.

use std::fmt;

use crate::chaos::Chaos;
use crate::law::Violation;
use crate::log::LogLine;
use crate::personality::Personality;

/// A moment in 2026, in nanoseconds since 1970.
const START_NS: u64 = 1_795_318_664_000_000_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct Setup {
    pub(crate) personality: Personality,
    pub(crate) roots: Vec<(String, Vec<u8>)>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    pub(crate) seed: u64,
    pub(crate) start_ns: u64,
    pub(crate) chaos: Chaos,
}

impl Setup {
    /// A host without any filter yet.
    #[must_use]
    pub fn new(personality: Personality) -> Self {
        Self {
            personality,
            roots: Vec::new(),
            environment: Vec::new(),
            properties: Vec::new(),
            seed: 1,
            start_ns: START_NS,
            chaos: Chaos::default(),
        }
    }

    /// One more root context with its configuration. Roots are named by their place in this order, from 0.
    #[must_use]
    pub fn root(mut self, name: &str, config: impl Into<Vec<u8>>) -> Self {
        self.roots.push((name.to_owned(), config.into()));
        self
    }

    /// A variable of the module's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A property of every stream, by its path with dots (`kong.route_name`).
    #[must_use]
    pub fn property(mut self, path: &str, value: impl Into<Vec<u8>>) -> Self {
        self.properties.push((path.to_owned(), value.into()));
        self
    }

    /// Where `random_get` begins: workers of equal seeds get equal bytes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// When the worker starts, nanoseconds since 1970.
    #[must_use]
    pub fn start_ns(mut self, start_ns: u64) -> Self {
        self.start_ns = start_ns;
        self
    }

    /// Answers for a host call from the very start; see [`crate::Worker::host_call_answers`].
    #[must_use]
    pub fn host_call_answers(mut self, call: &str, decide: impl FnMut(u32) -> Option<u32> + 'static) -> Self {
        self.chaos.set(call, Box::new(decide));
        self
    }

    /// Host calls that are answered with a failure leave garbage in their out-parameters.
    #[must_use]
    pub fn garbage(mut self) -> Self {
        self.chaos.garbage = true;
        self
    }
}

/// The gateway does not come up.
#[derive(Clone, Debug)]
pub struct StartError {
    /// The rule that was broken.
    pub violation: Violation,
    /// What was logged until then.
    pub log: Vec<LogLine>,
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.violation)
    }
}

impl std::error::Error for StartError {}
