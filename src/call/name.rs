//! The name of a trace where nobody names it: the path that the client sent, in the form in which equal calls have equal
//! names.
//!
//! Percent-encodings of unreserved characters are decoded, the others are written in upper case (RFC 3986, 6.2.2,
//! <https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2>). Of Vertex AI's paths project and location are left out, of
//! Amazon Bedrock's the model is written as it is called, without the region and account of an ARN:
//!
//! ```text
//! /v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent
//!   → /v1/…/publishers/google/models/gemini-2.5-pro:generateContent
//! /model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/converse
//!   → /model/us.amazon.nova-lite-v1:0/converse
//! ```

use std::fmt::Write as _;

use crate::provider::without_query;

/// Longest name, bytes.
const NAME_MAX: usize = 1000;
/// Bytes of a path that are looked at.
const PATH_MAX: usize = 8192;

/// The name for a call of the request target `sent` (path and query).
pub(super) fn trace_name(sent: &[u8]) -> String {
    let path = without_query(sent);
    let path = path.get(..path.len().min(PATH_MAX)).unwrap_or(path);
    let name = without_place(&with_plain_model(&normalised(path)));
    crate::trace::truncate(&name, NAME_MAX).to_owned()
}

fn normalised(path: &[u8]) -> String {
    let mut name = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let text = chunk.valid();
        let mut rest = text.chars();
        while let Some(letter) = rest.next() {
            match decoded(letter, rest.as_str()) {
                Some(byte) => {
                    rest.nth(1);
                    push(&mut name, byte);
                }
                None if letter.is_control() => {
                    letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| encode(&mut name, byte));
                }
                None => name.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| encode(&mut name, *byte));
    }
    name
}

/// The byte that `%` with two digits stands for.
fn decoded(letter: char, rest: &str) -> Option<u8> {
    let digits =
        rest.get(..2).filter(|digits| letter == '%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

fn push(name: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        name.push(char::from(byte));
    } else {
        encode(name, byte);
    }
}

fn encode(name: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(name, "%{byte:02X}");
}

/// Operations of Bedrock's runtime behind the model
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html>).
const MODEL_OPERATIONS: [&str; 5] =
    ["converse", "converse-stream", "invoke", "invoke-with-response-stream", "count-tokens"];

fn with_plain_model(path: &str) -> String {
    let parts = || {
        let (head, operation) = path.rsplit_once('/')?;
        let at = head.find("/model/").map(|at| at + "/model/".len())?;
        let (before, model) = head.split_at_checked(at)?;
        MODEL_OPERATIONS.contains(&operation).then_some((before, model, operation))
    };
    let Some((before, model, operation)) = parts() else { return path.to_owned() };
    format!("{before}{}/{operation}", plain_model(model))
}

/// `us.amazon.nova-lite-v1:0` of `arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0`.
fn plain_model(model: &str) -> String {
    let plain = model.replace("%3A", ":").replace("%2F", "/");
    let resource = if plain.starts_with("arn:") { plain.splitn(6, ':').nth(5) } else { None };
    let id = resource.map(|resource| resource.split_once('/').map_or(resource, |(_, id)| id).to_owned());
    id.unwrap_or(plain)
}

/// Without `projects/P/locations/L`.
fn without_place(path: &str) -> String {
    let parts = || {
        let (before, rest) = path.split_once("/projects/")?;
        let (_, rest) = rest.split_once("/locations/")?;
        let (_, rest) = rest.split_once('/')?;
        Some((before, rest))
    };
    parts().map_or_else(|| path.to_owned(), |(before, rest)| format!("{before}/…/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_calls_have_equal_names() {
        for (sent, name) in [
            (&b"/v1/chat/completions?api-version=1"[..], "/v1/chat/completions"),
            (b"/v1/%63hat%2fcompletions", "/v1/chat%2Fcompletions"),
            (b"/a%0Ab\n%zz%", "/a%0Ab%0A%zz%"),
            (b"/openai/\xC3\xA4\xFF", "/openai/ä%FF"),
            (b"", ""),
        ] {
            assert_eq!(trace_name(sent), name);
        }
        assert_eq!(trace_name(&[b'/'; 5000]).len(), NAME_MAX);
    }

    #[test]
    fn ids_of_places_are_left_out_where_the_shape_is_known() {
        for (sent, name) in [
            (
                "/v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent",
                "/v1/…/publishers/google/models/gemini-2.5-pro:generateContent",
            ),
            ("/v1beta1/projects/p/locations/l/endpoints/12:rawPredict", "/v1beta1/…/endpoints/12:rawPredict"),
            ("/projects/p", "/projects/p"),
            (
                "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
                "/model/anthropic.claude-3-haiku-20240307-v1:0/invoke",
            ),
            (
                "/aws/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0/converse",
                "/aws/model/us.amazon.nova-lite-v1:0/converse",
            ),
            (
                "/model/arn:aws:bedrock:us-east-1:1:application-inference-profile/abc/converse-stream",
                "/model/abc/converse-stream",
            ),
            ("/model/arn/invoke", "/model/arn/invoke"),
            ("/model/x%3Ay/other", "/model/x%3Ay/other"),
        ] {
            assert_eq!(trace_name(sent.as_bytes()), name);
        }
    }
}
