//! Names of members under which LLM APIs carry media, and of their siblings that tell the type.

/// Longest name that means anything here.
pub(super) const NAME_MAX: usize = 32;

/// What a member's name tells of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing.
    Other = 0,
    /// Long base64 is media, also in an array or under [`Class::Data`] in an object of this name.
    Media = 1,
    /// Long base64 is media if something else tells so, too: the object it stands in, a type beside it, or its first
    /// bytes. Encrypted reasoning is `data`, too.
    Data = 2,
    /// The media type of a sibling.
    Mime = 3,
    /// The kind of the object.
    Kind = 4,
    /// The address of media, in an object of media: its query may be a key to it.
    Url = 5,
}

/// Classes a name as written, without its quotes.
pub(super) fn class(name: &[u8]) -> Class {
    match name {
        // OpenAI: images, files, audio, and its Responses API's stream; Mistral: bare `input_audio`.
        b"b64_json" | b"file_data" | b"file" | b"input_audio" | b"audio" | b"partial_image_b64" => Class::Media,
        // Anthropic and Bedrock Converse: `source.data`, `source.bytes`. Gemini, Vertex.
        b"source" | b"inlineData" | b"inline_data" | b"bytesBase64Encoded" | b"imageBytes" | b"videoBytes" => {
            Class::Media
        }
        // Ollama, Bedrock's image models, llama.cpp, Cohere, Jina, Voyage, vLLM.
        b"image" | b"images" | b"image_data" | b"image_url" | b"image_base64" | b"inputImage" | b"init_image" => {
            Class::Media
        }
        b"video" | b"videos" | b"video_url" | b"audio_url" | b"document" | b"document_url" | b"file_url" => {
            Class::Media
        }
        b"fileData" => Class::Media,
        // No media, but as long, and as little to be read: signatures of thoughts and encrypted reasoning, of Gemini,
        // Anthropic, Bedrock and OpenAI.
        b"thoughtSignature" | b"thought_signature" | b"signature" | b"encrypted_content" | b"redactedContent" => {
            Class::Media
        }
        // `result` of OpenAI's `image_generation_call`, `blob` of MCP's resources.
        b"data" | b"bytes" | b"result" | b"blob" | b"base64" => Class::Data,
        b"media_type" | b"mime_type" | b"mimeType" | b"content_type" | b"format" | b"output_format" => Class::Mime,
        b"type" => Class::Kind,
        b"url" | b"uri" | b"fileUri" | b"file_uri" => Class::Url,
        _ => Class::Other,
    }
}

/// The `type` of an object tells that it has media, or (Anthropic's `redacted_thinking`, OpenRouter's
/// `reasoning.encrypted`) what is as opaque.
pub(super) fn is_media_kind(kind: &[u8]) -> bool {
    if matches!(kind, b"redacted_thinking" | b"reasoning.encrypted") {
        return true;
    }
    let kind = kind.strip_prefix(b"input_").unwrap_or(kind);
    [&b"image"[..], b"audio", b"video", b"document", b"file", b"media"].iter().any(|start| kind.starts_with(start))
}
