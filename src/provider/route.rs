//! Which calls are LLM calls: by the end of the path, on segment borders, never by substring.
//!
//! Prefixes vary (`/v1`, `/api/v1`, `/openai/v1`, none) and are not looked at; `/healthcare/v1/chat/completions` is a
//! chat, `/v1/chat/completions-log` is not.

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// OpenAI-compatible chat completions.
    Chat,
    /// OpenAI-compatible (legacy) completions.
    Completion,
    /// OpenAI-compatible embeddings.
    Embedding,
    /// vLLM's own `/generate`.
    Generate,
}

/// How a call is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// What it asks for.
    pub operation: Operation,
    /// Value of `metadata.provider` (the predecessor's families).
    pub provider: &'static str,
    /// Name of the observation.
    pub name: &'static str,
    /// Langfuse's observation type.
    pub kind: &'static str,
}

/// Why a call is not traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The path is in `ignore_paths`.
    IgnoredPath,
    /// The path is not one of an LLM API.
    NotAi,
    /// The path is, but the method does not ask for an inference (GET, HEAD, OPTIONS, …).
    Method,
    /// The connection is switched to another protocol (101).
    Upgrade,
    /// The Langfuse project that it belongs to has no keys.
    NoProject,
}

const ROUTES: [(&[&str], Route); 4] = [
    (
        &["chat", "completions"],
        Route {
            operation: Operation::Chat,
            provider: "openai_compatible",
            name: "chat_completion",
            kind: "generation",
        },
    ),
    (
        &["completions"],
        Route {
            operation: Operation::Completion,
            provider: "openai_compatible",
            name: "completion",
            kind: "generation",
        },
    ),
    (
        &["embeddings"],
        Route { operation: Operation::Embedding, provider: "openai_compatible", name: "embedding", kind: "embedding" },
    ),
    (&["generate"], Route { operation: Operation::Generate, provider: "vllm", name: "completion", kind: "generation" }),
];

/// Segments before `/generate` that make it another API: Ollama's `/api/generate`, Cohere's `/v1/generate`.
const NOT_VLLM: [&str; 3] = ["api", "v1", "v2"];
/// Segments before `/embeddings` that make it another API: Ollama's `/api/embeddings`.
const NOT_OPENAI_EMBEDDINGS: [&str; 1] = ["api"];

/// Finds the route of a call, or why it has none. `path` may carry a query.
///
/// # Errors
/// The reason for which the call is not traced.
pub fn route(path: &[u8], ignore: &[String]) -> Result<Route, Skip> {
    let path = without_query(path);
    if ignore.iter().any(|prefix| is_below(path, prefix.as_bytes())) {
        return Err(Skip::IgnoredPath);
    }
    let route = ROUTES.iter().find(|(end, _)| ends_with(path, end)).ok_or(Skip::NotAi)?.1;
    let before_last = segments(path).nth_back(1).unwrap_or_default();
    let foreign = |names: &[&str]| names.iter().any(|name| name.as_bytes() == before_last);
    match route.operation {
        Operation::Generate if foreign(&NOT_VLLM) => Err(Skip::NotAi),
        Operation::Embedding if foreign(&NOT_OPENAI_EMBEDDINGS) => Err(Skip::NotAi),
        _ => Ok(route),
    }
}

/// The path without its query and fragment.
#[must_use]
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
}

/// Segments of a path; empty ones (`//`, a slash at the end) are none.
fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

fn ends_with(path: &[u8], end: &[&str]) -> bool {
    let mut segments = segments(path).rev();
    path.first() == Some(&b'/') && end.iter().rev().all(|name| segments.next() == Some(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_the_end_of_the_path_on_segment_borders() {
        let ignore = ["/v1/models", "/health/", "/metrics", "/status"].map(str::to_owned);
        for (path, expected) in [
            ("/v1/chat/completions", Ok(Operation::Chat)),
            ("//openai/deployments/x/chat/completions?api-version=1", Ok(Operation::Chat)),
            ("/chat/completions/", Ok(Operation::Chat)),
            ("/v1/chat//completions", Ok(Operation::Chat)),
            ("/healthcare/v1/chat/completions", Ok(Operation::Chat)),
            ("/v1/completions", Ok(Operation::Completion)),
            ("/v1/embeddings", Ok(Operation::Embedding)),
            ("/generate", Ok(Operation::Generate)),
            ("/models/m/generate", Ok(Operation::Generate)),
            ("/api/generate", Err(Skip::NotAi)),
            ("/api/embeddings", Err(Skip::NotAi)),
            ("/v1/models/gpt-4", Err(Skip::IgnoredPath)),
            ("/health", Err(Skip::IgnoredPath)),
            ("/health/v1/chat/completions", Err(Skip::IgnoredPath)),
            ("/index.html", Err(Skip::NotAi)),
            ("/v1/chat/completions-log", Err(Skip::NotAi)),
            ("/v1/xcompletions", Err(Skip::NotAi)),
            ("/log?x=/v1/chat/completions", Err(Skip::NotAi)),
            ("chat/completions", Err(Skip::NotAi)),
            ("", Err(Skip::NotAi)),
        ] {
            let found = route(path.as_bytes(), &ignore).map(|route| route.operation);
            assert_eq!(found, expected, "{path}");
        }
    }
}
