//! Which sources each field of the context has, in what order: the defaults ([`super::defaults`]) and what the
//! configuration puts in their place, compiled so that one walk over the headers of a request finds what they need.

use super::defaults;
use super::names::Names;
use super::source::Source;

/// A field of the context that has one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// User id.
    User,
    /// Session id.
    Session,
    /// Trace name.
    TraceName,
    /// Name of the observation.
    ObservationName,
    /// Id of the trace, or what it is made from.
    TraceId,
    /// Id of the parent observation, or what it is made from.
    ParentId,
    /// Name of the prompt in Langfuse.
    PromptName,
    /// Version of the prompt.
    PromptVersion,
    /// Environment.
    Environment,
    /// Release.
    Release,
    /// Version.
    Version,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 11] = [
        Self::User,
        Self::Session,
        Self::TraceName,
        Self::ObservationName,
        Self::TraceId,
        Self::ParentId,
        Self::PromptName,
        Self::PromptVersion,
        Self::Environment,
        Self::Release,
        Self::Version,
    ];

    /// Its key in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::TraceName => "trace_name",
            Self::ObservationName => "observation_name",
            Self::TraceId => "trace_id",
            Self::ParentId => "parent_observation_id",
            Self::PromptName => "prompt_name",
            Self::PromptVersion => "prompt_version",
            Self::Environment => "environment",
            Self::Release => "release",
            Self::Version => "version",
        }
    }
}

/// One place in a list of sources, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// All default sources of the field.
    Default,
    /// This source.
    Of(Source),
}

/// Lists of sources that the configuration gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Of fields.
    pub fields: Vec<(Field, Vec<Place>)>,
    /// Of tags.
    pub tags: Option<Vec<Place>>,
    /// Of keys of metadata; `*` stands for all that have no list of their own.
    pub metadata: Vec<(String, Vec<Place>)>,
}

/// Who says what a source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    /// The caller.
    Caller,
    /// Kong's authentication, behind Kong; else the caller.
    Consumer,
    /// The gateway, or whoever the operator has named in the configuration.
    Gateway,
}

/// A source of a list.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub source: Source,
    /// Where its input is among what was gathered; unused by sources that have none.
    pub slot: usize,
    pub teller: Teller,
}

/// How the W3C `traceparent` (or b3) of a request is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParentMode {
    /// The call joins the trace; its parent is taken to be in Langfuse where baggage says so.
    #[default]
    Auto,
    /// The call joins the trace, whose observations are all in Langfuse.
    Trust,
    /// The call joins the trace, of which nothing but such calls is in Langfuse, unless baggage says so.
    Foreign,
    /// Each call is a trace of its own.
    Ignore,
}

/// Whether what the caller says of itself counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrustCaller {
    /// Always.
    #[default]
    All,
    /// Where the gateway knows who calls.
    Authenticated,
    /// Never.
    None,
}

/// Where the claims of a verified JWT are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedJwt {
    /// In this header: a token (also behind `Bearer`), or its payload in base64url.
    Header(String),
    /// In Envoy's dynamic metadata, where `jwt_authn` puts the payload under this name (`payload_in_metadata`).
    Metadata(String),
}

/// What the configuration says of the context.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Lists of sources.
    pub lists: Lists,
    /// See [`ParentMode`].
    pub parent: ParentMode,
    /// See [`TrustCaller`].
    pub trust: TrustCaller,
    /// See [`VerifiedJwt`].
    pub jwt: Option<VerifiedJwt>,
}

/// The compiled rules.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) fields: [Vec<Listed>; Field::ALL.len()],
    pub(super) tags: Vec<Listed>,
    /// By key of metadata, or `*`.
    pub(super) metadata: Vec<(String, Listed)>,
    /// Headers that are gathered.
    pub(super) headers: Names,
    /// Properties that are gathered; their slots stand behind those of the headers.
    pub(super) properties: Vec<Vec<String>>,
    /// Members of the body that are looked at.
    pub(super) members: Vec<String>,
    pub(super) parent: ParentMode,
    pub(super) trust: TrustCaller,
    pub(super) jwt: Option<VerifiedJwt>,
    /// Slots of claims in Envoy's metadata, of which every token that was verified has one.
    pub(super) proofs: Vec<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Written::default())
    }
}

/// Slots of properties begin here.
pub(super) const PROPERTY_SLOTS: usize = 1 << 12;

/// Where Envoy's `jwt_authn` keeps payloads.
const JWT_METADATA: [&str; 3] = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn"];

impl Rules {
    /// Compiles what the configuration says.
    #[must_use]
    pub fn new(written: Written) -> Self {
        let mut rules = Self {
            fields: Default::default(),
            tags: Vec::new(),
            metadata: Vec::new(),
            headers: Names::new(),
            properties: Vec::new(),
            members: vec!["metadata".to_owned(), "client_metadata".to_owned()],
            parent: written.parent,
            trust: written.trust,
            jwt: written.jwt,
            proofs: Vec::new(),
        };
        if let Some(VerifiedJwt::Header(name)) = &rules.jwt {
            let name = name.clone();
            rules.headers.add_token(&name);
        }
        if rules.trust == TrustCaller::Authenticated && matches!(rules.jwt, Some(VerifiedJwt::Metadata(_))) {
            let proofs = ["sub", "iss"].map(|claim| rules.listed(Source::Claim(claim.to_owned()), Teller::Gateway));
            rules.proofs = proofs.into_iter().flatten().map(|proof| proof.slot).collect();
        }
        let Lists { fields, tags, metadata } = written.lists;
        for field in Field::ALL {
            let list = fields.iter().find(|(of, _)| *of == field).map(|(_, list)| list.as_slice());
            let list = rules.list(list, defaults::sources(field));
            if let Some(slot) = rules.fields.get_mut(field as usize) {
                *slot = list;
            }
        }
        rules.tags = rules.list(tags.as_deref(), &defaults::TAGS);
        rules.add_metadata(metadata);
        rules
    }

    /// Whether what callers say counts.
    #[must_use]
    pub fn trust(&self) -> TrustCaller {
        self.trust
    }

    /// Sources of a field, best first.
    pub(super) fn sources(&self, field: Field) -> &[Listed] {
        self.fields.get(field as usize).map_or(&[], Vec::as_slice)
    }

    fn list(&mut self, places: Option<&[Place]>, defaults: &[&str]) -> Vec<Listed> {
        let places = places.unwrap_or(&[Place::Default]);
        let mut list = Vec::new();
        for place in places {
            match place {
                Place::Of(source) => list.extend(self.listed(source.clone(), Teller::Gateway)),
                Place::Default => list.extend(defaults.iter().filter_map(|text| self.listed_default(text))),
            }
        }
        list
    }

    /// Keys that the configuration names come before the defaults; what it lists for `*` stands in their place.
    fn add_metadata(&mut self, lists: Vec<(String, Vec<Place>)>) {
        let mut all = None;
        for (key, places) in lists {
            if key == "*" {
                all = Some(places);
                continue;
            }
            let defaults: Vec<&str> =
                defaults::METADATA.iter().filter(|(of, _)| *of == key).map(|(_, text)| *text).collect();
            let list = self.list(Some(&places), &defaults);
            self.metadata.extend(list.into_iter().map(|listed| (key.clone(), listed)));
        }
        for place in all.unwrap_or_else(|| vec![Place::Default]) {
            match place {
                Place::Of(source) => {
                    let listed = self.listed(source, Teller::Gateway);
                    self.metadata.extend(listed.map(|listed| ("*".to_owned(), listed)));
                }
                Place::Default => {
                    for (key, text) in defaults::METADATA {
                        let listed = self.listed_default(text);
                        self.metadata.extend(listed.map(|listed| (key.to_owned(), listed)));
                    }
                }
            }
        }
    }

    fn listed_default(&mut self, text: &str) -> Option<Listed> {
        let source = Source::parse(text).ok()?;
        let teller = match &source {
            Source::Header(name, _) if defaults::CONSUMER_HEADERS.contains(&name.as_str()) => Teller::Consumer,
            Source::Claim(_) | Source::Property(_) | Source::Constant(_) => Teller::Gateway,
            _ => Teller::Caller,
        };
        self.listed(source, teller)
    }

    /// The source with its slot; none where it can say nothing.
    fn listed(&mut self, source: Source, teller: Teller) -> Option<Listed> {
        let slot = match &source {
            Source::Header(name, _) => self.headers.add(name),
            Source::Headers(prefix) => self.headers.add_prefix(prefix),
            Source::Body(member, _) => position(&mut self.members, member),
            Source::Property(path) => PROPERTY_SLOTS + position(&mut self.properties, path),
            Source::Claim(path) => match &self.jwt {
                None => return None,
                Some(VerifiedJwt::Header(_)) => 0,
                Some(VerifiedJwt::Metadata(name)) => {
                    let steps = JWT_METADATA.iter().copied().chain([name.as_str()]).chain(path.split('/'));
                    let path: Vec<String> = steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
                    PROPERTY_SLOTS + position(&mut self.properties, &path)
                }
            },
            Source::Baggage(_) | Source::Baggages(_) | Source::Constant(_) | Source::Agent => 0,
        };
        Some(Listed { source, slot, teller })
    }
}

/// Where `item` is in the list, to which it is added.
fn position<T: PartialEq + Clone>(list: &mut Vec<T>, item: &T) -> usize {
    list.iter().position(|known| known == item).unwrap_or_else(|| {
        list.push(item.clone());
        list.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_source_is_one() {
        let fields = Field::ALL.into_iter().flat_map(|field| defaults::sources(field).iter().copied());
        let metadata = defaults::METADATA.iter().map(|(_, text)| *text);
        for text in fields.chain(defaults::TAGS).chain(metadata) {
            assert_eq!(
                Source::parse(text).map(|source| source.to_string()),
                Ok(text.to_owned().replace("claim:sub", "claim:/sub"))
            );
        }
    }

    #[test]
    fn a_list_of_the_configuration_stands_in_place_of_the_defaults_or_around_them() {
        let of = |text: &str| Place::Of(Source::parse(text).unwrap());
        let mut written = Written::default();
        written.lists.fields = vec![(Field::Environment, vec![of("header:x-env"), Place::Default, of("const:dev")])];
        written.lists.tags = Some(Vec::new());
        let rules = Rules::new(written);
        let shown: Vec<String> = rules.sources(Field::Environment).iter().map(|at| at.source.to_string()).collect();
        assert_eq!(shown, ["header:x-env", "baggage:langfuse_environment", "const:dev"]);
        assert!(rules.tags.is_empty());
        let tellers: Vec<Teller> = rules.sources(Field::Environment).iter().map(|at| at.teller).collect();
        assert_eq!(tellers, [Teller::Gateway, Teller::Caller, Teller::Gateway]);
    }

    #[test]
    fn claims_count_where_the_configuration_says_that_they_are_verified() {
        let claims = |jwt| {
            let rules = Rules::new(Written { jwt, ..Written::default() });
            let is_claim = |at: &&Listed| matches!(at.source, Source::Claim(_));
            (rules.sources(Field::User).iter().filter(is_claim).count(), rules.properties.len())
        };
        assert_eq!(claims(None), (0, 0));
        assert_eq!(claims(Some(VerifiedJwt::Header("authorization".to_owned()))), (1, 0));
        assert_eq!(claims(Some(VerifiedJwt::Metadata("payload".to_owned()))), (1, 1));
    }
}
