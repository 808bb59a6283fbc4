//! ai-tracing: a Proxy-Wasm filter that taps LLM calls in Kong and Envoy and sends each as a trace to Langfuse.
//!
//! ```text
//! host callbacks → call::Call → trace::Observation → export::otlp span → export::Exporter → Langfuse
//!                  (request: json::Document; answer: decode → provider)
//! ```
//!
//! Everything but [`host`] is plain Rust: clock, randomness and host answers are arguments, so that tests and tools run
//! it natively, through exactly the code that runs in the gateway. Start reading at [`call`].

#![deny(unsafe_code)]

pub mod budget;
pub mod call;
pub mod config;
pub mod context;
pub mod counters;
mod credentials;
pub mod decode;
#[cfg(not(target_family = "wasm"))]
pub mod explain;
pub mod export;
#[cfg(not(target_family = "wasm"))]
pub mod fuzz;
pub mod headers;
#[cfg(target_family = "wasm")]
pub mod host;
pub mod json;
pub mod measures;
pub mod provider;
pub mod sha256;
pub mod trace;
