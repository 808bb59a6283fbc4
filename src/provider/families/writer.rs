//! Writer: chat, which is OpenAI's under a path of its own. Its stream has no `[DONE]`.
//!
//! Spec: <https://dev.writer.com/api-reference/completion-api/chat-completion>. Cohere's first version has the same path,
//! and a `message` in place of messages.

use super::openai;
use crate::provider::api::{Api, When};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "writer.chat",
    provider: "writer",
    paths: &["v1/chat"],
    when: When::Member("messages"),
    usage: &openai::USAGE,
    read: openai::read_chat,
    ..Api::BASE
}];
