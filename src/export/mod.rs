//! Getting traces to Langfuse: a bounded queue, batches, one call in flight, retries, and an account of every trace.
//!
//! ```text
//! offer(span) → queue ──┐  tick: due?            answer: verdict
//!   full: drop oldest   ├→ batch → call in flight ─┬→ done            (sent)
//!                       │                          ├→ retry later     (same spans, same bytes)
//!                       └──────── split ◄──────────┴→ drop            (counted, with its reason)
//! ```
//!
//! At every moment: offered = queued + in the batch + sent + Σ dropped(reason).

mod exporter;
pub mod otlp;
mod queue;
mod request;
mod verdict;

pub use exporter::{Exporter, NotCalled, Note, Step};
pub use request::{HeaderList, headers};
pub use verdict::{Reply, Verdict, retry_after, verdict};
