//! A redacted exchange says nothing of what was said, and is read as the original is.
//!
//! Each word of a redacted file must be one of those that may stay. Which ones may is found here anew, with a parser of
//! JSON: names of members, values of the members in [`ENUMERATIONS`] and [`MODELS`], numbers, and words of the framing.

use super::expectation::corpus;
use super::{explain, file, fixture};
use ai_tracing::config::Settings;
use ai_tracing::explain::{Exchange, differences, redact};
use ai_tracing::provider::FAMILIES;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::HashSet;
use std::rc::Rc;
use testkit::cassettes::Cassette;

/// Members whose values may stay where they are one word.
const ENUMERATIONS: &str = "type object role event event_type eventType finish_reason finishReason stop_reason stopReason \
    stop_type completionReason completion_reason done_reason block_reason blockReason reason status state code severity \
    probability category modality modalities response_modalities responseModalities encoding_format embedding_types \
    response_type response_format input_type task_type taskType mime_type mimeType media_type format effort quality size \
    service_tier api_version anthropic_version trafficType tool_choice mode";
/// Members that name a model.
const MODELS: &str =
    "model model_id modelId model_name modelVersion model_version response_model requested_model version";
/// Members below which nothing may stay but what they say of a call's owner.
const OPAQUE: &str = "arguments args metadata labels features properties headers extra_headers definitions $defs documents \
    variables logit_bias";
/// Words of the file itself, of paths, of `multipart/form-data`, and of event streams.
const FRAMING: &str = "note redacted by ai-tracing explain --redact request response method path query host headers \
    removed_headers framing body body_encoding status code_details complete started_at duration_ms first_content_ms base64 \
    utf8 none POST data event retry error DONE Content-Disposition Content-Type form-data name filename base64 \
    user_id user_email session_id tags usage event-type message-type content-type exception-type error-code file \
    messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata chunk true false null";

/// Words of paths and queries that tell nothing, beside those of the tables of APIs.
const PATHS: &str = "openai inference v1beta v1beta1 v1alpha beta deployments models model engines publishers projects \
    locations endpoints compat compatible mode serving endpoints version preview";

#[test]
fn redacted_calls_are_read_as_the_originals() {
    let settings = Rc::new(Settings::load(b"{}", &|_| None).unwrap());
    for cassette in &corpus() {
        let original = Exchange::parse(&std::fs::read(file(cassette)).unwrap()).unwrap();
        let differing = differences(&original, &redact(&original), &settings);
        assert!(differing.is_empty(), "{}: {differing:?}", cassette.id);
    }
}

#[test]
fn redacting_twice_gives_the_same() {
    for cassette in &corpus() {
        let once = explain(&["--redact", file(cassette).to_str().unwrap()], b"");
        assert_eq!(
            (once.status.code(), String::from_utf8_lossy(&once.stderr).as_ref()),
            (Some(0), ""),
            "{}",
            cassette.id
        );
        let twice = explain(&["--redact", "-"], &once.stdout);
        assert!(once.stdout == twice.stdout, "{}", cassette.id);
    }
}

#[test]
fn no_word_of_what_was_said_survives() {
    let (mut masked, mut said) = (0, Vec::new());
    for cassette in &corpus() {
        let file: Value = serde_json::from_slice(&std::fs::read(file(cassette)).unwrap()).unwrap();
        let original = Exchange::parse(file.to_string().as_bytes()).unwrap();
        let redacted = serde_json::to_value(redact(&original)).unwrap();
        let allowed = allowed(&file, cassette);
        for text in texts(&redacted) {
            let (masks, others): (Vec<_>, Vec<_>) = words(&text).into_iter().partition(|word| is_mask(word));
            let survivors = others.into_iter().filter(|word| !allowed.contains(word));
            said.extend(survivors.map(|word| format!("{}: {word}", cassette.id)));
            masked += masks.len();
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
    assert!(masked == 0 || masked > 10_000, "{masked} words were masked");
}

#[test]
fn the_example_is_redacted() {
    let output = explain(&["--redact", fixture().to_str().unwrap()], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    for said in ["ann", "tuesday", "weather", "umbrella", "team", "support", "chatcmpl"] {
        assert!(!words(&text).iter().any(|word| word == said), "{said} in {text}");
    }
    for kept in ["gpt-4o-2024-08-06", "x-user-id", "finish_reason", "length", "[DONE]", "2026-01-31T12:00:00Z"] {
        assert!(text.contains(kept), "{kept} not in {text}");
    }
}

#[test]
fn keys_are_gone() {
    let exchange = r#"{"request": {"path": "/v1/chat/completions", "query": "key=AIzaSECRET&alt=sse",
        "headers": {"Authorization": "Bearer sk-SECRET", "x-api-key": "sk-SECRET", "cookie": "a=SECRET", "x-team": "SECRET"},
        "body": {"model": "gpt-4o", "api_key": "sk-SECRET", "messages": [{"role": "user", "content": "SECRET"}]}}}"#;
    let output = explain(&["--redact", "-"], exchange.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("gpt-4o") && text.contains("alt=sse") && !text.contains("SECRET"),
        "{text}"
    );
}

/// Runs of at least four letters and digits, escapes of JSON and of URLs aside.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '%']) {
        let (before, escape) = rest.split_at(at);
        let len = if escape.starts_with("\\u") {
            6
        } else if escape.starts_with('%') {
            3
        } else {
            2
        };
        let is_whole = escape.is_char_boundary(len);
        plain.extend([before, " "]);
        rest = escape.split_at(if is_whole { len } else { 1 }).1;
    }
    plain.push_str(rest);
    let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() >= 4);
    words.map(str::to_owned).collect()
}

/// What stands for a word, for an id (with a number at its end), or for a number with an exponent.
fn is_mask(word: &str) -> bool {
    let front = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let all = |text: &str| text.chars().all(|c| "x×ẍ𝐱1".contains(c));
    all(word) || (all(front) && !front.is_empty()) || word.strip_suffix('e').is_some_and(all)
}

/// All that a file says: its strings and names, and what is in base64 decoded.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => decoded(text),
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => {
            members.iter().flat_map(|(name, value)| std::iter::once(name.clone()).chain(texts(value))).collect()
        }
        Value::Number(number) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// A text; where it is base64, what it holds, and what that holds.
fn decoded(text: &str) -> Vec<String> {
    let Some(bytes) = STANDARD.decode(text).ok().filter(|_| text.len() >= 40) else { return vec![text.to_owned()] };
    let inner: Vec<String> = documents(&bytes).iter().flat_map(texts).collect();
    // Base64 inside is told by what it holds.
    let is_plain = |part: &&str| STANDARD.decode(part).is_err() || part.len() < 40;
    let plain = unframed(&bytes);
    let outside: Vec<&str> = plain.split('"').filter(is_plain).collect();
    inner.into_iter().chain([outside.join("\"")]).collect()
}

/// AWS event stream without lengths and checksums, which may look like words; anything else as it is.
fn unframed(mut bytes: &[u8]) -> String {
    let mut out = String::new();
    while let Some((prelude, rest)) = bytes.split_first_chunk::<12>().filter(|_| bytes[0] == 0) {
        let total = u32::from_be_bytes(prelude[..4].try_into().unwrap()) as usize;
        let (message, after) = rest.split_at(total.saturating_sub(12).min(rest.len()));
        out.push_str(&String::from_utf8_lossy(&message[..message.len().saturating_sub(4)]));
        bytes = after;
    }
    out + &String::from_utf8_lossy(bytes)
}

/// All JSON objects and arrays in `bytes`, one after another.
fn documents(bytes: &[u8]) -> Vec<Value> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let mut documents = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
        let found = if b"{[".contains(&bytes[at]) { documents.next().and_then(Result::ok) } else { None };
        at += if found.is_some() { documents.byte_offset() } else { 1 };
        out.extend(found);
    }
    out
}

/// The words that may stay of an exchange file.
fn allowed(file: &Value, cassette: &Cassette) -> HashSet<String> {
    let mut allowed: HashSet<String> = words(FRAMING).into_iter().collect();
    let mut allow = |text: &str| allowed.extend(words(text));
    let texts = |value: &Value| texts(value).join(" ");
    for side in ["request", "response"] {
        let message = &file[side];
        allow(&texts(&message["removed_headers"]));
        allow(&texts(&message["framing"]));
        allow(&texts(&message["status"]));
        for (name, value) in message["headers"].as_object().into_iter().flatten() {
            allow(name);
            let says_how_to_read = ["content-type", "accept", "anthropic-version", "tokens", "-count", "chars"];
            if says_how_to_read.iter().any(|part| name.contains(part)) {
                allow(&texts(value));
            }
        }
        let body = message["body"].as_str().unwrap_or_default();
        let bytes = if message["body_encoding"] == "base64" { STANDARD.decode(body).unwrap() } else { body.into() };
        bodies(&bytes, &mut allow);
    }
    allow(&texts(&cassette.expected["request_model"]));
    let path = file["request"]["path"].as_str().unwrap_or_default();
    path.split("/deployments/").skip(1).for_each(|behind| allow(behind.split('/').next().unwrap_or_default()));
    let query = file["request"]["query"].as_str().unwrap_or_default();
    query.split('&').filter(|pair| pair.starts_with("api-version=")).for_each(&mut allow);
    for part in ["path", "query", "host"] {
        let text = file["request"][part].as_str().unwrap_or_default();
        known_words(text, &mut allow);
    }
    allowed
}

/// Words of a path or a host that stand in the tables of APIs too.
fn known_words(text: &str, allow: &mut impl FnMut(&str)) {
    let tables = format!(
        "{:?}",
        FAMILIES.iter().flat_map(|family| family.iter()).map(|api| (api.paths, &api.when)).collect::<Vec<_>>()
    );
    let known: HashSet<String> = words(&tables).into_iter().chain(words(PATHS)).collect();
    words(text).iter().filter(|word| known.contains(*word)).for_each(|word| allow(word));
}

/// Names and enumerations of the JSON in a body, and the names of its events.
fn bodies(bytes: &[u8], allow: &mut impl FnMut(&str)) {
    documents(bytes).iter().for_each(|document| structure(document, "", 0, false, allow));
    let text = String::from_utf8_lossy(bytes);
    // A parser writes fractions in another way than they were sent.
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|part| is_fraction(part)).for_each(&mut *allow);
    text.lines().filter_map(|line| line.strip_prefix("event:")).filter(|event| is_word(event.trim())).for_each(allow);
}

fn structure(value: &Value, name: &str, depth: usize, opaque: bool, allow: &mut impl FnMut(&str)) {
    let is = |list: &str| list.split_whitespace().any(|known| known == name);
    match value {
        Value::Object(members) => {
            let opaque = name != "usage" && (opaque || is(OPAQUE) || (name == "input" && depth > 1));
            for (name, value) in members {
                if !opaque {
                    allow(name);
                }
                structure(value, name, depth + 1, opaque, allow);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| structure(item, name, depth + 1, opaque || is(OPAQUE), allow));
        }
        Value::String(text) => match STANDARD.decode(text).ok().filter(|_| text.starts_with("ey")) {
            Some(inner) => bodies(&inner, allow),
            None if !opaque && (is(ENUMERATIONS) || is(MODELS)) && is_word(text) => allow(text),
            None => {}
        },
        Value::Number(number) if !opaque => allow(&number.to_string()),
        _ => {}
    }
}

/// `1.2345`, or `6.5e`, of which the exponent stands behind a sign.
fn is_fraction(text: &str) -> bool {
    let digits = text.trim_end_matches(['e', 'E']);
    digits.contains('.') && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:/@+-".contains(c))
}
