//! OTLP/HTTP protobuf as Langfuse reads it.
//!
//! Specs: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, message definitions
//! <https://github.com/open-telemetry/opentelemetry-proto>, attributes <https://langfuse.com/docs/opentelemetry/get-started>.

mod batch;
mod protobuf;
mod span;

pub use batch::{Resource, encode_batch};
pub use span::encode_span;
