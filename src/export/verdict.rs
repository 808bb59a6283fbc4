//! What Langfuse's answer to a batch means: a pure function of status and headers.
//!
//! Rules: OTLP/HTTP <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>, and what a real Langfuse answers
//! (docs/design.md, "Export"). "No answer" looks different by host: WasmX reports no status, Envoy makes a 503 or 504.

use std::time::Duration;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status; none where there was no answer.
    pub status: Option<u16>,
    /// `retry-after`, where it could be read.
    pub retry_after: Option<Duration>,
}

/// What to do with the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Langfuse has it.
    Done,
    /// Try again, not before this has passed (none: after the usual backoff).
    Retry(Option<Duration>),
    /// The keys are wrong: keep it and ask again slowly, until they are right.
    WrongKeys,
    /// There is no OTLP receiver at this address: keep it and ask again slowly.
    WrongAddress,
    /// Too large: send it in two parts.
    Split,
    /// Refused for good.
    Drop,
}

/// Longest time that a server may make us wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Judges a reply.
#[must_use]
pub fn verdict(reply: Reply) -> Verdict {
    match reply.status {
        Some(200..=299) => Verdict::Done,
        Some(401 | 403) => Verdict::WrongKeys,
        // A redirect is not followed: the keys would go with it.
        Some(300..=399 | 404 | 405) => Verdict::WrongAddress,
        Some(413) => Verdict::Split,
        None | Some(408 | 425 | 429 | 500..=599) => Verdict::Retry(reply.retry_after),
        Some(_) => Verdict::Drop,
    }
}

/// Reads `retry-after` in seconds, capped; its date form is left to the usual backoff.
#[must_use]
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_verdict() {
        let later = Some(Duration::from_secs(7));
        for (status, expected) in [
            (Some(200), Verdict::Done),
            (Some(207), Verdict::Done),
            (Some(100), Verdict::Drop),
            (Some(302), Verdict::WrongAddress),
            (Some(400), Verdict::Drop),
            (Some(401), Verdict::WrongKeys),
            (Some(403), Verdict::WrongKeys),
            (Some(404), Verdict::WrongAddress),
            (Some(408), Verdict::Retry(later)),
            (Some(413), Verdict::Split),
            (Some(429), Verdict::Retry(later)),
            (Some(503), Verdict::Retry(later)),
            (None, Verdict::Retry(later)),
        ] {
            assert_eq!(verdict(Reply { status, retry_after: later }), expected, "{status:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_capped() {
        assert_eq!(retry_after(b" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(b"999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(
            (retry_after(b"Fri, 31 Dec 1999 23:59:59 GMT"), retry_after(b"-1"), retry_after(b"\xFF")),
            (None, None, None)
        );
    }
}
