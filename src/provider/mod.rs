//! What the bytes of an LLM call mean, by family of API. A family reads an answer into the neutral
//! [`Answer`]; [`route`] says which calls are of it, `call::response` how its bodies are framed, `call::parameters` what
//! of a request is its input.

mod error;
pub mod openai;
mod route;
mod usage;
pub mod vllm;

pub use error::ProviderError;
pub use route::{Operation, Route, Skip, route, without_query};
pub use usage::{Buckets, Usage};

/// The output of one choice, or an array of those of several; none where there is none.
fn one_or_several(mut outputs: Vec<String>) -> Option<String> {
    if outputs.len() > 1 { Some(format!("[{}]", outputs.join(","))) } else { outputs.pop() }
}

/// What an answer said, whichever family it is of.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// The output as JSON text: a message, a text, or a summary of vectors.
    pub output: Option<String>,
    /// Why the (first) choice ended, as the provider says it.
    pub finish_reason: Option<String>,
    /// Tokens, where the provider stated them.
    pub usage: Option<Usage>,
    /// The error that the provider reported, also inside a stream.
    pub error: Option<ProviderError>,
    /// A choice was begun and neither it nor the answer was ended by the provider.
    pub unfinished: bool,
    /// Messages of a stream that could not be read.
    pub unread_messages: u32,
}
