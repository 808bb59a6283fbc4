//! All parameters that the caller set, as the provider says that it took them.

use std::borrow::Cow;

use crate::credentials::{is_credential, redact};
use crate::json::{Document, Member, ObjectWriter, Value, close_truncated, trim};
use crate::provider::{Api, Places};
use crate::trace::MetadataValue;

/// Members that are the input, context, or named elsewhere in the trace.
const NOT_PARAMETERS: [&str; 10] =
    ["messages", "prompt", "input", "inputs", "tools", "functions", "model", "metadata", "user", "features"];
/// Members in which some families put parameters (Gemini, Bedrock's Converse and Titan, Ollama, TGI and watsonx).
const CONTAINERS: [&str; 5] = ["generationConfig", "inferenceConfig", "textGenerationConfig", "options", "parameters"];
/// Longest parameter that is kept, in bytes; a JSON schema of a response format is the longest real one.
const PARAMETER_MAX: usize = 16 * 1024;
/// Bytes of all parameters together.
const PARAMETERS_MAX: usize = 64 * 1024;

/// The tier at which the call is billed: Langfuse chooses the model's prices by the parameter of this name.
const TIER: &str = "service_tier";

/// JSON object of the parameters; none where the caller set none. Those that the caller left to the provider (null, or
/// empty) are none. Of tier and speed, what the provider says of the answer (`billed_at`) counts, whatever was asked for.
pub(super) fn parameters(
    document: &Document,
    api: &Api,
    places: Option<&Places>,
    billed_at: &[(&'static str, String)],
) -> Option<String> {
    let is_place = |key: &str| places.is_some_and(|places| key == places.input || key == places.request_model);
    let is_billed = |key: &str| same_name(key, TIER) || billed_at.iter().any(|(name, _)| *name == key);
    let mut object = ObjectWriter::default();
    let left_out = |key: &str| {
        NOT_PARAMETERS.contains(&key)
            || is_place(key)
            || api.input.iter().any(|name| same_name(key, name))
            || same_name(key, api.system)
            || key == api.model
    };
    add_members(&mut object, document, left_out, |key, value| !is_empty(value) && !is_billed(key));
    for (name, word) in billed_at {
        object.string(name, word);
    }
    if let Some(asked) = asked_tier(document).filter(|_| !billed_at.iter().any(|(name, _)| *name == TIER)) {
        object.string(TIER, &asked);
    }
    (!object.is_empty()).then(|| object.finish())
}

/// The tier that was asked for (Bedrock's is an object), where that is one.
fn asked_tier(document: &Document) -> Option<String> {
    let asked = document.value(TIER).or(document.value("serviceTier"));
    let word = asked.non_empty().or_else(|| asked.get("type").non_empty())?;
    (!matches!(word.as_ref(), "auto" | "default") && word.len() <= PARAMETER_MAX).then(|| word.into_owned())
}

/// Nothing that anybody set.
fn is_empty(value: Value<'_>) -> bool {
    match value {
        value if value.is_array() => value.items().next().is_none(),
        value if value.is_object() => value.members().next().is_none(),
        value => value.is_nothing() || value.raw() == "\"\"",
    }
}

/// Two names of one member: Google's APIs take each as `systemInstruction` and as `system_instruction`.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    one == other || (!other.is_empty() && letters(one).eq(letters(other)))
}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

/// JSON object of all members.
pub(super) fn members(document: &Document) -> Option<String> {
    let mut object = ObjectWriter::default();
    add_members(&mut object, document, |_| false, |_, _| true);
    (!object.is_empty()).then(|| object.finish())
}

/// Adds all members but those left out and those that hold credentials, and of these the ones to be kept; members of
/// [`CONTAINERS`] stand beside the others.
fn add_members(
    object: &mut ObjectWriter,
    document: &Document,
    left_out: impl Fn(&str) -> bool,
    is_kept: impl Fn(&str, Value<'_>) -> bool,
) {
    for member in document.members() {
        let (Some(key), Ok(value)) = (key(member), std::str::from_utf8(member.value)) else { continue };
        if left_out(&key) || is_credential(&key) || object.len() + value.len() > PARAMETERS_MAX {
            continue;
        }
        let mut add = |key: &str, value: Value<'_>| {
            if is_kept(key, value) {
                add(object, key, value);
            }
        };
        let parsed = if member.complete { Value::parse(value.as_bytes()) } else { None };
        match parsed {
            Some(container) if CONTAINERS.iter().any(|name| same_name(&key, name)) && container.is_object() => {
                container.members().for_each(|(key, value)| add(&key, value));
            }
            Some(value) => add(&key, value),
            None if member.complete => drop(object.string(&key, "[not JSON]")),
            None => drop(object.string(&key, "[too long to be kept]")),
        }
    }
}

fn add(object: &mut ObjectWriter, key: &str, value: Value<'_>) {
    if is_credential(key) {
        return;
    }
    if value.raw().len() > PARAMETER_MAX {
        object.string(key, "[too long to be kept]");
    } else {
        object.raw(key, &redact(value.raw()));
    }
}

/// A number that the caller set, also in one of [`CONTAINERS`].
pub(super) fn number(document: &Document, key: &str) -> Option<MetadataValue<'static>> {
    let inside = || CONTAINERS.iter().map(|name| document.value(name).get(key)).find(|value| !value.is_nothing());
    let value = document.value(key).something().or_else(inside)?;
    let whole = value.raw().parse().ok().map(MetadataValue::Int);
    whole.or_else(|| value.raw().parse().ok().map(MetadataValue::Float))
}

/// A key without its escapes.
fn key(member: Member<'_>) -> Option<Cow<'_, str>> {
    let key = std::str::from_utf8(member.key).ok()?;
    if !key.contains('\\') {
        return Some(Cow::Borrowed(key));
    }
    Value::parse(format!("\"{key}\"").as_bytes())?.text().map(|text| Cow::Owned(text.into_owned()))
}

/// A body that is not of the expected shape is shown as it is.
pub(super) fn whole_text(document: &Document) -> Option<Cow<'_, str>> {
    let head = document.head();
    if trim(head).is_empty() {
        return None;
    }
    if document.is_object() && !(document.is_closed() && document.is_whole()) {
        return Some(Cow::Owned(String::from_utf8_lossy(&close_truncated(head)).into_owned()));
    }
    Some(String::from_utf8_lossy(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::json::Limits;
    use crate::provider::find;

    fn sent(path: &str, body: &str, billed_at: &[(&'static str, &str)]) -> Option<String> {
        let mut document =
            Document::new(Limits { head: 1 << 16, member: 1 << 16 }, Budget::new(1 << 20).capture_lease());
        document.push(body.as_bytes());
        let billed_at: Vec<_> = billed_at.iter().map(|(name, word)| (*name, (*word).to_owned())).collect();
        parameters(&document, find(path.as_bytes(), &[], &[]).unwrap().api().unwrap(), None, &billed_at)
    }

    #[test]
    fn what_nobody_set_is_no_parameter() {
        let body = r#"{"model":"m","messages":[],"temperature":0,"top_p":null,"stop":[],"logit_bias":{},"suffix":"",
            "stream":false,"seed":1,"response_format":{"type":"text"}}"#;
        let expected = r#"{"temperature":0,"stream":false,"seed":1,"response_format":{"type":"text"}}"#;
        assert_eq!(sent("/v1/chat/completions", body, &[]).as_deref(), Some(expected));
        let nested = r#"{"contents":[],"generationConfig":{"temperature":null,"stopSequences":[],"topK":1}}"#;
        assert_eq!(sent("/v1beta/models/m:generateContent", nested, &[]).as_deref(), Some(r#"{"topK":1}"#));
        assert_eq!(sent("/v1/chat/completions", r#"{"messages":[],"top_p":null}"#, &[]), None);
    }

    #[test]
    fn the_tier_and_speed_are_those_of_the_answer() {
        let chat = |body: &str, billed_at| sent("/v1/chat/completions", body, billed_at);
        for (body, billed_at, expected) in [
            (r#"{"service_tier":"auto"}"#, &[("service_tier", "default")][..], Some(r#"{"service_tier":"default"}"#)),
            (r#"{"service_tier":"flex"}"#, &[("service_tier", "default")], Some(r#"{"service_tier":"default"}"#)),
            (r#"{"seed":1}"#, &[("service_tier", "flex")], Some(r#"{"seed":1,"service_tier":"flex"}"#)),
            (r#"{"service_tier":"flex"}"#, &[], Some(r#"{"service_tier":"flex"}"#)),
            (r#"{"service_tier":"auto"}"#, &[], None),
            (r#"{"service_tier":"default"}"#, &[], None),
            (r#"{"serviceTier":{"type":"priority"}}"#, &[], Some(r#"{"service_tier":"priority"}"#)),
            (r#"{"speed":"fast"}"#, &[("speed", "standard")], Some(r#"{"speed":"standard"}"#)),
            (r#"{"speed":1.5}"#, &[], Some(r#"{"speed":1.5}"#)),
        ] {
            assert_eq!(chat(body, billed_at).as_deref(), expected, "{body} {billed_at:?}");
        }
    }
}
