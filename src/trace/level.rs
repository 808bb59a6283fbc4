//! How a call ended, as Langfuse shows it: DEFAULT, WARNING or ERROR, with the message beside it.

use super::facts::{Ending, Facts};
use crate::provider::ProviderError;

/// Langfuse's observation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The call did what it should.
    Default,
    /// The answer is not whole.
    Warning,
    /// The call failed.
    Error,
}

impl Level {
    /// The name that Langfuse reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A level with its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The level.
    pub level: Level,
    /// Why, for anything but [`Level::Default`].
    pub message: Option<String>,
}

/// Finish reasons with which an answer is not whole, whatever their case. The number is Gemini's `MAX_TOKENS`.
const CUT_REASONS: [&str; 14] = [
    "length",
    "max_tokens",
    "max_output_tokens",
    "maximum_tokens",
    "model_length",
    "model_context_window_exceeded",
    "error_limit",
    "incomplete",
    "2",
    // llama.cpp's.
    "limit",
    // watsonx's, then Cohere's.
    "token_limit",
    "time_limit",
    "cancelled",
    "user_cancel",
];
/// Finish reasons with which a provider says that it failed.
const FAILED_REASONS: [&str; 2] = ["error", "timeout"];
/// Finish reasons with which a provider withheld the answer. Gemini blocks prompts for reasons of their own; the numbers are
/// its `SAFETY`, `RECITATION`, `BLOCKLIST`, `PROHIBITED_CONTENT`, `SPII`, `IMAGE_SAFETY`.
const WITHHELD_REASONS: [&str; 20] = [
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "refusal",
    "safety",
    "image_safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "error_toxic",
    "other",
    "model_armor",
    "jailbreak",
    "3",
    "4",
    "6",
    "7",
    "8",
    "11",
];

impl Verdict {
    /// Judges a call.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let (level, message) = judge(facts);
        Self { level, message }
    }
}

/// All that is known where nginx goes on to its `error_page`: it forgets the call, and with it the filter.
const GATEWAY_ANSWERED: &str = "the gateway answered itself: its upstream refused, closed or timed out";

fn judge(facts: &Facts) -> (Level, Option<String>) {
    let answer = &facts.answer;
    if let Some(status) = facts.status.filter(|status| *status >= 400) {
        let by_gateway = facts.host_details.as_ref().filter(|_| facts.by_gateway);
        let by_gateway = by_gateway.map(|details| format!("by the gateway: {details}"));
        let detail = by_gateway.or_else(|| answer.error.as_ref().map(describe)).or_else(|| facts.host_details.clone());
        let message = detail.map_or_else(|| status.to_string(), |detail| format!("{status} {detail}"));
        return (Level::Error, Some(message));
    }
    if let Some(error) = &answer.error {
        return (Level::Error, Some(format!("error in the answer: {}", describe(error))));
    }
    match facts.ending {
        Ending::UpstreamReset => (Level::Error, Some(with_details("upstream failed", facts))),
        Ending::GatewayTimeout => (Level::Error, Some(with_details("the gateway gave up", facts))),
        Ending::ClientGone => {
            let when = if facts.status.is_some() { "mid-stream" } else { "before the answer" };
            (Level::Warning, Some(format!("client disconnected {when}")))
        }
        Ending::Cut => {
            let what = match (facts.status, facts.stream) {
                (None, _) => "ended before an answer began",
                (_, true) => "stream cut",
                (_, false) => "answer cut",
            };
            (Level::Warning, Some(what.to_owned()))
        }
        Ending::AnsweredByGateway => (Level::Error, Some(GATEWAY_ANSWERED.to_owned())),
        Ending::Complete => judge_answer(facts),
    }
}

fn judge_answer(facts: &Facts) -> (Level, Option<String>) {
    let reason = facts.answer.finish_reason.as_deref().unwrap_or_default();
    if is_one_of(reason, &FAILED_REASONS) {
        return (Level::Error, Some(format!("the provider gave up: {reason}")));
    }
    if is_one_of(reason, &CUT_REASONS) {
        return (Level::Warning, Some(format!("answer truncated: {reason}")));
    }
    if is_one_of(reason, &WITHHELD_REASONS) {
        return (Level::Warning, Some(format!("answer withheld: {reason}")));
    }
    if facts.empty {
        return (Level::Warning, Some("the answer has no body".to_owned()));
    }
    if facts.answer.unfinished {
        let what = if facts.stream { "stream ended without [DONE] or finish_reason" } else { "answer cut" };
        return (Level::Warning, Some(what.to_owned()));
    }
    (Level::Default, None)
}

// Inlined, each list becomes a comparison of its own for each word.
#[inline(never)]
fn is_one_of(reason: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(reason))
}

fn describe(error: &ProviderError) -> String {
    match &error.code {
        Some(code) => format!("{code}: {}", error.message),
        None => error.message.clone(),
    }
}

fn with_details(what: &str, facts: &Facts) -> String {
    facts.host_details.as_ref().map_or_else(|| what.to_owned(), |details| format!("{what}: {details}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Answer;

    fn verdict(status: Option<u16>, ending: Ending, answer: Answer) -> (Level, String) {
        let facts = Facts { status, ending, answer, stream: true, ..Facts::default() };
        let verdict = Verdict::of(&facts);
        (verdict.level, verdict.message.unwrap_or_default())
    }

    #[test]
    fn what_is_no_stream_is_not_called_one() {
        let answer = Answer { unfinished: true, ..Answer::default() };
        let facts = Facts { status: Some(200), ending: Ending::Cut, answer, ..Facts::default() };
        assert_eq!(Verdict::of(&facts).message.as_deref(), Some("answer cut"));
    }

    #[test]
    fn table() {
        let error = || Answer {
            error: Some(ProviderError { message: "slow down".to_owned(), code: Some("rate".to_owned()) }),
            ..Answer::default()
        };
        let finish = |reason: &str| Answer { finish_reason: Some(reason.to_owned()), ..Answer::default() };
        let unfinished = || Answer { unfinished: true, ..Answer::default() };
        for (status, ending, answer, level, message) in [
            (Some(200), Ending::Complete, finish("stop"), Level::Default, ""),
            (Some(429), Ending::Complete, error(), Level::Error, "429 rate: slow down"),
            (Some(503), Ending::Complete, Answer::default(), Level::Error, "503"),
            (Some(200), Ending::Complete, error(), Level::Error, "error in the answer: rate: slow down"),
            (Some(200), Ending::Complete, finish("length"), Level::Warning, "answer truncated: length"),
            (Some(200), Ending::Complete, finish("ERROR"), Level::Error, "the provider gave up: ERROR"),
            (Some(200), Ending::Complete, finish("content_filter"), Level::Warning, "answer withheld: content_filter"),
            (Some(200), Ending::ClientGone, unfinished(), Level::Warning, "client disconnected mid-stream"),
            (None, Ending::ClientGone, Answer::default(), Level::Warning, "client disconnected before the answer"),
            (Some(200), Ending::Cut, unfinished(), Level::Warning, "stream cut"),
            (None, Ending::Cut, Answer::default(), Level::Warning, "ended before an answer began"),
            (None, Ending::AnsweredByGateway, Answer::default(), Level::Error, GATEWAY_ANSWERED),
            (Some(200), Ending::UpstreamReset, unfinished(), Level::Error, "upstream failed"),
            (Some(200), Ending::GatewayTimeout, unfinished(), Level::Error, "the gateway gave up"),
            (Some(200), Ending::Complete, unfinished(), Level::Warning, "stream ended without [DONE] or finish_reason"),
        ] {
            assert_eq!(verdict(status, ending, answer), (level, message.to_owned()), "{status:?} {ending:?}");
        }
        let refused = Facts {
            status: Some(503),
            by_gateway: true,
            host_details: Some("no_healthy_upstream".to_owned()),
            answer: error(),
            ..Facts::default()
        };
        assert_eq!(Verdict::of(&refused).message.as_deref(), Some("503 by the gateway: no_healthy_upstream"));
        let empty = Facts { status: Some(200), empty: true, ..Facts::default() };
        assert_eq!(Verdict::of(&empty).message.as_deref(), Some("the answer has no body"));
    }
}
