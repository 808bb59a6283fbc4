//! OpenAI-compatible APIs: chat completions, completions and embeddings, streamed and not.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/chat>, and what compatible servers send in its place
//! (docs/design.md, "Dialects").

mod answer;
mod choice;
mod stream;
mod template;
mod usage;
mod wire;

pub use answer::{read_answer, read_embeddings};
pub use stream::ChatStream;
pub use usage::read_usage;
