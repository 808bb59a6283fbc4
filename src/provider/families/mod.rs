//! All APIs that are read, by family. Of APIs with the same path, the one that asks for more stands first; of paths of which
//! one ends as the other (`api/embeddings`, `embeddings`), the longer.

mod alephalpha;
mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod llamacpp;
mod ollama;
pub(super) mod openai;
mod openai_audio;
mod openai_images;
mod openai_moderations;
mod replicate;
mod responses;
mod sagemaker;
mod tgi;
mod vertex;
mod vllm;
mod watsonx;
mod writer;

use super::api::Api;

/// See the module's documentation.
pub static FAMILIES: &[&[Api]] = &[
    ollama::APIS,
    openai::APIS,
    responses::APIS,
    openai_images::APIS,
    openai_audio::APIS,
    openai_moderations::APIS,
    anthropic::APIS,
    bedrock::APIS,
    vertex::APIS,
    gemini::APIS,
    cohere::APIS,
    writer::APIS,
    tgi::APIS,
    vllm::APIS,
    watsonx::APIS,
    alephalpha::APIS,
    replicate::APIS,
    sagemaker::APIS,
    llamacpp::APIS,
];

/// What the tests of families have in common.
#[cfg(test)]
mod testing {
    use super::FAMILIES;
    use crate::budget::Budget;
    use crate::json::{Document, Limits, Value};
    use crate::provider::{Answer, Api, Asked, Collector, When, find};
    use proptest::prelude::*;

    /// The first API of that family, or of that `family/operation`.
    pub(super) fn api(name: &str) -> &'static Api {
        let (family, operation) = name.split_once('/').unwrap_or((name, ""));
        let is_it = |api: &&Api| api.family == family && (operation.is_empty() || api.operation.name() == operation);
        FAMILIES.iter().copied().flatten().filter(|api| api.provider != "vllm").find(is_it).expect(name)
    }

    /// What is collected of a body (one message) or a stream (several).
    pub(super) fn answer(name: &str, messages: &[&str]) -> Answer {
        collect(api(name), messages)
    }

    fn collect(api: &'static Api, messages: &[&str]) -> Answer {
        if let [body] = messages { whole(api, body) } else { streamed(api, messages) }
    }

    fn collector(api: &'static Api) -> Collector {
        Collector::new(api, 1 << 16, Budget::new(1 << 20).capture_lease())
    }

    /// The answer that a body is.
    pub(super) fn whole(api: &'static Api, body: &str) -> Answer {
        let limits = Limits { head: 1 << 16, member: 1 << 16 };
        let mut document = Document::new(limits, Budget::new(1 << 20).capture_lease());
        document.push(body.as_bytes());
        let mut collector = collector(api);
        collector.document(&document);
        collector.finish()
    }

    /// The answer of a stream of these messages, the last of which may be cut.
    pub(super) fn streamed(api: &'static Api, messages: &[&str]) -> Answer {
        let mut collector = collector(api);
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            collector.event(b"", message.as_bytes());
        }
        collector.last_event(b"", last.as_bytes());
        collector.finish()
    }

    /// The answer of a stream of events: name and data.
    pub(super) fn stream(api: &'static Api, events: &[(&str, &str)]) -> Answer {
        let mut collector = collector(api);
        for (event, data) in events {
            collector.event(event.as_bytes(), data.as_bytes());
        }
        collector.finish()
    }

    /// The usage that an answer states, as it is sent: of a body, or (several messages) of a stream.
    pub(super) fn usage_details(api: &'static Api, messages: &[&str]) -> String {
        collect(api, messages).usage.map_or_else(|| "none".to_owned(), |usage| usage.buckets.to_json())
    }

    /// Checks what becomes of usage: API, body, and the usage details of its trace (empty = none).
    pub(super) fn check_usage(table: &[(&str, &str, &str)]) {
        for (name, body, expected) in table {
            let usage = answer(name, &[body]).usage;
            assert_eq!(usage.map(|usage| usage.buckets.to_json()).unwrap_or_default(), *expected, "{name} {body}");
        }
    }

    /// One condition that fulfils `when`.
    fn first(when: &When) -> &When {
        if let When::Any([one, ..]) = when { first(one) } else { when }
    }

    #[test]
    fn no_path_hides_another() {
        for api in FAMILIES.iter().copied().flatten() {
            let when = first(&api.when);
            for pattern in api.paths {
                let path = format!("/{}", pattern.replace('*', "model").trim_start_matches('/'));
                let mut route = find(path.as_bytes(), &[], &[]).unwrap();
                // What else tells its calls is there, and nothing that tells those of others.
                route.narrow(&Asked {
                    host: Some(if let When::Host(host) = when { host } else { "" }),
                    has_header: Some(&|name| matches!(when, When::Header(wanted) if *wanted == name)),
                    has_member: Some(&|name| Some(matches!(when, When::Member(wanted) if *wanted == name))),
                    model: Some(if let When::Model(part) = when { part } else { "" }),
                });
                assert!(route.api().is_some_and(|found| std::ptr::eq(found, api)), "{path} is not {}", api.family);
            }
        }
    }

    /// Names that families look for.
    const NAMES: [&str; 24] = [
        "choices",
        "message",
        "delta",
        "content",
        "text",
        "thinking",
        "tool_calls",
        "function",
        "arguments",
        "index",
        "usage",
        "meta",
        "tokens",
        "response",
        "generations",
        "results",
        "data",
        "token",
        "details",
        "generated_text",
        "embeddings",
        "output",
        "error",
        "type",
    ];

    /// JSON of these names with any types under them.
    fn odd_json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec!["null", "1", "-1.5", "true", r#""""#, r#""a""#, "18446744073709551616"]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 40, 4, |inner| {
            let member = (prop::sample::select(NAMES.to_vec()), inner.clone());
            let member = member.prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn odd_types_harm_no_family(first in odd_json(), second in odd_json()) {
            for api in FAMILIES.iter().copied().flatten() {
                for messages in [&[first.as_str()][..], &[&first, &second]] {
                    let output = collect(api, messages).output.unwrap_or("null".to_owned());
                    prop_assert!(Value::parse(output.as_bytes()).is_some(), "{}: {output}", api.family);
                }
            }
        }
    }
}
