//! Context in the body of a request: `metadata`, `user`, `features` (the fields that the predecessor read, among them
//! those of Open WebUI).

use super::value::{json_identity, metadata_text, usable_key};
use super::{Context, identity};
use crate::credentials::{is_credential, redact};
use crate::json::{Document, Value};

/// Members of one `metadata` that are looked at.
const MEMBERS_MAX: usize = 256;
/// Tags of the caller that are kept.
const TAGS_MAX: usize = 32;

pub(super) fn add(context: &mut Context, document: &Document) {
    let whole = |key: &str| {
        let member = document.get(key).filter(|member| member.complete);
        member.and_then(|member| Value::parse(member.value)).unwrap_or_default()
    };
    add_metadata(context, whole("metadata"));
    if context.user.is_none() {
        context.user = user(whole("user"));
    }
    if let Some(features) = metadata_text(&redact(whole("features").raw())) {
        context.add_metadata("features", features);
    }
}

fn add_metadata(context: &mut Context, metadata: Value<'_>) {
    let id = |keys: &[&str]| keys.iter().find_map(|key| json_identity(metadata.get(key)));
    context.user = context.user.take().or_else(|| id(&["user_id", "user_email"]));
    context.session = context.session.take().or_else(|| id(&["session_id"]));
    for (key, value) in metadata.members().take(MEMBERS_MAX) {
        match key.as_ref() {
            "tags" => add_tags(context, value),
            // What became the user or the session is not said twice.
            "user_id" if context.user == json_identity(value) => {}
            "session_id" if context.session == json_identity(value) => {}
            name if usable_key(name) && !is_credential(name) => {
                if let Some(text) = metadata_text(&redact(value.raw())) {
                    context.add_metadata(name, text);
                }
            }
            _ => {}
        }
    }
}

fn add_tags(context: &mut Context, tags: Value<'_>) {
    for tag in tags.items().take(TAGS_MAX).filter_map(|tag| identity(&tag.text()?)) {
        if !context.tags.contains(&tag) {
            context.tags.push(tag);
        }
    }
}

/// `user` is an id, or (Open WebUI) an object that holds one.
fn user(user: Value<'_>) -> Option<String> {
    let keys = ["id", "user_id", "email", "name"];
    keys.iter().find_map(|key| json_identity(user.get(key))).or_else(|| json_identity(user))
}
