//! What is asked of the gateways.

use crate::upstream::{LONG_STREAM_CHUNKS, STREAM_CHUNKS};
use serde_json::json;

/// A kind of call, and how many run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    /// A small question, an answer of 1 KB.
    Chat,
    /// The same streamed in 100 chunks, all in one write: with one write for each, the upstream is what limits, and how
    /// many of them reach a filter as one piece depends on how slow it is.
    Stream,
    /// The same stream with each chunk by itself, one per millisecond, well below saturation: what a chunk costs.
    PacedStream,
    /// 10,000 chunks, all in one write: of each, the cost must be what it is in a short stream.
    LongStream,
}

impl Workload {
    pub(super) const ALL: [Self; 4] = [Self::Chat, Self::Stream, Self::PacedStream, Self::LongStream];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Chat => "1 KB chat, at saturation (16 connections)",
            Self::Stream => "stream of 100 chunks that arrive in one piece, at saturation (16 connections)",
            Self::PacedStream => "stream of 100 chunks, one per millisecond (96 connections)",
            Self::LongStream => "stream of 10,000 chunks that arrive in one piece (4 connections)",
        }
    }

    /// Short, for lines of the report and names of files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Stream => "stream",
            Self::PacedStream => "paced stream",
            Self::LongStream => "long stream",
        }
    }

    pub(super) fn connections(self) -> u32 {
        match self {
            Self::Chat | Self::Stream => 16,
            Self::PacedStream => 96,
            Self::LongStream => 4,
        }
    }

    /// Chunks of the answer; none where it is whole.
    pub(super) fn chunks(self) -> Option<usize> {
        match self {
            Self::Chat => None,
            Self::Stream | Self::PacedStream => Some(STREAM_CHUNKS),
            Self::LongStream => Some(LONG_STREAM_CHUNKS),
        }
    }

    pub(super) fn body(self) -> String {
        let messages = json!([
            {"role": "system", "content": "You are a helpful assistant. Answer in one paragraph."},
            {"role": "user", "content": "Tell me what the quick brown fox did, and why the dog was lazy."},
        ]);
        let body = json!({"model": "gpt-4o-mini", "temperature": 0.2, "max_tokens": 256, "messages": messages});
        match self {
            Self::Chat => body.to_string(),
            Self::Stream | Self::PacedStream | Self::LongStream => {
                let mut body = body;
                body["stream"] = json!(true);
                body["stream_options"] = json!({"include_usage": true});
                body.to_string()
            }
        }
    }

    pub(super) fn headers(self) -> Vec<(&'static str, &'static str)> {
        let mut headers = vec![("content-type", "application/json"), ("authorization", "Bearer sk-bench")];
        match self {
            Self::Chat => {}
            Self::Stream => headers.push(("x-bench-stream", "whole")),
            Self::PacedStream => headers.push(("x-bench-stream", "paced")),
            Self::LongStream => headers.push(("x-bench-stream", "long")),
        }
        headers
    }
}
