//! Every source of every field: its precedence, duplicates, encodings, broken values and bounds.

use super::*;
use crate::budget::Budget;
use crate::config::Settings;
use crate::headers::Header;
use crate::json::Limits;
use serde_json::{Value, json};

const KONG: Surroundings = Surroundings { is_kong: true, authenticates: true, has_peer: false };
const ENVOY: Surroundings = Surroundings { is_kong: false, authenticates: false, has_peer: false };
const OWN: TraceId = TraceId([0xab; 16]);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A call whose context is asked for.
struct Call<'a> {
    config: Value,
    headers: Vec<(&'a str, &'a str)>,
    body: Value,
    surroundings: Surroundings,
    properties: &'a [(&'a str, &'a [u8])],
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self { config: json!({}), headers: Vec::new(), body: json!({}), surroundings: KONG, properties: &[] }
    }
}

impl Call<'_> {
    fn resolve(&self) -> (Context, Identity) {
        let headers: Vec<Header<'_>> = self.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        let rules = Settings::load(self.config.to_string().as_bytes(), &|_| None).unwrap().context;
        let property = |path: &[&str]| {
            let found = self.properties.iter().find(|(name, _)| *name == path.join("/"));
            found.map(|(_, value)| value.to_vec())
        };
        let gathered = Gathered::new(&rules, &headers, &property);
        let mut document = Document::new(Limits { head: 1 << 18, member: 0 }, Budget::new(1 << 20).export_lease());
        document.push(self.body.to_string().as_bytes());
        let surroundings = self.surroundings;
        Asked { rules: &rules, gathered: &gathered, document: &document, surroundings, own: OWN }.resolve()
    }

    fn context(&self) -> Context {
        self.resolve().0
    }

    fn field(&self, field: Field) -> Option<String> {
        self.context().field(field).map(str::to_owned)
    }

    fn user(&self) -> Option<String> {
        self.field(Field::User)
    }

    /// Trace, parent, whether it stands for the application, and what decided.
    fn place(&self) -> (String, Option<String>, bool, &'static str) {
        let identity = self.resolve().1;
        let parent = identity.parent.map(|parent| format!("{parent:?}"));
        (format!("{:?}", identity.trace), parent, identity.is_app_root, identity.source.name())
    }
}

fn with_headers<'a>(headers: &[(&'a str, &'a str)]) -> Call<'a> {
    Call { headers: headers.to_vec(), ..Call::default() }
}

fn with_body(body: Value) -> Call<'static> {
    Call { body, ..Call::default() }
}

fn metadata(context: &Context) -> Vec<(&str, &str)> {
    context.metadata.iter().map(|entry| (entry.key.as_str(), entry.text.as_str())).collect()
}

/// Puts `value` where a source of the defaults looks for it.
fn put(source: &str, value: &str, headers: &mut Vec<(String, String)>, body: &mut Value) {
    match Source::parse(source).unwrap() {
        Source::Header(name, path) if path.is_empty() => headers.push((name, value.to_owned())),
        Source::Header(name, path) => headers.push((name, json!({path: value}).to_string())),
        Source::Baggage(key) => headers.push(("baggage".to_owned(), format!("{key}={value}"))),
        Source::Body(member, path) => {
            let mut at = &mut body[member];
            for step in path.split('/').filter(|step| !step.is_empty()) {
                at = &mut at[step];
            }
            *at = json!(value);
        }
        Source::Agent => headers.push(("x-claude-code-session-id".to_owned(), value.to_owned())),
        other => panic!("{other:?}"),
    }
}

/// With all sources from the nth on, the nth one counts.
#[test]
fn each_source_counts_before_those_behind_it() {
    for field in Field::ALL {
        let sources: Vec<&str> =
            defaults::sources(field).iter().copied().filter(|source| *source != "claim:sub").collect();
        for first in 0..sources.len() {
            let (mut headers, mut body) = (Vec::new(), json!({}));
            for (number, source) in sources.iter().enumerate().skip(first) {
                put(source, &format!("{}", number + 1), &mut headers, &mut body);
                // Of a prompt, name and version go together.
                if field == Field::PromptName {
                    put(defaults::sources(Field::PromptVersion)[number], "1", &mut headers, &mut body);
                } else if field == Field::PromptVersion {
                    put(defaults::sources(Field::PromptName)[number], "p", &mut headers, &mut body);
                }
            }
            let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let context = Call { headers, body, ..Call::default() }.context();
            let agent = if sources[first] == "agent" { "claude-code:" } else { "" };
            let expected = format!("{agent}{}", first + 1);
            assert_eq!(context.field(field), Some(expected.as_str()), "{field:?} {}", sources[first]);
            let from = context.sources.iter().find(|(name, _)| name == field.name()).map(|(_, from)| from.as_str());
            assert_eq!(from, Some(sources[first]), "explain names it");
        }
    }
}

#[test]
fn unusable_values_are_passed_over_one_by_one_and_counted() {
    let (long, fitting) = ("x".repeat(201), "x".repeat(200));
    for bad in ["", " ", "a\u{1}b", &long] {
        let context = with_headers(&[("x-user-id", bad), ("user-id", "next")]).context();
        assert_eq!((context.field(Field::User), context.dropped), (Some("next"), 1), "{bad:?}");
    }
    assert_eq!(with_headers(&[("x-user-id", &fitting)]).user(), Some(fitting));
    assert_eq!(with_headers(&[("X-User-Id", "a")]).user().as_deref(), Some("a"), "as WasmX hands it over");
    let twice =
        |second| Call { body: json!({"user": "k"}), ..with_headers(&[("x-user-id", "a"), ("x-user-id", second)]) };
    assert_eq!((twice("b").user().as_deref(), twice("a").user().as_deref()), (Some("k"), Some("a")));
    assert_eq!(twice("b").context().dropped, 1);
    let rules = Rules::default();
    let gathered = Gathered::new(&rules, &[(b"x-user-id", b"\xFF\xFE"), (b"user-id", b"b")], &|_| None);
    let document = Document::new(Limits { head: 0, member: 0 }, Budget::new(1 << 20).export_lease());
    let asked = Asked { rules: &rules, gathered: &gathered, document: &document, surroundings: ENVOY, own: OWN };
    let (context, _) = asked.resolve();
    assert_eq!((context.field(Field::User), context.dropped), (Some("b"), 1));
}

#[test]
fn langfuses_headers_and_those_of_open_webui_are_percent_encoded() {
    for (name, value, user) in [
        ("langfuse-user-id", "user+name%20%E9%9B%AA", Some("user+name \u{96ea}")),
        ("langfuse-user-id", "%zz", None),
        ("langfuse-user-id", "%01", None),
        ("x-openwebui-user-id", "%C3%A9", Some("\u{e9}")),
        ("x-openwebui-user-id", "100%", Some("100%")),
        ("x-user-id", "a%20b", Some("a%20b")),
    ] {
        assert_eq!(with_headers(&[(name, value)]).user().as_deref(), user, "{name}: {value}");
    }
}

#[test]
fn the_user_of_a_body_may_be_an_object_or_claude_codes_string() {
    let user = |body| with_body(body).user();
    assert_eq!(user(json!({"user": {"id": 7, "email": "m"}})).as_deref(), Some("7"));
    assert_eq!(user(json!({"user": {"email": "m"}})).as_deref(), Some("m"));
    assert_eq!(user(json!({"metadata": null, "user": "k"})).as_deref(), Some("k"));
    assert_eq!(user(json!({"metadata": [], "user": ["k"]})), None);
    let claude = with_body(json!({"metadata": {"user_id": "user_ab_account_cd_session_ef"}})).context();
    assert_eq!(
        (claude.field(Field::User), claude.field(Field::Session)),
        (Some("user_ab_account_cd"), Some("claude-code:ef"))
    );
    assert_eq!(metadata(&claude), [("agent.name", "claude-code"), ("agent.session_id", "ef")]);
}

/// What Langfuse's SDK for Python (langfuse 5, OpenTelemetry 1.4) puts into headers.
const SDK_BAGGAGE: &str = "langfuse_user_id=user%2Bname+%2F+snow%E9%9B%AA,langfuse_session_id=session_a+%2B+b,\
langfuse_tags=%5B%27plain%27%2C+%27comma%2Ctag%27%2C+%22single%27quote%22%5D,langfuse_trace_name=my+%22flow%22,\
langfuse_metadata_team=search%2Branking,langfuse_metadata_tier=%22gold%2C+plus%22,langfuse_metadata_code=%22123%22,\
langfuse_metadata_n=5,langfuse_environment=staging,langfuse_version=v2,langfuse_odd=1,\
langfuse_prompt_name=greeting,langfuse_prompt_version=3,langfuse_trace_id=0af7651916cd43dd8448eb211c80319c,other=1";

#[test]
fn the_baggage_of_langfuses_sdk() {
    let context = with_headers(&[("baggage", SDK_BAGGAGE)]).context();
    let fields = [Field::User, Field::Session, Field::TraceName, Field::Environment, Field::Version];
    let found = fields.map(|field| context.field(field).unwrap_or_default().to_owned());
    assert_eq!(found, ["user+name / snow\u{96ea}", "session_a + b", "my \"flow\"", "staging", "v2"]);
    assert_eq!(context.tags, ["plain", "comma,tag", "single'quote"]);
    let expected = [("n", "5"), ("code", "\"123\""), ("tier", "gold, plus"), ("team", "search+ranking"), ("odd", "1")];
    assert_eq!(metadata(&context), expected);
    assert_eq!((context.prompt(), context.dropped), (Some(("greeting", 3)), 0));
}

#[test]
fn a_header_of_langfuse_stands_before_its_baggage_and_metadata_merges_by_key() {
    let headers = [
        ("baggage", "langfuse_tags=%5B%22b%22%5D,langfuse_metadata_team=old,langfuse_metadata_keep=value"),
        ("langfuse-tags", " a ,comma%2Ctag,a,plus+tag"),
        ("langfuse-metadata", "team:new,key%3Aname:value%2Cwith%3Acolon,broken,empty:,bad:%XX"),
    ];
    let context = with_headers(&headers).context();
    assert_eq!(context.tags, ["a", "comma,tag", "plus+tag"]);
    assert_eq!(metadata(&context), [("team", "new"), ("key:name", "value,with:colon"), ("keep", "value")]);
    assert_eq!(context.dropped, 3);
    let invalid = with_headers(&[headers[0], ("langfuse-tags", "%XX")]).context();
    assert_eq!(invalid.tags, ["b"], "a header that says nothing leaves the baggage");
}

#[test]
fn tags_of_all_sources_are_put_together() {
    let headers =
        [("langfuse-tags", "a"), ("langfuse-tags", "b"), ("x-litellm-tags", "b,c"), ("langfuse_tags", "[\"d\"]")];
    let body = json!({"metadata": {"tags": ["e", 1, "", "x".repeat(201)]}, "trace": {"tags": "f, g"}});
    let context = Call { body, ..with_headers(&headers) }.context();
    assert_eq!(context.tags, ["a", "b", "d", "c", "e", "1", "f", "g"]);
    assert_eq!(context.dropped, 2);
    let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(with_body(json!({"metadata": {"tags": many}})).context().tags.len(), tags::TAGS_MAX);
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
    let body = json!({"metadata": {"user_id": "u", "chat_id": "other", "tags": ["a", "b", 1], "features": {"web_search": true},
        "n": 1, "s": "t", "__proto__": {}}, "features": {"x": 1}});
    let context = Call { body, ..with_headers(&headers) }.context();
    assert_eq!((context.field(Field::User), context.field(Field::Session)), (Some("u"), Some("s")));
    let expected = [
        ("chat_id", "c"),
        ("message_id", "m"),
        ("organization_id", "o"),
        ("project_id", "p"),
        ("features", r#"{"web_search":true}"#),
        ("n", "1"),
        ("s", "t"),
    ];
    let mut found = metadata(&context);
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn the_neighbours_ways() {
    let headers = [
        ("helicone-user-id", "ann"),
        ("helicone-session-id", "s"),
        ("helicone-session-name", "flow"),
        ("helicone-session-path", "/a/b"),
        ("Helicone-Property-App-Name", "x"),
        ("helicone-auth", "Bearer sk-1"),
        ("x-portkey-metadata", r#"{"_user":"ann","team":"t"}"#),
        ("cf-aig-metadata", r#"{"paid":true,"n":5,"token":"secret"}"#),
        ("langfuse_custom_label", "v"),
        ("langfuse_secret_key", "sk-lf-1"),
        ("langfuse_generation_name", "summary"),
        ("x-openwebui-user-name", "Ann%20%C3%89"),
        ("x-openwebui-chat-id", "c9"),
    ];
    let context = with_headers(&headers).context();
    let fields = [Field::User, Field::Session, Field::TraceName, Field::ObservationName];
    let found = fields.map(|field| context.field(field).unwrap_or_default().to_owned());
    assert_eq!(found, ["ann", "c9", "flow", "summary"]);
    assert_eq!(
        metadata(&context),
        [
            ("chat_id", "c9"),
            ("user_name", "Ann \u{c9}"),
            ("custom_label", "v"),
            ("app_name", "x"),
            ("helicone_session_path", "/a/b"),
            ("team", "t"),
            ("paid", "true"),
            ("n", "5"),
        ]
    );
}

#[test]
fn what_became_a_field_is_not_said_twice() {
    let body = json!({"metadata": {"trace_id": "t", "trace_name": "n", "generation_name": "g", "session_id": "s",
        "trace_user_id": "u", "parent_observation_id": SPAN, "tags": ["a"], "prompt": {"name": "p", "version": 2},
        "trace_release": "r", "version": "v", "kept": "k"}, "session_id": "s",
        "trace": {"trace_name": "other", "note": "z"}});
    let context = with_body(body).context();
    assert_eq!(metadata(&context), [("kept", "k"), ("note", "z"), ("trace_name", "other")]);
    assert_eq!(context.prompt(), Some(("p", 2)));
    let of_two = with_headers(&[("langfuse-prompt-name", "a"), ("baggage", "langfuse_prompt_version=2")]);
    assert_eq!(of_two.context().prompt(), None, "the version of another prompt");
    let odd = with_body(json!({"metadata": {"prompt": {"name": "p", "version": "two"}}})).context();
    assert_eq!((odd.prompt(), odd.dropped), (None, 1));
}

#[test]
fn metadata_is_bounded_and_has_no_credentials() {
    let members: serde_json::Map<_, _> =
        (0..200).map(|number| (format!("k{number:03}"), json!("\u{e9}".repeat(10)))).collect();
    let context = with_body(json!({"metadata": members})).context();
    assert_eq!(
        (context.metadata.len(), context.dropped),
        (value::METADATA_KEYS_MAX, 200 - value::METADATA_KEYS_MAX as u32)
    );
    let large: serde_json::Map<_, _> =
        (0..20).map(|number| (format!("k{number:02}"), json!("x".repeat(9000)))).collect();
    let context = with_body(json!({"metadata": large})).context();
    let sizes: Vec<usize> = context.metadata.iter().map(|entry| entry.text.len()).collect();
    assert!(sizes.iter().all(|size| *size == value::METADATA_VALUE_MAX) && sizes.len() == 7, "{sizes:?}");
    let secret = json!({"metadata": {"api_key": "sk-1", "headers": {"Authorization": "sk-2"}, "note": "{\"password\":\"sk-3\"}"}});
    let shown = format!("{:?}", with_body(secret).context().metadata);
    assert!(shown.contains("redacted") && !shown.contains("sk-1") && !shown.contains("sk-2"), "{shown}");
}

#[test]
fn the_trace_that_a_call_joins() {
    let traceparent = format!("00-{TRACE}-{SPAN}-00");
    let claimed = format!("langfuse_trace_id={TRACE}");
    let uuid = "0AF76519-16cd-43dd-8448-eb211c80319c";
    let own = format!("{OWN:?}");
    let place = |headers: &[(&str, &str)], body: Value, parent: &str| {
        let call = Call { headers: headers.to_vec(), body, config: json!({"parent": parent}), ..Call::default() };
        let (trace, parent, root, source) = call.place();
        format!("{trace} {} {root} {source}", parent.unwrap_or_default())
    };
    let with_parent = ("traceparent", traceparent.as_str());
    let cases = [
        (&[with_parent][..], json!({}), "auto", format!("{TRACE} {SPAN} true header:traceparent")),
        (&[with_parent, ("baggage", &claimed)], json!({}), "auto", format!("{TRACE} {SPAN} false header:traceparent")),
        (
            &[with_parent, ("baggage", "langfuse_trace_id=1")],
            json!({}),
            "auto",
            format!("{TRACE} {SPAN} true header:traceparent"),
        ),
        (&[with_parent], json!({}), "trust", format!("{TRACE} {SPAN} false header:traceparent")),
        (&[with_parent], json!({}), "foreign", format!("{TRACE} {SPAN} true header:traceparent")),
        (
            &[with_parent, ("baggage", &claimed)],
            json!({}),
            "foreign",
            format!("{TRACE} {SPAN} false header:traceparent"),
        ),
        (&[with_parent, ("b3", "1-2"), ("x-request-id", uuid)], json!({}), "ignore", format!("{own}  false random")),
        (
            &[("traceparent", "00-broken"), ("x-request-id", uuid)],
            json!({}),
            "auto",
            format!("{TRACE}  false header:x-request-id"),
        ),
        (
            &[with_parent, ("langfuse_trace_id", uuid)],
            json!({}),
            "auto",
            format!("{TRACE} {SPAN} true header:traceparent"),
        ),
        (
            &[("x-langfuse-trace-id", uuid), ("b3", &format!("{SPAN}-{SPAN}"))],
            json!({}),
            "auto",
            format!("{TRACE}  false trace_id"),
        ),
        (
            &[],
            json!({"metadata": {"existing_trace_id": TRACE, "parent_observation_id": SPAN}}),
            "ignore",
            format!("{TRACE} {SPAN} false trace_id"),
        ),
        (&[], json!({"trace": {"trace_id": TRACE}}), "auto", format!("{TRACE}  false trace_id")),
        (&[("b3", &format!("{TRACE}-{SPAN}-1"))], json!({}), "auto", format!("{TRACE} {SPAN} true header:b3")),
        (
            &[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)],
            json!({}),
            "trust",
            format!("{TRACE} {SPAN} false header:b3"),
        ),
        (&[("x-request-id", "not-an-id")], json!({}), "auto", format!("{own}  false random")),
        (&[("x-session-id", TRACE), ("langfuse-session-id", uuid)], json!({}), "auto", format!("{own}  false random")),
    ];
    for (headers, body, parent, expected) in cases {
        assert_eq!(place(headers, body, parent), expected, "{headers:?}");
    }
}

#[test]
fn ids_of_another_form_are_mapped_as_the_sdk_does_and_kept() {
    let body = json!({"metadata": {"trace_id": "order-17", "parent_observation_id": "step"}});
    let identity = with_body(body).resolve().1;
    // python3 -c "import hashlib; print(hashlib.sha256(b'order-17').hexdigest()[:32], hashlib.sha256(b'step').hexdigest()[:16])"
    assert_eq!(format!("{:?}", identity.trace), SEEDED);
    assert_eq!(identity.parent.map(|parent| format!("{parent:?}")).as_deref(), Some(SEEDED_SPAN));
    let originals = [("caller_trace_id", "order-17".to_owned()), ("caller_parent_observation_id", "step".to_owned())];
    assert_eq!(identity.originals, originals);
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let overruled = Call {
        body: json!({"metadata": {"trace_id": "order-17", "parent_observation_id": SPAN}}),
        ..with_headers(&[("traceparent", &traceparent)])
    };
    assert_eq!(overruled.resolve().1.originals, [("caller_trace_id", "order-17".to_owned())]);
}

const SEEDED: &str = "72a90ea3da8b5dd01bde2f27314e02e2";
const SEEDED_SPAN: &str = "3e64cc41cf8e07b4";

#[test]
fn calls_of_one_turn_of_an_agent_are_one_trace() {
    let place = |session: &str, turn: &str| {
        with_headers(&[("x-opencode-session", session), ("x-opencode-request", turn)]).place()
    };
    let (first, again, other) = (place("s", "1"), place("s", "1"), place("s", "2"));
    assert_eq!((first.0 == again.0, first.0 == other.0, first.3), (true, false, "agent (its turn)"));
    assert_ne!(place("t", "1").0, first.0);
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let joined =
        with_headers(&[("x-opencode-session", "s"), ("x-opencode-request", "1"), ("traceparent", &traceparent)]);
    assert_eq!(joined.place().0, TRACE, "a traceparent always wins");
    assert_eq!(joined.field(Field::Session).as_deref(), Some("opencode:s"));
    let named = with_headers(&[("x-opencode-session", "s"), ("langfuse-session-id", "mine")]);
    assert_eq!(named.field(Field::Session).as_deref(), Some("mine"));
}

#[test]
fn tracestate_is_handed_on_with_a_traceparent_alone() {
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("tracestate", "a=1"), ("tracestate", "b=2"), ("traceparent", traceparent.as_str())];
    assert_eq!(with_headers(&headers).resolve().1.state, "a=1,b=2");
    assert_eq!(with_headers(&headers[..2]).resolve().1.state, "");
}

#[test]
fn what_callers_say_counts_as_far_as_they_are_trusted() {
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let caller = [("x-user-id", "forged"), ("langfuse-tags", "a"), ("traceparent", traceparent.as_str())];
    let consumer = [("x-consumer-username", "app"), ("x-consumer-id", "1"), ("x-credential-identifier", "c")];
    let shown = |trust: &str, headers: &[(&str, &str)], surroundings| {
        let config = json!({"trust_caller": trust});
        let body = json!({"metadata": {"k": "v"}});
        let call = Call { config, body, surroundings, ..with_headers(headers) };
        let context = call.context();
        let joined = call.place().3 == "header:traceparent";
        format!(
            "{} {} {} {joined}",
            context.field(Field::User).unwrap_or("none"),
            context.tags.len(),
            context.metadata.len()
        )
    };
    let both = [caller.as_slice(), &consumer].concat();
    let anonymous = [both.as_slice(), &[("x-anonymous-consumer", "true")]].concat();
    let peer = Surroundings { has_peer: true, ..ENVOY };
    for (trust, headers, surroundings, expected) in [
        ("all", &caller[..], ENVOY, "forged 1 1 true"),
        ("all", &consumer, KONG, "app 0 1 false"),
        ("all", &both, KONG, "forged 1 1 true"),
        ("authenticated", &caller, KONG, "none 0 0 false"),
        ("authenticated", &both, KONG, "forged 1 1 true"),
        ("authenticated", &anonymous, KONG, "app 0 0 false"),
        ("authenticated", &both, ENVOY, "none 0 0 false"),
        ("authenticated", &caller, peer, "forged 1 1 true"),
        ("none", &both, KONG, "app 0 0 false"),
        ("none", &both, ENVOY, "none 0 0 false"),
    ] {
        assert_eq!(shown(trust, headers, surroundings), expected, "{trust} {surroundings:?} {}", headers.len());
    }
    let named = json!({"trust_caller": "none", "context": {"user": "baggage:u", "session": "agent"}});
    let headers = vec![("baggage", "u=ann"), ("x-opencode-session", "s"), ("x-opencode-request", "1")];
    let named = Call { config: named, headers, ..Call::default() };
    let (context, identity) = named.resolve();
    assert_eq!((context.field(Field::User), context.field(Field::Session)), (Some("ann"), Some("opencode:s")));
    assert_eq!((context.metadata.len(), identity.source.name()), (0, "random"), "what is not named is not believed");
    let trusting = Call { config: json!({"trust_caller": "none", "parent": "trust"}), ..with_headers(&caller) };
    assert_eq!(trusting.place().3, "header:traceparent", "`parent: trust` says so for itself");
}

#[test]
fn the_gateways_own_knowledge_is_a_fact() {
    let headers = [
        ("x-consumer-username", "app"),
        ("x-consumer-groups", "gold, silver"),
        ("x-credential-identifier", "cred"),
        ("x-authenticated-userid", "ann"),
        ("x-envoy-downstream-service-cluster", "shop"),
    ];
    let kong = with_headers(&headers).context();
    let expected = [("consumer", "app"), ("credential", "cred")];
    let facts: Vec<(&str, &str)> =
        kong.facts.iter().map(|(key, value)| (key.strip_prefix(GATEWAY_PREFIX).unwrap(), value.as_str())).collect();
    assert_eq!((facts.as_slice(), kong.field(Field::User)), (&expected[..], Some("ann")));
    let envoy = |authenticates| {
        let surroundings = Surroundings { authenticates, ..ENVOY };
        Call { surroundings, ..with_headers(&headers) }.context().facts
    };
    assert_eq!(envoy(true), [("gateway.downstream_service", "shop".to_owned())]);
    assert_eq!(envoy(false), [], "who writes it is not known");
}

/// `{"sub":"ann","realm":{"name":"r"},"roles":["x"]}`, without a signature.
const TOKEN: &str = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJyZWFsbSI6eyJuYW1lIjoiciJ9LCJyb2xlcyI6WyJ4Il19.";

#[test]
fn claims_count_only_where_the_gateway_is_said_to_have_verified_them() {
    let headers = [("authorization", TOKEN)];
    assert_eq!(with_headers(&headers).user(), None);
    let config = json!({"verified_jwt": "header:authorization", "trust_caller": "authenticated",
        "context": {"tags": ["claim:roles"], "metadata": {"realm": "claim:/realm/name"}}});
    let call = Call { config, body: json!({"metadata": {"k": "v"}}), ..with_headers(&headers) };
    let context = call.context();
    assert_eq!((context.field(Field::User), context.tags.as_slice()), (Some("ann"), &["x".to_owned()][..]));
    assert_eq!(metadata(&context), [("realm", "r"), ("k", "v")]);
    assert!(!format!("{context:?}").contains("eyJ"));
}

/// Kong's key-auth leaves these alone, and nobody but Higress writes the last.
#[test]
fn headers_that_not_every_plugin_of_kong_takes_away_are_the_callers() {
    let forged = [("x-authenticated-userid", "boss"), ("x-consumer-groups", "admins"), ("x-mse-consumer", "boss")];
    let consumer = [("x-consumer-id", "1"), ("x-consumer-username", "app")];
    let headers = [&forged[..], &consumer].concat();
    let none = Call { config: json!({"trust_caller": "none"}), ..with_headers(&headers) }.context();
    assert_eq!((none.field(Field::User), metadata(&none)), (Some("app"), vec![]));
    assert_eq!(none.facts, [("gateway.consumer", "app".to_owned())]);
    let alone = Call { config: json!({"trust_caller": "authenticated"}), ..with_headers(&forged) }.context();
    assert_eq!((alone.field(Field::User), metadata(&alone)), (None, vec![]));
    let all = with_headers(&headers).context();
    assert_eq!((all.field(Field::User), metadata(&all)), (Some("boss"), vec![("consumer_groups", "admins")]));
}

#[test]
fn of_two_tokens_none_is_believed() {
    let config = json!({"verified_jwt": "header:authorization", "trust_caller": "authenticated"});
    for other in ["Bearer opaque", TOKEN] {
        let headers = vec![("authorization", other), ("authorization", TOKEN), ("x-session-id", "s")];
        let context = Call { config: config.clone(), headers, ..Call::default() }.context();
        assert_eq!((context.field(Field::User), context.field(Field::Session)), (None, None), "{other}");
    }
}

#[test]
fn a_token_that_envoy_has_verified_is_proof_whatever_is_read_of_it() {
    let iss = "metadata/filter_metadata/envoy.filters.http.jwt_authn/payload/iss";
    let config = json!({"verified_jwt": "metadata:payload", "trust_caller": "authenticated",
        "context": {"user": "header:x-user"}});
    let session = |properties| {
        let headers = vec![("x-session-id", "s")];
        let config = config.clone();
        Call { config, headers, properties, surroundings: ENVOY, ..Call::default() }.field(Field::Session)
    };
    assert_eq!((session(&[(iss, b"tests")]).as_deref(), session(&[])), (Some("s"), None));
}

#[test]
fn claims_in_envoys_metadata_are_properties() {
    let path = "metadata/filter_metadata/envoy.filters.http.jwt_authn/payload";
    let (sub, realm) = (format!("{path}/sub"), format!("{path}/realm/name"));
    let properties: &[(&str, &[u8])] = &[(&sub, b"ann"), (&realm, b"r"), ("xds/route_name", b"chat")];
    let config = json!({"verified_jwt": "metadata:payload", "trust_caller": "authenticated",
        "context": {"metadata": {"realm": "claim:/realm/name", "route": "property:/xds/route_name"}}});
    let headers = vec![("x-user-id", "other")];
    let context = Call { config, properties, headers, surroundings: ENVOY, ..Call::default() }.context();
    assert_eq!(metadata(&context), [("realm", "r"), ("route", "chat")]);
    assert_eq!(context.field(Field::User), Some("other"), "who is authenticated may say for whom it calls");
}

#[test]
fn the_configuration_maps_every_field() {
    let config = json!({"environment": "prod", "trust_caller": "none", "context": {
        "user": ["header:x-my-user", "const:nobody"], "session": "body:/conversation/id", "trace_name": "header:x-op",
        "environment": ["header:x-env", "default"], "release": "header:x-release", "version": "body:/v",
        "observation_name": "const:ask", "trace_id": "header:x-my-trace", "prompt_name": "header:x-p", "prompt_version": "header:x-pv",
        "tags": ["header:x-labels", "const:a,b"], "metadata": {"tenant": ["header:x-tenant", "const:none"], "*": "header:x-meta-*"}}});
    let headers = vec![
        ("x-my-user", "ann"),
        ("x-op", "checkout"),
        ("x-env", "Staging"),
        ("x-release", "r1"),
        ("x-my-trace", TRACE),
        ("x-p", "greeting"),
        ("x-pv", "4"),
        ("x-labels", "l1,l2"),
        ("x-meta-team", "t"),
        ("x-user-id", "ignored"),
    ];
    let body = json!({"conversation": {"id": "c1"}, "v": 2, "metadata": {"ignored": 1}});
    let call = Call { config, headers, body, ..Call::default() };
    let context = call.context();
    let fields = Field::ALL.map(|field| context.field(field).unwrap_or_default().to_owned());
    assert_eq!(fields, ["ann", "c1", "checkout", "ask", TRACE, "", "greeting", "4", "staging", "r1", "2"]);
    assert_eq!(context.tags, ["l1", "l2", "a", "b"]);
    assert_eq!(metadata(&context), [("tenant", "none"), ("team", "t")]);
    assert_eq!(call.place().0, TRACE);
}

#[test]
fn what_the_operator_says_for_all_calls_is_not_asked_of_callers() {
    let environment = |config: Value| {
        Call { config, ..with_headers(&[("baggage", "langfuse_environment=dev,langfuse_version=2")]) }
            .field(Field::Environment)
    };
    assert_eq!(environment(json!({})).as_deref(), Some("dev"));
    assert_eq!(environment(json!({"environment": "prod"})), None);
    let listed = json!({"environment": "prod", "context": {"environment": "default"}});
    assert_eq!(environment(listed).as_deref(), Some("dev"));
    let bad = with_headers(&[("baggage", "langfuse_environment=Not+Valid%21")]).context();
    assert_eq!((bad.field(Field::Environment), bad.dropped), (None, 1));
}
