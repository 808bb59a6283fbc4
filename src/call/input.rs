//! What the request asked: its input, in the shape that Langfuse renders.
//!
//! Messages stay as they were sent where that is OpenAI's or Anthropic's shape; a system prompt that stands beside them
//! becomes the first message; messages made of parts (Gemini, Bedrock) become OpenAI's.

use std::borrow::Cow;

use super::parameters::{members as all_members, same_name, whole_text};
use crate::credentials::redact;
use crate::json::{Document, Member, Object, ObjectWriter, Value, close_truncated, write_string};
use crate::provider::{Api, Block};

/// The input, up to about `limit` bytes; none where there is none, or none may be kept.
pub(super) fn input<'a>(document: &'a Document, api: &Api, limit: usize) -> Option<Cow<'a, str>> {
    if limit == 0 || api.input.is_empty() {
        return None;
    }
    let mut members = api.input.iter().filter_map(|key| Some((*key, named(document, key)?)));
    let Some((main, main_member)) = members.next() else { return other_input(document, limit) };
    let main_value = value(main_member, limit)?;
    let room = limit.saturating_sub(main_value.len());
    let is_something = |value: &Cow<'_, str>| !matches!(value.as_ref(), "null" | "\"\"" | "[]");
    let shown = |member| value(member, room).filter(is_something);
    let system = named(document, api.system).and_then(shown);
    let others: Vec<_> = members.filter_map(|(key, member)| Some((key, shown(member)?))).collect();
    let messages = if api.system.is_empty() && !api.has_parts {
        None
    } else {
        messages(&main_value, system.as_deref(), !others.is_empty(), api, limit)
    };
    if others.is_empty() {
        return Some(messages.map_or(main_value, Cow::Owned));
    }
    let mut object = ObjectWriter::default();
    object.raw(if messages.is_some() { "messages" } else { main }, messages.as_deref().unwrap_or(&main_value));
    others.into_iter().for_each(|(key, value)| {
        object.raw(key, &redact(&value));
    });
    Some(Cow::Owned(object.finish()))
}

/// The member of that name, or of another form of it.
fn named<'a>(document: &'a Document, name: &str) -> Option<Member<'a>> {
    let is_named = |member: &Member<'_>| std::str::from_utf8(member.key).is_ok_and(|key| same_name(key, name));
    document.get(name).or_else(|| document.members().find(is_named))
}

/// The input that stands at `place`, up to `limit` bytes; the whole body where there is none.
pub(super) fn input_at<'a>(document: &'a Document, place: &str, limit: usize) -> Option<Cow<'a, str>> {
    let found = if place.is_empty() { Value::ABSENT } else { document.at(place) };
    match found.raw() {
        _ if limit == 0 => None,
        "" => other_input(document, limit),
        raw if raw.len() <= limit => Some(Cow::Borrowed(raw)),
        raw => {
            let cut = close_truncated(raw.as_bytes().get(..limit).unwrap_or_default());
            Some(Cow::Owned(String::from_utf8_lossy(&cut).into_owned()))
        }
    }
}

/// Messages in OpenAI's shape; none where they are in it already, or cannot be brought into it.
fn messages(main: &str, system: Option<&str>, beside: bool, api: &Api, limit: usize) -> Option<String> {
    let main = Value::parse(main.as_bytes())?;
    let is_shown_as_it_is = if main.is_array() { !api.has_parts } else { !beside };
    if system.is_none() && is_shown_as_it_is {
        return None;
    }
    let mut out = String::from("[");
    let system = system.and_then(|system| Value::parse(system.as_bytes())).unwrap_or_default();
    if system.is_string() || system.is_object() || system.items().next().is_some() {
        let mut message = Object::open(&mut out);
        message.text("role", "system");
        match system_text(system) {
            Some(text) => message.text("content", &text),
            None => message.raw("content", system.raw()),
        }
        message.close();
    }
    if main.is_string() {
        separate(&mut out);
        let mut message = Object::open(&mut out);
        message.text("role", "user");
        message.raw("content", main.raw());
        message.close();
    }
    for message in main.items() {
        separate(&mut out);
        if api.has_parts && has_bare_parts(message) {
            convert(&mut out, message)
        } else {
            out.push_str(message.raw())
        }
        // Many empty messages would grow as messages: they stay as they are.
        if out.len() > limit.saturating_add(limit / 2).saturating_add(1024) {
            return None;
        }
    }
    out.push(']');
    Some(out)
}

fn separate(out: &mut String) {
    if !out.ends_with('[') {
        out.push(',');
    }
}

/// The text of a system prompt made of parts, where it is nothing but text; a plain text needs no other form.
fn system_text(system: Value<'_>) -> Option<String> {
    let parts = if system.is_object() { system.get("parts") } else { system };
    if !parts.is_array() {
        return None;
    }
    let mut texts = Vec::new();
    for part in parts.items() {
        match Block::read(part) {
            // With a cache mark or the like it stays as it is.
            Block::Text(text) if part.members().all(|(key, _)| matches!(key.as_ref(), "text" | "type")) => {
                texts.push(text.text()?);
            }
            _ => return None,
        }
    }
    Some(texts.join("\n"))
}

/// The message is made of parts, and they do not say their type as OpenAI's and Anthropic's do.
fn has_bare_parts(message: Value<'_>) -> bool {
    let parts = message.get("parts").or(message.get("content"));
    parts.items().next().is_some_and(|part| part.get("type").is_nothing())
}

/// One message made of parts as one of OpenAI's, the results of tools in it as messages of their own.
fn convert(out: &mut String, message: Value<'_>) {
    let role = message.get("role").text().unwrap_or(Cow::Borrowed("user"));
    let parts = message.get("parts").or(message.get("content"));
    let results = parts.items().filter_map(tool_result);
    let before = out.len();
    for (id, result) in results {
        if out.len() > before {
            out.push(',');
        }
        let mut message = Object::open(out);
        message.text("role", "tool");
        message.raw("tool_call_id", id.raw());
        message.raw("content", if result.is_nothing() { "null" } else { result.raw() });
        message.close();
    }
    let rest = || parts.items().filter(|part| tool_result(*part).is_none());
    if out.len() > before {
        if rest().next().is_none() {
            return;
        }
        out.push(',');
    }
    let mut object = Object::open(out);
    object.text("role", if role == "model" { "assistant" } else { &role });
    content(object.key("content"), rest);
    reasoning(&mut object, rest);
    tool_calls(&mut object, rest);
    object.close();
}

/// Id (or name) and content of a tool's result.
fn tool_result(part: Value<'_>) -> Option<(Value<'_>, Value<'_>)> {
    let (gemini, bedrock) = (part.get("functionResponse"), part.get("toolResult"));
    if gemini.is_object() {
        return Some((gemini.get("id").or(gemini.get("name")), gemini.get("response")))
            .filter(|(id, _)| id.is_string());
    }
    Some((bedrock.get("toolUseId"), bedrock.get("content"))).filter(|(id, _)| id.is_string())
}

/// The parts that are no calls: one text as such, else a list.
fn content<'a, I: Iterator<Item = Value<'a>>>(out: &mut String, parts: impl Fn() -> I) {
    let shown = || parts().map(Block::read).filter(|block| matches!(block, Block::Text(_) | Block::Other(_)));
    let mut first = shown();
    match (first.next(), first.next()) {
        (None, _) => out.push_str("null"),
        (Some(Block::Text(text)), None) => out.push_str(text.raw()),
        _ => {
            out.push('[');
            for block in shown() {
                separate(out);
                match block {
                    Block::Text(text) => {
                        let mut part = Object::open(out);
                        part.text("type", "text");
                        part.raw("text", text.raw());
                        part.close();
                    }
                    Block::Other(other) => out.push_str(other.raw()),
                    _ => {}
                }
            }
            out.push(']');
        }
    }
}

fn reasoning<'a, I: Iterator<Item = Value<'a>>>(object: &mut Object<'_>, parts: impl Fn() -> I) {
    let mut text = String::new();
    for part in parts() {
        if let Block::Reasoning(more) = Block::read(part) {
            text.push_str(&more.text().unwrap_or_default());
        }
    }
    if !text.is_empty() {
        object.text("reasoning_content", &text);
    }
}

fn tool_calls<'a, I: Iterator<Item = Value<'a>>>(object: &mut Object<'_>, parts: impl Fn() -> I) {
    let calls = || parts().map(Block::read).filter(|block| matches!(block, Block::Call(..)));
    if calls().next().is_none() {
        return;
    }
    let out = object.key("tool_calls");
    out.push('[');
    for block in calls() {
        let Block::Call(id, name, arguments) = block else { continue };
        separate(out);
        let mut call = Object::open(out);
        call.text("id", &id.text().unwrap_or_default());
        call.text("type", "function");
        let mut function = Object::open(call.key("function"));
        function.text("name", &name.text().unwrap_or_default());
        write_string(function.key("arguments"), if arguments.is_nothing() { "{}" } else { arguments.raw() });
        function.close();
        call.close();
    }
    out.push(']');
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
    let text = all_members(document)?;
    if text.len() <= limit {
        return Some(Cow::Owned(text));
    }
    let cut = close_truncated(text.as_bytes().get(..limit).unwrap_or_default());
    Some(Cow::Owned(String::from_utf8_lossy(&cut).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::json::Limits;
    use crate::provider::families::FAMILIES;
    use crate::provider::find;

    fn input_of(path: &str, body: &str) -> String {
        let api = find(path.as_bytes(), &[], &[]).unwrap().api().unwrap();
        let lease = Budget::new(1 << 20).capture_lease();
        let mut document = Document::new(Limits { head: 1 << 16, member: 1 << 16 }, lease);
        document.push(body.as_bytes());
        input(&document, api, 1 << 16).unwrap().into_owned()
    }

    fn shown(family: &str, body: &str) -> String {
        let api = FAMILIES.iter().copied().flatten().rfind(|api| api.family == family).unwrap();
        let mut document =
            Document::new(Limits { head: 1 << 20, member: 1 << 20 }, Budget::new(1 << 20).capture_lease());
        document.push(body.as_bytes());
        input(&document, api, 1 << 20).unwrap().into_owned()
    }

    #[test]
    fn a_system_prompt_becomes_the_first_message() {
        assert_eq!(
            input_of("/api/generate", r#"{"prompt":"p","system":"s","context":[]}"#),
            r#"[{"role":"system","content":"s"},{"role":"user","content":"p"}]"#
        );
        assert_eq!(
            input_of("/v1/chat", r#"{"message":"m","preamble":"s","chat_history":[{"role":"USER","message":"h"}]}"#),
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"m"}],"chat_history":[{"role":"USER","message":"h"}]}"#
        );
    }

    #[test]
    fn what_is_empty_is_not_shown_beside_the_input() {
        let body = r#"{"prompt":"p","system":"","suffix":null,"images":[],"context":[]}"#;
        assert_eq!(input_of("/api/generate", body), r#""p""#);
        let user = r#"{"role":"user","content":[{"type":"text","text":"b"}]}"#;
        let body = |system: &str| format!(r#"{{"messages":[{user}],"system":{system},"max_tokens":1}}"#);
        for (system, content) in [
            (r#""a""#, r#""a""#),
            (r#"[{"type":"text","text":"a"},{"type":"text","text":"c"}]"#, r#""a\nc""#),
            (
                r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#,
                r#"[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]"#,
            ),
        ] {
            let expected = format!(r#"[{{"role":"system","content":{content}}},{user}]"#);
            assert_eq!(shown("anthropic.messages", &body(system)), expected);
            assert_eq!(shown("bedrock.invoke", &body(system)), expected, "typed parts stay as they are");
        }
        for none in ["null", "[]"] {
            assert_eq!(shown("anthropic.messages", &body(none)), format!("[{user}]"), "{none}");
        }
    }

    #[test]
    fn messages_of_bare_parts_become_openais() {
        let body = r#"{"system":[{"text":"s"}],"messages":[
            {"role":"user","content":[{"guardContent":{"text":{"text":"a","qualifiers":["query"]}}}]},
            {"role":"assistant","content":[{"text":"b"},{"toolUse":{"toolUseId":"t","name":"f","input":{"x":1}}}]},
            {"role":"user","content":[{"toolResult":{"toolUseId":"t","content":[{"text":"r"}]}}]},
            {"role":"user","content":[{"text":"c"},{"cachePoint":{"type":"default"}}]},
            {"role":"user","content":"d"}],"toolConfig":{"tools":[]},"inferenceConfig":{"maxTokens":1}}"#;
        let messages = concat!(
            r#"[{"role":"system","content":"s"},{"role":"user","content":"a"},"#,
            r#"{"role":"assistant","content":"b","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},"#,
            r#"{"role":"tool","tool_call_id":"t","content":[{"text":"r"}]},"#,
            r#"{"role":"user","content":[{"type":"text","text":"c"},{"cachePoint":{"type":"default"}}]},"#,
            r#"{"role":"user","content":"d"}]"#
        );
        let expected = format!(r#"{{"messages":{messages},"toolConfig":{{"tools":[]}}}}"#);
        assert_eq!(shown("bedrock.converse", body), expected);
        assert_eq!(shown("bedrock.invoke", body), expected);
    }

    #[test]
    fn the_first_member_that_is_there_is_the_main_one() {
        for (body, expected) in [
            (r#"{"prompt":"a","max_gen_len":1}"#, r#""a""#),
            (r#"{"inputText":"a","textGenerationConfig":{}}"#, r#""a""#),
            (
                r#"{"message":"a","chat_history":[{"role":"USER","message":"b"}]}"#,
                r#"{"messages":[{"role":"user","content":"a"}],"chat_history":[{"role":"USER","message":"b"}]}"#,
            ),
            (r#"{"taskType":"TEXT_IMAGE"}"#, r#"{"taskType":"TEXT_IMAGE"}"#),
        ] {
            assert_eq!(shown("bedrock.invoke", body), expected);
        }
    }
}
