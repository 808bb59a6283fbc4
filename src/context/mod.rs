//! Who called and what the call belongs to: user, session, trace, tags, metadata, prompt. Nothing is invented: where no
//! source names a user or session, the trace has none.
//!
//! The sources of each field are a table ([`defaults`]) that the configuration can change ([`rules`]). Headers are gathered
//! when a call begins ([`gathered`]), and asked when it is over ([`resolve`]), because the body has a say. A value that is
//! not usable (not UTF-8, control characters, over Langfuse's limits, two headers that contradict each other) is passed
//! over and counted, and the next source is asked.

mod agent;
mod baggage;
mod defaults;
mod facts;
mod gathered;
mod identity;
mod jwt;
mod lists;
mod metadata;
mod names;
mod resolve;
mod rules;
mod source;
mod tags;
mod trace_context;
mod value;

pub use facts::GATEWAY_PREFIX;
pub use gathered::Gathered;
pub use identity::{Identity, IdentitySource};
pub use metadata::Entry;
pub use rules::{Field, Lists, ParentMode, Place, Rules, TrustCaller, VerifiedJwt, Written};
pub use source::{Source, SourceError};

use crate::json::Document;
use crate::trace::TraceId;
use resolve::Resolver;
use rules::Listed;

/// Each field (`tags` and `metadata KEY` too) and the sources that it has where the configuration names none, best first.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn documentation() -> Vec<(String, Vec<&'static str>)> {
    let mut fields: Vec<(String, Vec<&'static str>)> =
        Field::ALL.iter().map(|field| (field.name().to_owned(), defaults::sources(*field).to_vec())).collect();
    fields.push(("tags".to_owned(), defaults::TAGS.to_vec()));
    for (key, source) in defaults::METADATA {
        let name = if key == "*" { "metadata, all keys".to_owned() } else { format!("metadata `{key}`") };
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sources)) => sources.push(source),
            None => fields.push((name, vec![source])),
        }
    }
    fields
}

/// What is known of the gateway that the call passes through.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// It is Kong, whose authentication plugins set the headers that name consumers, and take forged ones away.
    pub is_kong: bool,
    /// The operator says that the gateway finds out who calls, so that such headers are its word
    /// (`gateway_authenticates`). Nothing in a request tells that.
    pub authenticates: bool,
    /// The client has shown a certificate that the gateway has verified.
    pub has_peer: bool,
}

/// The context of a call.
#[derive(Debug, Default)]
pub struct Context {
    fields: [Option<String>; Field::ALL.len()],
    /// Tags of the caller.
    pub tags: Vec<String>,
    /// Metadata of the caller.
    pub metadata: Vec<Entry>,
    /// What the gateway knows of the caller, by names that begin with [`GATEWAY_PREFIX`].
    pub facts: Vec<(&'static str, String)>,
    /// Values that were there and could not be used.
    pub dropped: u32,
    /// What each field was taken from, for people: the field's name, and the source.
    #[cfg(not(target_family = "wasm"))]
    pub sources: Vec<(String, String)>,
}

impl Context {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&str> {
        self.fields.get(field as usize)?.as_deref()
    }

    /// Name and version of the prompt in Langfuse: both, or it is not known.
    #[must_use]
    pub fn prompt(&self) -> Option<(&str, i64)> {
        Some((self.field(Field::PromptName)?, self.field(Field::PromptVersion)?.parse().ok()?))
    }

    fn take_fields(&mut self, resolver: &Resolver<'_>) {
        for field in Field::ALL {
            let found = match field {
                Field::PromptName | Field::PromptVersion => None,
                _ => resolver.found(field),
            };
            self.take(field, found);
        }
        if let Some((name, version)) = resolver.prompt() {
            self.take(Field::PromptName, Some(name));
            self.take(Field::PromptVersion, Some(version));
        }
    }

    fn take(&mut self, field: Field, found: Option<(String, &Listed)>) {
        let (Some(slot), Some((text, _from))) = (self.fields.get_mut(field as usize), found) else { return };
        #[cfg(not(target_family = "wasm"))]
        self.sources.push((field.name().to_owned(), _from.source.to_string()));
        *slot = Some(text);
    }

    fn take_tags(&mut self, resolver: &Resolver<'_>) {
        for (tag, _from) in tags::collect(resolver) {
            #[cfg(not(target_family = "wasm"))]
            self.sources.push((format!("tag {tag}"), _from.source.to_string()));
            self.tags.push(tag);
        }
    }

    fn take_metadata(&mut self, resolver: &Resolver<'_>) {
        let field = |field: Field| self.field(field);
        let mut collected = metadata::Collected::new(resolver, &field);
        collected.collect();
        #[cfg(not(target_family = "wasm"))]
        let sources = std::mem::take(&mut collected.sources);
        let mut entries = collected.entries;
        let told = resolver.agent().into_iter().flat_map(|agent| agent.metadata.iter().cloned());
        entries.extend(told.map(|(key, text)| Entry { key, text, is_named: false }));
        self.metadata = entries;
        #[cfg(not(target_family = "wasm"))]
        self.sources.extend(sources);
    }
}

/// Everything that is asked of a call's context.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// What headers and properties say.
    pub gathered: &'a Gathered,
    /// The request's body, as far as it has arrived.
    pub document: &'a Document,
    /// The gateway.
    pub surroundings: Surroundings,
    /// The trace of a call that belongs to no other.
    pub own: TraceId,
}

impl Asked<'_> {
    /// The whole context, and where the call belongs.
    #[must_use]
    pub fn resolve(&self) -> (Context, Identity) {
        let resolver = Resolver::new(self);
        let mut context = Context::default();
        context.take_fields(&resolver);
        context.take_tags(&resolver);
        context.take_metadata(&resolver);
        context.facts = facts::facts(&resolver, self.surroundings);
        context.dropped = resolver.dropped();
        let ids = [Field::TraceId, Field::ParentId].map(|field| context.field(field));
        let identity = identity::find(&resolver, ids, self.own);
        (context, identity)
    }

    /// Where the call belongs, alone.
    #[must_use]
    pub fn identify(&self) -> Identity {
        let resolver = Resolver::new(self);
        let ids = [Field::TraceId, Field::ParentId].map(|field| resolver.field(field));
        identity::find(&resolver, ids.each_ref().map(Option::as_deref), self.own)
    }
}

#[cfg(test)]
mod tests;
