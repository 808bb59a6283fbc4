//! Where traces go: endpoints and keys, completed from the environment, and which calls are for which.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::projects::{Asked, Matches, ProjectEntry, When};
use super::{ConfigFile, Endpoint, Environment, Protocol, Secret, set};

const DEFAULT_ENDPOINT: &str = "https://cloud.langfuse.com";

/// The Langfuse project to which traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The server.
    pub endpoint: Endpoint,
    /// Cluster name (Envoy) or address (WasmX) of the server.
    pub upstream: String,
    /// Value of the `authorization` header; none for a receiver that has no keys.
    pub authorization: Option<Secret>,
    /// Milliseconds for one call.
    pub timeout_ms: u32,
    /// Which of its APIs may be used.
    pub protocol: Protocol,
}

/// Whether traces can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activation {
    /// `langfuse_enabled` is false.
    Off,
    /// Tracing is on, but something in the environment is missing: says what, and the remedy.
    Incomplete(String),
    /// Tracing is on.
    Ready(Projects),
}

/// The projects that have keys, and which calls are for which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projects {
    /// Where traces go.
    pub targets: Vec<Target>,
    /// What is missing for the others, one line each.
    pub problems: Vec<String>,
    /// Whose calls, and the number of the target; none where that project has no keys.
    table: Vec<(When, Option<usize>)>,
}

impl Projects {
    /// The number of the target for a call; none where its project has no keys, or cannot be told. It must not go to
    /// another one's.
    #[must_use]
    pub fn pick(&self, call: &Asked<'_>) -> Option<usize> {
        let mut table = self.table.iter().map(|(when, target)| (when.matches(call), target));
        match table.find(|(matches, _)| *matches != Matches::No)? {
            (Matches::Yes, target) => *target,
            _ => None,
        }
    }

    /// The table asks for the gateway's route.
    #[must_use]
    pub fn asks_for_route(&self) -> bool {
        self.table.iter().any(|(when, _)| when.route.is_some())
    }
}

/// What of the endpoint and the keys stands in one place of the configuration.
struct Given<'a> {
    name: String,
    keys: [Option<&'a Secret>; 2],
    endpoint: Option<&'a str>,
    upstream: Option<&'a str>,
}

pub(super) fn activation(file: &ConfigFile, env: Environment<'_>) -> Activation {
    if !file.langfuse_enabled.0 {
        return Activation::Off;
    }
    let default = Given {
        name: String::new(),
        keys: [file.langfuse_public_key.as_ref(), file.langfuse_secret_key.as_ref()],
        endpoint: file.langfuse_endpoint.as_deref(),
        upstream: file.langfuse_upstream.as_deref(),
    };
    let mut projects = Projects { targets: Vec::new(), problems: Vec::new(), table: Vec::new() };
    for (number, entry) in (1..).zip(&file.projects.0) {
        let found = target(&of_entry(number, entry, &default), file, env);
        projects.add(entry.when.clone(), found);
    }
    projects.add(When::default(), target(&default, file, env));
    if projects.targets.is_empty() {
        return Activation::Incomplete(projects.problems.join("; "));
    }
    Activation::Ready(projects)
}

impl Projects {
    fn add(&mut self, when: When, target: Result<Target, String>) {
        let number = match target {
            // Entries with one target share its queue.
            Ok(target) => Some(self.targets.iter().position(|known| *known == target).unwrap_or_else(|| {
                self.targets.push(target);
                self.targets.len() - 1
            })),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        };
        self.table.push((when, number));
    }
}

fn of_entry<'a>(number: usize, entry: &'a ProjectEntry, default: &Given<'a>) -> Given<'a> {
    let keys = entry.keys.as_ref().map(|(public, secret)| [Some(public), Some(secret)]);
    let own_endpoint = entry.endpoint.as_deref();
    Given {
        name: format!("projects, entry {number}: "),
        keys: keys.unwrap_or(default.keys),
        endpoint: own_endpoint.or(default.endpoint),
        // The default's upstream is the way to the default's endpoint.
        upstream: entry.upstream.as_deref().or(default.upstream.filter(|_| own_endpoint.is_none())),
    }
}

fn target(given: &Given<'_>, file: &ConfigFile, env: Environment<'_>) -> Result<Target, String> {
    let named = |problem: String| format!("{}{problem}", given.name);
    let endpoint = endpoint(given, env).map_err(named)?;
    let authorization = authorization(given, &endpoint, env).map_err(named)?;
    let protocol = match (&endpoint.receiver, file.protocol) {
        (Some(_), Protocol::Ingestion) => {
            return Err(named("protocol: an OTLP receiver takes otlp alone; leave it out".to_owned()));
        }
        (Some(_), _) => Protocol::Otlp,
        (None, protocol) => protocol,
    };
    let upstream = given.upstream.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(Target {
        upstream: upstream.unwrap_or_else(|| endpoint.host_and_port.clone()),
        endpoint,
        authorization,
        timeout_ms: u32::try_from(file.langfuse_timeout.0).unwrap_or(u32::MAX),
        protocol,
    })
}

fn endpoint(given: &Given<'_>, env: Environment<'_>) -> Result<Endpoint, String> {
    let variable = |name: &'static str| set(env, name).map(|url| (name, url));
    let (name, url) = given
        .endpoint
        .map(|url| ("langfuse_endpoint", url.to_owned()))
        .or_else(|| variable("LANGFUSE_BASE_URL"))
        .or_else(|| variable("LANGFUSE_HOST"))
        .unwrap_or_else(|| ("langfuse_endpoint", DEFAULT_ENDPOINT.to_owned()));
    Endpoint::parse(&url).map_err(|error| format!("{name} {error}"))
}

/// Langfuse needs both keys; any other receiver gets them where there are any.
fn authorization(given: &Given<'_>, endpoint: &Endpoint, env: Environment<'_>) -> Result<Option<Secret>, String> {
    let [public_key, secret_key] = given.keys;
    let public_key = key("langfuse_public_key", public_key, "LANGFUSE_PUBLIC_KEY", env);
    let secret_key = key("langfuse_secret_key", secret_key, "LANGFUSE_SECRET_KEY", env);
    let has_none = given.keys.iter().all(Option::is_none) && public_key.is_err() && secret_key.is_err();
    if endpoint.receiver.is_some() && has_none {
        return Ok(None);
    }
    let credentials = format!("{}:{}", public_key?.expose(), secret_key?.expose());
    Ok(Some(Secret::new(format!("Basic {}", STANDARD.encode(credentials)))))
}

/// A key from the configuration (literal, or Kong's notation for a variable), else from the variable `fallback`.
fn key(name: &str, given: Option<&Secret>, fallback: &str, env: Environment<'_>) -> Result<Secret, String> {
    let given = given.map(|secret| secret.expose().trim()).filter(|text| !text.is_empty());
    let Some(text) = given else {
        return set(env, fallback)
            .map(Secret::new)
            .ok_or_else(|| format!("{name} is not set: set it, or the environment variable {fallback} of the module"));
    };
    if !text.starts_with("{vault://") {
        return Ok(Secret::new(text.to_owned()));
    }
    let variable = text.strip_prefix("{vault://env/").and_then(|rest| rest.strip_suffix('}'));
    let Some(variable) = variable.filter(|variable| !variable.is_empty() && !variable.contains('/')) else {
        return Err(format!("{name}: only {{vault://env/NAME}} can be read by a filter, no other vault"));
    };
    let variable = variable.to_ascii_uppercase().replace('-', "_");
    set(env, &variable)
        .map(Secret::new)
        .ok_or_else(|| format!("{name} names the environment variable {variable}, which the module does not have"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Header;

    fn projects(text: &str, vars: &'static [(&str, &str)]) -> Projects {
        let file = ConfigFile::parse(text.as_bytes()).unwrap();
        let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        match activation(&file, &env) {
            Activation::Ready(projects) => projects,
            other => panic!("{other:?}"),
        }
    }

    const TWO: &str = r#"{"langfuse_enabled":true,"langfuse_public_key":"pk","langfuse_secret_key":"sk",
        "langfuse_endpoint":"http://one:1","langfuse_upstream":"cluster",
        "projects":[
            {"header":{"x-team":"b"},"langfuse_public_key":"pkb","langfuse_secret_key":"{vault://env/b}"},
            {"path_prefix":"/eu","langfuse_endpoint":"http://eu:2"},
            {"consumer":"also-b","langfuse_public_key":"pkb","langfuse_secret_key":"skb"}]}"#;

    #[test]
    fn the_first_match_wins_and_the_default_is_last() {
        let projects = projects(TWO, &[("B", "skb")]);
        let upstreams: Vec<&str> = projects.targets.iter().map(|target| target.upstream.as_str()).collect();
        assert_eq!(upstreams, ["cluster", "eu:2", "cluster"], "the third entry shares the first one's target");
        let pick = |path: &str, headers: &[Header<'_>]| {
            projects.pick(&Asked { path: path.as_bytes(), headers, all_headers: true, route: None })
        };
        assert_eq!(pick("/eu/v1", &[(b"X-Team", b"b")]), Some(0));
        assert_eq!(pick("/eu/v1", &[]), Some(1));
        assert_eq!(pick("/v1", &[(b"X-Consumer-Username", b"also-b")]), Some(0));
        assert_eq!(pick("/v1", &[(b"x-team", b"c")]), Some(2));
        assert!(!projects.asks_for_route());
    }

    #[test]
    fn an_otlp_receiver_needs_no_keys_and_takes_otlp_alone() {
        let of = |more: &str, vars| {
            let text =
                format!(r#"{{"langfuse_enabled":true,"langfuse_endpoint":"http://127.0.0.1:4318/v1/traces"{more}}}"#);
            let file = ConfigFile::parse(text.as_bytes()).unwrap();
            let env = |name: &str| if vars { Some(name.to_lowercase()) } else { None };
            activation(&file, &env)
        };
        let target = |activation: Activation| match activation {
            Activation::Ready(mut projects) => projects.targets.remove(0),
            other => panic!("{other:?}"),
        };
        let bare = target(of("", false));
        assert_eq!((bare.authorization, bare.protocol), (None, Protocol::Otlp));
        assert!(target(of("", true)).authorization.is_some(), "keys that there are, are sent");
        for (more, problem) in [
            (r#","langfuse_public_key":"pk""#, "langfuse_secret_key is not set"),
            (r#","protocol":"ingestion""#, "protocol: an OTLP receiver"),
        ] {
            let Activation::Incomplete(said) = of(more, false) else { panic!("{more}") };
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn calls_of_a_project_without_keys_go_to_no_other_project() {
        let projects = projects(TWO, &[]);
        let headers: &[Header<'_>] = &[(b"x-team", b"b")];
        assert_eq!(projects.pick(&Asked { path: b"/v1", headers, all_headers: true, route: None }), None);
        let cut = Asked { path: b"/v1", headers: &[], all_headers: false, route: None };
        assert_eq!(projects.pick(&cut), None, "the header that decides may have been left out");
        assert_eq!(projects.problems.len(), 1);
        assert!(
            projects.problems[0].starts_with("projects, entry 1: langfuse_secret_key names"),
            "{:?}",
            projects.problems
        );
    }
}
