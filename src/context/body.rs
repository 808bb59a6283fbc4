//! Context in the body of a request: `metadata`, `user`, `features` (the fields that the predecessor read, among them
//! those of Open WebUI).

use super::value::{json_identity, metadata_text, usable_key};
use super::{Context, identity};
use crate::credentials::holds_credential;
use crate::json::{Document, object_members, parse};

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
    if let Some(features) = whole("features").and_then(|json| std::str::from_utf8(json).ok()).and_then(metadata_text) {
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
            name if usable_key(name) && !holds_credential(name, value.get()) => {
                if let Some(text) = metadata_text(value.get()) {
                    context.add_metadata(name, text);
                }
            }
            _ => {}
        }
    }
}

fn add_tags(context: &mut Context, json: &str) {
    let tags: Vec<serde_json::Value> = parse(json.as_bytes()).unwrap_or_default();
    let texts = tags.iter().filter_map(|tag| tag.as_str().and_then(identity));
    for tag in texts {
        if context.tags.len() < TAGS_MAX && !context.tags.contains(&tag) {
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
