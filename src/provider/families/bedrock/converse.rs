//! Bedrock's Converse: the whole answer, and the events of a stream of one. Nova's own format is the same.
//!
//! Spec: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>.

use super::read_usage;
use crate::json::{Fields, Value};
use crate::provider::block::Block;
use crate::provider::collect::Collector;
use crate::provider::message::Message;

/// Reads an answer, or the payload of an event.
pub(super) fn read(answer: &mut Collector, message: &Message<'_>) {
    read_body(answer, message.body);
}

pub(super) fn read_body(answer: &mut Collector, body: &Fields<'_>) {
    let message = body.at("output/message");
    answer.role(0, message.get("role").or(body.get("role")));
    for block in message.get("content").items() {
        Block::read(block).add_to(answer, 0);
        // A text with citations is made of parts.
        for part in block.at("citationsContent/content").items() {
            Block::read(part).add_to(answer, 0);
        }
    }
    if let Some(index) = body.get("contentBlockIndex").number() {
        read_piece(answer, index, body.get("start"), body.get("delta"));
    }
    answer.finish_reason(0, body.get("stopReason"));
    read_usage(answer, body.get("usage"));
    answer.billed_at("service_tier", body.at("serviceTier/type"));
    // They come last.
    if body.get("metrics").is_object() {
        answer.end();
    }
}

/// The beginning, a piece or (neither) the end of a block.
fn read_piece(answer: &mut Collector, index: u64, start: Value<'_>, delta: Value<'_>) {
    if start.is_nothing() && delta.is_nothing() {
        return answer.end_tool_call(0, index);
    }
    for piece in [start, delta] {
        Block::read(piece).add_piece_to(answer, 0, index);
    }
}
