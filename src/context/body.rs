//! Context in the body of a request: `metadata`, `user`, `features` (the fields that the predecessor read, among them
//! those of Open WebUI).

use super::value::{json_identity, metadata_text, usable_key};
use super::{Context, identity};
use crate::credentials::{is_credential, redact};
use crate::json::{Document, Few, Text, object_members, parse};

/// Tags of the caller that are kept.
const TAGS_MAX: usize = 32;

pub(super) fn add(context: &mut Context, document: &Document) {
    let whole = |key: &str| document.get(key).filter(|member| member.complete).map(|member| member.value);
    if let Some(metadata) = whole("metadata") {
        add_metadata(context, metadata);
    }
    if context.user.is_none() {
        context.user = whole("user").and_then(user);
    }
    let features = whole("features").and_then(|json| std::str::from_utf8(json).ok());
    if let Some(features) = features.and_then(|json| metadata_text(&redact(json))) {
        context.add_metadata("features", features);
    }
}

fn add_metadata(context: &mut Context, metadata: &[u8]) {
    let members = object_members(metadata);
    let id = |keys: &[&str]| {
        let find = |key: &&str| members.iter().find(|(name, _)| name == key).and_then(|(_, v)| json_identity(v.get()));
        keys.iter().find_map(find)
    };
    context.user = context.user.take().or_else(|| id(&["user_id", "user_email"]));
    context.session = context.session.take().or_else(|| id(&["session_id"]));
    for (key, value) in &members {
        match key.as_ref() {
            "tags" => add_tags(context, value.get()),
            // What became the user or the session is not said twice.
            "user_id" if context.user == json_identity(value.get()) => {}
            "session_id" if context.session == json_identity(value.get()) => {}
            name if usable_key(name) && !is_credential(name) => {
                if let Some(text) = metadata_text(&redact(value.get())) {
                    context.add_metadata(name, text);
                }
            }
            _ => {}
        }
    }
}

fn add_tags(context: &mut Context, json: &str) {
    let tags: Few<Text<'_>, TAGS_MAX> = parse(json.as_bytes()).unwrap_or_default();
    for tag in tags.items.iter().filter_map(|tag| identity(tag.get()?)) {
        if !context.tags.contains(&tag) {
            context.tags.push(tag);
        }
    }
}

/// `user` is an id, or (Open WebUI) an object that holds one.
fn user(json: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(json).ok()?;
    let members = object_members(json);
    let member = |key: &str| members.iter().find(|(name, _)| name == key).and_then(|(_, v)| json_identity(v.get()));
    ["id", "user_id", "email", "name"].iter().find_map(|key| member(key)).or_else(|| json_identity(text))
}
