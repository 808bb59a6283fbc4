//! Images: OpenAI's generations, edits and variations and those who follow, and Venice's own generation. A trace says how
//! many and of what kind, never the images.
//!
//! Spec: <https://platform.openai.com/docs/api-reference/images>, <https://docs.venice.ai/api-reference/endpoint/image/generate>.

use super::openai;
use crate::json::{Fields, Object, Value, write_string};
use crate::provider::api::{Api, Operation, When};
use crate::provider::collect::Collector;
use crate::provider::count::{Count, UsageRules};
use crate::provider::message::Message;
use crate::trace::truncate;

/// See the module's documentation.
pub(super) const APIS: &[Api] = &[
    IMAGES,
    Api {
        family: "venice.images",
        provider: "venice",
        paths: &["image/generate"],
        when: When::Any(&[When::Host("venice.ai"), When::Member("prompt")]),
        input: &["prompt", "negative_prompt"],
        usage: &UsageRules::NONE,
        read: read_venice,
        ..IMAGES
    },
];

const IMAGES: Api = Api {
    family: "openai.images",
    provider: openai::PROVIDER,
    operation: Operation::Image,
    paths: &[
        "deployments/*/images/generations",
        "deployments/*/images/edits",
        "images/generations",
        "images/edits",
        "images/variations",
    ],
    input: &["prompt", "image", "image[]", "images", "mask"],
    usage: &USAGE,
    read,
    ..Api::BASE
};

static USAGE: UsageRules = UsageRules {
    fields: &[
        (Count::Input, &["input_tokens"]),
        (Count::Output, &["output_tokens"]),
        (Count::Total, &["total_tokens"]),
        (Count::InputImage, &["input_tokens_details/image_tokens"]),
        (Count::CacheRead, &["input_tokens_details/cached_tokens"]),
    ],
    ..UsageRules::NONE
};

/// Images that are described; more than ten cannot be asked for.
const DESCRIBED_MAX: usize = 16;
/// Members of an answer that tell of what kind its images are.
const KIND: [&str; 4] = ["output_format", "size", "quality", "background"];
/// Longest text that is kept of an image, bytes.
const TEXT_MAX: usize = 4096;

fn read(answer: &mut Collector, message: &Message<'_>) {
    let body = message.body;
    answer.usage(body.get("usage"));
    let images = body.get("data");
    if images.is_array() {
        describe(answer, body, message.children("data"), images);
    }
    // Events of a stream have earlier looks of an image, and then the image.
    if body.get("b64_json").is_string() {
        answer.content();
    }
    if body.get("type").text().is_some_and(|kind| kind.ends_with(".completed")) {
        describe(answer, body, 1, Value::ABSENT);
        answer.end();
    }
}

/// Base64 in an array. (With `return_binary` the answer is the image.)
fn read_venice(answer: &mut Collector, message: &Message<'_>) {
    let images = message.body.get("images");
    answer.id(message.body.get("id"));
    if images.is_array() {
        describe(answer, message.body, message.children("images"), images);
    }
}

/// Says how many images there are, of what kind, and what is told of each.
fn describe(answer: &mut Collector, body: &Fields<'_>, count: u64, images: Value<'_>) {
    let mut text = String::new();
    let mut output = Object::open(&mut text);
    output.number("count", count);
    for key in KIND {
        output.optional(key, body.get(key).text().as_deref().map(|text| truncate(text, TEXT_MAX)));
    }
    let list = output.key("images");
    list.push('[');
    for image in images.items().take(DESCRIBED_MAX) {
        if !list.ends_with('[') {
            list.push(',');
        }
        describe_one(list, image);
    }
    list.push(']');
    output.close();
    answer.output(Value::parse(text.as_bytes()).unwrap_or_default());
}

fn describe_one(out: &mut String, image: Value<'_>) {
    // Venice's are nothing but base64.
    if image.is_string() {
        return write_string(out, "[not kept]");
    }
    if !image.get("bytes").is_nothing() {
        return out.push_str(image.raw());
    }
    let mut described = Object::open(out);
    // What was long is a placeholder already (`decode::MediaFilter`).
    for key in ["b64_json", "url"] {
        let told = image.get(key);
        if told.is_object() {
            described.raw(key, told.raw());
        } else if key == "b64_json" && told.is_string() {
            described.text(key, "[not kept]");
        }
    }
    if let Some(url) = image.get("url").text() {
        // Its query is a key to the image.
        let place = url.split(['?', '#']).next().unwrap_or_default();
        described.text("url", if url.starts_with("data:") { "[not kept]" } else { truncate(place, TEXT_MAX) });
    }
    let prompt = image.get("revised_prompt").text();
    described.optional("revised_prompt", prompt.as_deref().map(|prompt| truncate(prompt, TEXT_MAX)));
    described.close();
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, check_usage};

    #[test]
    fn usage() {
        check_usage(&[(
            "openai.images",
            r#"{"usage":{"input_tokens":14,"input_tokens_details":{"image_tokens":4,"text_tokens":10},"output_tokens":272,"total_tokens":286}}"#,
            r#"{"input":14,"output":272,"total":286}"#,
        )]);
    }

    #[test]
    fn images_are_described_and_never_kept() {
        let output = |body| answer("openai.images", &[body]).output.unwrap();
        assert_eq!(
            output(r#"{"data":[{"b64_json":"aGVsbG8="},{"b64_json":"aGVsbG8="}],"output_format":"png","size":"1x1"}"#),
            r#"{"count":2,"output_format":"png","size":"1x1","images":[{"b64_json":"[not kept]"},{"b64_json":"[not kept]"}]}"#
        );
        assert_eq!(
            output(r#"{"data":[{"url":"https://x/1.png?sig=secret","revised_prompt":"a cat"}]}"#),
            r#"{"count":1,"images":[{"url":"https://x/1.png","revised_prompt":"a cat"}]}"#
        );
        let many = format!(r#"{{"data":[{}{{}}]}}"#, "{},".repeat(99));
        let described = format!("[{}{{}}]", "{},".repeat(15));
        assert_eq!(output(&many), format!(r#"{{"count":100,"images":{described}}}"#));
    }

    #[test]
    fn venices_are_nothing_but_base64() {
        let output = answer("venice.images", &[r#"{"id":"i","images":["iVBORw0KGgo=",{"bytes":9}]}"#]).output;
        assert_eq!(output.as_deref(), Some(r#"{"count":2,"images":["[not kept]",{"bytes":9}]}"#));
        assert_eq!(answer("venice.images", &[r#"{"error":"no such model"}"#]).output, None);
    }

    #[test]
    fn a_stream_ends_with_the_image() {
        let events = [
            r#"{"type":"image_generation.partial_image","b64_json":"aGVs","partial_image_index":0}"#,
            r#"{"type":"image_generation.completed","b64_json":"aGVs","size":"1x1","usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}"#,
        ];
        let whole = answer("openai.images", &events);
        assert_eq!(whole.output.as_deref(), Some(r#"{"count":1,"size":"1x1","images":[]}"#));
        assert_eq!((whole.unfinished, whole.usage.is_some()), (false, true));
        assert!(answer("openai.images", &[events[0], events[0]]).unfinished);
    }
}
