//! Which values stay: enumerations and models, by the name of their member, and what the tables of APIs are matched by.

use crate::provider::families::FAMILIES;
use crate::provider::{Api, When};

/// Members whose values are enumerations.
const ENUMERATIONS: [&str; 48] = [
    "anthropic_version",
    "api_version",
    "block_reason",
    "blockReason",
    "category",
    "code",
    "completion_reason",
    "completionReason",
    "done_reason",
    "effort",
    "embedding_types",
    "encoding_format",
    "event",
    "event_type",
    "eventType",
    "finish_reason",
    "finishReason",
    "format",
    "input_type",
    "is_finished",
    "media_type",
    "mime_type",
    "mimeType",
    "modalities",
    "modality",
    "mode",
    "object",
    "probability",
    "quality",
    "reason",
    "response_format",
    "response_modalities",
    "response_type",
    "responseModalities",
    "role",
    "service_tier",
    "severity",
    "size",
    "state",
    "status",
    "stop_reason",
    "stop_type",
    "stopReason",
    "task_type",
    "taskType",
    "tool_choice",
    "trafficType",
    "type",
];
/// Members that name a model, beside those of the tables.
const MODELS: [&str; 8] = [
    "model",
    "model_id",
    "modelId",
    "model_name",
    "modelVersion",
    "model_version",
    "response_model",
    "requested_model",
];
/// What is below these is a caller's or a model's own: nothing of it stays, not even names.
const OPAQUE: [&str; 13] = [
    "$defs",
    "args",
    "arguments",
    "definitions",
    "documents",
    "extra_headers",
    "features",
    "headers",
    "labels",
    "logit_bias",
    "metadata",
    "properties",
    "variables",
];
/// Names below them that say whose a call is.
const READ_OF_A_CALLER: [&str; 5] = ["user_id", "user_email", "session_id", "tags", "usage"];
/// Words of paths that tell nothing, beside those of the tables.
const PATH_WORDS: [&str; 22] = [
    "api",
    "openai",
    "inference",
    "v1",
    "v2",
    "v3",
    "v4",
    "v1beta",
    "v1beta1",
    "v1alpha",
    "beta",
    "deployments",
    "models",
    "model",
    "engines",
    "publishers",
    "projects",
    "locations",
    "endpoints",
    "compat",
    "compatible-mode",
    "serving-endpoints",
];
/// Longest enumeration.
const ENUMERATION_MAX: usize = 64;
/// Longest name of a model (as in a path).
const MODEL_MAX: usize = 256;

fn apis() -> impl Iterator<Item = &'static Api> {
    FAMILIES.iter().copied().flatten()
}

/// How the value of a member is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Stays, if it looks like one word.
    Enumeration,
    /// Stays, if it looks like a model's name.
    Model,
    /// Becomes another id: the same for the same, another for another.
    Id,
    /// Becomes x's.
    Text,
}

/// How the value of the member `name` is treated.
pub(super) fn treatment(name: &str) -> Treatment {
    if MODELS.contains(&name) || (!name.is_empty() && apis().any(|api| api.model == name)) {
        Treatment::Model
    } else if ENUMERATIONS.contains(&name) {
        Treatment::Enumeration
    } else if is_id(name) {
        Treatment::Id
    } else {
        Treatment::Text
    }
}

/// `name` is that of an id, or of a tool (which answers are matched by).
pub(super) fn is_id(name: &str) -> bool {
    name == "id" || name == "name" || ["_id", "Id", "ID", "-id"].iter().any(|end| name.ends_with(end))
}

/// Nothing below the member `name` stays.
pub(super) fn is_opaque(name: &str) -> bool {
    OPAQUE.contains(&name)
}

/// The name stays even there.
pub(super) fn is_read_of_a_caller(name: &str) -> bool {
    READ_OF_A_CALLER.contains(&name)
}

/// `value` looks like a word of an enumeration.
pub(super) fn is_enumeration(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/+-".contains(c);
    value.len() <= ENUMERATION_MAX && value.chars().all(allowed) && !has_long_number(value)
}

/// `value` looks like the public name of a model: no path of a machine, no fine-tuned model (which names its owner).
pub(super) fn is_public_model(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/@+-".contains(c);
    let private = ["/", ".", "ft:", "arn:", "accounts/", "projects/"].iter().any(|start| value.starts_with(start));
    value.len() <= MODEL_MAX && value.chars().all(allowed) && !private && !has_long_number(value)
}

/// Nine digits in a row: a number of an account or of a telephone. (A date has eight.)
pub(super) fn has_long_number(value: &str) -> bool {
    value.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() >= 9)
}

/// `name` looks like the name of a member, not like content.
pub(super) fn is_member_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.$:".contains(c);
    !name.is_empty() && name.len() <= ENUMERATION_MAX && name.chars().all(allowed) && !has_long_number(name)
}

/// The word stands in the path patterns of the tables, or tells nothing.
pub(super) fn is_path_word(word: &str) -> bool {
    let patterns = || apis().flat_map(|api| api.paths).flat_map(|path| path.split('/'));
    PATH_WORDS.contains(&word) || patterns().any(|known| known == word && !known.starts_with('*'))
}

/// The verb (`:generateContent`) stands in the path patterns of the tables.
pub(super) fn is_path_verb(verb: &str) -> bool {
    apis().flat_map(|api| api.paths).filter_map(|path| path.rsplit_once(':')).any(|(_, known)| known == verb)
}

/// How much of the end of `host` APIs are told by.
pub(super) fn known_host_end(host: &str) -> usize {
    let mut longest = 0;
    apis().for_each(|api| {
        visit(&api.when, &mut |when| {
            if let When::Host(end) = when
                && host.to_ascii_lowercase().ends_with(end)
            {
                longest = longest.max(end.len());
            }
        })
    });
    longest
}

/// APIs are told by this request header, or count by this header of an answer.
pub(super) fn is_read_header(name: &str) -> bool {
    let mut told = false;
    for api in apis() {
        visit(&api.when, &mut |when| told |= matches!(when, When::Header(known) if name.eq_ignore_ascii_case(known)));
        told |= api.count_headers.iter().any(|(_, known)| name.eq_ignore_ascii_case(known));
    }
    told
}

/// Conditions are two deep at the most.
fn visit(when: &When, act: &mut dyn FnMut(&When)) {
    match when {
        When::Any(all) => all.iter().for_each(act),
        one => act(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enumerations_and_models_are_words() {
        assert!(is_enumeration("chat.completion.chunk") && is_enumeration("application/json"));
        assert!(
            !is_enumeration("please wait") && !is_enumeration("call 0301234567") && !is_enumeration("user@example")
        );
        assert!(is_public_model("gpt-4o-mini-2024-07-18") && is_public_model("meta-llama/Llama-3.1-8B:free"));
        assert!(is_public_model("claude-3-5-sonnet-20241022"));
        for private in ["/home/ann/llama", "ft:gpt-4o:acme::1", "arn:aws:bedrock:us-east-1:123456789012:x", "ann's"] {
            assert!(!is_public_model(private), "{private}");
        }
    }

    #[test]
    fn what_says_something_is_masked_whatever_it_looks_like() {
        for name in ["", "content", "text", "prompt", "input", "output", "api_key", "title", "url", "data", "query"] {
            assert_eq!(treatment(name), Treatment::Text, "{name}");
        }
    }

    #[test]
    fn ids_are_known_by_their_names() {
        assert!(["id", "tool_call_id", "toolUseId", "name"].into_iter().all(is_id));
        assert!(["index", "content", "identity"].into_iter().all(|name| !is_id(name)));
    }
}
