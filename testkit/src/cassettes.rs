//! Recorded LLM exchanges, each with what an extractor must read from it. They live outside the repository;
//! their `README.md` describes the format.

use crate::http1::Headers;
use crate::upstream::Framing;
use base64::Engine;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder.
pub const FOLDER_VARIABLE: &str = "AI_TRACING_CASSETTES";

/// One recorded exchange.
#[derive(Clone, Debug)]
pub struct Cassette {
    /// The file's name without `.json`.
    pub id: String,
    /// Endpoint family, such as `openai.chat`.
    pub family: String,
    /// What the client sent.
    pub request: RecordedRequest,
    /// What the provider answered.
    pub response: RecordedResponse,
    /// The file `….expected.json`; null when there is none.
    pub expected: Value,
}

/// The request of a [`Cassette`].
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// GET, POST, …
    pub method: String,
    /// The provider's host.
    pub host: String,
    /// Path without query.
    pub path: String,
    /// Without `?`; empty when there was none.
    pub query: String,
    /// Without those that frame the body.
    pub headers: Headers,
    /// Decoded body.
    pub body: Vec<u8>,
}

/// The response of a [`Cassette`].
#[derive(Clone, Debug)]
pub struct RecordedResponse {
    /// HTTP status.
    pub status: u16,
    /// Without those that frame the body; `content-encoding` is gone because bodies are stored decompressed.
    pub headers: Headers,
    /// Decoded body.
    pub body: Vec<u8>,
    /// How it was framed; `ContentLength` where the recording does not say.
    pub framing: Framing,
}

impl Cassette {
    /// Path and query, as a request line has them.
    pub fn target(&self) -> String {
        match self.request.query.is_empty() {
            true => self.request.path.clone(),
            false => format!("{}?{}", self.request.path, self.request.query),
        }
    }
}

/// The folder of cassettes is not there.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Where it was looked for.
    pub looked_in: PathBuf,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NO CASSETTES: {} is no folder. ", self.looked_in.display())?;
        write!(out, "Set {FOLDER_VARIABLE}=/path/to/cassettes to run these tests; without them they check nothing.")
    }
}

impl std::error::Error for Missing {}

/// Where the cassettes are, or should be.
pub fn folder() -> PathBuf {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => folder.into(),
        None => crate::repository_root().join("../shared/cassettes"),
    }
}

/// Loads the cassettes of these families (`openai.chat`, or `openai.` for all that start so; none named = all),
/// sorted by id. A missing folder is also reported on stderr, because a skipped test must be seen.
pub fn load(families: &[&str]) -> Result<Vec<Cassette>, Missing> {
    let folder = folder();
    if !folder.is_dir() {
        let missing = Missing { looked_in: folder };
        crate::say_skipped(&missing.to_string());
        return Err(missing);
    }
    let mut files = exchange_files(&folder);
    files.extend(exchange_files(&folder.join("synthetic")));
    let all = files.iter().map(|file| read(file));
    Ok(all.filter(|cassette| is_wanted(&cassette.family, families)).collect())
}

fn is_wanted(family: &str, families: &[&str]) -> bool {
    let matches = |wanted: &&str| family == *wanted || (wanted.ends_with('.') && family.starts_with(*wanted));
    families.is_empty() || families.iter().any(matches)
}

fn exchange_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_exchange(path)).collect();
    files.sort();
    files
}

fn is_exchange(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".json") && !name.ends_with(".expected.json") && name != "index.json"
}

fn read(path: &Path) -> Cassette {
    let file = read_json(path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
    let (request, response) = (&file["request"], &file["response"]);
    Cassette {
        id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        family: text(&file["endpoint_family"]),
        request: RecordedRequest {
            method: text(&request["method"]),
            host: text(&request["host"]),
            path: text(&request["path"]),
            query: text(&request["query"]),
            headers: headers(&request["headers"]),
            body: body(request),
        },
        response: RecordedResponse {
            status: response["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            headers: headers(&response["headers"]),
            body: body(response),
            framing: framing(response),
        },
        expected: read_json(&path.with_extension("expected.json")).unwrap_or_default(),
    }
}

fn read_json(path: &Path) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn framing(response: &Value) -> Framing {
    match response["framing"]["transfer_encoding"].as_str() {
        Some(coding) if coding.contains("chunked") => Framing::Chunked,
        _ => Framing::ContentLength,
    }
}

fn body(message: &Value) -> Vec<u8> {
    let text = message["body"].as_str().unwrap_or_default();
    match message["body_encoding"].as_str() {
        Some("base64") => base64::engine::general_purpose::STANDARD.decode(text).expect("base64 body of a cassette"),
        _ => text.as_bytes().to_vec(),
    }
}

fn headers(fields: &Value) -> Headers {
    let fields = fields.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), text(value).into_bytes())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
