//! Where a field of the context may come from, in the notation of the configuration: `kind:what`.
//!
//! | notation | what it reads |
//! |---|---|
//! | `header:x-user-id` | a header of the request; `header:x-portkey-metadata#/_user` a place in the JSON that it holds; `header:helicone-property-*` all that begin so, for metadata |
//! | `baggage:langfuse_user_id` | an entry of W3C baggage; `baggage:langfuse_metadata_*` all that begin so, for metadata |
//! | `body:/metadata/user_id` | the request's body, by a JSON pointer (RFC 6901, <https://www.rfc-editor.org/rfc/rfc6901>) |
//! | `property:/xds/route_name` | a property of the gateway, its steps with `/` between |
//! | `claim:sub` or `claim:/realm/name` | a claim of the JWT that `verified_jwt` names |
//! | `const:text` | the text itself |
//! | `agent` | the session of a coding agent ([`super::agent`]) |

use std::fmt;

use crate::credentials::is_credential;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header, in lower case, and a path (as [`crate::json::Value::at`] has it) in its JSON; empty = its text.
    Header(String, String),
    /// All headers that begin so, in lower case.
    Headers(String),
    /// An entry of baggage.
    Baggage(String),
    /// All entries of baggage that begin so.
    Baggages(String),
    /// Member of the body, and the rest of the path (as [`crate::json::Value::at`] has it).
    Body(String, String),
    /// Steps of a property's path.
    Property(Vec<String>),
    /// Path of a claim (as [`crate::json::Value::at`] has it).
    Claim(String),
    /// A text.
    Constant(String),
    /// The coding agent that calls.
    Agent,
}

/// Why a source is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// It is none of the known kinds.
    Unknown,
    /// Nothing stands behind the kind.
    Empty,
    /// A pointer that does not begin with `/`.
    NoPointer,
    /// What it names holds credentials, which are never exported.
    Credential,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "is no source; write header:…, baggage:…, body:/…, property:/…, claim:…, const:…, or default"
            }
            Self::Empty => "names nothing behind its kind",
            Self::NoPointer => "must have a path that begins with `/`",
            Self::Credential => "holds credentials, which are never exported",
        })
    }
}

/// Headers that hold credentials under names that do not say so.
const SECRET_HEADERS: [&str; 2] = ["helicone-auth", "x-forwarded-client-cert"];

impl Source {
    /// Reads the notation.
    ///
    /// # Errors
    /// [`SourceError`] says what to write instead; never the text.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        if text == "agent" {
            return Ok(Self::Agent);
        }
        let (kind, what) = text.split_once(':').ok_or(SourceError::Unknown)?;
        let what = if kind == "const" { what } else { what.trim() };
        if what.is_empty() || what == "*" {
            return Err(SourceError::Empty);
        }
        match kind {
            "header" => header(what),
            "baggage" => Ok(match what.strip_suffix('*') {
                Some(prefix) => Self::Baggages(prefix.to_owned()),
                None => Self::Baggage(what.to_owned()),
            }),
            "body" => body(what),
            "property" => Ok(Self::Property(pointer(what)?.split('/').map(unescaped).collect())),
            "claim" => Ok(Self::Claim(match what.strip_prefix('/') {
                Some(path) => path.to_owned(),
                None => what.replace('~', "~0").replace('/', "~1"),
            })),
            "const" => Ok(Self::Constant(what.to_owned())),
            _ => Err(SourceError::Unknown),
        }
    }
}

fn header(text: &str) -> Result<Source, SourceError> {
    let (name, path) = text.split_once('#').unwrap_or((text, ""));
    let path = if path.is_empty() { path } else { pointer(path)? };
    let name = name.to_ascii_lowercase();
    if is_credential(&name) || SECRET_HEADERS.contains(&name.as_str()) {
        return Err(SourceError::Credential);
    }
    Ok(match name.strip_suffix('*') {
        Some(prefix) => Source::Headers(prefix.to_owned()),
        None => Source::Header(name, path.to_owned()),
    })
}

fn body(path: &str) -> Result<Source, SourceError> {
    let path = pointer(path)?;
    if path.split('/').any(|step| is_credential(&unescaped(step))) {
        return Err(SourceError::Credential);
    }
    let (member, rest) = path.split_once('/').unwrap_or((path, ""));
    Ok(Source::Body(unescaped(member), rest.to_owned()))
}

fn pointer(path: &str) -> Result<&str, SourceError> {
    path.strip_prefix('/').filter(|path| !path.is_empty()).ok_or(SourceError::NoPointer)
}

/// A step of a pointer, as it is named.
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The notation, for people.
#[cfg(not(target_family = "wasm"))]
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |step: &String| step.replace('~', "~0").replace('/', "~1");
        match self {
            Self::Header(name, path) if path.is_empty() => write!(f, "header:{name}"),
            Self::Header(name, path) => write!(f, "header:{name}#/{path}"),
            Self::Headers(prefix) => write!(f, "header:{prefix}*"),
            Self::Baggage(key) => write!(f, "baggage:{key}"),
            Self::Baggages(prefix) => write!(f, "baggage:{prefix}*"),
            Self::Body(member, rest) if rest.is_empty() => write!(f, "body:/{}", escaped(member)),
            Self::Body(member, rest) => write!(f, "body:/{}/{rest}", escaped(member)),
            Self::Property(steps) => {
                write!(f, "property:")?;
                steps.iter().try_for_each(|step| write!(f, "/{}", escaped(step)))
            }
            Self::Claim(path) => write!(f, "claim:/{path}"),
            Self::Constant(text) => write!(f, "const:{text}"),
            Self::Agent => f.write_str("agent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_is_read_and_written() {
        for text in [
            "header:x-user-id",
            "header:helicone-property-*",
            "header:x-portkey-metadata#/_user",
            "baggage:langfuse_user_id",
            "baggage:langfuse_metadata_*",
            "body:/user",
            "body:/metadata/a~1b/0",
            "body:/a~1b",
            "property:/metadata/filter_metadata/envoy.filters.http.jwt_authn/p/sub",
            "claim:/realm/name",
            "const: a:b",
            "agent",
        ] {
            assert_eq!(Source::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Source::parse("header: X-User-Id ").unwrap(), Source::Header("x-user-id".to_owned(), String::new()));
        assert_eq!(Source::parse("claim:https://a/role").unwrap(), Source::Claim("https:~1~1a~1role".to_owned()));
    }

    #[test]
    fn what_is_no_source_is_refused_with_a_remedy() {
        for (text, error) in [
            ("", SourceError::Unknown),
            ("x-user-id", SourceError::Unknown),
            ("cookie:a", SourceError::Unknown),
            ("header:", SourceError::Empty),
            ("header:*", SourceError::Empty),
            ("const:", SourceError::Empty),
            ("header:a#b", SourceError::NoPointer),
            ("body:user", SourceError::NoPointer),
            ("body:/", SourceError::NoPointer),
            ("property:xds", SourceError::NoPointer),
            ("header:Authorization", SourceError::Credential),
            ("header:x-api-key", SourceError::Credential),
            ("header:cookie", SourceError::Credential),
            ("body:/metadata/api_key", SourceError::Credential),
        ] {
            assert_eq!(Source::parse(text), Err(error), "{text}");
        }
    }
}
