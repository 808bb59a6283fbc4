//! All APIs that are read, by family. Of APIs with the same path, the one that asks for more stands first.

mod openai;
mod vllm;

use super::api::Api;

/// See the module's documentation.
pub static FAMILIES: &[&[Api]] = &[openai::APIS, vllm::APIS];
