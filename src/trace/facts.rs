//! What was observed of one call, before it is judged and written down.

use crate::provider::Answer;

/// How the transport of a call ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer passed.
    #[default]
    Complete,
    /// The client closed before the answer was whole.
    ClientGone,
    /// The upstream failed before the answer was whole.
    UpstreamReset,
    /// The gateway gave the call up before the answer was whole.
    GatewayTimeout,
    /// The answer is not whole, and the host does not say which side closed.
    Cut,
    /// nginx made an answer of its own in place of the upstream's, which the filter never saw.
    AnsweredByGateway,
}

/// Moments of a call, nanoseconds since 1970.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The request's headers had arrived.
    pub start: u64,
    /// The first content of a streamed answer passed.
    pub first_content: Option<u64>,
    /// The call was over.
    pub end: u64,
}

impl Times {
    /// Milliseconds from start to end.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a duration in ms, shown with three digits")]
    pub fn duration_ms(&self) -> f64 {
        (self.end.saturating_sub(self.start) / 1000) as f64 / 1000.0
    }
}

/// Everything that was observed of an answer.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Facts {
    /// HTTP status; none where no answer began.
    pub status: Option<u16>,
    /// How the transport ended.
    pub ending: Ending,
    /// What the host says of the ending (Envoy's `response.code_details`).
    pub host_details: Option<String>,
    /// The answer was a stream.
    pub stream: bool,
    /// The answer has no body, and should have one.
    pub empty: bool,
    /// The answer is the gateway's own, and no provider's.
    pub by_gateway: bool,
    /// What the answer said.
    pub answer: Answer,
}
