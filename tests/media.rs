//! Images, audio and forms: a trace tells of media and never holds them, whatever API they pass through.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "support/feed.rs"]
mod feed;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feed::Exchange;
use serde_json::{Value, json};
use testkit::langfuse::Span;

fn exchange<'a>(path: &str, content_type: &'a str, request: &'a [u8], response: &'a [u8]) -> Exchange<'a> {
    Exchange {
        path: path.to_owned(),
        request_headers: vec![("content-type", content_type.as_bytes())],
        request: request.chunks(1000).collect(),
        status: Some(200),
        response_headers: vec![("content-type", b"application/json")],
        response: response.chunks(1000).collect(),
        end_of_stream: true,
        details: None,
    }
}

/// An image of 3 MB, larger than any capture.
fn image() -> Vec<u8> {
    [b"\x89PNG\r\n\x1A\n".as_slice(), &vec![7; 3_000_000]].concat()
}

fn placeholder(mime: &str, bytes: &[u8]) -> Value {
    let mut hash = ai_tracing::sha256::Sha256::new();
    hash.update(bytes);
    let mut hex = String::new();
    ai_tracing::sha256::write_hex(&mut hex, &hash.finish());
    json!({"mime": mime, "bytes": bytes.len(), "sha256": hex})
}

/// What follows an image of megabytes is still in the trace, and nothing is said to be cut.
fn assert_whole(span: &Span) {
    assert_eq!((span.metadata("input_note"), span.metadata("output_note")), (None, None));
}

#[test]
fn an_image_in_a_prompt_is_told_of_and_what_stands_behind_it_is_kept() {
    let uri = format!("data:image/png;base64,{}", STANDARD.encode(image()));
    let chat = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "what is it?"}]}], "model": "m"});
    let span = exchange("/v1/chat/completions", "application/json", chat.to_string().as_bytes(), b"{}").span("{}");
    let content = &span.input()[0]["content"];
    assert_eq!(content[0]["image_url"]["url"], placeholder("image/png", &image()));
    assert_eq!((content[1]["text"].as_str(), span.model()), (Some("what is it?"), Some("m")));
    assert_whole(&span);

    let data = STANDARD.encode(image());
    let source = format!(r#"{{"type":"base64","media_type":"image/jpeg","data":"{data}"}}"#);
    let message = format!(r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{source}}}]}}]}}"#);
    let span = exchange("/v1/messages", "application/json", message.as_bytes(), b"{}").span("{}");
    assert_eq!(span.input()[0]["content"][0]["source"]["data"], placeholder("image/jpeg", &image()));

    let parts =
        json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}, {"text": "?"}]}]});
    let path = "/v1beta/models/gemini-2:generateContent";
    let span = exchange(path, "application/json", parts.to_string().as_bytes(), b"{}").span("{}");
    assert_eq!(span.input()[0]["content"][0]["inlineData"]["data"], placeholder("image/png", &image()));
    assert_eq!(span.input()[0]["content"][1], json!({"type": "text", "text": "?"}));
}

#[test]
fn images_and_speech_that_are_answered_are_told_of() {
    let answer = json!({"data": [{"b64_json": STANDARD.encode(image())}], "output_format": "png",
        "usage": {"input_tokens": 14, "output_tokens": 272, "total_tokens": 286}});
    let request = br#"{"model":"gpt-image-1","prompt":"a circle"}"#;
    let path = "/v1/images/generations";
    let span = exchange(path, "application/json", request, answer.to_string().as_bytes()).span("{}");
    assert_eq!(span.usage()["total"], 286);
    let text = span.output().to_string();
    assert!(
        text.contains(placeholder("image/png", &image())["sha256"].as_str().unwrap()) && text.len() < 500,
        "{text}"
    );
    assert_whole(&span);

    let audio = [b"\nfLaC".as_slice(), &[0; 5000]].concat();
    let mut speech = exchange("/v1/audio/speech", "application/json", br#"{"model":"tts-1","input":"hi"}"#, &audio);
    speech.response_headers = vec![("content-type", b"audio/flac")];
    let span = speech.span("{}");
    assert_eq!((span.output(), span.input()), (placeholder("audio/flac", &audio), json!("hi")));
    speech.end_of_stream = false;
    assert_eq!(speech.span("{}").output(), json!({"mime": "audio/flac", "bytes": audio.len(), "cut": true}));
    (speech.end_of_stream, speech.status, speech.response) =
        (true, Some(400), vec![br#"{"error":{"message":"no"}}"#.as_slice()]);
    assert_eq!(speech.span("{}").level(), "ERROR");
}

#[test]
fn a_form_is_a_request_like_any_other() {
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n{}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x\r\nContent-Disposition: form-data; \
         name=\"temperature\"\r\n\r\n0.2\r\n--x--\r\n",
        "R".repeat(2_000_000)
    );
    let answer = br#"{"text":"Hello.","usage":{"type":"duration","seconds":6}}"#;
    let path = "/v1/audio/transcriptions";
    let span = exchange(path, "multipart/form-data; boundary=x", form.as_bytes(), answer).span("{}");
    assert_eq!((span.model(), span.metadata("seconds")), (Some("whisper-1"), Some(json!(6))));
    assert_eq!(span.json("langfuse.observation.model.parameters").unwrap()["temperature"], "0.2");
    let mut file = placeholder("audio/wav", "R".repeat(2_000_000).as_bytes());
    file["filename"] = "a.wav".into();
    assert_eq!((span.input(), span.output()), (file, json!("Hello.")));
    assert_whole(&span);
}

#[test]
fn a_chat_that_answers_with_images_and_signatures_of_megabytes_is_read_to_its_end() {
    let request = br#"{"contents":[{"role":"user","parts":[{"text":"draw"}]}]}"#;
    let signature = STANDARD.encode(vec![9; 2_000_000]);
    let parts = json!([{"text": "Here.", "thoughtSignature": signature},
        {"inlineData": {"mimeType": "image/png", "data": STANDARD.encode(image())}}]);
    let answer = json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1290, "totalTokenCount": 1293}, "modelVersion": "m"});
    let (whole, sse, array) = (answer.to_string(), format!("data: {answer}\r\n\r\n"), format!("[{answer}]"));
    let hash = placeholder("image/png", &image())["sha256"].as_str().unwrap().to_owned();
    let told = format!("[image/png, {} bytes, sha256 {hash}]", image().len());
    for (verb, content_type, body) in [
        ("generateContent", "application/json", &whole),
        ("streamGenerateContent?alt=sse", "text/event-stream", &sse),
        ("streamGenerateContent", "application/json", &array),
    ] {
        let path = format!("/v1beta/models/gemini-2.5-flash-image:{verb}");
        let mut call = exchange(&path, "application/json", request, body.as_bytes());
        call.response_headers = vec![("content-type", content_type.as_bytes())];
        let span = call.span("{}");
        let content = json!([{"type": "text", "text": "Here."}, {"type": "text", "text": told, "placeholder": true}]);
        assert_eq!(span.output(), json!({"role": "assistant", "content": content}), "{verb}");
        assert_eq!(span.metadata("finish_reason"), Some(json!("STOP")), "{verb}");
        assert_eq!((span.usage()["total"], span.level()), (1293, "DEFAULT"), "{verb}");
        assert_eq!(call.explain("{}")["output_text"], "Here.", "{verb}");
        assert_whole(&span);
    }
}

#[test]
fn the_query_of_an_images_address_is_nowhere() {
    let url = "https://bucket.s3.amazonaws.com/a.png?X-Amz-Signature=secret";
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}),
        ),
        (
            "/v1/responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}, {"type": "input_file", "file_url": url}]}]}),
        ),
        (
            "/v1/messages",
            json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}]}),
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"parts": [{"fileData": {"mimeType": "image/png", "fileUri": url}}]}]}),
        ),
        (
            "/v1/ocr/v1/chat/completions",
            json!({"messages": [{"role": "user", "content": [{"type": "document_url", "document_url": url}]}]}),
        ),
    ] {
        let span = exchange(path, "application/json", body.to_string().as_bytes(), b"{}").span("{}");
        let shown = format!("{span:?}");
        assert!(shown.contains("amazonaws.com/a.png") && !shown.contains("X-Amz"), "{path}: {shown}");
    }
}
