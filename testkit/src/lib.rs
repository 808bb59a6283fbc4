//! Native test and demo equipment for the ai-tracing filter: everything around the gateway that a call touches.
//!
//! ```text
//! client ──► envoy (the filter inside) ──► upstream      replays scripted answers, keeps what it received
//!                      │
//!                      └──────────────────► langfuse      a strict stand-in: refuses what Langfuse refuses,
//!                                                         notes what Langfuse would silently get wrong
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

pub mod bench;
pub mod cassettes;
pub mod client;
pub mod demo;
pub mod envoy;
pub mod http1;
pub mod interrupt;
pub mod langfuse;
mod server;
pub mod smoke;
pub mod tree;
pub mod upstream;
mod waiting;

/// The root of the repository that this crate is part of.
pub fn repository_root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit is inside the repository").to_owned()
}

/// Says on stderr that something is not tested. The test runner hides what passing tests print; a skipped test must be
/// seen all the same, so this goes past it.
pub fn say_skipped(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: {what}\n");
}
