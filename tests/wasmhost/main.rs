//! The built `filters/ai-tracing.wasm` in the in-process host: Envoy's and WasmX's rules to the letter, a simulated
//! clock, and every answer that a host or Langfuse may give. `make build` makes the module.

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

mod answers;
mod cassettes;
mod context;
mod exchanges;
#[path = "../support/expectation.rs"]
mod expectation;
mod export;
mod faults;
#[path = "../support/feed.rs"]
mod feed;
mod freed;
mod lifecycle;
#[path = "../support/replay.rs"]
mod replay;
mod rig;
mod statuses;
