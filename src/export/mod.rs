//! Getting traces to Langfuse: a bounded queue, batches, one call in flight, retries, and an account of every trace.
//!
//! ```text
//! exporter.rs  the one call slot; lanes take turns
//! lane.rs      one project: queue → batch → call → answer
//!                offer(span) → queue ──┐  due?              ┌→ done            (sent)
//!                  full: drop oldest   ├→ batch → its call ─┼→ retry later     (same spans, same bytes)
//!                                      └───── halves ◄──────┴→ drop            (counted, with its reason)
//! verdict.rs   what an answer means        api.rs  OTLP or the legacy ingestion API
//! pace.rs      when WasmX may be asked for a call
//! ```
//!
//! At every moment: offered = queued + in the batches + sent + Σ dropped(reason).

mod api;
mod exporter;
pub mod ingestion;
mod lane;
mod note;
pub mod otlp;
mod pace;
mod queue;
mod request;
mod retry_after;
mod verdict;

pub use api::Api;
pub use exporter::{Exporter, Outgoing, Step};
pub use lane::Lane;
pub use note::{NotCalled, Note};
pub use pace::{Change, Made, Pace};
pub use request::{HeaderList, headers};
pub use verdict::{BODY_MAX, Cause, Reply, Verdict, verdict};

/// ISO 8601 with milliseconds, as Langfuse stores times, and with `Z`, without which its ingestion API refuses them.
/// (Every nanosecond of a `u64` is before the year 2555.)
fn iso(ns: u64) -> String {
    let time = i64::try_from(ns / 1_000_000).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn times_have_milliseconds_and_a_zone() {
        assert_eq!(iso(1_795_318_664_400_999_999), "2026-11-22T03:37:44.400Z");
        assert_eq!((iso(0).as_str(), iso(u64::MAX).as_str()), ("1970-01-01T00:00:00.000Z", "2554-07-21T23:34:33.709Z"));
    }
}
