//! Getting traces to Langfuse: a bounded queue, batches, one call in flight, retries, and an account of every trace.
//!
//! ```text
//! exporter.rs  the one call slot; lanes take turns
//! lane.rs      one project: queue → batch → call → answer
//!                offer(span) → queue ──┐  due?              ┌→ done            (sent)
//!                  full: drop oldest   ├→ batch → its call ─┼→ retry later     (same spans, same bytes)
//!                                      └───── halves ◄──────┴→ drop            (counted, with its reason)
//! verdict.rs   what an answer means        api.rs  OTLP or the legacy ingestion API
//! ```
//!
//! At every moment: offered = queued + in the batches + sent + Σ dropped(reason).

mod api;
mod exporter;
pub mod ingestion;
mod lane;
mod note;
pub mod otlp;
mod queue;
mod request;
mod retry_after;
mod verdict;

pub use api::Api;
pub use exporter::{Exporter, Outgoing, Step};
pub use lane::Lane;
pub use note::{NotCalled, Note};
pub use request::{HeaderList, headers};
pub use verdict::{BODY_MAX, Cause, Reply, Verdict, verdict};
