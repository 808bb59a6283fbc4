//! Metadata that the caller (or, where the configuration says so, the gateway) gives: the first of a key wins.
//!
//! What became a field of the trace is not said twice, and what holds a credential not at all.

use std::borrow::Cow;

use super::lists;
use super::resolve::{Raw, Resolver, is_list};
use super::rules::{Field, Listed};
use super::source::Source;
use super::value::{METADATA_KEYS_MAX, METADATA_MAX, metadata_text, scalar, usable, usable_key};
use crate::credentials::{is_credential, redact};
use crate::json::Value;

/// Members of one object that are looked at.
const MEMBERS_MAX: usize = 256;

/// Names under which objects carry what becomes a field, and the field.
const FIELDS: [(&str, Field); 17] = [
    ("user_id", Field::User),
    ("user_email", Field::User),
    ("trace_user_id", Field::User),
    ("_user", Field::User),
    ("session_id", Field::Session),
    ("trace_name", Field::TraceName),
    ("generation_name", Field::ObservationName),
    ("span_name", Field::ObservationName),
    ("trace_id", Field::TraceId),
    ("existing_trace_id", Field::TraceId),
    ("parent_observation_id", Field::ParentId),
    ("parent_span_id", Field::ParentId),
    ("environment", Field::Environment),
    ("trace_release", Field::Release),
    ("release", Field::Release),
    ("trace_version", Field::Version),
    ("version", Field::Version),
];

/// Keys of objects that say nothing by themselves: tags are tags, prompts are linked, and agents have metadata of their own.
const ELSEWHERE: [&str; 4] = ["tags", "langfuse_prompt", "langfuse_prompt_name", "langfuse_prompt_version"];

/// The text that a JSON string in baggage stands for: Langfuse's SDK 5 writes all metadata there as JSON. A text that would
/// read as JSON of another type (`"123"`) keeps its quotes, by which Langfuse tells it from a number.
fn plain_text(value: &str) -> Cow<'_, str> {
    let text = Value::check(value).ok().and_then(Value::text);
    text.filter(|text| Value::check(text).is_err()).unwrap_or(Cow::Borrowed(value))
}

/// One entry of metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Text, or JSON text.
    pub text: String,
    /// The caller named it as metadata, by key and value; else it is read of a place where callers say it for other ends.
    pub is_named: bool,
}

/// See the module's documentation.
pub(super) struct Collected<'r, 'a> {
    resolver: &'r Resolver<'a>,
    /// Values of fields, by which repetitions are known.
    fields: &'r dyn Fn(Field) -> Option<&'r str>,
    pub entries: Vec<Entry>,
    /// What is collected now comes from an object of metadata.
    is_named: bool,
    bytes: usize,
    /// Where each entry was taken from.
    #[cfg(not(target_family = "wasm"))]
    pub sources: Vec<(String, String)>,
}

impl<'r, 'a> Collected<'r, 'a> {
    pub(super) fn new(resolver: &'r Resolver<'a>, fields: &'r dyn Fn(Field) -> Option<&'r str>) -> Self {
        Self {
            resolver,
            fields,
            entries: Vec::new(),
            is_named: false,
            bytes: 0,
            #[cfg(not(target_family = "wasm"))]
            sources: Vec::new(),
        }
    }

    /// Asks all sources.
    pub(super) fn collect(&mut self) {
        for (key, listed) in &self.resolver.rules().metadata {
            #[cfg(not(target_family = "wasm"))]
            let before = self.entries.len();
            self.is_named = key == "*";
            if self.is_named {
                self.object(listed)
            } else {
                self.one(key, listed)
            }
            #[cfg(not(target_family = "wasm"))]
            for entry in self.entries.iter().skip(before) {
                self.sources.push((format!("metadata {}", entry.key), listed.source.to_string()));
            }
        }
    }

    fn one(&mut self, key: &str, listed: &'a Listed) {
        // An agent has told all of it that is of use.
        let is_told = key == "client_metadata" && self.resolver.agent().is_some_and(|agent| agent.name == "codex");
        if is_told || self.knows(key) {
            return;
        }
        match self.resolver.raw(listed) {
            Some(Raw::Text(text)) => self.text(key, &text),
            Some(Raw::Json(json)) if !self.is_said_elsewhere(key, json) => self.json(key, json),
            _ => {}
        }
    }

    fn object(&mut self, listed: &'a Listed) {
        match &listed.source {
            Source::Headers(_) if self.resolver.may_ask(listed) => {
                for (name, value) in self.resolver.below(listed.slot) {
                    self.header(name, value);
                }
            }
            Source::Baggages(prefix) if self.resolver.may_ask(listed) => self.baggage(prefix),
            Source::Header(name, path) if path.is_empty() && is_list(name) && self.resolver.may_ask(listed) => {
                self.resolver.texts(listed.slot).into_iter().for_each(|text| self.pairs_or_json(text));
            }
            _ => match self.resolver.raw(listed) {
                Some(Raw::Text(text)) => self.pairs_or_json(&text),
                Some(Raw::Json(json)) => self.members(json),
                None => {}
            },
        }
    }

    /// `X-Team-Name` behind a beginning is the key `team_name`.
    fn header(&mut self, name: &[u8], value: &[u8]) {
        match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => self.text(&name.to_ascii_lowercase().replace('-', "_"), value),
            _ => self.resolver.count_dropped(1),
        }
    }

    fn baggage(&mut self, prefix: &str) {
        let known = |key: &str| {
            let is = |listed: &Listed| matches!(&listed.source, Source::Baggage(name) if name.strip_prefix(prefix) == Some(key));
            Field::ALL.iter().any(|field| self.resolver.rules().sources(*field).iter().any(is))
        };
        let other = |key: &str| prefix == "langfuse_" && (key.starts_with("metadata_") || key == "tags");
        let entries: Vec<(String, String)> = self
            .resolver
            .baggage()
            .below(prefix)
            .filter(|(key, _)| !known(key) && !other(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        entries.iter().for_each(|(key, value)| self.text(key, &plain_text(value)));
    }

    fn pairs_or_json(&mut self, text: &str) {
        let text = text.trim();
        if text.starts_with('{') {
            return match Value::check(text) {
                Ok(object) => self.members(object),
                Err(_) => self.resolver.count_dropped(1),
            };
        }
        for entry in lists::pairs(text).take(lists::ENTRIES_MAX) {
            match entry {
                Some((key, value)) => self.text(&key, &value),
                None => self.resolver.count_dropped(1),
            }
        }
    }

    fn members(&mut self, object: Value<'_>) {
        for (key, value) in object.members().take(MEMBERS_MAX) {
            if !self.is_said_elsewhere(&key, value) {
                self.json(&key, value);
            }
        }
    }

    /// The member became a field, or part of one.
    fn is_said_elsewhere(&self, key: &str, value: Value<'_>) -> bool {
        let became = |field: &Field| scalar(value).is_some_and(|text| (self.fields)(*field) == Some(text.trim()));
        let prompt = |name: Value<'_>| scalar(name).is_some_and(|name| (self.fields)(Field::PromptName) == Some(&name));
        (ELSEWHERE.contains(&key) && (key != "tags" || value.is_array() || value.is_string()))
            || FIELDS.iter().filter(|(name, _)| *name == key).any(|(_, field)| became(field))
            || (key == "prompt" && prompt(value.get("name")))
            || (key == "user_id" && self.resolver.agent().is_some_and(|agent| agent.name == "claude-code"))
    }

    fn json(&mut self, key: &str, json: Value<'_>) {
        if let Some(text) = metadata_text(&redact(json.raw())) {
            self.add(key, text);
        }
    }

    /// A text of a header or of baggage.
    fn text(&mut self, key: &str, text: &str) {
        match usable(text.as_bytes()) {
            // A header may hold JSON with names of its own.
            Some(text) if text.starts_with(['{', '[']) && Value::check(text).is_ok() => {
                self.add(key, redact(text).into_owned())
            }
            Some(text) => self.add(key, text.to_owned()),
            None => self.resolver.count_dropped(1),
        }
    }

    fn add(&mut self, key: &str, text: String) {
        if self.knows(key) || is_credential(key) {
            return;
        }
        let bytes = key.len() + text.len();
        if !usable_key(key) || self.entries.len() >= METADATA_KEYS_MAX || self.bytes + bytes > METADATA_MAX {
            self.resolver.count_dropped(1);
            return;
        }
        self.bytes += bytes;
        self.entries.push(Entry { key: key.to_owned(), text, is_named: self.is_named });
    }

    fn knows(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }
}
