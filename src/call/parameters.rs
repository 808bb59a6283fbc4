//! All parameters that the caller set.

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

/// JSON object of the parameters; none where the caller set none.
pub(super) fn parameters(document: &Document, api: &Api, places: Option<&Places>) -> Option<String> {
    let is_place = |key: &str| places.is_some_and(|places| key == places.input || key == places.request_model);
    members_but(document, |key| {
        NOT_PARAMETERS.contains(&key)
            || is_place(key)
            || api.input.iter().any(|name| same_name(key, name))
            || same_name(key, api.system)
            || key == api.model
    })
}

/// Two names of one member: Google's APIs take each as `systemInstruction` and as `system_instruction`.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    one == other || (!other.is_empty() && letters(one).eq(letters(other)))
}

fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

/// JSON object of all members but those left out and those that hold credentials; members of [`CONTAINERS`] stand beside
/// the others.
pub(super) fn members_but(document: &Document, left_out: impl Fn(&str) -> bool) -> Option<String> {
    let mut object = ObjectWriter::default();
    for member in document.members() {
        let (Some(key), Ok(value)) = (key(member), std::str::from_utf8(member.value)) else { continue };
        if left_out(&key) || is_credential(&key) || object.len() + value.len() > PARAMETERS_MAX {
            continue;
        }
        let parsed = if member.complete { Value::parse(value.as_bytes()) } else { None };
        match parsed {
            Some(container) if CONTAINERS.iter().any(|name| same_name(&key, name)) && container.is_object() => {
                container.members().for_each(|(key, value)| add(&mut object, &key, value));
            }
            Some(value) => add(&mut object, &key, value),
            None if member.complete => drop(object.string(&key, "[not JSON]")),
            None => drop(object.string(&key, "[too long to be kept]")),
        }
    }
    (!object.is_empty()).then(|| object.finish())
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
