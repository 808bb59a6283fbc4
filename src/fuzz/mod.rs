//! Fuzz targets: each takes any bytes and panics where a promise of the code is broken. `make fuzz` runs them under
//! libFuzzer (`fuzz/`), `tests/fuzz.rs` for seconds in every test run.
//!
//! Two promises are asked of all: the result is the same for any split of the bytes, and what a budget gave is given
//! back. Inputs begin with a few characters that choose among variants (`0` is the first of each, see [`Input`]), so that
//! seeds are written by hand; `fuzz/README.md` has the format of each target.

#![allow(clippy::expect_used, reason = "a target panics where a promise is broken")]

mod call;
mod config;
mod encoding;
mod exchange;
mod frames;
mod framing;
mod input;
mod json;

use input::Input;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name, also of the folder of its corpus.
    pub name: &'static str,
    /// Runs it on one input.
    pub run: fn(&[u8]),
}

/// All targets: the framings and formats, then calls of each entry of [`crate::provider::FAMILIES`], in its order.
pub const TARGETS: &[Target] = &[
    Target { name: "sse", run: framing::sse },
    Target { name: "lines", run: framing::lines },
    Target { name: "array", run: framing::array },
    Target { name: "eventstream", run: framing::event_stream },
    Target { name: "encoding", run: encoding::encoding },
    Target { name: "json", run: json::json },
    Target { name: "config", run: config::config },
    Target { name: "headers", run: call::headers },
    Target { name: "context", run: call::context },
    Target { name: "custom", run: call::custom },
    Target { name: "ollama", run: |data| call::family(0, data) },
    Target { name: "openai", run: |data| call::family(1, data) },
    Target { name: "responses", run: |data| call::family(2, data) },
    Target { name: "images", run: |data| call::family(3, data) },
    Target { name: "audio", run: |data| call::family(4, data) },
    Target { name: "moderations", run: |data| call::family(5, data) },
    Target { name: "anthropic", run: |data| call::family(6, data) },
    Target { name: "bedrock", run: |data| call::family(7, data) },
    Target { name: "vertex", run: |data| call::family(8, data) },
    Target { name: "gemini", run: |data| call::family(9, data) },
    Target { name: "cohere", run: |data| call::family(10, data) },
    Target { name: "writer", run: |data| call::family(11, data) },
    Target { name: "tgi", run: |data| call::family(12, data) },
    Target { name: "vllm", run: |data| call::family(13, data) },
    Target { name: "watsonx", run: |data| call::family(14, data) },
    Target { name: "alephalpha", run: |data| call::family(15, data) },
    Target { name: "replicate", run: |data| call::family(16, data) },
    Target { name: "sagemaker", run: |data| call::family(17, data) },
    Target { name: "llamacpp", run: |data| call::family(18, data) },
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::FAMILIES;

    #[test]
    fn every_family_has_a_target_of_its_name() {
        let families = TARGETS.iter().skip(10);
        assert_eq!(families.clone().count(), FAMILIES.len());
        for (target, apis) in families.zip(FAMILIES) {
            let known_by = apis.iter().flat_map(|api| [api.family, api.provider]);
            let is_its = known_by.clone().any(|name| name.contains(target.name) || name == "huggingface");
            assert!(is_its, "{}: {:?}", target.name, known_by.collect::<Vec<_>>());
        }
        assert!(find("sse").is_some() && find("none").is_none());
    }
}
