//! The built `filters/ai-tracing.wasm` in a real Envoy, between real sockets: client → Envoy → upstream, and Envoy →
//! stand-in for Langfuse. `make test` builds the module and installs Envoy into the project's venv.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

mod bad_input;
mod calls;
mod cassettes;
mod configuration;
mod context;
#[path = "../support/expectation.rs"]
mod expectation;
mod export;
mod gateway;
mod load;
#[path = "../support/replay.rs"]
mod replay;
mod rig;
mod sdk;
mod secrets;
mod shipped;
mod smoke;
