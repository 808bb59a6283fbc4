//! The stand-in for Langfuse: what it refuses, what it notes as wrong, how it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test equipment: a failed assumption must stop the run"
)]

mod ingestion;
mod misbehaviour;
mod refusals;
mod support;
mod violations;
