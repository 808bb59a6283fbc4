//! What stands before a body: method, path, query, host and headers.

use super::super::exchange::Headers;
use super::mask;
use super::names::{is_enumeration, is_path_verb, is_path_word, is_public_model, is_read_header, known_host_end};
use crate::credentials::is_credential;
use crate::provider;

/// Headers whose values stay: they say how a body is to be read.
const KEPT: [&str; 8] = [
    "accept",
    "accept-encoding",
    "anthropic-version",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "x-amzn-bedrock-content-type",
];
/// Headers that hold credentials under names that do not say so.
const CREDENTIALS: [&str; 3] = ["x-amz-signature", "x-amz-credential", "x-forwarded-client-cert"];
/// Parameters of a query whose values stay.
const KEPT_QUERY: [&str; 5] = ["alt", "%24alt", "api-version", "beta", "stream"];

/// `text` is one word as header names are (RFC 9110, `token`).
pub(super) fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
}

/// A method is a word in capitals.
pub(super) fn method(method: &str) -> String {
    let known = method.len() <= 10 && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if known { method.to_owned() } else { mask::text(method) }
}

/// The path with other words where they tell no API.
pub(super) fn path(path: &str) -> String {
    let model = provider::find(path.as_bytes(), &[], &[]).ok().and_then(|route| route.model);
    let segments = path.split('/').map(|segment| match segment.rsplit_once(':') {
        Some((subject, verb)) if is_path_verb(verb) => format!("{}:{verb}", path_segment(subject, model.as_deref())),
        _ => path_segment(segment, model.as_deref()),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn path_segment(segment: &str, model: Option<&str>) -> String {
    // As far as models are written with escapes: `a.b-v1%3A0`, `meta%2Fllama`.
    let plain = segment.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/");
    let is_model = model == Some(plain.as_str()) && is_public_model(&plain);
    if is_model || is_path_word(segment) { segment.to_owned() } else { escaped(segment) }
}

/// A text in which a percent and two digits are one byte.
fn escaped(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = mask::text(pieces.next().unwrap_or_default());
    for piece in pieces {
        let hex = piece.get(..2).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match hex.and(piece.get(2..)) {
            Some(rest) => {
                out.push_str("%78");
                out.push_str(&mask::text(rest));
            }
            None => {
                out.push('%');
                out.push_str(&mask::text(piece));
            }
        }
    }
    out
}

/// The query: names stay, values go but for those that choose a format.
pub(super) fn query(query: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if KEPT_QUERY.contains(&name) && is_enumeration(value) => format!("{name}={value}"),
        Some((name, value)) => format!("{}={}", query_name(name), escaped(value)),
        None => query_name(pair),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

fn query_name(name: &str) -> String {
    if is_token(name) { name.to_owned() } else { escaped(name) }
}

/// The host, of which the end by which APIs are told stays.
pub(super) fn host(host: &str) -> String {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let (front, end) = name.split_at_checked(name.len() - known_host_end(name)).unwrap_or((name, ""));
    let colon = if host.contains(':') { ":" } else { "" };
    format!("{}{end}{colon}{}", mask::text(front), mask::text(port))
}

/// Envoy's details, which may end with a reason in braces.
pub(super) fn code_details(details: &str) -> String {
    let known =
        details.len() <= 200 && details.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.{}:,|-".contains(&byte));
    if known { details.to_owned() } else { mask::text(details) }
}

/// Headers with other values, and the names of those that are left out, because they hold credentials.
pub(super) fn headers(headers: &Headers) -> (Headers, Vec<String>) {
    let (mut kept, mut removed) = (Headers::default(), Vec::new());
    for (name, value) in &headers.0 {
        let name_is_harmless = is_token(name.trim_start_matches(':'));
        if !name_is_harmless || (holds_credential(name) && !is_read_header(name)) {
            removed.extend(name_is_harmless.then(|| name.clone()));
        } else {
            kept.0.push((name.clone(), header_value(&name.to_ascii_lowercase(), value)));
        }
    }
    (kept, removed)
}

fn holds_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_credential(&name) || name.contains("cookie") || name.contains("auth-") || CREDENTIALS.contains(&name.as_str())
}

fn header_value(name: &str, value: &str) -> String {
    match name {
        "host" | ":authority" => host(value),
        ":method" => method(value),
        ":path" => value
            .split_once('?')
            .map_or_else(|| path(value), |(front, rest)| format!("{}?{}", path(front), query(rest))),
        _ if KEPT.contains(&name) => value.to_owned(),
        _ if is_count(name) && value.len() <= 12 && value.bytes().all(|byte| byte.is_ascii_digit()) => value.to_owned(),
        // Names in it say what it is read for: `langfuse_user_id=…`.
        "baggage" => value.split(',').map(baggage_member).collect::<Vec<_>>().join(","),
        _ => mask::text(value),
    }
}

fn baggage_member(member: &str) -> String {
    match member.split_once('=') {
        Some((name, value)) if is_token(name.trim()) && name.trim().starts_with("langfuse_") => {
            format!("{name}={}", escaped(value))
        }
        _ => escaped(member),
    }
}

/// Headers that state counts: those of the tables, and what is named so.
fn is_count(name: &str) -> bool {
    is_read_header(name)
        || name.contains("tokens")
        || ["token-count", "characters", "num_chars"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_what_tells_the_api() {
        assert_eq!(path("/acme-7/v1/chat/completions"), "/xxxx-1/v1/chat/completions");
        assert_eq!(path("/openai/deployments/gpt-4o/chat/completions"), "/openai/deployments/gpt-4o/chat/completions");
        assert_eq!(path("/model/a.b-v1%3A0/converse"), "/model/a.b-v1%3A0/converse");
        assert_eq!(path("/a%2Fb/v1/embeddings"), "/x%78x/v1/embeddings");
    }

    #[test]
    fn queries_keep_names_and_formats() {
        assert_eq!(query("alt=sse&key=AIza%20Sy&debug"), "alt=sse&key=xxxx%78xx&debug");
    }

    #[test]
    fn credentials_are_left_out_and_other_values_masked() {
        let pairs = [
            ("Authorization", "Bearer sk-1"),
            ("x-api-key", "sk-2"),
            ("cookie", "a=b"),
            ("content-type", "application/json"),
            ("x-user-id", "ann"),
            ("x-ratelimit-remaining-tokens", "119"),
            ("baggage", "langfuse_user_id=ann,a=b"),
            ("host", "acme.example.com:8443"),
        ];
        let all = Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        let (kept, removed) = headers(&all);
        assert_eq!(removed, ["Authorization", "x-api-key", "cookie"]);
        let value = |name: &str| kept.get(name).unwrap_or_default();
        assert_eq!((value("content-type"), value("x-user-id")), ("application/json", "xxx"));
        assert_eq!((value("x-ratelimit-remaining-tokens"), value("host")), ("119", "xxxx.xxxxxxx.xxx:1111"));
        assert_eq!(value("baggage"), "langfuse_user_id=xxx,x=x");
    }
}
