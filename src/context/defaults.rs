//! The sources of each field where the configuration names no others, best first: who is asked before whom.
//!
//! Langfuse's own contract (<https://langfuse.com/docs/gateway/features/tracing>) stands before all others; what the
//! caller says in a header stands before what it says in the body, and what the gateway found out by itself at the end,
//! because it knows the application that calls and the caller knows for whom. `docs/context.md` tells users about each.

use super::rules::Field;

/// Sources of a field.
pub(super) fn sources(field: Field) -> &'static [&'static str] {
    match field {
        Field::User => &USER,
        Field::Session => &SESSION,
        Field::TraceName => &TRACE_NAME,
        Field::ObservationName => &OBSERVATION_NAME,
        Field::TraceId => &TRACE_ID,
        Field::ParentId => &PARENT_ID,
        Field::PromptName => &PROMPT_NAME,
        Field::PromptVersion => &PROMPT_VERSION,
        Field::Environment => &["baggage:langfuse_environment"],
        Field::Release => &RELEASE,
        Field::Version => &VERSION,
    }
}

const USER: [&str; 29] = [
    "header:langfuse-user-id",
    "baggage:langfuse_user_id",
    // LiteLLM's names, as LiteLLM writes them and as proxies must that drop `_`.
    "header:langfuse_trace_user_id",
    "header:x-langfuse-trace-user-id",
    "header:langfuse_user_id",
    "header:x-langfuse-user-id",
    // The predecessor's.
    "header:x-user-id",
    "header:user-id",
    "header:x-user-email",
    "header:user-email",
    "header:x-auth-user",
    "header:authorization-user",
    "header:x-openwebui-user-id",
    "header:x-openwebui-user-email",
    "header:helicone-user-id",
    "header:x-litellm-end-user-id",
    "header:x-litellm-customer-id",
    "header:x-portkey-metadata#/_user",
    "body:/metadata/trace_user_id",
    "body:/metadata/user_id",
    "body:/metadata/user_email",
    "body:/user",
    "body:/safety_identifier",
    // What the gateway knows.
    "claim:sub",
    "header:x-authenticated-userid",
    "header:x-consumer-username",
    "header:x-consumer-custom-id",
    "header:x-consumer-id",
    "header:x-mse-consumer",
];

const SESSION: [&str; 14] = [
    "header:langfuse-session-id",
    "baggage:langfuse_session_id",
    "header:langfuse_session_id",
    "header:x-langfuse-session-id",
    // Before `x-session-id` and `session-id`, in which agents put less than their session.
    "agent",
    "header:x-session-id",
    "header:session-id",
    "header:x-openwebui-chat-id",
    "header:helicone-session-id",
    "header:x-litellm-session-id",
    "header:agent-session-id",
    "body:/metadata/session_id",
    "body:/session_id",
    "body:/trace/session_id",
];

const TRACE_NAME: [&str; 7] = [
    "header:langfuse-trace-name",
    "baggage:langfuse_trace_name",
    "header:langfuse_trace_name",
    "header:x-langfuse-trace-name",
    "header:helicone-session-name",
    "body:/metadata/trace_name",
    "body:/trace/trace_name",
];

const OBSERVATION_NAME: [&str; 5] = [
    "header:langfuse_generation_name",
    "header:x-langfuse-generation-name",
    "body:/metadata/generation_name",
    "body:/trace/generation_name",
    "body:/trace/span_name",
];

/// Explicit ids of the trace alone: never a session's.
const TRACE_ID: [&str; 9] = [
    "header:langfuse_trace_id",
    "header:x-langfuse-trace-id",
    "header:langfuse_existing_trace_id",
    "header:x-langfuse-existing-trace-id",
    "header:x-litellm-trace-id",
    "header:x-portkey-trace-id",
    "body:/metadata/existing_trace_id",
    "body:/metadata/trace_id",
    "body:/trace/trace_id",
];

const PARENT_ID: [&str; 4] = [
    "header:langfuse_parent_observation_id",
    "header:x-langfuse-parent-observation-id",
    "body:/metadata/parent_observation_id",
    "body:/trace/parent_span_id",
];

const PROMPT_NAME: [&str; 7] = [
    "header:langfuse-prompt-name",
    "baggage:langfuse_prompt_name",
    "header:langfuse_prompt_name",
    "header:x-langfuse-prompt-name",
    "body:/metadata/prompt/name",
    "body:/metadata/langfuse_prompt/name",
    "body:/metadata/langfuse_prompt_name",
];

/// In the order of [`PROMPT_NAME`].
const PROMPT_VERSION: [&str; 7] = [
    "header:langfuse-prompt-version",
    "baggage:langfuse_prompt_version",
    "header:langfuse_prompt_version",
    "header:x-langfuse-prompt-version",
    "body:/metadata/prompt/version",
    "body:/metadata/langfuse_prompt/version",
    "body:/metadata/langfuse_prompt_version",
];

const RELEASE: [&str; 4] = [
    "baggage:langfuse_release",
    "header:langfuse_trace_release",
    "header:x-langfuse-trace-release",
    "body:/metadata/trace_release",
];

const VERSION: [&str; 5] = [
    "baggage:langfuse_version",
    "header:langfuse_trace_version",
    "header:x-langfuse-trace-version",
    "body:/metadata/trace_version",
    "body:/metadata/version",
];

/// Tags of all of these are put together.
pub(super) const TAGS: [&str; 7] = [
    "header:langfuse-tags",
    "baggage:langfuse_tags",
    "header:langfuse_tags",
    "header:x-langfuse-tags",
    "header:x-litellm-tags",
    "body:/metadata/tags",
    "body:/trace/tags",
];

/// Metadata, the first of a key wins: what becomes the value of a key, or (`*`) an object whose members, or headers and
/// entries of baggage that begin alike, become one key each.
pub(super) const METADATA: [(&str, &str); 29] = [
    ("*", "header:langfuse-metadata"),
    ("*", "baggage:langfuse_metadata_*"),
    ("*", "header:x-langfuse-metadata"),
    ("chat_id", "header:x-chat-id"),
    ("message_id", "header:x-message-id"),
    ("organization_id", "header:openai-organization"),
    ("organization_id", "header:x-organization-id"),
    ("project_id", "header:x-project-id"),
    ("project_id", "header:project-id"),
    ("project_id", "header:openai-project"),
    ("chat_id", "header:x-openwebui-chat-id"),
    ("message_id", "header:x-openwebui-message-id"),
    ("user_name", "header:x-openwebui-user-name"),
    ("user_email", "header:x-openwebui-user-email"),
    ("user_role", "header:x-openwebui-user-role"),
    ("consumer_groups", "header:x-consumer-groups"),
    ("*", "header:langfuse_*"),
    ("*", "header:helicone-property-*"),
    ("helicone_session_path", "header:helicone-session-path"),
    ("*", "header:x-portkey-metadata"),
    ("*", "header:cf-aig-metadata"),
    ("*", "baggage:langfuse_*"),
    ("*", "body:/metadata"),
    ("*", "body:/trace"),
    ("features", "body:/features"),
    ("prompt_cache_key", "body:/prompt_cache_key"),
    ("safety_identifier", "body:/safety_identifier"),
    ("session_id", "body:/session_id"),
    ("client_metadata", "body:/client_metadata"),
];

/// Headers that each of Kong's authentication plugins sets or takes away
/// (<https://developer.konghq.com/gateway/authentication/>). `X-Authenticated-Userid` and `X-Consumer-Groups` are not
/// among them: only some plugins write these, and behind the others they are the caller's.
pub(super) const CONSUMER_HEADERS: [&str; 4] =
    ["x-consumer-username", "x-consumer-custom-id", "x-consumer-id", "x-credential-identifier"];
