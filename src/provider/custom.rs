//! Providers that a configuration describes: which calls are theirs, and where in their messages a trace finds what it
//! needs. Or, shorter: that calls below some path are of a family that is built in.
//!
//! Places are paths of members and element numbers with `/` between (RFC 6901, <https://www.rfc-editor.org/rfc/rfc6901>).

use super::api::{Api, Operation, Stream};
use super::collect::Collector;
use super::count::{Count, UsageRules};
use super::families::openai;
use super::message::Message;
use super::{ProviderError, route};
use crate::headers::{self, Header};
use crate::json::Value;

/// Which calls are a provider's: all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// End of the path, a pattern of [`super::find`].
    pub path: Option<String>,
    /// Beginning of the path, on a segment border.
    pub path_prefix: Option<String>,
    /// The host, or a domain that it is below.
    pub host: Option<String>,
    /// Headers, in lower case, and their values; `*` is any value.
    pub header: Vec<(String, String)>,
}

impl Match {
    /// The path (without its query) fits; then the model that it names.
    #[must_use]
    pub fn fits_path(&self, path: &[u8]) -> Option<Option<String>> {
        let below = self.path_prefix.as_ref().is_none_or(|prefix| route::is_below(path, prefix.as_bytes()));
        match &self.path {
            _ if !below => None,
            Some(pattern) => route::matches(path, pattern),
            None => Some(None),
        }
    }

    /// Host (without its port) and headers fit.
    #[must_use]
    pub fn fits_headers(&self, host: &str, headers: &[Header<'_>]) -> bool {
        let has = |(name, wanted): &(String, String)| {
            headers::find(headers, name).is_some_and(|value| wanted == "*" || value == wanted.as_bytes())
        };
        self.host.as_ref().is_none_or(|domain| route::is_domain(host, domain)) && self.header.iter().all(has)
    }
}

/// Where messages have what a trace needs; an empty place is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Request: the model, if the path does not name it.
    pub request_model: String,
    /// Request: the input.
    pub input: String,
    /// The model that answers.
    pub model: String,
    /// The answer's id.
    pub id: String,
    /// The output: a text, a message in OpenAI's shape, or any JSON; of an embedding, the vectors.
    pub output: String,
    /// The reasoning: a text.
    pub reasoning: String,
    /// Why the answer ended.
    pub finish_reason: String,
    /// The error that the answer reports.
    pub error: String,
    /// In a stream: the piece of output that a message brings (a text, or a delta in OpenAI's shape).
    pub delta: String,
    /// In a stream: the piece of reasoning that a message brings.
    pub reasoning_delta: String,
    /// Counts.
    pub usage: Vec<(Count, String)>,
    /// What the call cost, in dollars.
    pub cost: String,
}

/// A provider that a configuration describes.
#[derive(Debug, Clone)]
pub struct Custom {
    /// Value of `metadata.provider`.
    pub name: String,
    /// Which calls are its own.
    pub when: Match,
    /// How they are read.
    pub reading: Reading,
    /// How a stream is framed.
    pub stream: Stream,
    /// What counts include.
    pub semantics: UsageRules,
}

/// How calls of a configured provider are read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// As of the family that their path is of.
    ByPath,
    /// As of this built-in family.
    Family(&'static Api),
    /// As described.
    Described(Operation, Box<Places>),
}

impl Custom {
    /// The API that reads its calls; none where their path decides.
    #[must_use]
    pub fn api(&self) -> Option<&'static Api> {
        match &self.reading {
            Reading::ByPath => None,
            Reading::Family(api) => Some(api),
            Reading::Described(operation, _) => APIS.iter().find(|api| api.operation == *operation),
        }
    }

    /// Where its messages have what a trace needs, if that is described.
    #[must_use]
    pub fn places(&self) -> Option<&Places> {
        match &self.reading {
            Reading::Described(_, places) => Some(places),
            _ => None,
        }
    }
}

const DESCRIBED: Api = Api { family: "custom", provider: "custom", model: "", input: &[], read, ..Api::BASE };

/// One for each operation that can be described.
static APIS: [Api; 5] = [
    DESCRIBED,
    Api { operation: Operation::Completion, ..DESCRIBED },
    Api { operation: Operation::Embedding, ..DESCRIBED },
    Api { operation: Operation::Rerank, ..DESCRIBED },
    Api { operation: Operation::Other, ..DESCRIBED },
];

fn read(answer: &mut Collector, message: &Message<'_>) {
    let Some(custom) = answer.custom.clone() else { return };
    let Some(places) = custom.places() else { return };
    let at = |place: &str| if place.is_empty() { Value::ABSENT } else { message.body.at(place) };
    answer.id(at(&places.id));
    answer.model(at(&places.model));
    for (count, place) in &places.usage {
        answer.count(*count, at(place).number());
    }
    answer.cost(at(&places.cost));
    let output = at(&places.output);
    match (message.whole, custom.api().map(|api| api.operation)) {
        (true, Some(Operation::Embedding)) => read_vectors(answer, message, output, &places.output),
        (true, _) => read_output(answer, output),
        (false, _) if places.delta.is_empty() => read_piece(answer, output),
        (false, _) => read_piece(answer, at(&places.delta)),
    }
    answer.reasoning(0, at(if message.whole { &places.reasoning } else { &places.reasoning_delta }));
    answer.finish_reason(0, at(&places.finish_reason));
    if let Some(error) = at(&places.error).something().and_then(ProviderError::from_value) {
        answer.fail(error);
    }
    // Where no place tells the end, none can be missed.
    if places.finish_reason.is_empty() {
        answer.has_no_end();
    }
}

/// A text, a message, or whatever it is.
fn read_output(answer: &mut Collector, output: Value<'_>) {
    if output.is_string() {
        answer.text(0, output);
    } else if !output.get("content").is_nothing() || output.get("tool_calls").is_array() {
        answer.whole_message(0, output);
    } else if !output.is_nothing() {
        answer.output(output);
    }
}

fn read_piece(answer: &mut Collector, piece: Value<'_>) {
    if piece.is_string() { answer.text(0, piece) } else { openai::read_message(answer, 0, piece) }
}

/// How many vectors there are: one (of numbers) or several.
fn read_vectors(answer: &mut Collector, message: &Message<'_>, vectors: Value<'_>, place: &str) {
    let first = vectors.at("0");
    if first.is_nothing() {
        return;
    }
    let one = first.amount().is_some() || first.raw().starts_with('-');
    let count = if one { 1 } else { message.children(place) };
    answer.vectors(count, if one { vectors } else { first });
}
