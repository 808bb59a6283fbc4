//! The names of headers that are of use, found in one walk over those of a request.
//!
//! A request has some twenty headers, the rules name a hundred: so each header is looked up once, and most are told by
//! their first letter and length to be none of those.

macro_rules! known {
    ($($known:ident = $name:literal;)*) => {
        /// Headers that are read whatever the rules say; their slots are their numbers here.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Known {
            $(#[doc = $name] $known,)*
        }

        const KNOWN: &[&str] = &[$($name),*];
    };
}

known! {
    Baggage = "baggage";
    Traceparent = "traceparent";
    Tracestate = "tracestate";
    B3 = "b3";
    XB3Traceid = "x-b3-traceid";
    XB3Spanid = "x-b3-spanid";
    XRequestId = "x-request-id";
    UserAgent = "user-agent";
    XAnonymousConsumer = "x-anonymous-consumer";
    XConsumerUsername = "x-consumer-username";
    XConsumerCustomId = "x-consumer-custom-id";
    XConsumerId = "x-consumer-id";
    XCredentialIdentifier = "x-credential-identifier";
    XEnvoyDownstreamServiceCluster = "x-envoy-downstream-service-cluster";
    XClaudeCodeSessionId = "x-claude-code-session-id";
    XClaudeCodeAgentId = "x-claude-code-agent-id";
    XClaudeCodeParentAgentId = "x-claude-code-parent-agent-id";
    XCodexTurnMetadata = "x-codex-turn-metadata";
    XOpencodeSessionId = "x-opencode-session-id";
    XOpencodeSession = "x-opencode-session";
    XOpencodeParentSessionId = "x-opencode-parent-session-id";
    XOpencodeRequest = "x-opencode-request";
    XOpencodeProject = "x-opencode-project";
    XSessionId = "x-session-id";
    SessionIdUnderscored = "session_id";
    XSessionAffinity = "x-session-affinity";
    XParentSessionId = "x-parent-session-id";
    XClientRequestId = "x-client-request-id";
    AgentSessionId = "agent-session-id";
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// In lower case, sorted, with their slots.
    exact: Vec<(String, usize)>,
    /// Beginnings, with their slots.
    prefixes: Vec<(String, usize)>,
    /// By first letter: a bit for each length that a name has, the last for all beginnings.
    shapes: [u64; 27],
    /// By slot: it is one of the headers that Langfuse's gateway bounds together.
    langfuse: Vec<bool>,
    /// The header that holds a JWT, which is gathered as its payload alone.
    token: Option<usize>,
}

/// Headers that Langfuse's gateway bounds together with those that begin with `langfuse-`.
const LANGFUSE: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// The bit of beginnings; names are shorter.
const PREFIXES: u32 = 63;
/// Bytes of the longest name.
const LONGEST: usize = 62;

impl Names {
    /// Those that are read in any case.
    pub(super) fn new() -> Self {
        let mut names =
            Self { exact: Vec::new(), prefixes: Vec::new(), shapes: [0; 27], langfuse: Vec::new(), token: None };
        for name in KNOWN {
            names.add(name);
        }
        names
    }

    /// Adds a name in lower case; its slot.
    pub(super) fn add(&mut self, name: &str) -> usize {
        match self.exact.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => self.exact.get(at).map_or(0, |(_, slot)| *slot),
            Err(at) => {
                let slot = self.take_slot(name.as_bytes(), name.len().min(LONGEST));
                self.exact.insert(at, (name.to_owned(), slot));
                slot
            }
        }
    }

    /// Adds the beginning of names; its slot.
    pub(super) fn add_prefix(&mut self, prefix: &str) -> usize {
        if let Some((_, slot)) = self.prefixes.iter().find(|(known, _)| known == prefix) {
            return *slot;
        }
        let slot = self.take_slot(prefix.as_bytes(), PREFIXES as usize);
        self.prefixes.push((prefix.to_owned(), slot));
        slot
    }

    /// Adds the header that holds a JWT.
    pub(super) fn add_token(&mut self, name: &str) {
        self.token = Some(self.add(name));
    }

    /// The slot is of a header that Langfuse's gateway bounds together with others.
    pub(super) fn is_langfuse(&self, slot: usize) -> bool {
        self.langfuse.get(slot).copied().unwrap_or_default()
    }

    /// The slot of the header that holds a JWT.
    pub(super) fn token(&self) -> Option<usize> {
        self.token
    }

    fn take_slot(&mut self, name: &[u8], bit: usize) -> usize {
        if let Some(shape) = self.shapes.get_mut(letter(name)) {
            *shape |= 1 << bit;
        }
        self.langfuse.push(name.starts_with(b"langfuse-") || LANGFUSE.iter().any(|known| known.as_bytes() == name));
        self.langfuse.len() - 1
    }

    /// The slot of the header `name`, written in any case, and how many bytes of it are a beginning that is known.
    pub(super) fn find(&self, name: &[u8]) -> Option<(usize, Option<usize>)> {
        let shape = self.shapes.get(letter(name)).copied().unwrap_or_default();
        if shape & (1 << name.len().min(LONGEST)) != 0
            && let Some(slot) = self.find_exact(name)
        {
            return Some((slot, None));
        }
        if shape & (1 << PREFIXES) == 0 {
            return None;
        }
        let begins = |prefix: &str| {
            let start = name.get(..prefix.len());
            name.len() > prefix.len() && start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let (prefix, slot) = self.prefixes.iter().find(|(prefix, _)| begins(prefix))?;
        Some((*slot, Some(prefix.len())))
    }

    fn find_exact(&self, name: &[u8]) -> Option<usize> {
        let lower = |name: &[u8]| name.iter().map(u8::to_ascii_lowercase).collect::<Vec<u8>>();
        let found = if name.iter().any(u8::is_ascii_uppercase) {
            let name = lower(name);
            self.exact.binary_search_by(|(known, _)| known.as_bytes().cmp(&name))
        } else {
            self.exact.binary_search_by(|(known, _)| known.as_bytes().cmp(name))
        };
        self.exact.get(found.ok()?).map(|(_, slot)| *slot)
    }
}

/// Place of the first letter in [`Names::shapes`].
fn letter(name: &[u8]) -> usize {
    match name.first().map(u8::to_ascii_lowercase) {
        Some(letter @ b'a'..=b'z') => usize::from(letter - b'a'),
        _ => 26,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_others_are_not() {
        let mut names = Names::new();
        let long = format!("x-{}", "a".repeat(100));
        let (user, prefix, longest) =
            (names.add("x-user-id"), names.add_prefix("helicone-property-"), names.add(&long));
        assert_eq!(names.add("x-user-id"), user);
        assert_eq!(names.find(b"X-User-Id"), Some((user, None)));
        assert_eq!(names.find(long.as_bytes()), Some((longest, None)));
        assert_eq!(names.find(b"Helicone-Property-Team"), Some((prefix, Some(18))));
        for other in ["x-user-ie", "x-user-i", "helicone-property-", "", ":path", "x", "héader"] {
            assert_eq!(names.find(other.as_bytes()), None, "{other}");
        }
        for (slot, name) in KNOWN.iter().enumerate() {
            assert_eq!(names.find(name.as_bytes()), Some((slot, None)));
        }
        assert_eq!(KNOWN[Known::Tracestate as usize], "tracestate");
    }
}
