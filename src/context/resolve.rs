//! What a call's context is, now that all that may say something of it is known: each field asks its sources in their
//! order, and the first usable answer counts.

use std::borrow::Cow;
use std::cell::Cell;

use super::agent::{Agent, ClaudeUser};
use super::baggage::Baggage;
use super::gathered::{Contradiction, Gathered};
use super::names::Known;
use super::rules::{Field, Listed, ParentMode, Rules, Teller, TrustCaller};
use super::source::Source;
use super::value;
use super::{Asked, Surroundings};
use crate::json::{Document, Value};

/// See the module's documentation.
pub(super) struct Resolver<'a> {
    rules: &'a Rules,
    gathered: &'a Gathered,
    surroundings: Surroundings,
    baggage: Baggage,
    /// Values of [`Rules::members`].
    body: Vec<Value<'a>>,
    agent: Option<Agent>,
    claims: Value<'a>,
    /// What callers say of themselves counts.
    callers_count: bool,
    dropped: Cell<u32>,
}

/// A value and its source.
pub(super) type Found<'a> = (String, &'a Listed);

/// What a source has, before it is judged.
pub(super) enum Raw<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// JSON of a body, a claim or a header.
    Json(Value<'a>),
}

impl Raw<'_> {
    /// As the text of a scalar.
    fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone().into_owned()),
            Self::Json(json) => value::scalar(*json),
        }
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(asked: &Asked<'a>) -> Self {
        let Asked { rules, gathered, document, surroundings, .. } = *asked;
        let claims = rules.headers.token().and_then(|slot| gathered.one(slot).ok().flatten());
        let mut resolver = Self {
            rules,
            gathered,
            surroundings,
            baggage: Baggage::new(gathered.all(Known::Baggage as usize).map(|(_, value)| value)),
            body: body(rules, document),
            agent: None,
            claims: claims.and_then(Value::parse).unwrap_or_default(),
            callers_count: true,
            dropped: Cell::new(0),
        };
        resolver.callers_count = resolver.do_callers_count();
        let member = |number| resolver.body.get(number).copied().unwrap_or_default();
        resolver.agent = Agent::of(gathered, member(0), member(1));
        resolver
    }

    pub(super) fn rules(&self) -> &'a Rules {
        self.rules
    }

    pub(super) fn baggage(&self) -> &Baggage {
        &self.baggage
    }

    /// The agent that calls, where callers are believed.
    pub(super) fn agent(&self) -> Option<&Agent> {
        self.agent.as_ref().filter(|_| self.callers_count)
    }

    pub(super) fn known(&self, header: Known) -> Option<&'a str> {
        self.gathered.known(header)
    }

    pub(super) fn all(&self, header: Known) -> impl Iterator<Item = &'a [u8]> {
        self.gathered.all(header as usize).map(|(_, value)| value)
    }

    /// Values that were there and are not used because they cannot be.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped.get() + self.baggage.dropped + self.gathered.dropped
    }

    fn drop_value<T>(&self) -> Option<T> {
        self.dropped.set(self.dropped.get().saturating_add(1));
        None
    }

    pub(super) fn count_dropped(&self, count: u32) {
        self.dropped.set(self.dropped.get().saturating_add(count));
    }

    /// A header of another tracer, where such headers count.
    pub(super) fn parent(&self, header: Known) -> Option<&'a str> {
        let counts = match self.rules.parent {
            ParentMode::Ignore => false,
            ParentMode::Trust => true,
            ParentMode::Auto | ParentMode::Foreign => self.callers_count,
        };
        self.known(header).filter(|_| counts)
    }

    /// What callers say of themselves counts.
    fn do_callers_count(&self) -> bool {
        match self.rules.trust {
            TrustCaller::All => true,
            TrustCaller::None => false,
            TrustCaller::Authenticated => self.is_authenticated(),
        }
    }

    /// The gateway has found out who calls.
    fn is_authenticated(&self) -> bool {
        let consumer = [Known::XConsumerId, Known::XCredentialIdentifier];
        let is_anonymous = self.known(Known::XAnonymousConsumer) == Some("true");
        let by_kong = self.are_consumers_checked()
            && !is_anonymous
            && consumer.into_iter().any(|header| self.known(header).is_some());
        by_kong || self.surroundings.has_peer || self.has_claims()
    }

    /// Who stands in the headers of consumers is who Kong has found.
    fn are_consumers_checked(&self) -> bool {
        self.surroundings.is_kong && self.surroundings.authenticates
    }

    fn has_claims(&self) -> bool {
        let is_there = |slot: &usize| self.gathered.all(*slot).next().is_some();
        self.claims.is_object() || self.rules.proofs.iter().any(is_there)
    }

    /// The source may be asked.
    fn counts(&self, listed: &Listed) -> bool {
        match listed.teller {
            Teller::Gateway => true,
            Teller::Consumer if self.are_consumers_checked() => true,
            Teller::Consumer | Teller::Caller => self.callers_count,
        }
    }

    /// What a source has; what it has and cannot be read is counted.
    pub(super) fn raw(&self, listed: &'a Listed) -> Option<Raw<'a>> {
        if !self.may_have(listed) || !self.counts(listed) {
            return None;
        }
        match &listed.source {
            Source::Header(name, path) => self.header(listed.slot, name, path),
            Source::Property(_) => self.text(listed.slot).map(Raw::Text),
            Source::Claim(_) if listed.slot > 0 => self.text(listed.slot).map(Raw::Text),
            Source::Claim(path) => json(self.claims.at(path)),
            Source::Baggage(key) => self.baggage.get(key).map(|text| Raw::Text(text.to_owned().into())),
            Source::Body(_, path) => json(self.body.get(listed.slot).copied().unwrap_or_default().at(path)),
            Source::Constant(text) => Some(Raw::Text(text.as_str().into())),
            Source::Agent => self.agent.as_ref()?.session().map(|session| Raw::Text(session.into())),
            Source::Headers(_) | Source::Baggages(_) => None,
        }
    }

    /// The source may have something: most have nothing, in most calls.
    fn may_have(&self, listed: &Listed) -> bool {
        match &listed.source {
            Source::Header(..) | Source::Property(_) => self.gathered.may_have(listed.slot),
            Source::Baggage(_) | Source::Baggages(_) => !self.baggage.is_empty(),
            Source::Body(..) => self.body.get(listed.slot).is_some_and(|value| !value.is_nothing()),
            _ => true,
        }
    }

    fn header(&self, slot: usize, name: &str, path: &str) -> Option<Raw<'a>> {
        let text = self.text(slot)?;
        if path.is_empty() {
            return decoded(name, text).map(Raw::Text).or_else(|| self.drop_value());
        }
        let Cow::Borrowed(text) = text else { return None };
        match Value::check(text) {
            Ok(value) => json(value.at(path)),
            Err(_) => self.drop_value(),
        }
    }

    /// The text of a slot, if it has one and no other.
    fn text(&self, slot: usize) -> Option<Cow<'a, str>> {
        match self.gathered.one(slot) {
            Ok(None) => None,
            Ok(Some(value)) => std::str::from_utf8(value).ok().map(Cow::Borrowed).or_else(|| self.drop_value()),
            Err(Contradiction) => self.drop_value(),
        }
    }

    /// All values of a header, where a list may go over several.
    pub(super) fn texts(&self, slot: usize) -> Vec<&'a str> {
        let texts = self.gathered.all(slot).map(|(_, value)| std::str::from_utf8(value).ok());
        texts.filter_map(|text| text.or_else(|| self.drop_value())).collect()
    }

    /// Names behind a beginning, and values.
    pub(super) fn below(&self, slot: usize) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.gathered.all(slot)
    }

    /// The value of a field.
    pub(super) fn field(&self, field: Field) -> Option<String> {
        self.found(field).map(|(text, _)| text)
    }

    /// The value of a field, and its source.
    pub(super) fn found(&self, field: Field) -> Option<Found<'a>> {
        self.rules.sources(field).iter().find_map(|listed| self.from(field, listed))
    }

    fn from(&self, field: Field, listed: &'a Listed) -> Option<Found<'a>> {
        let raw = self.raw(listed)?;
        let text = candidate(field, listed, &raw)?;
        let usable = usable(field, &text).or_else(|| self.drop_value())?;
        Some((usable, listed))
    }

    /// Name and version of the prompt: both from the same place of their lists. One's name has nothing to do with
    /// another's version.
    pub(super) fn prompt(&self) -> Option<(Found<'a>, Found<'a>)> {
        let [names, versions] = [Field::PromptName, Field::PromptVersion].map(|field| self.rules.sources(field));
        names.iter().zip(versions).find_map(|(name, version)| {
            let (name, version) = (self.from(Field::PromptName, name), self.from(Field::PromptVersion, version));
            Some((name?, version?))
        })
    }

    /// Whether a source may be asked, for what reads it by itself.
    pub(super) fn may_ask(&self, listed: &Listed) -> bool {
        self.counts(listed)
    }
}

/// Values of [`Rules::members`], of several of one name the last.
fn body<'a>(rules: &Rules, document: &'a Document) -> Vec<Value<'a>> {
    let mut values = vec![Value::ABSENT; rules.members.len()];
    for member in document.members().filter(|member| member.complete) {
        let place = rules.members.iter().position(|name| name.as_bytes() == member.key);
        if let Some(value) = place.and_then(|place| values.get_mut(place)) {
            *value = Value::parse(member.value).unwrap_or_default();
        }
    }
    values
}

fn json(value: Value<'_>) -> Option<Raw<'_>> {
    value.something().map(Raw::Json)
}

/// Langfuse's headers are percent-encoded, and those of Open WebUI where they hold more than ASCII.
fn decoded<'a>(name: &str, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
    if !text.contains('%') {
        return Some(text);
    }
    if name.starts_with("langfuse-") && !is_list(name) {
        return value::percent_decoded(&text, false).map(Cow::Owned);
    }
    if name.starts_with("x-openwebui-") {
        return Some(value::percent_decoded(&text, false).map_or(text, Cow::Owned));
    }
    Some(text)
}

/// Lists are taken apart before they are decoded.
pub(super) fn is_list(name: &str) -> bool {
    matches!(name, "langfuse-tags" | "langfuse-metadata")
}

/// The text that may become the field's value.
fn candidate(field: Field, listed: &Listed, raw: &Raw<'_>) -> Option<String> {
    match (field, raw) {
        (Field::User, Raw::Json(user)) if user.is_object() => {
            // Open WebUI's `user` is an object.
            ["id", "user_id", "email", "name"].iter().find_map(|key| value::scalar(user.get(key)))
        }
        (Field::User, Raw::Json(json)) if matches!(&listed.source, Source::Body(_, path) if path == "user_id") => {
            let text = value::scalar(*json)?;
            match ClaudeUser::of(&text) {
                Some(claude) => claude.user,
                None => Some(text),
            }
        }
        _ => raw.scalar(),
    }
}

/// The text, if it may be the field's value.
fn usable(field: Field, text: &str) -> Option<String> {
    match field {
        Field::TraceName | Field::ObservationName | Field::PromptName => value::name(text),
        Field::Environment => crate::config::environment_name(text),
        Field::PromptVersion => {
            text.trim().parse::<u16>().ok().filter(|version| *version > 0).map(|_| text.trim().to_owned())
        }
        _ => value::identity(text),
    }
}
