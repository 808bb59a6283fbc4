//! Blocks of content: text, reasoning, a tool call or anything else. Each family has its own words for them, which do not
//! collide, so that one reader knows them all.

use super::collect::{CallKey, Collector};
use crate::json::Value;

/// One block.
#[derive(Debug, Clone, Copy)]
pub enum Block<'a> {
    /// Text (a JSON string).
    Text(Value<'a>),
    /// Reasoning (a JSON string).
    Reasoning(Value<'a>),
    /// A tool call: id, name, arguments.
    Call(Value<'a>, Value<'a>, Value<'a>),
    /// Something else, as it is.
    Other(Value<'a>),
}

impl<'a> Block<'a> {
    /// Reads a block.
    #[must_use]
    #[inline(never)]
    pub fn read(block: Value<'a>) -> Self {
        if block.is_string() {
            return Self::Text(block);
        }
        // Anthropic's tool_use, server_tool_use, mcp_tool_use.
        let kind = block.get("type").text().unwrap_or_default();
        if kind.ends_with("tool_use") {
            return Self::Call(block.get("id"), block.get("name"), block.get("input"));
        }
        // Cohere's pieces have no type.
        let thinking = block.get("thinking");
        if thinking.is_string() {
            return Self::Reasoning(thinking);
        }
        // Gemini's parts.
        let call = block.get("functionCall");
        if call.is_object() {
            return Self::Call(call.get("id"), call.get("name"), call.get("args"));
        }
        // Bedrock's Converse.
        let call = block.get("toolUse");
        if call.is_object() {
            return Self::Call(call.get("toolUseId"), call.get("name"), call.get("input"));
        }
        let reasoning = block.get("reasoningContent");
        if reasoning.is_object() {
            // Streamed, it is a level less deep.
            return Self::Reasoning(reasoning.at("reasoningText/text").or(reasoning.get("text")));
        }
        let text = block.get("text").or(block.at("guardContent/text/text"));
        match text.is_string() {
            true if block.get("thought").is_true() => Self::Reasoning(text),
            true => Self::Text(text),
            false => Self::Other(block),
        }
    }

    /// Adds the block to the choice of an answer.
    pub fn add_to(self, collector: &mut Collector, choice: u64) {
        match self {
            Self::Text(text) => collector.text(choice, text),
            Self::Reasoning(text) => collector.reasoning(choice, text),
            Self::Call(id, name, arguments) => collector.tool_call(choice, CallKey::New, id, name, arguments),
            Self::Other(_) => {}
        }
    }

    /// Adds the block as a piece of the one of that index: its beginning, or what is new of it.
    pub fn add_piece_to(self, collector: &mut Collector, choice: u64, index: u64) {
        match self {
            Self::Call(id, name, arguments) => {
                // `{}` stands for what is to come.
                let is_empty = arguments.is_object() && arguments.members().next().is_none();
                let arguments = if is_empty { Value::ABSENT } else { arguments };
                collector.tool_call(choice, CallKey::Index(index), id, name, arguments);
            }
            other => other.add_to(collector, choice),
        }
    }
}
