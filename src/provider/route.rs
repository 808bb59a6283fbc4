//! Which calls are LLM calls: by the end of the path, on segment borders, never by substring; where several APIs have the
//! same path, by what else tells them ([`When`]).
//!
//! Prefixes vary (`/v1`, `/api/v1`, `/openai/v1`, none) and are not looked at; `/healthcare/v1/chat/completions` is a
//! chat, `/v1/chat/completions-log` is not. A pattern is the end of a path: `*` is a segment that names the model, `*:verb`
//! one that names it before the verb, `_` any segment; a pattern that begins with `/` is a whole path. A path that is one
//! common word (`generate`, `responses`) is one of other services, too: a member of the body must tell.

use std::borrow::Cow;
use std::rc::Rc;

use super::api::{Api, When};
use super::custom::Custom;
use super::families::FAMILIES;
use crate::headers::Header;

/// Longest model name in a path, bytes (a Bedrock ARN has some 150).
const MODEL_MAX: usize = 256;

/// How a call is traced.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The APIs that it may be of, the first that fits is.
    candidates: Vec<Candidate>,
    /// Configured providers whose call it may be, and the models that they find in the path; the first that fits is.
    customs: Vec<(Rc<Custom>, Option<String>)>,
    /// The model that the path names.
    pub model: Option<String>,
    /// The path is one of several APIs' that are all of LLMs, and no common word: one of these it is.
    is_telling: bool,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    api: &'static Api,
    /// It fits, whatever else becomes known.
    fits: bool,
}

/// Why a call is not traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The path is in `ignore_paths`.
    IgnoredPath,
    /// The path is not one of an LLM API.
    NotAi,
    /// The path is, but the method does not ask for an inference (GET, HEAD, OPTIONS, …).
    Method,
    /// The connection is switched to another protocol (101).
    Upgrade,
    /// The Langfuse project that it belongs to has no keys.
    NoProject,
}

impl Skip {
    /// Its name, as the counters have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IgnoredPath => "ignored_path",
            Self::NotAi => "not_ai",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
            Self::NoProject => "no_project",
        }
    }
}

/// Whether a body has a member, where that can be told.
pub type HasMember<'a> = &'a dyn Fn(&str) -> Option<bool>;

/// What may tell APIs of one path from each other.
pub struct Asked<'a> {
    /// The host, without its port; none where it is not known any more.
    pub host: Option<&'a str>,
    /// Whether the request has a header; none where that is not known any more.
    pub has_header: Option<&'a dyn Fn(&str) -> bool>,
    /// Whether the request's body has a member, where that can be told; none while it has not come.
    pub has_member: Option<HasMember<'a>>,
    /// The model, once it is known.
    pub model: Option<&'a str>,
}

impl Route {
    /// The API that the call is of, as far as is known.
    #[must_use]
    pub fn api(&self) -> Option<&'static Api> {
        self.candidates.first().map(|candidate| candidate.api)
    }

    /// The configured provider whose call it is, by host (without its port) and headers; the route is then that provider's.
    pub fn take_custom(&mut self, host: &str, headers: &[Header<'_>]) -> Option<Rc<Custom>> {
        let fitting = std::mem::take(&mut self.customs);
        let (custom, model) = fitting.into_iter().find(|(custom, _)| custom.when.fits_headers(host, headers))?;
        self.model = model.or(self.model.take());
        if let Some(api) = custom.api() {
            self.candidates = vec![Candidate { api, fits: true }];
        }
        Some(custom)
    }

    /// Configured providers may have to be told by the headers.
    #[must_use]
    pub fn may_be_custom(&self) -> bool {
        !self.customs.is_empty()
    }

    /// More must be known to tell which API it is.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.candidates.as_slice(), [Candidate { fits: true, .. }])
    }

    /// Nothing more will be known: of several APIs that it may be of, the last (which asks for the least) is taken; a single
    /// one that may or may not be it is not, since its path alone tells too little.
    pub fn decide(&mut self) {
        if self.candidates.iter().any(|candidate| candidate.fits) {
            self.candidates.retain(|candidate| candidate.fits);
        } else if self.is_telling {
            let keep = self.candidates.len().saturating_sub(1);
            self.candidates.drain(..keep);
        } else {
            self.candidates.clear();
        }
    }

    /// Leaves out the APIs that do not fit what is known.
    pub fn narrow(&mut self, asked: &Asked<'_>) {
        self.candidates.retain_mut(|candidate| {
            let fits = if candidate.fits { Some(true) } else { asked.fits(&candidate.api.when) };
            candidate.fits = fits == Some(true);
            fits != Some(false)
        });
        if let Some(certain) = self.candidates.iter().position(|candidate| candidate.fits) {
            self.candidates.truncate(certain + 1);
        }
    }
}

impl Asked<'_> {
    /// Whether the condition holds; none where it cannot be told yet.
    fn fits(&self, when: &When) -> Option<bool> {
        match when {
            When::Always => Some(true),
            When::Member(name) => self.has_member.and_then(|has| has(name)),
            When::Header(name) => Some(self.has_header.is_some_and(|has| has(name))),
            When::Host(end) => Some(self.host.is_some_and(|host| is_domain(host, end))),
            When::Model(part) => self.model.map(|model| model.contains(part)),
            When::Any(all) => {
                let mut known = all.iter().map(|when| self.fits(when));
                if known.clone().any(|fits| fits == Some(true)) {
                    return Some(true);
                }
                if known.any(|fits| fits.is_none()) { None } else { Some(false) }
            }
        }
    }
}

/// `host` is `domain` or below it.
pub(super) fn is_domain(host: &str, domain: &str) -> bool {
    let before = host.len().checked_sub(domain.len()).and_then(|at| host.split_at_checked(at));
    before.is_some_and(|(before, end)| end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.')))
}

/// Finds the APIs of a call, or why it has none. `path` may carry a query; `customs` are the configured providers.
///
/// # Errors
/// The reason for which the call is not traced.
pub fn find(path: &[u8], ignore: &[String], customs: &[Rc<Custom>]) -> Result<Route, Skip> {
    let path = without_query(path);
    let mut ignored = ignore.iter().map(String::as_bytes).filter(|prefix| is_below(path, prefix)).peekable();
    let is_ignored = ignored.peek().is_some();
    // A list of models, and what describes one, asks for nothing: another path below it may.
    if is_ignored && !ignored.all(is_list_of_models) {
        return Err(Skip::IgnoredPath);
    }
    let unknown = if is_ignored { Skip::IgnoredPath } else { Skip::NotAi };
    if path.first() != Some(&b'/') {
        return Err(unknown);
    }
    let mut route = built_in(path);
    for custom in customs {
        if let Some(model) = custom.when.fits_path(path) {
            route.customs.push((Rc::clone(custom), model));
        }
    }
    if route.candidates.is_empty() && route.customs.is_empty() { Err(unknown) } else { Ok(route) }
}

fn is_list_of_models(prefix: &[u8]) -> bool {
    segments(prefix).next_back() == Some(b"models")
}

/// The built-in APIs of the first pattern that fits.
fn built_in(path: &[u8]) -> Route {
    let mut route = Route::default();
    let mut found = "";
    let last = percent_decoded(segments(path).next_back().unwrap_or_default());
    for api in FAMILIES.iter().copied().flatten() {
        for pattern in api.paths {
            let may_be = if found.is_empty() { may_match(&last, pattern) } else { found == *pattern };
            if may_be && let Some(model) = matches(path, pattern) {
                found = pattern;
                route.candidates.push(Candidate { api, fits: matches!(api.when, When::Always) });
                route.model = model;
                break;
            }
        }
    }
    route.is_telling = route.candidates.len() > 1 && found.contains('/');
    route
}

/// The last segment of a path does not rule the pattern out. Most calls are of one of a hundred patterns.
fn may_match(last: &[u8], pattern: &str) -> bool {
    let end = pattern.rsplit(['/', '*']).next().unwrap_or_default().as_bytes();
    last.ends_with(end)
}

/// The path without its query and fragment.
#[must_use]
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
}

/// Segments of a path; empty ones (`//`, a slash at the end) are none.
fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty())
}

pub(super) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// Whether the path ends as the pattern says, and the model that it names.
pub(super) fn matches(path: &[u8], pattern: &str) -> Option<Option<String>> {
    let mut path = segments(path).rev();
    let mut model = None;
    for wanted in segments(pattern.as_bytes()).rev() {
        let segment = percent_decoded(path.next()?);
        match wanted {
            b"_" => {}
            b"*" => model = Some(segment),
            [b'*', verb @ ..] => model = Some(segment.strip_suffix(verb)?.to_owned().into()),
            _ if *wanted == *segment => {}
            _ => return None,
        }
    }
    if pattern.starts_with('/') && path.next().is_some() {
        return None;
    }
    let text = |name: Cow<'_, [u8]>| {
        let text = String::from_utf8_lossy(&name).into_owned();
        crate::trace::truncate(&text, MODEL_MAX).to_owned()
    };
    Some(model.map(text))
}

/// A segment without its percent-encoding; what is no encoding stays.
fn percent_decoded(segment: &[u8]) -> Cow<'_, [u8]> {
    if !segment.contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_by_the_end_of_the_path_on_segment_borders() {
        let ignore = ["/v1/models", "/health/", "/metrics", "/status"].map(str::to_owned);
        for (path, expected) in [
            ("/v1/chat/completions", Ok("openai.chat")),
            ("/chat/completions/", Ok("openai.chat")),
            ("/v1/chat//completions", Ok("openai.chat")),
            ("/healthcare/v1/chat/completions", Ok("openai.chat")),
            ("/v1/completions", Ok("openai.completions")),
            ("/v1/embeddings", Ok("openai.embeddings")),
            ("/v1/models", Err(Skip::IgnoredPath)),
            ("/v1/models/gpt-4", Err(Skip::IgnoredPath)),
            ("/v1/models/meta/llama-3", Err(Skip::IgnoredPath)),
            ("/v1/models/gemini-2.5-flash:generateContent", Ok("gemini.generateContent")),
            ("/v1/models/gemini-2.5-flash%3AstreamGenerateContent?alt=sse", Ok("gemini.streamGenerateContent")),
            ("/v1/models/gemini-2.5-flash:countTokens", Ok("gemini.countTokens")),
            ("/v1/models/m:embedContent", Ok("gemini.embed")),
            ("/v1/models/m:predict", Ok("vertex.predict")),
            ("/v1/models/meta/llama-3-8b/predictions", Ok("replicate")),
            ("/v1/models/m:unknown", Err(Skip::IgnoredPath)),
            ("/status/models/m:generateContent", Err(Skip::IgnoredPath)),
            ("/health", Err(Skip::IgnoredPath)),
            ("/health/v1/chat/completions", Err(Skip::IgnoredPath)),
            ("/index.html", Err(Skip::NotAi)),
            ("/v1/chat/completions-log", Err(Skip::NotAi)),
            ("/v1/xcompletions", Err(Skip::NotAi)),
            ("/log?x=/v1/chat/completions", Err(Skip::NotAi)),
            ("chat/completions", Err(Skip::NotAi)),
            ("/v1/threads/t1/messages", Err(Skip::NotAi)),
            ("/v1/responses/resp_1/cancel", Err(Skip::NotAi)),
            ("/v1/assistants", Err(Skip::NotAi)),
            ("", Err(Skip::NotAi)),
        ] {
            let found = find(path.as_bytes(), &ignore, &[]).map(|route| route.api().unwrap().family);
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_common_word_is_a_path_of_other_services_too() {
        let family = |path: &str, member: Option<&str>| {
            let mut route = find(path.as_bytes(), &[], &[]).unwrap();
            let has = |name: &str| Some(member == Some(name));
            let has: Option<HasMember<'_>> = if member.is_some() { Some(&has) } else { None };
            route.narrow(&Asked { host: Some(""), has_header: Some(&|_| false), has_member: has, model: Some("") });
            route.decide();
            route.api().map(|api| api.family)
        };
        for (path, member, other, expected) in [
            ("/generate", Some("prompt"), "report", Some("native.generate")),
            ("/generate", Some("inputs"), "report", Some("native.generate")),
            ("/generate_stream", Some("inputs"), "report", Some("native.generate_stream")),
            ("/completion", Some("prompt"), "course", Some("llamacpp.completion")),
            ("/infill", Some("input_prefix"), "form", Some("llamacpp.completion")),
            ("/complete", Some("maximum_tokens"), "done", Some("alephalpha")),
            ("/responses", Some("input"), "answers", Some("openai.responses")),
            ("/moderations", Some("input"), "post", Some("openai.moderations")),
            ("/rerank", Some("query"), "list", Some("cohere.v1.rerank")),
            ("/api/v1/image/generate", Some("prompt"), "template", Some("venice.images")),
        ] {
            assert_eq!(family(path, member), expected, "{path}");
            assert_eq!(family(path, Some(other)), None, "{path}");
            assert_eq!(family(path, None), None, "{path}");
        }
        for (path, expected) in [
            ("/v1/responses", "openai.responses"),
            ("/v1/moderations", "openai.moderations"),
            ("/v1/rerank", "cohere.v1.rerank"),
        ] {
            assert_eq!(family(path, None), Some(expected), "{path}: a body that could not be read");
        }
    }

    #[test]
    fn the_path_may_name_the_model() {
        for (path, pattern, model) in [
            (
                "//openai/deployments/my%20dep/chat/completions?api-version=1",
                "deployments/*/chat/completions",
                Some("my dep"),
            ),
            ("/model/a.b-v1%3A0/converse", "model/*/converse", Some("a.b-v1:0")),
            ("/v1/models/gemini:generateContent", "models/*:generateContent", Some("gemini")),
            ("/v1/models/gemini%3AgenerateContent", "models/*:generateContent", Some("gemini")),
            ("/v1/100%/converse", "*/converse", Some("100%")),
            ("/v1/x/publishers/anthropic/models/c:rawPredict", "_/anthropic/models/*:rawPredict", Some("c")),
        ] {
            assert_eq!(matches(without_query(path.as_bytes()), pattern), Some(model.map(str::to_owned)), "{path}");
        }
        assert_eq!(matches(b"/v1/models/gemini:other", "models/*:generateContent"), None);
        assert_eq!((matches(b"/", "/"), matches(b"/a", "/")), (Some(None), None));
    }

    #[test]
    fn a_domain_is_matched_at_its_labels() {
        assert!(is_domain("x.openai.azure.com", "azure.com") && is_domain("Azure.com", "azure.com"));
        assert!(!is_domain("notazure.com", "azure.com") && !is_domain("com", "azure.com"));
    }
}
