//! Tags: those of all sources together, each once.

use super::lists::{self, Words};
use super::resolve::{Raw, Resolver, is_list};
use super::rules::Listed;
use super::source::Source;
use super::value::identity;

/// Tags of the caller that are kept.
pub(super) const TAGS_MAX: usize = lists::ENTRIES_MAX;

/// The tags, and the source of each.
pub(super) fn collect<'a>(resolver: &Resolver<'a>) -> Vec<(String, &'a Listed)> {
    let mut tags: Vec<(String, &Listed)> = Vec::new();
    let mut header_said = false;
    for listed in &resolver.rules().tags {
        // Of Langfuse's own two ways the header counts, as in its gateway.
        if header_said && matches!(&listed.source, Source::Baggage(key) if key == "langfuse_tags") {
            continue;
        }
        let found = words(resolver, listed);
        resolver.count_dropped(found.dropped);
        header_said |=
            matches!(&listed.source, Source::Header(name, _) if name == "langfuse-tags") && !found.words.is_empty();
        for tag in found.words {
            match identity(&tag) {
                Some(tag) if tags.iter().any(|(known, _)| *known == tag) => {}
                Some(tag) if tags.len() < TAGS_MAX => tags.push((tag, listed)),
                _ => resolver.count_dropped(1),
            }
        }
    }
    tags
}

fn words<'a>(resolver: &Resolver<'a>, listed: &'a Listed) -> Words {
    match &listed.source {
        // A list may go over several headers.
        Source::Header(name, path) if path.is_empty() && resolver.may_ask(listed) => {
            lists::words(&resolver.texts(listed.slot).join(","), is_list(name))
        }
        _ => match resolver.raw(listed) {
            Some(Raw::Text(text)) => lists::words(&text, false),
            Some(Raw::Json(json)) if json.is_array() => {
                Words::of(json.items().take(lists::LOOKED_AT).map(super::value::scalar).collect())
            }
            Some(Raw::Json(json)) => json.text().map(|text| lists::words(&text, false)).unwrap_or_default(),
            None => Words::default(),
        },
    }
}
