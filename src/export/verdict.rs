//! What an answer to an export call means: a pure function of host, status, headers, body and attempt.
//!
//! Rules: OTLP/HTTP <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>, and what a real Langfuse answers
//! (docs/design.md, "Export"). "No answer" looks different by host: WasmX reports no status, Envoy makes an answer.

use std::time::Duration;

use super::retry_after::retry_after;
use crate::json::Value;

/// What came back.
#[derive(Debug, Default, Clone, Copy)]
pub struct Reply<'a> {
    /// HTTP status; none where there was no answer.
    pub status: Option<u16>,
    /// `retry-after`, as sent.
    pub retry_after: Option<&'a [u8]>,
    /// The body, as far as it was read ([`BODY_MAX`]).
    pub body: &'a [u8],
    /// The host makes an answer of its own where there was none (Envoy).
    pub host_answers: bool,
}

/// Longest body that is read, bytes: what a batch of 4000 traces makes the ingestion API say fits in.
pub const BODY_MAX: usize = 1024 * 1024;

/// What to do with the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Langfuse has it.
    Done,
    /// Langfuse has it but for so many spans, which it will never take (OTLP `partialSuccess`).
    DoneBut(u64),
    /// Try again after this wait.
    Retry(Duration, Cause),
    /// The keys are wrong: keep it and ask again slowly, until they are right.
    WrongKeys,
    /// There is no such API at this address.
    NoSuchApi,
    /// Too large: send it in two parts.
    TooLarge,
    /// Refused for good: one bad span may be the reason.
    Refused,
}

/// Why a batch is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody answered.
    NoAnswer,
    /// Langfuse, or what stands before it, asks to.
    Status(u16),
}

/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Judges the answer to the `attempt`th try (0 for the first) at `now_ns`, which also varies the wait.
#[must_use]
pub fn verdict(reply: &Reply<'_>, attempt: u32, now_ns: u64) -> Verdict {
    match reply.status {
        Some(200..=299) => rejected_spans(reply.body).map_or(Verdict::Done, Verdict::DoneBut),
        Some(401 | 403) => Verdict::WrongKeys,
        // A redirect is not followed: the keys would go with it.
        Some(300..=399 | 404 | 405) => Verdict::NoSuchApi,
        Some(413) => Verdict::TooLarge,
        Some(status @ (408 | 425 | 429 | 500..=599)) => {
            let at_least = reply.retry_after.and_then(|value| retry_after(value, now_ns)).unwrap_or_default();
            let cause = if is_hosts_own(reply, status) { Cause::NoAnswer } else { Cause::Status(status) };
            Verdict::Retry(backoff(attempt, now_ns).max(at_least), cause)
        }
        None => Verdict::Retry(backoff(attempt, now_ns), Cause::NoAnswer),
        Some(_) => Verdict::Refused,
    }
}

/// Twice as long after each failure, with up to a quarter more so that workers do not call in step.
pub(super) fn backoff(attempt: u32, now_ns: u64) -> Duration {
    let doubled = BACKOFF.0.saturating_mul(1 << attempt.min(16)).min(BACKOFF.1);
    let spread = u32::try_from((now_ns / 1000).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48).unwrap_or_default();
    doubled + (doubled / 4 / 65_536).saturating_mul(spread)
}

/// Envoy answers for an upstream that does not: 503 or 504, with these words.
fn is_hosts_own(reply: &Reply<'_>, status: u16) -> bool {
    const WORDS: [&[u8]; 4] =
        [b"upstream connect error", b"no healthy upstream", b"upstream request timeout", b"DNS resolution failure"];
    let says_so = WORDS.iter().any(|words| reply.body.starts_with(words));
    reply.host_answers && matches!(status, 503 | 504) && (says_so || (status == 504 && reply.body.is_empty()))
}

/// `partialSuccess.rejectedSpans` of an `ExportTraceServiceResponse`, protobuf or JSON; none where nothing was rejected.
/// Langfuse answers something else.
fn rejected_spans(body: &[u8]) -> Option<u64> {
    let rejected = rejected_in_protobuf(body).or_else(|| rejected_in_json(body));
    rejected.filter(|rejected| *rejected > 0)
}

fn rejected_in_json(body: &[u8]) -> Option<u64> {
    let answer = Value::parse(body)?;
    let partial = answer.get("partialSuccess").or(answer.get("partial_success"));
    let rejected = partial.get("rejectedSpans").or(partial.get("rejected_spans"));
    rejected.raw().trim_matches('"').parse().ok()
}

/// Field 1 is the message `ExportTracePartialSuccess`, whose field 1 is the number.
fn rejected_in_protobuf(body: &[u8]) -> Option<u64> {
    let (length, rest) = varint(body.strip_prefix(b"\n")?)?;
    let partial = rest.get(..usize::try_from(length).ok()?)?;
    Some(varint(partial.strip_prefix(b"\x08")?)?.0)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).filter(|last| *last < 10)? + 1;
    let (digits, rest) = bytes.split_at_checked(length)?;
    let number = digits.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7F));
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: Option<u16>) -> Reply<'static> {
        Reply { status, ..Reply::default() }
    }

    #[test]
    fn every_status_has_a_verdict() {
        for (status, expected) in [
            (200, Verdict::Done),
            (207, Verdict::Done),
            (100, Verdict::Refused),
            (302, Verdict::NoSuchApi),
            (400, Verdict::Refused),
            (401, Verdict::WrongKeys),
            (403, Verdict::WrongKeys),
            (404, Verdict::NoSuchApi),
            (405, Verdict::NoSuchApi),
            (409, Verdict::Refused),
            (413, Verdict::TooLarge),
            (600, Verdict::Refused),
        ] {
            assert_eq!(verdict(&reply(Some(status)), 0, 0), expected, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 529] {
            assert_eq!(
                verdict(&reply(Some(status)), 0, 0),
                Verdict::Retry(BACKOFF.0, Cause::Status(status)),
                "{status}"
            );
        }
        assert_eq!(verdict(&reply(None), 0, 0), Verdict::Retry(BACKOFF.0, Cause::NoAnswer));
    }

    #[test]
    fn what_no_answer_looks_like_differs_by_host() {
        let cause = |host_answers, status, body: &'static str| {
            let reply = Reply { status: Some(status), body: body.as_bytes(), host_answers, ..Reply::default() };
            match verdict(&reply, 0, 0) {
                Verdict::Retry(_, cause) => cause,
                other => panic!("{other:?}"),
            }
        };
        let refused = "upstream connect error or disconnect/reset before headers. reset reason: connection failure";
        assert_eq!(cause(true, 503, refused), Cause::NoAnswer);
        assert_eq!(cause(true, 503, "no healthy upstream"), Cause::NoAnswer);
        assert_eq!(cause(true, 504, "upstream request timeout"), Cause::NoAnswer);
        assert_eq!(cause(true, 503, "{\"message\":\"down\"}"), Cause::Status(503));
        assert_eq!(cause(false, 503, refused), Cause::Status(503), "on WasmX a status is Langfuse's");
    }

    #[test]
    fn waits_double_up_to_a_minute_and_respect_the_server() {
        let mut last = Duration::ZERO;
        for attempt in 0..40 {
            for now in [0, 1, 1_795_318_664_123_456_789, u64::MAX] {
                let wait = backoff(attempt, now);
                let least = Duration::from_secs(1 << attempt.min(6)).min(BACKOFF.1);
                assert!(wait >= least && wait <= least.mul_f64(1.25), "{attempt}: {wait:?}");
            }
            assert!(backoff(attempt, 0) >= last);
            last = backoff(attempt, 0);
        }
        let asked = Reply { status: Some(429), retry_after: Some(b"7"), ..Reply::default() };
        assert_eq!(verdict(&asked, 0, 0), Verdict::Retry(Duration::from_secs(7), Cause::Status(429)));
        assert!(matches!(verdict(&asked, 5, 0), Verdict::Retry(wait, _) if wait >= Duration::from_secs(32)));
    }

    #[test]
    fn spans_that_otlp_rejects_are_counted() {
        let judge = |body: &[u8]| verdict(&Reply { status: Some(200), body, ..Reply::default() }, 0, 0);
        for (body, rejected) in [
            (&br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#[..], 3),
            (br#" {"partial_success":{"rejected_spans":2}}"#, 2),
            (b"\n\x06\x08\x03\x12\x02no", 3),
            (b"\n\x03\x08\xac\x02", 300),
        ] {
            assert_eq!(judge(body), Verdict::DoneBut(rejected));
        }
        for body in [
            &b""[..],
            b"{}",
            br#"{"partialSuccess":{}}"#,
            br#"{"partialSuccess":{"rejectedSpans":0,"errorMessage":"a warning"}}"#,
            br#"{"name":"otel-ingestion-job","data":{"note":"artial"}}"#,
            b"\n\x00",
            b"\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\n\x02\x08\xff",
            b"<html>",
            b"{\"partial",
        ] {
            assert_eq!(judge(body), Verdict::Done, "{body:?}");
        }
    }
}
