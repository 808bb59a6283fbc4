//! Who called and what the call belongs to, from headers and the request's body. Nothing is invented: where no source
//! names a user or session, the trace has none.
//!
//! Precedence (docs/design.md, "Context"): `langfuse-*` header, W3C baggage, `x-*` header, body `metadata`, body `user`.
//! A value that is not usable (not UTF-8, control characters, over Langfuse's limits, two headers that contradict each
//! other) is passed over, and the next source counts.

mod baggage;
mod body;
mod value;

use crate::headers::{self, Header};
use crate::json::Document;
use value::{identity, usable};

/// One field of the context and the headers that may carry it, first match wins; the baggage key stands behind the
/// first `langfuse` headers.
struct Source {
    langfuse: &'static str,
    baggage: &'static str,
    headers: &'static [&'static str],
}

const USER: Source = Source {
    langfuse: "langfuse-user-id",
    baggage: "langfuse_user_id",
    headers: &["x-user-id", "user-id", "x-user-email", "user-email", "x-auth-user", "authorization-user"],
};
const SESSION: Source = Source {
    langfuse: "langfuse-session-id",
    baggage: "langfuse_session_id",
    headers: &["x-session-id", "session-id"],
};

/// Metadata keys that headers carry.
const METADATA: [(&str, &[&str]); 4] = [
    ("chat_id", &["x-chat-id"]),
    ("message_id", &["x-message-id"]),
    ("organization_id", &["openai-organization", "x-organization-id"]),
    ("project_id", &["x-project-id", "project-id", "openai-project"]),
];

/// The context of a call.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Context {
    /// User id.
    pub user: Option<String>,
    /// Session id.
    pub session: Option<String>,
    /// Tags of the caller.
    pub tags: Vec<String>,
    /// Metadata of the caller: key, and text or JSON text.
    pub metadata: Vec<(String, String)>,
}

impl Context {
    /// Reads the headers of a request.
    #[must_use]
    pub fn from_headers(headers: &[Header<'_>]) -> Self {
        let mut context = Self { user: USER.read(headers), session: SESSION.read(headers), ..Self::default() };
        for (key, names) in METADATA {
            if let Some(text) = names.iter().find_map(|name| header(headers, name)) {
                context.add_metadata(key, text);
            }
        }
        context
    }

    /// Adds what the body of the request says, where the headers said nothing.
    pub fn add_body(&mut self, document: &Document) {
        body::add(self, document);
    }

    fn add_metadata(&mut self, key: &str, text: String) {
        if self.metadata.len() < value::METADATA_KEYS_MAX && self.metadata.iter().all(|(known, _)| known != key) {
            self.metadata.push((key.to_owned(), text));
        }
    }
}

impl Source {
    fn read(&self, headers: &[Header<'_>]) -> Option<String> {
        header(headers, self.langfuse)
            .or_else(|| baggage::find(headers, self.baggage).as_deref().and_then(identity))
            .or_else(|| self.headers.iter().find_map(|name| header(headers, name)))
    }
}

/// The usable value of a header; none where two of that name contradict each other.
fn header(headers: &[Header<'_>], name: &str) -> Option<String> {
    let mut values = headers::all(headers, name);
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    identity(usable(first)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::json::Limits;

    fn context(headers: &[(&str, &str)], body: &str) -> Context {
        let headers: Vec<Header<'_>> = headers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        let mut context = Context::from_headers(&headers);
        let mut document = Document::new(Limits { head: 1 << 16, member: 0 }, Budget::new(1 << 18).export_lease());
        document.push(body.as_bytes());
        context.add_body(&document);
        context
    }

    fn user(headers: &[(&str, &str)], body: &str) -> Option<String> {
        context(headers, body).user
    }

    #[test]
    fn precedence_of_the_user() {
        let sources = [
            ("langfuse-user-id", "a"),
            ("baggage", "x=1, langfuse_user_id=b%20b;prop"),
            ("x-user-id", "c"),
            ("user-id", "d"),
            ("x-user-email", "e"),
            ("user-email", "f"),
            ("x-auth-user", "g"),
            ("authorization-user", "h"),
        ];
        let body = r#"{"metadata":{"user_id":"i","user_email":"j"},"user":"k"}"#;
        let expected = ["a", "b b", "c", "d", "e", "f", "g", "h", "i"];
        for (from, expected) in expected.iter().enumerate() {
            assert_eq!(user(sources.get(from..).unwrap(), body).as_deref(), Some(*expected));
        }
        assert_eq!(user(&[], r#"{"metadata":{"user_email":"j"},"user":"k"}"#).as_deref(), Some("j"));
        assert_eq!(user(&[], r#"{"metadata":null,"user":"k"}"#).as_deref(), Some("k"));
        assert_eq!(user(&[], r#"{"user":{"id":7,"email":"m"}}"#).as_deref(), Some("7"));
        assert_eq!(user(&[], r#"{"user":{"email":"m"}}"#).as_deref(), Some("m"));
        assert_eq!(user(&[], "{}"), None);
    }

    #[test]
    fn unusable_values_are_passed_over_one_by_one() {
        let (long, fitting) = ("x".repeat(201), "x".repeat(200));
        for bad in ["", " ", "a\u{1}b", &long] {
            assert_eq!(user(&[("x-user-id", bad), ("user-id", "next")], "{}").as_deref(), Some("next"), "{bad:?}");
        }
        assert_eq!(user(&[("x-user-id", &fitting)], "{}"), Some(fitting));
        assert_eq!(Context::from_headers(&[(b"x-user-id", b"\xFF\xFE")]).user, None);
        assert_eq!(user(&[("X-User-Id", "a")], "{}").as_deref(), Some("a"), "as WasmX hands it over");
        assert_eq!(user(&[("x-user-id", "a"), ("x-user-id", "b")], r#"{"user":"k"}"#).as_deref(), Some("k"));
        assert_eq!(user(&[("x-user-id", "a"), ("x-user-id", "a")], "{}").as_deref(), Some("a"));
    }

    #[test]
    fn the_guides_headers_and_metadata() {
        let headers = [
            ("x-session-id", "s"),
            ("x-chat-id", "c"),
            ("x-message-id", "m"),
            ("x-organization-id", "o"),
            ("x-project-id", "p"),
        ];
        let body = r#"{"metadata":{"user_id":"u","chat_id":"other","tags":["a","b",1],"features":{"web_search":true},"n":1,"s":"t","__proto__":{}},"features":{"x":1}}"#;
        let context = context(&headers, body);
        assert_eq!((context.user.as_deref(), context.session.as_deref()), (Some("u"), Some("s")));
        assert_eq!(context.tags, ["a", "b"]);
        let expected = [
            ("chat_id", "c"),
            ("message_id", "m"),
            ("organization_id", "o"),
            ("project_id", "p"),
            ("features", r#"{"web_search":true}"#),
            ("n", "1"),
            ("s", "t"),
        ];
        let metadata: Vec<_> = context.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(metadata, expected);
    }

    #[test]
    fn metadata_is_bounded() {
        let members: Vec<String> = (0..200).map(|n| format!(r#""k{n}":"{}""#, "é".repeat(10))).collect();
        let context = context(&[], &format!(r#"{{"metadata":{{{}}}}}"#, members.join(",")));
        assert_eq!(context.metadata.len(), value::METADATA_KEYS_MAX);
    }
}
