//! Venice's own API of images (its chats are OpenAI's).
//!
//! Spec: <https://docs.venice.ai/api-reference/endpoint/image/generate>. Images come as base64 in an array, or
//! (`return_binary`) the answer is one.

use super::openai_images;
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::message::Message;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[Api {
    family: "venice.images",
    provider: "venice",
    operation: Operation::Image,
    paths: &["image/generate"],
    when: When::Any(&[When::Host("venice.ai"), When::Member("prompt")]),
    input: &["prompt", "negative_prompt"],
    read,
    ..Api::BASE
}];

fn read(answer: &mut Collector, message: &Message<'_>) {
    let images = message.body.get("images");
    answer.id(message.body.get("id"));
    if images.is_array() {
        openai_images::describe(answer, message.body, message.children("images"), images);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::answer;

    #[test]
    fn images_are_counted_and_never_kept() {
        let output = answer("venice.images", &[r#"{"id":"i","images":["iVBORw0KGgo=",{"bytes":9}]}"#]).output;
        assert_eq!(output.as_deref(), Some(r#"{"count":2,"images":["[not kept]",{"bytes":9}]}"#));
        assert_eq!(answer("venice.images", &[r#"{"error":"no such model"}"#]).output, None);
    }
}
