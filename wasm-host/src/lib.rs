//! An in-process Proxy-Wasm host for tests: runs a built module deterministically, on one thread and a simulated clock,
//! as Envoy or as WasmX (Kong, nginx) would.
//!
//! Its worth is the [`law`]: what crashes, traps, leaks or misleads on the real host is found here, whoever asked for
//! it, and fails the test when the [`Worker`] is dropped, unless the test takes it with [`Worker::take_violations`].
//!
//! It is a host for taps: what would change, delay or fail an exchange is not carried out but reported as harm in
//! [`Passed`].
//!
//! ```no_run
//! use wasm_host::{Answer, Exchange, Kong, Module, Personality, Request, Response, Setup, Worker};
//!
//! let module = Module::load("filters/ai-tracing.wasm").unwrap();
//! let setup = Setup::new(Personality::kong(Kong::V3_9)).root("ai-tracing", r#"{"langfuse_enabled": true}"#);
//! let mut worker = Worker::start(&module, setup).unwrap();
//! let request = Request::post("/v1/chat/completions", r#"{"model": "m"}"#);
//! let passed = worker.exchange(0, &Exchange::new(request, Response::json(200, "{}")));
//! assert!(!passed.harmed());
//! worker.advance_ms(2000);
//! let call = worker.callouts().remove(0);
//! worker.answer(call.token, Answer::status(200));
//! ```
//!
//! ```text
//! law/            the rules: which, where measured, what happens; section 3's table of phases
//! worker          its start, its clock, its ticks; answers, life and report: what else can be done to it and asked
//! run             callbacks, and what a trap or crash does
//! stream          one exchange, delivered by each host's rules
//! imports/        the host calls; guest: their edge to the guest's memory
//! state           what a worker knows
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "test equipment: a failed assumption must stop the run"
)]

mod answers;
mod callout;
mod chaos;
mod exchange;
mod guest;
mod headers;
mod imports;
mod instance;
pub mod law;
mod life;
mod log;
mod metrics;
mod module;
mod personality;
mod phase;
mod properties;
mod random;
mod report;
mod run;
mod setup;
mod state;
mod stream;
mod worker;

pub use callout::{Answer, Callout, Failure};
pub use exchange::{Ending, Exchange, Framing, Passed, Request, Response};
pub use headers::{Headers, find};
pub use law::{Effect, Rule, Violation};
pub use log::{Author, Level, LogLine};
pub use module::{CALLBACKS, Module};
pub use personality::{Envoy, Isolation, Kong, Personality, WasmX};
pub use setup::{Setup, StartError};
pub use stream::StreamId;
pub use worker::Worker;
