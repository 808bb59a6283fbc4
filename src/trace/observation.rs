//! One observation, complete: everything that a span sent to Langfuse says (docs/design.md, "What a trace says").

use std::borrow::Cow;

use super::{Level, SpanId, Times, TraceId, Verdict};

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue<'a> {
    /// Text, or JSON text.
    Text(Cow<'a, str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

impl<'a> From<&'a str> for MetadataValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for MetadataValue<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<usize> for MetadataValue<'_> {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// See the module's documentation. Langfuse v4 inherits nothing from a trace, so all context is on the one span.
#[derive(Debug)]
pub struct Observation<'a> {
    /// Trace.
    pub trace_id: TraceId,
    /// Span = observation.
    pub span_id: SpanId,
    /// The observation that it hangs under.
    pub parent: Option<SpanId>,
    /// The parent is not in Langfuse, as far as is known: the observation stands for the application there.
    pub is_app_root: bool,
    /// It is certain that the parent is not: the trace is the observation's, and shows its input and output.
    pub is_trace_root: bool,
    /// W3C `tracestate`; empty = none.
    pub trace_state: &'a str,
    /// Langfuse's observation type, lower case.
    pub kind: &'static str,
    /// Observation name.
    pub name: &'a str,
    /// Trace name; none where the trace is the application's, and nobody named it in the call.
    pub trace_name: Option<Cow<'a, str>>,
    /// Start, first content (streams only), end.
    pub times: Times,
    /// Level and status message.
    pub verdict: Verdict,
    /// The model that answered, else the one that was asked.
    pub model: Option<&'a str>,
    /// JSON object of the request's parameters.
    pub parameters: Option<String>,
    /// Input, JSON where the request was.
    pub input: Option<Cow<'a, str>>,
    /// Output, JSON where the answer was.
    pub output: Option<Cow<'a, str>>,
    /// JSON object of disjoint token counts.
    pub usage_details: Option<String>,
    /// JSON object of dollars: what the provider said or the table of prices says; 0 where Langfuse should neither estimate
    /// tokens nor price them.
    pub cost_details: Option<Cow<'a, str>>,
    /// User id.
    pub user: Option<&'a str>,
    /// Session id.
    pub session: Option<&'a str>,
    /// Tags.
    pub tags: Vec<&'a str>,
    /// Environment.
    pub environment: &'a str,
    /// Release.
    pub release: Option<&'a str>,
    /// Version.
    pub version: Option<&'a str>,
    /// Name and version of the prompt in Langfuse.
    pub prompt: Option<(&'a str, i64)>,
    /// Facts of the trace and what the caller said of it.
    pub trace_metadata: Vec<(Cow<'a, str>, MetadataValue<'a>)>,
    /// Facts of the one observation.
    pub metadata: Vec<(Cow<'a, str>, MetadataValue<'a>)>,
}

impl Observation<'_> {
    /// The observation failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.verdict.level == Level::Error
    }
}
