//! OpenAI-compatible audio: speech, transcriptions and translations.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/audio>. Speech is audio itself, or events; texts of speech come as
//! JSON, as events, or as nothing but text.

use super::openai;
use crate::provider::api::{Api, Operation};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;

const SPEECH: Api = Api {
    family: "openai.audio",
    provider: openai::PROVIDER,
    operation: Operation::Speech,
    paths: &["deployments/*/audio/speech", "audio/speech"],
    input: &["input", "instructions"],
    usage: &USAGE,
    read: read_speech,
    ..Api::BASE
};
const TRANSCRIPTION: Api = Api {
    operation: Operation::Transcription,
    paths: &["deployments/*/audio/transcriptions", "audio/transcriptions"],
    input: &["file", "prompt"],
    read: read_text,
    ..SPEECH
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    SPEECH,
    TRANSCRIPTION,
    Api {
        operation: Operation::Translation,
        paths: &["deployments/*/audio/translations", "audio/translations"],
        ..TRANSCRIPTION
    },
];

/// By tokens or by time; then as Mistral has it.
static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["input_tokens", "prompt_tokens"]),
        (Count::Output, &["output_tokens", "completion_tokens"]),
        (Count::Total, &["total_tokens"]),
        (Count::InputAudio, &["input_token_details/audio_tokens", "prompt_tokens_details/audio_tokens"]),
        (Count::CacheRead, &["prompt_tokens_details/cached_tokens"]),
        (Count::Seconds, &["seconds", "prompt_audio_seconds"]),
    ],
    cost: &["cost"],
    ..UsageRules::NONE
};

/// Events of a stream of speech.
fn read_speech(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.usage(body.get("usage"));
    if body.get("audio").is_string() {
        answer.content();
    }
    if body.get("type").is("speech.audio.done") {
        answer.end();
    }
}

fn read_text(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.model(body.get("model"));
    answer.usage(body.get("usage"));
    answer.text(0, body.get("delta"));
    let kind = body.get("type");
    // Segments repeat what the deltas said.
    if kind.is("transcript.text.segment") {
        return;
    }
    if let Some(text) = body.get("text").text() {
        answer.set_text(0, &text);
    }
    if kind.is("transcript.text.done") {
        answer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, api, check_usage};
    use crate::budget::Budget;
    use crate::json::{Document, Limits};
    use crate::provider::{Collector, Count};

    const TEXT: &str = "openai.audio/audio.transcriptions";

    #[test]
    fn usage() {
        check_usage(&[
            (
                TEXT,
                r#"{"text":"a","usage":{"prompt_audio_seconds":30,"prompt_tokens":379,"completion_tokens":8,"total_tokens":387,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":375}}}"#,
                r#"{"input":4,"input_audio_tokens":375,"output":8,"total":387}"#,
            ),
            (
                TEXT,
                r#"{"text":"a","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":3,"total_tokens":17}}"#,
                r#"{"input_audio_tokens":14,"output":3,"total":17}"#,
            ),
            (TEXT, r#"{"text":"a","usage":{"type":"duration","seconds":6}}"#, ""),
        ]);
        let found = answer(TEXT, &[r#"{"text":"a","usage":{"type":"duration","seconds":6}}"#]);
        assert_eq!(found.counts.get(Count::Seconds), Some(6));
    }

    #[test]
    fn a_stream_of_text_ends_with_all_of_it() {
        let events = [
            r#"{"type":"transcript.text.delta","delta":"a "}"#,
            r#"{"type":"transcript.text.segment","text":"a b","speaker":"A"}"#,
            r#"{"type":"transcript.text.delta","delta":"b"}"#,
            r#"{"type":"transcript.text.done","text":"a b.","usage":{"input_tokens":2,"output_tokens":1,"total_tokens":3}}"#,
        ];
        let whole = answer(TEXT, &events);
        assert_eq!((whole.output.as_deref(), whole.unfinished), (Some(r#""a b.""#), false));
        assert!(whole.usage.is_some());
        let cut = answer(TEXT, events.get(..3).unwrap());
        assert_eq!((cut.output.as_deref(), cut.unfinished), (Some(r#""a b""#), true));
    }

    #[test]
    fn a_stream_of_speech_ends_with_its_usage() {
        let events = [
            r#"{"type":"speech.audio.delta","audio":"aGVs"}"#,
            r#"{"type":"speech.audio.done","usage":{"input_tokens":2,"output_tokens":9,"total_tokens":11}}"#,
        ];
        let whole = answer("openai.audio/audio.speech", &events);
        assert_eq!((whole.unfinished, whole.usage.is_some()), (false, true));
    }

    #[test]
    fn a_body_that_is_no_json_is_the_text() {
        let budget = Budget::new(1 << 20);
        for text in ["[Music]", "1\n00:00 --> 00:01\na", "12"] {
            let mut document = Document::new(Limits { head: 100, member: 100 }, budget.capture_lease());
            document.push(text.as_bytes());
            let mut collector = Collector::new(api(TEXT), 100, budget.capture_lease());
            collector.document(&document);
            let mut expected = String::new();
            crate::json::write_string(&mut expected, text);
            assert_eq!(collector.finish().output, Some(expected));
        }
    }
}
