//! What the request asked for: its input in the shape that Langfuse renders, and all parameters the caller set.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::credentials::{is_credential, redact};
use crate::json::{Document, Member, ObjectWriter, close_truncated, parse};
use crate::provider::Operation;

/// Members that are the input, context, or named elsewhere in the trace.
const NOT_PARAMETERS: [&str; 10] =
    ["messages", "prompt", "input", "inputs", "tools", "functions", "model", "metadata", "user", "features"];
/// Longest parameter that is kept, in bytes; a JSON schema of a response format is the longest real one.
const PARAMETER_MAX: usize = 16 * 1024;
/// Bytes of all parameters together.
const PARAMETERS_MAX: usize = 64 * 1024;

/// JSON object of the parameters; none where the caller set none.
pub(super) fn parameters(document: &Document) -> Option<String> {
    members_but(document, &NOT_PARAMETERS)
}

/// JSON object of all members but those named and those that hold credentials.
fn members_but(document: &Document, excluded: &[&str]) -> Option<String> {
    let mut object = ObjectWriter::default();
    for member in document.members() {
        let (Some(key), Ok(value)) = (key(member), std::str::from_utf8(member.value)) else { continue };
        let named = excluded.contains(&key.as_ref()) || is_credential(&key);
        if named || object.len() + value.len() > PARAMETERS_MAX {
            continue;
        }
        if !member.complete || value.len() > PARAMETER_MAX {
            object.string(&key, "[too long to be kept]");
        } else if parse::<IgnoredAny>(value.as_bytes()).is_some() {
            object.raw(&key, &redact(value));
        } else {
            object.string(&key, "[not JSON]");
        }
    }
    (!object.is_empty()).then(|| object.finish())
}

/// A key without its escapes.
fn key(member: Member<'_>) -> Option<Cow<'_, str>> {
    let key = std::str::from_utf8(member.key).ok()?;
    if !key.contains('\\') {
        return Some(Cow::Borrowed(key));
    }
    let text: String = parse(format!("\"{key}\"").as_bytes())?;
    Some(Cow::Owned(text))
}

/// The input, up to `limit` bytes: messages (with the tools that were offered, if any), the prompt, or the texts to
/// embed.
pub(super) fn input(document: &Document, operation: Operation, limit: usize) -> Option<Cow<'_, str>> {
    if limit == 0 {
        return None;
    }
    let main = match operation {
        Operation::Chat => "messages",
        Operation::Completion | Operation::Generate => "prompt",
        Operation::Embedding => "input",
    };
    let Some(main_member) = document.get(main) else { return other_input(document, limit) };
    let main_value = value(main_member, limit)?;
    let room = limit.saturating_sub(main_value.len());
    let tools = ["tools", "functions"].iter().filter_map(|key| Some((*key, value(document.get(key)?, room)?)));
    let tools: Vec<(&str, Cow<'_, str>)> = tools.collect();
    if tools.is_empty() {
        return Some(main_value);
    }
    let mut object = ObjectWriter::default();
    object.raw(main, &main_value);
    tools.into_iter().for_each(|(key, tools)| {
        object.raw(key, &redact(&tools));
    });
    Some(Cow::Owned(object.finish()))
}

/// A member as text, closed where it was cut; none where nothing of it was kept.
fn value(member: Member<'_>, limit: usize) -> Option<Cow<'_, str>> {
    let kept = member.value.get(..member.value.len().min(limit)).filter(|kept| !kept.is_empty())?;
    if member.complete && kept.len() == member.value.len() {
        return Some(String::from_utf8_lossy(kept));
    }
    Some(Cow::Owned(String::from_utf8_lossy(&close_truncated(kept)).into_owned()))
}

/// An object without the expected member is shown with what it has, less credentials; anything else as it is.
fn other_input(document: &Document, limit: usize) -> Option<Cow<'_, str>> {
    if !document.is_object() {
        return whole_text(document);
    }
    let text = members_but(document, &[])?;
    if text.len() <= limit {
        return Some(Cow::Owned(text));
    }
    let cut = close_truncated(text.as_bytes().get(..limit).unwrap_or_default());
    Some(Cow::Owned(String::from_utf8_lossy(&cut).into_owned()))
}

/// A body that is not of the expected shape is shown as it is.
pub(super) fn whole_text(document: &Document) -> Option<Cow<'_, str>> {
    let head = document.head();
    if head.trim_ascii().is_empty() {
        return None;
    }
    if document.is_object() && !document.is_closed() {
        return Some(Cow::Owned(String::from_utf8_lossy(&close_truncated(head)).into_owned()));
    }
    Some(String::from_utf8_lossy(head))
}
