//! Coding agents that call: who they are, their session and turn, by the headers and body members that they send.
//!
//! The session becomes `<agent>:<session>`, and the calls of one turn become one trace, as in Langfuse's own gateway
//! (<https://langfuse.com/docs/gateway/features/tracing>). What identifies a person is never taken from here. Headers that
//! several clients send (`x-session-id`) count only where the agent has said its name.

use super::gathered::Gathered;
use super::names::Known;
use super::value::{identity, metadata_text};
use crate::json::Value;

/// Bytes of Codex's turn metadata in a header.
const SNAPSHOT_MAX: usize = 4 * 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub name: &'static str,
    pub session: Option<String>,
    pub turn: Option<String>,
    /// Metadata, below `agent.`.
    pub metadata: Vec<(String, String)>,
}

impl Agent {
    /// The agent that sent these headers and these members of its body.
    pub(super) fn of(headers: &Gathered, metadata: Value<'_>, client_metadata: Value<'_>) -> Option<Self> {
        let mut agent = claude_code(headers, metadata)
            .or_else(|| codex(headers, client_metadata))
            .or_else(|| opencode(headers))
            .or_else(|| pi(headers))
            .or_else(|| goose(headers))?;
        agent.metadata.insert(0, ("agent.name".to_owned(), agent.name.to_owned()));
        Some(agent)
    }

    fn new(name: &'static str, session: Option<String>) -> Self {
        let mut agent = Self { name, ..Self::default() };
        agent.say("session_id", session.clone());
        agent.session = session;
        agent
    }

    /// Notes what the agent says of itself.
    fn say(&mut self, key: &str, value: Option<String>) {
        self.metadata.extend(value.map(|value| (format!("agent.{key}"), value)));
    }

    /// The session, as the trace has it.
    pub(super) fn session(&self) -> Option<String> {
        identity(&format!("{}:{}", self.name, self.session.as_deref()?))
    }
}

/// The first of the headers that is usable.
fn first(headers: &Gathered, names: &[Known]) -> Option<String> {
    names.iter().find_map(|name| identity(headers.known(*name)?))
}

/// The first product of the user agent is one of these.
fn is_client(headers: &Gathered, names: &[&str]) -> bool {
    let agent = headers.known(Known::UserAgent).unwrap_or_default();
    let product = agent.split(['/', ' ']).next().unwrap_or_default();
    names.iter().any(|name| product.eq_ignore_ascii_case(name))
}

fn claude_code(headers: &Gathered, metadata: Value<'_>) -> Option<Agent> {
    let header = first(headers, &[Known::XClaudeCodeSessionId]);
    let session = header.or_else(|| ClaudeUser::of(&metadata.get("user_id").text()?)?.session)?;
    let mut agent = Agent::new("claude-code", Some(session));
    agent.say("id", first(headers, &[Known::XClaudeCodeAgentId]));
    agent.say("parent_id", first(headers, &[Known::XClaudeCodeParentAgentId]));
    Some(agent)
}

/// What Claude Code writes into `metadata.user_id`: `user_<hash>_account_<id>_session_<id>`, or since 2026 a JSON object
/// in a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClaudeUser {
    /// Who uses it: the account, else the device.
    pub user: Option<String>,
    pub session: Option<String>,
}

impl ClaudeUser {
    /// None where it is an id like any other.
    pub(super) fn of(text: &str) -> Option<Self> {
        if let Some((user, session)) = text.strip_prefix("user_").and_then(|_| text.rsplit_once("_session_")) {
            return Some(Self { user: identity(user), session: identity(session) });
        }
        let json = Value::check(text).ok().filter(|json| json.is_object())?;
        let member = |name: &str| json.get(name).non_empty().and_then(|text| identity(&text));
        let session = Some(member("session_id")?);
        Some(Self { user: member("account_uuid").or_else(|| member("device_id")), session })
    }
}

/// Members of Codex's turn metadata that are kept, and their names below `agent.`.
const SNAPSHOT: [(&str, &str); 20] = [
    ("agent_name", "id"),
    ("session_id", "session_id"),
    ("thread_id", "thread_id"),
    ("turn_id", "turn_id"),
    ("root_turn_id", "root_turn_id"),
    ("parent_turn_id", "parent_turn_id"),
    ("parent_thread_id", "parent_thread_id"),
    ("x-codex-parent-thread-id", "parent_thread_id"),
    ("forked_from_thread_id", "forked_from_thread_id"),
    ("window_id", "window_id"),
    ("x-codex-window-id", "window_id"),
    ("installation_id", "installation_id"),
    ("x-codex-installation-id", "installation_id"),
    ("request_kind", "request_kind"),
    ("subagent_kind", "subagent_kind"),
    ("thread_source", "thread_source"),
    ("turn_trigger", "turn_trigger"),
    ("sandbox", "sandbox"),
    ("sandbox_mode", "sandbox_mode"),
    ("workspace_kind", "workspace_kind"),
];

/// Codex tells its turn in the body, and (a projection of that) in a header or in flat members.
fn codex(headers: &Gathered, client_metadata: Value<'_>) -> Option<Agent> {
    const KEY: &str = "x-codex-turn-metadata";
    let written = client_metadata.get(KEY);
    let text = written.text();
    let in_body = text.as_deref().and_then(|text| Value::check(text).ok()).or_else(|| written.something());
    let in_header = || {
        let text = headers.known(Known::XCodexTurnMetadata).filter(|text| text.len() <= SNAPSHOT_MAX)?;
        Value::check(text).ok()
    };
    let snapshots = [in_body, in_header(), Some(client_metadata)];
    let snapshot = snapshots.into_iter().flatten().find(|snapshot| snapshot.get("thread_id").is_string())?;
    let member = |name: &str| snapshot.get(name).non_empty().and_then(|text| identity(&text));
    let mut agent = Agent { name: "codex", session: member("thread_id"), turn: member("turn_id"), ..Agent::default() };
    for (member, key) in SNAPSHOT {
        let value = snapshot.get(member);
        if !value.is_object() && !value.is_array() {
            agent.say(key, metadata_text(value.raw()));
        }
    }
    Some(agent)
}

fn opencode(headers: &Gathered) -> Option<Agent> {
    let own = first(headers, &[Known::XOpencodeSessionId, Known::XOpencodeSession]);
    let session = if is_client(headers, &["opencode"]) {
        own.or_else(|| first(headers, &[Known::XSessionId, Known::XSessionAffinity]))
    } else {
        own
    };
    let mut agent = Agent::new("opencode", Some(session?));
    agent.turn = first(headers, &[Known::XOpencodeRequest]);
    agent.say("turn_id", agent.turn.clone());
    agent.say("project_id", first(headers, &[Known::XOpencodeProject]));
    agent.say("parent_session_id", first(headers, &[Known::XOpencodeParentSessionId, Known::XParentSessionId]));
    Some(agent)
}

fn pi(headers: &Gathered) -> Option<Agent> {
    let names = [Known::XSessionId, Known::SessionIdUnderscored, Known::XSessionAffinity, Known::XClientRequestId];
    let is_pi = is_client(headers, &["pi", "pi-coding-agent"]);
    Some(Agent::new("pi", Some(first(headers, &names).filter(|_| is_pi)?)))
}

fn goose(headers: &Gathered) -> Option<Agent> {
    let is_goose = is_client(headers, &["goose", "goose-ai-agent"]);
    let session = first(headers, &[Known::AgentSessionId]).filter(|_| is_goose)?;
    Some(Agent::new("goose", Some(session)))
}

#[cfg(test)]
mod tests {
    use super::super::rules::Rules;
    use super::*;
    use crate::headers::Header;

    fn agent(headers: &[(&str, &str)], body: &str) -> Option<Agent> {
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let body = Value::check(body).unwrap();
        let gathered = Gathered::new(&Rules::default(), &headers, &|_| None);
        Agent::of(&gathered, body.get("metadata"), body.get("client_metadata"))
    }

    /// Name and session, turn, and metadata without the agent's name.
    fn shown(headers: &[(&str, &str)], body: &str) -> String {
        let Some(agent) = agent(headers, body) else { return "none".to_owned() };
        let metadata = agent.metadata.iter().skip(1).map(|(key, value)| format!("{key}={value}"));
        let metadata: Vec<String> = metadata.collect();
        format!("{} {:?} {}", agent.session().unwrap_or_default(), agent.turn, metadata.join(" "))
    }

    #[test]
    fn each_agent_is_known_by_what_only_it_sends() {
        let codex = r#"{"client_metadata":{"x-codex-turn-metadata":"{\"session_id\":\"s\",\"thread_id\":\"t\",\"turn_id\":\"u\",\"window_number\":2,\"workspaces\":{}}"}}"#;
        let flat = r#"{"client_metadata":{"thread_id":"t","turn_id":"u","x-codex-window-id":"w","other":"o"}}"#;
        let claude = r#"{"metadata":{"user_id":"user_ab_account_cd_session_ef"}}"#;
        let claude_json =
            r#"{"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"}}"#;
        let snapshot = r#"{"thread_id":"t","turn_id":"u"}"#;
        for (headers, body, expected) in [
            (
                &[("X-Claude-Code-Session-Id", "s"), ("x-claude-code-agent-id", "a")][..],
                "{}",
                "claude-code:s None agent.session_id=s agent.id=a",
            ),
            (&[], claude, "claude-code:ef None agent.session_id=ef"),
            (&[], claude_json, "claude-code:s None agent.session_id=s"),
            (
                &[("session_id", "cache")],
                codex,
                "codex:t Some(\"u\") agent.session_id=s agent.thread_id=t agent.turn_id=u",
            ),
            (&[("x-codex-turn-metadata", snapshot)], "{}", "codex:t Some(\"u\") agent.thread_id=t agent.turn_id=u"),
            (&[], flat, "codex:t Some(\"u\") agent.thread_id=t agent.turn_id=u agent.window_id=w"),
            (
                &[("x-opencode-session", "s"), ("x-opencode-request", "r"), ("x-opencode-project", "p")],
                "{}",
                "opencode:s Some(\"r\") agent.session_id=s agent.turn_id=r agent.project_id=p",
            ),
            (
                &[("user-agent", "opencode/1.18 ai-sdk"), ("x-session-id", "s"), ("x-parent-session-id", "q")],
                "{}",
                "opencode:s None agent.session_id=s agent.parent_session_id=q",
            ),
            (&[("user-agent", "pi/0.86.0"), ("session_id", "s")], "{}", "pi:s None agent.session_id=s"),
            (&[("user-agent", "goose/1.0"), ("agent-session-id", "s")], "{}", "goose:s None agent.session_id=s"),
        ] {
            assert_eq!(shown(headers, body).trim_end(), expected);
        }
    }

    #[test]
    fn what_any_client_may_send_makes_nobody_an_agent() {
        let long = format!("{{\"thread_id\":\"{}\"}}", "t".repeat(SNAPSHOT_MAX));
        for (headers, body) in [
            (&[("x-session-id", "s"), ("x-client-request-id", "r"), ("agent-session-id", "s")][..], "{}"),
            (&[("user-agent", "pipeline/1"), ("x-session-id", "s")], "{}"),
            (&[("user-agent", "pi/1")], "{}"),
            (&[("x-claude-code-session-id", "\u{1}")], r#"{"metadata":{"user_id":"user_1"}}"#),
            (&[("x-codex-turn-metadata", &long)], r#"{"client_metadata":{"thread_id":5}}"#),
            (&[("x-codex-turn-metadata", "{broken")], r#"{"metadata":{"user_id":"{\"a\":1}"}}"#),
        ] {
            assert_eq!(shown(headers, body), "none", "{headers:?}");
        }
    }

    #[test]
    fn claudes_user_is_its_account_or_its_device() {
        let user = |text: &str| ClaudeUser::of(text).and_then(|claude| claude.user);
        assert_eq!(user("user_ab_account_cd_session_ef").as_deref(), Some("user_ab_account_cd"));
        assert_eq!(user(r#"{"device_id":"d","account_uuid":"a","session_id":"s"}"#).as_deref(), Some("a"));
        assert_eq!(user(r#"{"device_id":"d","session_id":"s"}"#).as_deref(), Some("d"));
        assert_eq!((ClaudeUser::of("ann"), ClaudeUser::of("{}"), ClaudeUser::of("5")), (None, None, None));
    }
}
