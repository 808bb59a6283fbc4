//! The configuration as users write it: every key with its type, default and meaning.
//!
//! The field docs are the users' docs: the table in the README and the schema that Kong checks configurations with
//! (`filters/ai-tracing.meta.json`) are made from this table (`make docs`).

use std::fmt;

#[cfg(not(target_family = "wasm"))]
use super::schema::{Property, shown};
use super::values::{Count, Flag, LogLevel, Setting, Words};
use super::{Endpoint, EndpointError, PriceList, ProjectList, Protocol, ProviderList, Secret};
use crate::context::{Lists, ParentMode, TrustCaller, VerifiedJwt};
use crate::json::Value;

/// Why a configuration is refused; the message names the key and the remedy, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The text is not a JSON object.
    NotJson(String),
    /// A key that does not exist.
    UnknownKey(String),
    /// A value of the wrong type or out of its range.
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value, and what to write.
        problem: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(problem) => write!(f, "the configuration is not a JSON object ({problem})"),
            Self::UnknownKey(key) => match nearest(key) {
                Some(known) => write!(f, "unknown key `{key}`; did you mean `{known}`?"),
                None => write!(f, "unknown key `{key}`; the README lists all keys"),
            },
            Self::Value { key, problem } => write!(f, "{key}: {problem}"),
        }
    }
}

impl From<(&'static str, EndpointError)> for ConfigError {
    fn from((key, error): (&'static str, EndpointError)) -> Self {
        Self::Value { key, problem: error.to_string() }
    }
}

/// Declares the keys once: the struct, its defaults, the ranges of its counts and how each is read.
macro_rules! config_keys {
    ($($(#[doc = $doc:literal])+ $key:ident: $kind:ty = $default:expr $(, within $range:expr)?;)*) => {
        /// The configuration, as parsed.
        #[derive(Debug, Clone)]
        pub struct ConfigFile {
            $($(#[doc = $doc])+ pub $key: $kind,)*
        }

        impl Default for ConfigFile {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// All keys, in the order of the documentation.
        pub const KEYS: &[&str] = &[$(stringify!($key)),*];

        /// Each key with its default (JSON text; empty where there is none) and its meaning.
        #[cfg(not(target_family = "wasm"))]
        #[must_use]
        pub fn documentation() -> Vec<(&'static str, String, &'static str)> {
            let defaults = ConfigFile::default();
            vec![$((stringify!($key), shown(&defaults.$key), concat!($($doc),+).trim_ascii())),*]
        }

        /// Each key as a property of the schema.
        #[cfg(not(target_family = "wasm"))]
        pub(super) fn properties() -> Vec<(&'static str, Property)> {
            let defaults = ConfigFile::default();
            vec![$({
                let mut property = Property::new(stringify!($key), &defaults.$key);
                property.describe(concat!($($doc),+).trim_ascii());
                $(property.limit($range);)?
                (stringify!($key), property)
            }),*]
        }

        impl ConfigFile {
            fn check_ranges(&self) -> Result<(), ConfigError> {
                let ranges = [$($((stringify!($key), self.$key, $range),)?)*];
                for (key, Count(value), range) in ranges {
                    if !range.contains(&value) {
                        let problem = format!("must be {} to {}", range.start(), range.end());
                        return Err(ConfigError::Value { key, problem });
                    }
                }
                Ok(())
            }

            fn setting(&mut self, key: &str) -> Option<(&'static str, &mut dyn Setting)> {
                let settings: [&mut dyn Setting; KEYS.len()] = [$(&mut self.$key),*];
                KEYS.iter().copied().zip(settings).find(|(known, _)| *known == key)
            }
        }
    };
}

const MIB: u64 = 1024 * 1024;

config_keys! {
    /// `true` switches tracing on; while it is `false` the filter does nothing.
    langfuse_enabled: Flag = Flag(false);
    /// Public key of the Langfuse project. Default: the environment variable `LANGFUSE_PUBLIC_KEY` of the module. `{vault://env/my-key}` reads the variable `MY_KEY`.
    langfuse_public_key: Option<Secret> = None;
    /// Secret key of the Langfuse project. Default: the environment variable `LANGFUSE_SECRET_KEY`. `{vault://env/my-key}` reads the variable `MY_KEY`. Never logged.
    langfuse_secret_key: Option<Secret> = None;
    /// Base URL of Langfuse, or the URL of one of its APIs (`…/api/public/otel/v1/traces`, `…/api/public/ingestion`), or that of any OTLP/HTTP receiver (`http://127.0.0.1:4318/v1/traces`, an OpenTelemetry Collector's), which needs no keys. Default: `LANGFUSE_BASE_URL` (or `LANGFUSE_HOST`), else `https://cloud.langfuse.com`.
    langfuse_endpoint: Option<String> = None;
    /// Envoy: name of the cluster to call; WasmX: address. Default: `host:port` of the endpoint.
    langfuse_upstream: Option<String> = None;
    /// Which API of Langfuse takes the traces: `otlp`, `ingestion` (the legacy batch of Langfuse before 3.22), or `auto`: OTLP, and the legacy one where the server has no OTLP.
    protocol: Protocol = Protocol::Auto;
    /// Several Langfuse projects: a list of objects that name calls (`route`, `header`, `consumer`, `path_prefix`: all that are given must match) and where they go (`langfuse_public_key` with `langfuse_secret_key`, `langfuse_endpoint`, `langfuse_upstream`). The first that matches wins; what matches none goes to the project of the keys above.
    projects: ProjectList = ProjectList::default();
    /// Calls that are of no built-in API, or have a path or name of their own: a list of objects that name calls (`path`, `path_prefix`, `host`, `header`: all that are given must match) and say how they are read. docs/apis.md has the whole of it.
    providers: ProviderList = ProviderList::default();
    /// What models cost that Langfuse has no price for: a list of objects with `model` (`*` is any text), `input`, `output`, and where they differ `cached`, `cache_write`, `reasoning`, `audio`, in dollars per million tokens. The first that fits counts. A cost that the provider states wins.
    prices: PriceList = PriceList::default();
    /// Milliseconds that one export call may take (1 to 600000).
    langfuse_timeout: Count = Count(5000), within 1..=600_000;
    /// Environment of the traces: lower case letters, digits, `-` and `_`, at most 40. Default: `LANGFUSE_TRACING_ENVIRONMENT`, else `production`.
    environment: Option<String> = None;
    /// Release of the traces. Default: `LANGFUSE_RELEASE`, else none.
    release: Option<String> = None;
    /// Version of the traces.
    version: Option<String> = None;
    /// Tags put on every trace.
    tags: Words = Words(Vec::new());
    /// Where user, session, names, tags and metadata of a trace come from, if not from where docs/context.md says: an object of lists of sources, best first, such as `{"user": ["claim:sub", "default"]}`.
    context: Lists = Lists::default();
    /// Whether what callers say of themselves counts (user, session, tags, metadata, trace): `all`, `authenticated` (where the gateway knows who calls) or `none`. Sources that `context` names count in any case.
    trust_caller: TrustCaller = TrustCaller::All;
    /// `true`: the gateway authenticates the callers of every route of this filter, so that headers in which it names them are its word: `X-Consumer-*` and `X-Credential-Identifier` of Kong's plugins, Envoy's `x-envoy-downstream-service-cluster`. Else they are what a caller may have written.
    gateway_authenticates: Flag = Flag(false);
    /// How `traceparent` is taken: `auto` (the call joins that trace; where nothing says that its parent is in Langfuse, it stands for the application), `trust` (the parent is in Langfuse), `foreign` (it is another tracer's, and the trace shows the call), `ignore`; docs/context.md says what Langfuse makes of each.
    parent: ParentMode = ParentMode::Auto;
    /// Where claims of a JWT may be read that the gateway has verified: `header:authorization`, another `header:NAME`, or on Envoy `metadata:NAME` (`payload_in_metadata` of `jwt_authn`). Unset: no claim is read.
    verified_jwt: Option<VerifiedJwt> = None;
    /// `true`: answers carry `x-langfuse-trace-id`, or `x-langfuse-trace: skipped;reason=…` where a call was not traced.
    response_headers: Flag = Flag(false);
    /// What is written to the gateway's log: `debug`, `info`, `warn` or `error`. Lines that an operator must see (start, disabled, wrong keys, first drop) are always written, at warn.
    log_level: LogLevel = LogLevel::Info;
    /// Paths that are not traced: equal, or a prefix that ends at a `/`.
    ignore_paths: Words = Words(["/v1/models", "/health", "/metrics", "/status"].map(str::to_owned).into());
    /// Bytes of a request body that are kept (at most 16 MiB); a longer input is cut there and its size recorded.
    max_input_bytes: Count = Count(1024 * 1024), within 0..=16 * MIB;
    /// Bytes of an answer that are kept (at most 16 MiB); a longer output is cut there and its size recorded.
    max_output_bytes: Count = Count(1024 * 1024), within 0..=16 * MIB;
    /// Largest piece of a body that is read at once on WasmX, in bytes; a larger one is passed over and its size recorded.
    max_read: Count = Count(4 * 1024 * 1024), within 0..=64 * MIB;
    /// Bytes that all captures and queues of one VM may hold; beyond it, calls are traced without content.
    memory_budget: Count = Count(64 * 1024 * 1024), within MIB..=1024 * MIB;
    /// `false`: where the provider states no usage, Langfuse must not estimate it (sends cost 0).
    estimate_usage: Flag = Flag(true);
    /// Traces that wait for export at the most; the oldest is dropped and counted.
    queue_max_items: Count = Count(50_000), within 1..=1_000_000;
    /// Bytes of traces that wait for export at the most; the oldest is dropped and counted.
    queue_max_bytes: Count = Count(32 * 1024 * 1024), within MIB..=1024 * MIB;
    /// Traces in one export call at the most.
    batch_max_items: Count = Count(4000), within 1..=10_000;
    /// Bytes of traces in one export call at the most; a single larger trace goes alone.
    batch_max_bytes: Count = Count(4 * 1024 * 1024), within 1024..=64 * MIB;
    /// Milliseconds that a trace waits for others before it is sent.
    batch_max_age: Count = Count(2000), within 0..=600_000;
    /// Milliseconds for which a batch that Langfuse does not take is tried again before it is dropped and counted.
    retry_max_age: Count = Count(300_000), within 0..=86_400_000;
    /// Accepted from configurations of the predecessor, without effect (as there).
    enabled: Option<Flag> = None;
}

impl ConfigFile {
    /// Parses the configuration's text; nothing at all is the default configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let bytes = crate::json::trim(bytes);
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        // Kong 3.4 holds configurations as strings; one quoted twice is still meant.
        match Value::parse(bytes).and_then(Value::text) {
            Some(text) => Self::parse_object(crate::json::trim(text.as_bytes())),
            None => Self::parse_object(bytes),
        }
    }

    fn parse_object(bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut file = Self::default();
        for (key, value) in checked_object(bytes)?.members() {
            if key.contains(char::REPLACEMENT_CHARACTER) {
                return Err(ConfigError::NotJson("a key has a broken character".to_owned()));
            }
            let Some((key, setting)) = file.setting(&key) else {
                return Err(ConfigError::UnknownKey(key.chars().take(60).collect()));
            };
            // Kong writes null for what is not set, and Lua has one empty table: an empty list may come as `{}`.
            let is_empty_object = value.is_object() && value.members().next().is_none();
            let value = if is_empty_object { Value::check("[]").unwrap_or_default() } else { value };
            if !value.is_nothing() {
                setting.set(value).map_err(|problem| ConfigError::Value { key, problem })?;
            }
        }
        file.check_ranges()?;
        file.check_endpoint()?;
        Ok(file)
    }

    fn check_endpoint(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.langfuse_endpoint {
            Endpoint::parse(url).map_err(|error| ConfigError::from(("langfuse_endpoint", error)))?;
        }
        Ok(())
    }
}

fn checked_object(bytes: &[u8]) -> Result<Value<'_>, ConfigError> {
    if bytes.first() != Some(&b'{') {
        let remedy = "Envoy: give it as google.protobuf.StringValue, not as Struct";
        return Err(ConfigError::NotJson(remedy.to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ConfigError::NotJson("it is not UTF-8".to_owned()))?;
    Value::check(text).map_err(|at| {
        let (line, column) = line_and_column(bytes, at);
        ConfigError::NotJson(format!("line {line} column {column}"))
    })
}

/// Where the byte at `at` stands (or the last one, where that is behind the end), both counted from 1.
fn line_and_column(text: &[u8], at: usize) -> (usize, usize) {
    let up_to_it = text.get(..=at).unwrap_or(text);
    let line = up_to_it.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begin = up_to_it.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, up_to_it.len() - begin)
}

/// The known key that most resembles `key`, if one does.
fn nearest(key: &str) -> Option<&'static str> {
    let close = |known: &&&str| distance(key, known) <= 2 || known.ends_with(&format!("_{key}"));
    KEYS.iter().filter(close).min_by_key(|known| distance(key, known)).copied()
}

/// Levenshtein distance; keys are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), i + 1);
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            (diagonal, left) = (*cell, best);
            *cell = best;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        ConfigFile::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn strings_stand_for_booleans_numbers_and_lists() {
        let text =
            r#"{"langfuse_enabled":"true","langfuse_timeout":"250","tags":"a, b,","max_read":5e3,"release":null}"#;
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        assert_eq!((file.langfuse_enabled, file.langfuse_timeout), (Flag(true), Count(250)));
        assert_eq!(
            (file.tags.0, file.max_read, file.release),
            (vec!["a".to_owned(), "b".to_owned()], Count(5000), None)
        );
        let quoted = serde_json::to_string(text).unwrap();
        assert_eq!(ConfigFile::parse(quoted.as_bytes()).unwrap().langfuse_timeout, Count(250));
        assert_eq!(ConfigFile::parse(b"").unwrap().langfuse_enabled, Flag(false));
    }

    #[test]
    fn an_empty_list_may_be_written_as_luas_empty_table() {
        let file = ConfigFile::parse(br#"{"ignore_paths":{},"tags":[]}"#).unwrap();
        assert_eq!((file.ignore_paths, file.tags), (Words(Vec::new()), Words(Vec::new())));
        assert_eq!(error(r#"{"tags":{"a":"b"}}"#), "tags: must be a list of strings");
        assert_eq!(error(r#"{"release":{}}"#), "release: must be a string");
    }

    #[test]
    fn errors_name_the_key_and_the_remedy() {
        for (text, message) in [
            (r#"{"langfuse_enable":true}"#, "unknown key `langfuse_enable`; did you mean `langfuse_enabled`?"),
            (r#"{"secret_key":"x"}"#, "unknown key `secret_key`; did you mean `langfuse_secret_key`?"),
            (r#"{"zzz":null}"#, "unknown key `zzz`; the README lists all keys"),
            (r#"{"langfuse_enabled":"yes"}"#, "langfuse_enabled: must be true or false"),
            (r#"{"langfuse_timeout":-1}"#, "langfuse_timeout: must be a whole number, 0 or more"),
            (r#"{"langfuse_timeout":0}"#, "langfuse_timeout: must be 1 to 600000"),
            (r#"{"log_level":"loud"}"#, "log_level: must be debug, info, warn or error"),
            (r#"{"environment":5}"#, "environment: must be a string"),
            (r#"{"tags":[1]}"#, "tags: must be a list of strings"),
            ("{\"a\":\n", "the configuration is not a JSON object (line 1 column 5)"),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
        assert!(error("\u{a}\u{10}").contains("StringValue"));
        assert!(error(r#"{"\ud800":1}"#).contains("broken character"));
        assert!(ConfigFile::parse(b"{\"tags\":\"\xFF\"}").unwrap_err().to_string().contains("not UTF-8"));
        assert!(error(r#"{"langfuse_endpoint":"cloud"}"#).starts_with("langfuse_endpoint: must begin with https://"));
    }

    #[test]
    fn no_secret_is_shown_by_debug_or_an_error() {
        let text = r#"{"langfuse_secret_key":"sk-lf-1","langfuse_public_key":"pk-lf-1","langfuse_timeout":"sk-lf-2"}"#;
        assert!(!error(text).contains("-lf-"));
        let file = ConfigFile::parse(br#"{"langfuse_secret_key":"sk-lf-1","langfuse_public_key":"pk-lf-1"}"#).unwrap();
        assert!(!format!("{file:?}").contains("-lf-"));
    }
}
