//! Google's models on Vertex AI: Gemini's APIs under other paths, and predictions.
//!
//! Spec: <https://docs.cloud.google.com/vertex-ai/docs/reference/rest>. Embeddings are predictions of models that are named
//! so; any other prediction is an inference of its own shape.

use super::gemini::{CONTENT, CONTENT_STREAM, COUNT_TOKENS, EMBEDDING};
use super::openai::CHAT;
use crate::json::{ObjectWriter, Value};
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::Count;
use crate::provider::message::Message;

const PROVIDER: &str = "vertex";
/// Longest media type, bytes.
const TYPE_MAX: usize = 64;
const PREDICTION: Api = Api {
    family: "vertex.predict",
    provider: PROVIDER,
    operation: Operation::Other,
    paths: &["publishers/google/models/*:predict", "endpoints/*:predict", "models/*:predict"],
    model: "",
    input: &["instances"],
    read: read_predictions,
    ..Api::BASE
};

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    Api {
        family: "vertex.generateContent",
        provider: PROVIDER,
        paths: &["publishers/google/models/*:generateContent", "endpoints/*:generateContent"],
        ..CONTENT
    },
    Api {
        family: "vertex.streamGenerateContent",
        provider: PROVIDER,
        paths: &["publishers/google/models/*:streamGenerateContent", "endpoints/*:streamGenerateContent"],
        ..CONTENT_STREAM
    },
    Api {
        provider: PROVIDER,
        paths: &["publishers/google/models/*:countTokens", "endpoints/*:countTokens"],
        ..COUNT_TOKENS
    },
    Api {
        family: "vertex.embed",
        provider: PROVIDER,
        paths: &["publishers/google/models/*:embedContent", "endpoints/*:embedContent"],
        ..EMBEDDING
    },
    // Mistral's and AI21's models speak OpenAI's language there.
    Api {
        family: "vertex.rawPredict",
        paths: &["publishers/mistralai/models/*:rawPredict", "publishers/ai21/models/*:rawPredict"],
        ..CHAT
    },
    Api {
        family: "vertex.streamRawPredict",
        paths: &["publishers/mistralai/models/*:streamRawPredict", "publishers/ai21/models/*:streamRawPredict"],
        ..CHAT
    },
    Api { operation: Operation::Embedding, when: When::Model("embedding"), ..PREDICTION },
    PREDICTION,
];

fn read_predictions(answer: &mut Collector, message: &Message<'_>) {
    let predictions = message.body.get("predictions");
    let count = message.children("predictions");
    let first = predictions.at("0");
    let vector = first.at("embeddings/values").or(first.get("textEmbedding")).or(first.get("imageEmbedding"));
    if vector.is_array() {
        answer.vectors(count, vector);
        answer.count(Count::Input, tokens(message, predictions));
    } else if first.get("bytesBase64Encoded").is_string() {
        let mut summary = ObjectWriter::default();
        summary.number("count", count);
        if let Some(kind) = first.get("mimeType").text() {
            summary.string("mime_type", crate::trace::truncate(&kind, TYPE_MAX));
        }
        answer.summary(summary.finish());
    } else if predictions.is_array() {
        answer.output(predictions);
    }
}

/// Tokens of all texts, where all of them were seen.
fn tokens(message: &Message<'_>, predictions: Value<'_>) -> Option<u64> {
    let member = message.document.and_then(|document| document.get("predictions"));
    if member.is_some_and(|member| !member.complete) {
        return None;
    }
    let stated = predictions.items().filter_map(|one| one.at("embeddings/statistics/token_count").number());
    stated.reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::families::testing::{usage_details, whole};
    use crate::provider::{Asked, find};

    static API: Api = PREDICTION;

    #[test]
    fn predictions() {
        let vectors = r#"{"predictions":[{"embeddings":{"values":[0.1,0.2],"statistics":{"token_count":4}}},
            {"embeddings":{"values":[0.1,0.2],"statistics":{"token_count":3.0}}}]}"#;
        assert_eq!(usage_details(&API, &[vectors]), r#"{"input":7,"total":7}"#);
        for (body, output) in [
            (vectors, Some(r#"{"count":2,"dimensions":2}"#)),
            (r#"{"predictions":[{"imageEmbedding":[1,2,3]}]}"#, Some(r#"{"count":1,"dimensions":3}"#)),
            (
                r#"{"predictions":[{"bytesBase64Encoded":"aGk=","mimeType":"image/png"},{}]}"#,
                Some(r#"{"count":2,"mime_type":"image/png"}"#),
            ),
            (r#"{"predictions":[{"content":"hi"}]}"#, Some(r#"[{"content":"hi"}]"#)),
            (r#"{"predictions":7}"#, None),
        ] {
            assert_eq!(whole(&API, body).output.as_deref(), output, "{body}");
        }
    }

    #[test]
    fn paths() {
        for (path, family, operation, model) in [
            (
                "publishers/google/models/gemini-2.5-pro:generateContent",
                "vertex.generateContent",
                "chat",
                "gemini-2.5-pro",
            ),
            ("publishers/google/models/g%3AstreamGenerateContent?alt=sse", "vertex.streamGenerateContent", "chat", "g"),
            ("locations/us/endpoints/123:generateContent", "vertex.generateContent", "chat", "123"),
            ("v1beta/models/g:generateContent?key=SECRET", "gemini.generateContent", "chat", "g"),
            ("v1beta/tunedModels/mine:generateContent", "gemini.generateContent", "chat", "mine"),
            ("publishers/google/models/g:countTokens", "gemini.countTokens", "count_tokens", "g"),
            (
                "publishers/google/models/text-embedding-005:predict",
                "vertex.predict",
                "embedding",
                "text-embedding-005",
            ),
            ("publishers/google/models/imagen-4:predict", "vertex.predict", "other", "imagen-4"),
            ("v1beta/models/g:batchEmbedContents", "gemini.embed", "embedding", "g"),
        ] {
            let mut route = find(format!("/v1/projects/p/{path}").as_bytes(), &[], &[]).unwrap();
            let named = route.model.clone();
            route.narrow(&Asked { host: None, has_header: None, has_member: None, model: named.as_deref() });
            let api = route.api().unwrap();
            assert_eq!(
                (api.family, api.operation.name(), named.as_deref()),
                (family, operation, Some(model)),
                "{path}"
            );
        }
    }
}
