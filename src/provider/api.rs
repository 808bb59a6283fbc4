//! What is declared of one API of a provider: how its calls are known, what of a request is its input, and how its
//! answers are read. Families are tables of these (`families/`); adding one is adding a file there.

use super::collect::Collector;
use super::count::{Count, UsageRules};
use super::message::Message;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A message to a conversation.
    Chat,
    /// The continuation of a text.
    Completion,
    /// Vectors of texts.
    Embedding,
    /// Images.
    Image,
    /// Speech from text.
    Speech,
    /// Text from speech.
    Transcription,
    /// English text from speech.
    Translation,
    /// A verdict on texts.
    Moderation,
    /// An order of documents.
    Rerank,
    /// The number of tokens that a call would have.
    CountTokens,
    /// Another inference.
    Other,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Chat,
        Self::Completion,
        Self::Embedding,
        Self::Image,
        Self::Speech,
        Self::Transcription,
        Self::Translation,
        Self::Moderation,
        Self::Rerank,
        Self::CountTokens,
        Self::Other,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::Speech => "audio.speech",
            Self::Transcription => "audio.transcriptions",
            Self::Translation => "audio.translations",
            Self::Moderation => "moderation",
            Self::Rerank => "rerank",
            Self::CountTokens => "count_tokens",
            Self::Other => "other",
        }
    }

    /// Name of its observations.
    #[must_use]
    pub fn observation(self) -> &'static str {
        match self {
            Self::Chat => "chat_completion",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Image => "image_generation",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Translation => "translation",
            Self::Moderation => "moderation",
            Self::Rerank => "rerank",
            Self::CountTokens => "token_count",
            Self::Other => "inference",
        }
    }

    /// It asks for the text of speech, which may be answered with nothing but that.
    #[must_use]
    pub fn is_of_speech(self) -> bool {
        matches!(self, Self::Transcription | Self::Translation)
    }

    /// What it answers with is never kept, but told of: vectors, images, audio.
    #[must_use]
    pub fn answers_without_text(self) -> bool {
        matches!(self, Self::Embedding | Self::Image | Self::Speech)
    }

    /// Langfuse's type of its observations.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Rerank => "retriever",
            Self::Moderation => "guardrail",
            Self::CountTokens => "span",
            _ => "generation",
        }
    }
}

/// What, beside its path, tells a call of this API.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Nothing more.
    Always,
    /// The request has this member.
    Member(&'static str),
    /// The host ends so, on the border of a label.
    Host(&'static str),
    /// The request has this header.
    Header(&'static str),
    /// The model's name (in body or path) holds this.
    Model(&'static str),
    /// One of these.
    Any(&'static [When]),
}

/// How messages of a stream are separated, where the bytes do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The first bytes tell.
    Told,
    /// JSON answers hold one text a line, even where only one came.
    Lines,
    /// A JSON array is a stream of its elements.
    Array,
}

/// One API of a provider.
#[derive(Debug)]
pub struct Api {
    /// Family, as the documentation names it.
    pub family: &'static str,
    /// Value of `metadata.provider`.
    pub provider: &'static str,
    /// What it asks for.
    pub operation: Operation,
    /// Name of the observation, where it is not that of the operation.
    pub observation: Option<&'static str>,
    /// Ends of paths (see [`super::route`]).
    pub paths: &'static [&'static str],
    /// What else tells its calls.
    pub when: When,
    /// Where the request names the model, unless the path does.
    pub model: &'static str,
    /// Members of the request that are its input; the first that it has is the main one.
    pub input: &'static [&'static str],
    /// Member that becomes the first of the messages; empty = none.
    pub system: &'static str,
    /// Messages are made of parts, as Gemini's and Bedrock's are.
    pub has_parts: bool,
    /// How a stream is framed.
    pub stream: Stream,
    /// Where usage stands in what [`Collector::usage`] is given, and what it includes.
    pub usage: &'static UsageRules,
    /// Headers of the answer that state counts.
    pub count_headers: &'static [(Count, &'static str)],
    /// Header of the answer that holds its id.
    pub id_header: &'static str,
    /// Header of the answer that holds an error's code (and behind a `:` more).
    pub error_header: &'static str,
    /// Reads one message of an answer.
    pub read: fn(&mut Collector, &Message<'_>),
}

impl Api {
    /// What most APIs have in common.
    pub const BASE: Self = Self {
        family: "",
        provider: "",
        operation: Operation::Chat,
        observation: None,
        paths: &[],
        when: When::Always,
        model: "model",
        input: &["messages", "tools", "functions"],
        system: "",
        has_parts: false,
        stream: Stream::Told,
        usage: &UsageRules::NONE,
        count_headers: &[],
        id_header: "",
        error_header: "",
        read: |_, _| {},
    };

    /// Name of its observations.
    #[must_use]
    pub fn observation(&self) -> &'static str {
        self.observation.unwrap_or_else(|| self.operation.observation())
    }
}
