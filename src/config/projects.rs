//! Several Langfuse projects behind one filter: which calls go to which, first match first.

use super::entries::{Entries, Entry, header, members, string, unknown};
use super::{Endpoint, Secret};
use crate::headers::{self, Header};
use crate::json::Value;

/// Which calls an entry is for: all that it names must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// Name (or id) of the gateway's route.
    pub route: Option<String>,
    /// Headers and their values; `*` is any value.
    pub header: Vec<(String, String)>,
    /// Kong's consumer: user name, custom id or id, as its authentication plugins set them in headers.
    pub consumer: Option<String>,
    /// Beginning of the path, up to a `/` or its end.
    pub path_prefix: Option<String>,
}

/// One entry, as written.
#[derive(Debug, Clone, Default)]
pub struct ProjectEntry {
    /// Which calls it is for.
    pub when: When,
    /// Both keys, or none (then the default project's).
    pub keys: Option<(Secret, Secret)>,
    /// Endpoint; default: that of the default project.
    pub endpoint: Option<String>,
    /// Cluster (Envoy) or address (WasmX).
    pub upstream: Option<String>,
}

/// The key `projects`: a list of objects, or the same as JSON text (Kong's form-encoded Admin API).
pub type ProjectList = Entries<ProjectEntry>;

/// What the table is asked with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Path of the request, without its query.
    pub path: &'a [u8],
    /// Its headers.
    pub headers: &'a [Header<'a>],
    /// These are all of them.
    pub all_headers: bool,
    /// Names of the gateway's route; none where the host does not tell.
    pub route: Option<&'a [Vec<u8>]>,
}

/// Whether a call is one of an entry's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matches {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It may be: what decides cannot be seen here.
    Unknown,
}

/// Headers in which Kong's authentication plugins name the consumer.
const CONSUMER_HEADERS: [&str; 3] = ["x-consumer-username", "x-consumer-custom-id", "x-consumer-id"];

impl When {
    /// Whether the call is one of those.
    #[must_use]
    pub fn matches(&self, call: &Asked<'_>) -> Matches {
        // Of two headers of one name either could be the forged one: all must be as wanted.
        let is = |name: &str, wanted: &[u8]| {
            let mut values = headers::all(call.headers, name).peekable();
            values.peek().is_some() && values.all(|value| wanted == b"*" || value == wanted)
        };
        let is_route = |route: &String| Some(call.route?.iter().any(|name| name == route.as_bytes()));
        let route = self.route.as_ref().map_or(Some(true), is_route);
        let header = self.header.iter().all(|(name, wanted)| is(name, wanted.as_bytes()));
        let named = |consumer: &String| CONSUMER_HEADERS.iter().any(|name| is(name, consumer.as_bytes()));
        let consumer = self.consumer.as_ref().is_none_or(named);
        let path = self.path_prefix.as_ref().is_none_or(|prefix| is_below(call.path, prefix.as_bytes()));
        let by_headers = header && consumer;
        match route {
            Some(false) => Matches::No,
            _ if !path || (call.all_headers && !by_headers) => Matches::No,
            Some(true) if by_headers => Matches::Yes,
            _ => Matches::Unknown,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| prefix.ends_with(b"/") || rest.first().is_none_or(|byte| *byte == b'/'))
}

impl Entry for ProjectEntry {
    fn from_object(object: Value<'_>) -> Result<Self, String> {
        entry(object)
    }
}

fn entry(object: Value<'_>) -> Result<ProjectEntry, String> {
    let mut entry = ProjectEntry::default();
    let (mut public, mut secret) = (None, None);
    members(object, &mut |key, value| {
        match key {
            "route" => entry.when.route = Some(string(key, value)?),
            "header" => entry.when.header = header(value)?,
            "consumer" => entry.when.consumer = Some(string(key, value)?),
            "path_prefix" => entry.when.path_prefix = Some(string(key, value)?),
            "langfuse_public_key" => public = Some(Secret::new(string(key, value)?)),
            "langfuse_secret_key" => secret = Some(Secret::new(string(key, value)?)),
            "langfuse_endpoint" => entry.endpoint = Some(endpoint(key, value)?),
            "langfuse_upstream" => entry.upstream = Some(string(key, value)?),
            _ => return unknown(key),
        }
        Ok(())
    })?;
    entry.keys = match (public, secret) {
        (Some(public), Some(secret)) => Some((public, secret)),
        (None, None) => None,
        // Langfuse looks at the secret key alone: half a pair would send traces to another project.
        _ => return Err("has one of langfuse_public_key and langfuse_secret_key; give both".to_owned()),
    };
    if entry.when.is_empty() {
        return Err("names no calls; give route, header, consumer or path_prefix".to_owned());
    }
    if entry.keys.is_none() && entry.endpoint.is_none() {
        return Err("has neither keys nor langfuse_endpoint of its own".to_owned());
    }
    Ok(entry)
}

fn endpoint(key: &str, value: Value<'_>) -> Result<String, String> {
    let url = string(key, value)?;
    Endpoint::parse(&url).map_err(|error| format!("`{key}` {error}"))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::super::entries::ENTRIES_MAX;
    use super::super::values::FromJson;
    use super::*;

    fn list(text: &str) -> Result<ProjectList, String> {
        ProjectList::from_json(Value::check(text).unwrap())
    }

    #[test]
    fn an_entry_matches_where_all_that_it_names_does() {
        let text = r#"[{"route":"chat","header":{"X-Team":"a","x-any":"*"},"consumer":"acme","path_prefix":"/team/",
            "langfuse_public_key":"pk","langfuse_secret_key":"sk"}]"#;
        let when = list(text).unwrap().0.remove(0).when;
        let route = [b"chat".to_vec(), b"id".to_vec()];
        let headers: Vec<Header<'_>> =
            vec![(b"x-team", b"a"), (b"X-Any", b"1"), (b"X-Consumer-Custom-ID", b"acme"), (b"x-other", b"")];
        let path = b"/team/v1/chat/completions";
        let call = Asked { path, headers: &headers, all_headers: true, route: Some(&route) };
        assert_eq!(when.matches(&call), Matches::Yes);
        assert_eq!(when.matches(&Asked { path: b"/teams/v1", ..call }), Matches::No);
        assert_eq!(when.matches(&Asked { route: Some(&[]), ..call }), Matches::No);
        for missing in 0..3 {
            let mut fewer = headers.clone();
            fewer.remove(missing);
            assert_eq!(when.matches(&Asked { headers: &fewer, ..call }), Matches::No, "{missing}");
            let cut = Asked { headers: &fewer, all_headers: false, ..call };
            assert_eq!(when.matches(&cut), Matches::Unknown, "the host may have left it out");
        }
        assert_eq!(when.matches(&Asked { route: None, ..call }), Matches::Unknown);
        assert_eq!(when.matches(&Asked { route: None, path: b"/", ..call }), Matches::No);
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        for (path, prefix, below) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/a/b", "/a/", true),
            ("/b/a", "/a", false),
        ] {
            assert_eq!(is_below(path.as_bytes(), prefix.as_bytes()), below, "{path} {prefix}");
        }
    }

    #[test]
    fn a_wrong_entry_is_named_with_its_remedy_and_without_a_key() {
        for (text, problem) in [
            ("{}", "it is none"),
            ("[1]", "entry 1: is no object"),
            ("[{}]", "entry 1: names no calls"),
            (r#"[{"route":"a","langfuse_secret_key":"sk-lf-1"}]"#, "give both"),
            (r#"[{"route":"a"}]"#, "neither keys nor langfuse_endpoint"),
            (r#"[{"route":"a","teams":1}]"#, "unknown key `teams`"),
            (r#"[{"route":""}]"#, "`route` is empty"),
            (r#"[{"header":"sk-lf-1"}]"#, "`header` must be an object"),
            (r#"[{"header":{}}]"#, "`header` must be an object"),
            (r#"[{"langfuse_secret_key":5}]"#, "`langfuse_secret_key` must be a string"),
        ] {
            let error = list(text).unwrap_err();
            assert!(error.contains(problem) && !error.contains("-lf-"), "{text}: {error}");
        }
        let many = format!("[{}]", vec![r#"{"route":"a","langfuse_endpoint":"http://x"}"#; ENTRIES_MAX + 1].join(","));
        assert!(list(&many).unwrap_err().contains("more than 50"));
    }

    #[test]
    fn the_list_may_be_text_as_kongs_forms_deliver_it() {
        let text = serde_json::to_string(r#"[{"route":"a","langfuse_endpoint":"http://x"}]"#).unwrap();
        assert_eq!(list(&text).unwrap().0.len(), 1);
    }
}
