//! Ways in which Langfuse, or the network before it, fails.

use std::time::{Duration, SystemTime};

/// How the stand-in treats requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Like Langfuse.
    #[default]
    Normal,
    /// Answers this and stores nothing.
    Status {
        /// HTTP status.
        code: u16,
        /// Such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Reads the request, stores nothing, and never answers.
    NeverAnswer,
    /// Answers 400 to a request whose body contains this text, as a server does that chokes on one span of a batch.
    RefuseContaining(String),
    /// Resets the connection.
    Reset(ResetAt),
    /// Stores at once, answers late: whoever gives up before and sends again makes duplicates.
    Delay(Duration),
    /// Stores, and answers one byte in each such time.
    Trickle(Duration),
    /// Closes new connections at once, and open ones at their next request.
    DropAtAccept,
    /// The ingestion endpoint has an error for every `every`th event, each event once; OTLP is as always.
    ItemErrors {
        /// 1 for all, 2 for every other one.
        every: usize,
        /// The item's status.
        status: u16,
    },
    /// OTLP takes all but the last spans of a request and says so (`partialSuccess`); ingestion is as always.
    PartialSuccess {
        /// How many it refuses.
        rejected: usize,
        /// How it says so.
        format: AnswerFormat,
    },
}

/// Encodings of an OTLP answer (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

/// Where a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetAt {
    /// The request is read, nothing is stored.
    BeforeAnswer,
    /// The spans are stored, the answer breaks off.
    MidAnswer,
}

impl Behaviour {
    /// A plain status without headers.
    pub fn status(code: u16) -> Self {
        Self::Status { code, headers: Vec::new(), body: format!("{{\"message\":\"scripted {code}\"}}") }
    }

    /// 429 as Langfuse Cloud sends it.
    pub fn rate_limited(retry_after_seconds: u32) -> Self {
        Self::too_many(retry_after_seconds.to_string())
    }

    /// 429 whose `retry-after` is a date (RFC 9110 section 10.2.3), which has whole seconds.
    pub fn rate_limited_until(time: SystemTime) -> Self {
        let time = jiff::Timestamp::try_from(time).expect("a time of this age");
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        Self::too_many(printer.timestamp_to_rfc9110_string(&time).expect("a time of this age"))
    }

    /// What it means for a request with this body.
    pub(super) fn for_body(self, body: &[u8]) -> Self {
        match self {
            Self::RefuseContaining(text) if memchr::memmem::find(body, text.as_bytes()).is_some() => Self::status(400),
            Self::RefuseContaining(_) => Self::Normal,
            other => other,
        }
    }

    fn too_many(retry_after: String) -> Self {
        let headers = vec![("retry-after".to_owned(), retry_after)];
        Self::Status { code: 429, headers, body: "{\"error\":\"Rate limit exceeded\"}".into() }
    }
}
