//! The parts of OpenAI-compatible messages that a trace needs, read leniently: one odd field costs only itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Few, Number, Text, parse};

/// Choices of one message that are read.
pub(super) const CHOICES_MAX: usize = 128;
/// Tool calls of one message that are read.
pub(super) const TOOL_CALLS_MAX: usize = 128;
/// Parts of one content that are read.
pub(super) const PARTS_MAX: usize = 1024;

/// A part of a message that may have any type: what cannot be read is absent.
pub(super) fn part<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    parse(raw?.get().as_bytes())
}

/// One chunk of a stream.
#[derive(Deserialize, Default)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub model: Text<'a>,
    #[serde(borrow, default)]
    pub choices: Few<Choice<'a>, CHOICES_MAX>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    /// Writer's old completion stream: the text itself.
    #[serde(borrow, default)]
    pub value: Text<'a>,
}

/// Groq's own place for usage.
#[derive(Deserialize)]
pub(super) struct Groq<'a> {
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
}

/// One choice: of a chunk (`delta`), of a chat (`message`) or of a completion (`text`).
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(default)]
    pub index: Number,
    #[serde(borrow, default)]
    pub delta: Option<Message<'a>>,
    #[serde(borrow, default)]
    pub text: Text<'a>,
    #[serde(borrow, default)]
    pub finish_reason: Text<'a>,
}

/// A message or a piece of one.
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub role: Text<'a>,
    #[serde(borrow, default)]
    pub content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub reasoning_content: Text<'a>,
    #[serde(borrow, default)]
    pub reasoning: Text<'a>,
    #[serde(borrow, default)]
    pub refusal: Text<'a>,
    #[serde(borrow, default)]
    pub tool_calls: Few<ToolCall<'a>, TOOL_CALLS_MAX>,
    #[serde(borrow, default)]
    pub function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub audio: Option<&'a RawValue>,
}

/// A part of an array `content` (Mistral): text, or thinking that holds parts again.
#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    pub kind: Text<'a>,
    #[serde(borrow, default)]
    pub text: Text<'a>,
    #[serde(borrow, default)]
    pub thinking: Option<&'a RawValue>,
}

/// A tool call or a piece of one.
#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(default)]
    pub index: Number,
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub function: Option<&'a RawValue>,
}

/// Name and arguments of a call.
#[derive(Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// A JSON string; some servers send the object itself.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
}

/// Audio output: its transcript is text, its data is not kept.
#[derive(Deserialize)]
pub(super) struct Audio<'a> {
    #[serde(borrow, default)]
    pub id: Text<'a>,
    #[serde(borrow, default)]
    pub transcript: Text<'a>,
    #[serde(borrow, default)]
    pub data: Text<'a>,
}
