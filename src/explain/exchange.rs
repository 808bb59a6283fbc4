//! The exchange file: one recorded call as JSON (docs/design.md, "Explain").
//!
//! ```json
//! {"request": {"method": "POST", "path": "/v1/chat/completions", "query": "", "host": "api.openai.com",
//!              "headers": {"content-type": "application/json"}, "body": "…", "body_encoding": "utf8"},
//!  "response": {"status": 200, "headers": {"content-type": "text/event-stream"}, "body": "…"},
//!  "started_at": "2026-01-31T12:00:00Z", "duration_ms": 900, "first_content_ms": 250,
//!  "gateway": "kong", "properties": {"/kong/route_name": "chat"}}
//! ```
//!
//! Only `request.path` is needed. Without `response` there was no answer. Bodies are stored decompressed: `framing` is for
//! people and is not applied. Members that are not known are passed over.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Why a file is no exchange.
#[derive(Debug)]
pub enum ExchangeError {
    /// It is not JSON, or not of this shape.
    Shape(serde_json::Error),
    /// The body (`request` or `response`) is not the base64 that it is said to be.
    Base64(&'static str),
    /// `started_at` is no time of RFC 3339.
    Time(jiff::Error),
    /// A duration (named) is negative or no number.
    Duration(&'static str),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => write!(f, "not an exchange file: {error}"),
            Self::Base64(side) => write!(f, "{side}.body is not base64, which {side}.body_encoding says it is"),
            Self::Time(error) => write!(f, "started_at is not a time such as 2026-01-31T12:00:00Z: {error}"),
            Self::Duration(name) => write!(f, "{name} is not a number of milliseconds"),
        }
    }
}

impl std::error::Error for ExchangeError {}

/// One recorded call.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Exchange {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When the request's headers arrived, as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// How long the call took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// When the first content of a stream passed, counted from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<f64>,
    /// The gateway that the call passed: Kong sets the headers that name consumers, elsewhere callers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Properties of the gateway, by their path with a `/` before each step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// What the client sent.
    pub request: Request,
    /// What was answered; none where nothing was.
    #[serde(default)]
    pub response: Option<Response>,
}

/// A gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gateway {
    /// Kong.
    Kong,
    /// Envoy.
    Envoy,
}

/// What the client sent.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Request {
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// The path, with or without its query.
    pub path: String,
    /// The query without its `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The host, where no header says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// All headers that were recorded.
    #[serde(default)]
    pub headers: Headers,
    /// Names of headers that were taken out of the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_headers: Vec<String>,
    /// How the body was framed on the wire: `content_encoding`, `transfer_encoding`, `content_length`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub framing: BTreeMap<String, Value>,
    /// The body as it is stored.
    #[serde(default)]
    pub body: StoredBody,
    /// How it is stored.
    #[serde(default)]
    pub body_encoding: BodyEncoding,
}

/// What was answered.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Response {
    /// HTTP status; none where no answer began.
    #[serde(default)]
    pub status: Option<u16>,
    /// All headers that were recorded.
    #[serde(default)]
    pub headers: Headers,
    /// Names of headers that were taken out of the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_headers: Vec<String>,
    /// See [`Request::framing`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub framing: BTreeMap<String, Value>,
    /// The body as it is stored.
    #[serde(default)]
    pub body: StoredBody,
    /// How it is stored.
    #[serde(default)]
    pub body_encoding: BodyEncoding,
    /// The answer passed to its end. False where it was cut.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub complete: bool,
    /// Envoy's `response.code_details`, which tells who cut it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_details: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// How a body is stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyEncoding {
    /// As text.
    #[default]
    Utf8,
    /// As base64.
    Base64,
    /// Not at all.
    None,
}

/// A body as it is stored: a string, or (by hand) JSON itself, which is taken verbatim.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StoredBody(pub Option<String>);

impl<'de> Deserialize<'de> for StoredBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get() {
            "null" => Ok(Self(None)),
            text if text.starts_with('"') => {
                serde_json::from_str(text).map(|text| Self(Some(text))).map_err(D::Error::custom)
            }
            json => Ok(Self(Some(json.to_owned()))),
        }
    }
}

impl Serialize for StoredBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl StoredBody {
    /// Stores `bytes` as text where they are some, else as base64.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> (Self, BodyEncoding) {
        match String::from_utf8(bytes) {
            Ok(text) => (Self(Some(text)), BodyEncoding::Utf8),
            Err(error) => (Self(Some(STANDARD.encode(error.as_bytes()))), BodyEncoding::Base64),
        }
    }

    fn bytes(&self, encoding: BodyEncoding) -> Result<Vec<u8>, base64::DecodeError> {
        match (encoding, &self.0) {
            (BodyEncoding::None, _) | (_, None) => Ok(Vec::new()),
            (BodyEncoding::Utf8, Some(text)) => Ok(text.clone().into_bytes()),
            (BodyEncoding::Base64, Some(text)) => STANDARD.decode(text.trim()),
        }
    }
}

/// Header fields in their order; a JSON object whose values are strings, or lists where a name stands several times.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name` (lower case).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Field {
            One(String),
            Several(Vec<String>),
            Number(i64),
            Other(IgnoredAny),
        }
        let mut headers = Headers::default();
        while let Some((name, value)) = map.next_entry::<String, Field>()? {
            match value {
                Field::One(value) => headers.0.push((name, value)),
                Field::Several(values) => headers.0.extend(values.into_iter().map(|value| (name.clone(), value))),
                Field::Number(number) => headers.0.push((name, number.to_string())),
                Field::Other(_) => {
                    return Err(A::Error::custom(format!("header {name}: must be a string or a list of them")));
                }
            }
        }
        Ok(headers)
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut written: Vec<&str> = Vec::new();
        for (name, value) in &self.0 {
            if written.contains(&name.as_str()) {
                continue;
            }
            written.push(name);
            let values: Vec<&str> =
                self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
            match values.len() {
                1 => map.serialize_entry(name, value)?,
                _ => map.serialize_entry(name, &values)?,
            }
        }
        map.end()
    }
}

impl Exchange {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExchangeError> {
        let exchange: Self = serde_json::from_slice(bytes).map_err(ExchangeError::Shape)?;
        let sides = [("request", exchange.request.body.bytes(exchange.request.body_encoding).err())];
        let answer = exchange.response.as_ref().and_then(|answer| answer.body.bytes(answer.body_encoding).err());
        if let Some((side, _)) = sides.into_iter().chain([("response", answer)]).find(|(_, error)| error.is_some()) {
            return Err(ExchangeError::Base64(side));
        }
        let times = [("duration_ms", exchange.duration_ms), ("first_content_ms", exchange.first_content_ms)];
        if let Some((name, _)) = times.into_iter().find(|(_, ms)| ms.is_some_and(|ms| !(0.0..1e12).contains(&ms))) {
            return Err(ExchangeError::Duration(name));
        }
        exchange
            .started_at
            .as_deref()
            .map_or(Ok(None), |text| text.parse::<jiff::Timestamp>().map(Some))
            .map_err(ExchangeError::Time)?;
        Ok(exchange)
    }

    /// Nanoseconds since 1970 at which it began, where the file says so.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.started_at.as_deref()?.parse().ok()?;
        u64::try_from(time.as_nanosecond()).ok()
    }
}

impl Request {
    /// Path and query, as a request line has them.
    #[must_use]
    pub fn target(&self) -> String {
        match self.query.as_deref() {
            Some(query) if !query.is_empty() => format!("{}?{query}", self.path),
            _ => self.path.clone(),
        }
    }

    /// The body's bytes; none where they are not what [`Exchange::parse`] accepts.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.body.bytes(self.body_encoding).unwrap_or_default()
    }

    /// The headers that a gateway would see before this body; see [`Response::wire_headers`].
    pub fn wire_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        wire_headers(&self.headers, self.body_encoding)
    }
}

impl Response {
    /// The body's bytes; none where they are not what [`Exchange::parse`] accepts.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.body.bytes(self.body_encoding).unwrap_or_default()
    }

    /// The headers that a gateway would see before this body. What is stored as text is stored decompressed (no
    /// compressed body is valid UTF-8), so a content encoding and the length of the compressed bytes are left out.
    pub fn wire_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        wire_headers(&self.headers, self.body_encoding)
    }
}

fn wire_headers(headers: &Headers, stored: BodyEncoding) -> impl Iterator<Item = (&str, &str)> {
    let decompressed = stored != BodyEncoding::Base64 && headers.get("content-encoding").is_some();
    let of_the_wire =
        |name: &str| ["content-encoding", "content-length"].iter().any(|other| name.eq_ignore_ascii_case(other));
    headers
        .0
        .iter()
        .filter(move |(name, _)| !(decompressed && of_the_wire(name)))
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Exchange, String> {
        Exchange::parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_is_enough() {
        let exchange = parse(r#"{"request":{"path":"/v1/chat/completions"}}"#).unwrap();
        assert_eq!(
            (exchange.request.method.as_str(), exchange.request.target().as_str()),
            ("POST", "/v1/chat/completions")
        );
        assert!(exchange.response.is_none() && exchange.request.bytes().is_empty());
    }

    #[test]
    fn bodies_are_text_base64_json_or_nothing() {
        for (body, bytes) in [
            (r#""body":"hü","body_encoding":"utf8""#, "hü".as_bytes()),
            (r#""body":"aMO8","body_encoding":"base64""#, "hü".as_bytes()),
            (r#""body":{"a": 1}"#, br#"{"a": 1}"#),
            (r#""body":null"#, b""),
            (r#""body":"x","body_encoding":"none""#, b""),
        ] {
            let exchange = parse(&format!(r#"{{"request":{{"path":"/",{body}}}}}"#)).unwrap();
            assert_eq!(exchange.request.bytes(), bytes, "{body}");
        }
    }

    #[test]
    fn header_values_are_strings_or_lists_and_are_written_so() {
        let text = r#"{"a":"1","b":["2","3"]}"#;
        let headers: Headers = serde_json::from_str(text).unwrap();
        assert_eq!(headers.0.len(), 3);
        assert_eq!(serde_json::to_string(&headers).unwrap(), text);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("hello", "not an exchange file"),
            ("{}", "missing field `request`"),
            (r#"{"request":{}}"#, "missing field `path`"),
            (r#"{"request":{"path":"/","body":"%","body_encoding":"base64"}}"#, "request.body is not base64"),
            (r#"{"request":{"path":"/","headers":{"a":{}}}}"#, "header a: must be"),
            (
                r#"{"request":{"path":"/"},"response":{"body":"%","body_encoding":"base64"}}"#,
                "response.body is not base64",
            ),
            (r#"{"request":{"path":"/"},"started_at":"noon"}"#, "started_at"),
            (r#"{"request":{"path":"/"},"duration_ms":-1}"#, "duration_ms"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn text_is_not_compressed_whatever_a_header_says() {
        let names = |encoding: &str| {
            let text = format!(
                r#"{{"request":{{"path":"/"}},"response":{{"headers":{{"Content-Encoding":"gzip","content-length":"9","x":"y"}},"body":"aMO8","body_encoding":"{encoding}"}}}}"#
            );
            let answer = parse(&text).unwrap().response.unwrap();
            answer.wire_headers().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("utf8"), ["x"]);
        assert_eq!(names("base64"), ["Content-Encoding", "content-length", "x"]);
    }
}
