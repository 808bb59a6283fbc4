//! Ways in which Langfuse, or the network before it, fails.

use std::time::Duration;

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
    /// Resets the connection.
    Reset(ResetAt),
    /// Stores at once, answers late: whoever gives up before and sends again makes duplicates.
    Delay(Duration),
    /// Closes new connections at once, and open ones at their next request.
    DropAtAccept,
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
        let headers = vec![("retry-after".to_owned(), retry_after_seconds.to_string())];
        Self::Status { code: 429, headers, body: "{\"error\":\"Rate limit exceeded\"}".into() }
    }
}
