//! The schema that Kong checks configurations with: it is the committed one, it is draft 4 and nothing that Kong's
//! validator stumbles over, and it takes what the filter's parser takes and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::string_slice, reason = "tests")]

#[path = "support/configuration.rs"]
mod configuration;

use ai_tracing::config::{KEYS, schema};
use ai_tracing::counters::Counter;
use ai_tracing::measures::{CallResult, Measures, Sample};
use configuration::{Schema, curls, parse};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const META: &str = "filters/ai-tracing.meta.json";

fn read(name: &str) -> String {
    let path = testkit::repository_root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn meta() -> Value {
    serde_json::from_str(&schema::meta_json().unwrap()).unwrap()
}

fn one(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), value)]))
}

#[test]
fn the_committed_schema_is_that_of_the_code() {
    let wanted = schema::meta_json().unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(testkit::repository_root().join(META), wanted).unwrap();
    } else {
        assert_eq!(read(META), wanted, "run: make docs");
    }
}

#[test]
fn the_schema_is_draft_4() {
    let schema = &meta()["config_schema"];
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
    jsonschema::draft4::meta::validate(schema).unwrap();
    assert_eq!((&schema["type"], &schema["additionalProperties"]), (&json!("object"), &json!(false)));
    let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| keys.contains(key)), "{keys:?}");
}

/// Kong's validator reads these keywords as draft 4 says; `enum` with null it compiles to broken code up to 1.1.6, and
/// its error messages are format strings.
#[test]
fn the_schema_has_only_what_kongs_validator_reads() {
    const KNOWN: [&str; 9] =
        ["default", "description", "items", "maxProperties", "maximum", "minimum", "multipleOf", "pattern", "type"];
    for (key, property) in meta()["config_schema"]["properties"].as_object().unwrap() {
        let property = property.as_object().unwrap();
        assert!(property.keys().all(|keyword| KNOWN.contains(&keyword.as_str())), "{key}: {property:?}");
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{key} has no description");
        let pattern = property.get("pattern").map_or("", |pattern| pattern.as_str().unwrap());
        assert!(!pattern.contains('%') && !pattern.contains("]]"), "{key}: {pattern}");
    }
}

#[test]
fn defaults_are_told_and_valid() {
    let schema = Schema::new();
    let told = meta()["config_schema"]["properties"].clone();
    let told = told.as_object().unwrap().iter().filter_map(|(key, property)| Some((key, property.get("default")?)));
    let mut count = 0;
    for (key, default) in told {
        assert!(schema.agrees(&one(key, default.clone())), "{key}: {default}");
        count += 1;
    }
    let documented = ai_tracing::config::documentation().iter().filter(|(_, default, _)| !default.is_empty()).count();
    assert_eq!(count, documented);
}

/// Key, values that are taken, values that are refused.
fn samples() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
    let text = || (vec![json!("x"), json!(""), json!(null)], vec![json!(5), json!(true), json!(["x"]), json!({})]);
    let flag =
        || (vec![json!(true), json!("false"), json!(null)], vec![json!("yes"), json!(1), json!("True"), json!([])]);
    let words = || {
        let good = vec![json!(["a"]), json!([]), json!({}), json!("a, b,"), json!(""), json!(null)];
        (good, vec![json!([1]), json!([null]), json!({"a": "b"}), json!(5), json!(true)])
    };
    // Around both ends, as numbers and as strings.
    let count = |min: u64, max: u64| {
        let mut good = vec![json!(min), json!(max), json!(max as f64), json!(null), json!((min + max) / 2)];
        good.extend([min, max].map(|n| json!(n.to_string())));
        good.extend([json!(format!("+{max}")), json!(format!("00{min}"))]);
        let mut bad = vec![json!(max + 1), json!((max + 1).to_string()), json!(-1), json!(max as f64 - 0.5)];
        bad.extend([json!("-1"), json!("5.0"), json!(""), json!(" 5000"), json!("5e3"), json!(true), json!([5000])]);
        if min > 0 {
            bad.extend([json!(min - 1), json!((min - 1).to_string())]);
        }
        (good, bad)
    };
    const MIB: u64 = 1024 * 1024;
    let endpoint = (
        vec![json!("https://cloud.langfuse.com/api/public/ingestion"), json!(" http://[::1%25e]:3000 "), json!(null)],
        vec![json!("cloud.langfuse.com"), json!("https://x:0"), json!("https://a@b"), json!("https://a/?b"), json!("")],
    );
    let environment = (
        vec![json!("production"), json!(" PROD_1-a "), json!(null)],
        vec![json!("Prod EU!"), json!("langfuse-x"), json!(" LangFuse"), json!(""), json!("a".repeat(41)), json!(5)],
    );
    let protocol = (
        vec![json!("auto"), json!("otlp"), json!("ingestion"), json!(null)],
        vec![json!("OTLP"), json!("http"), json!(""), json!(1), json!(["otlp"])],
    );
    let entry =
        json!({"route": "a", "header": {"x-team": "*"}, "langfuse_public_key": "p", "langfuse_secret_key": "s"});
    let projects = (
        vec![json!([entry]), json!([]), json!({}), json!(null), json!(json!([entry]).to_string())],
        vec![
            json!(5),
            json!("a"),
            json!([1]),
            json!([{}]),
            json!([{"route": "a"}]),
            json!([{"rout": "a"}]),
            json!(entry),
        ],
    );
    let custom = json!({"name": "a", "path": "v2/answer", "response": {"output": "/a"}});
    let providers = (
        vec![json!([custom]), json!([]), json!({}), json!(null), json!(json!([custom]).to_string())],
        vec![json!(5), json!("a"), json!([1]), json!([{}]), json!([{"name": "a"}]), json!(custom)],
    );
    let price = json!({"model": "llama-*", "input": 0.2, "output": "0.6"});
    let prices = (
        vec![json!([price]), json!([]), json!({}), json!(null), json!(json!([price]).to_string())],
        vec![json!(5), json!("a"), json!([1]), json!([{}]), json!([{"model": "a", "input": 1}]), json!(price)],
    );
    let context = (
        vec![
            json!({"user": ["claim:sub", "default"], "tags": "const:a", "metadata": {"team": "header:x-team"}}),
            json!({}),
            json!([]),
            json!(null),
            json!(json!({"user": "default"}).to_string()),
        ],
        vec![json!(5), json!("a"), json!(["default"]), json!({"usr": "default"}), json!({"user": "x-user-id"})],
    );
    let words_of = |words: &[&str]| {
        let good = words.iter().map(|word| json!(word)).chain([json!(null)]).collect();
        (good, vec![json!("x"), json!(words[0].to_uppercase()), json!(""), json!(1), json!([words[0]])])
    };
    let verified_jwt = (
        vec![json!("header:authorization"), json!(" metadata: p"), json!(null)],
        vec![json!("authorization"), json!("header:"), json!("header: "), json!("jwt:a"), json!(""), json!(1)],
    );
    let log_level = (
        vec![json!("debug"), json!("info"), json!("warn"), json!("warning"), json!("error"), json!(null)],
        vec![json!("loud"), json!("WARN"), json!(""), json!(1), json!(["info"])],
    );
    let kinds = [
        ("langfuse_enabled", flag()),
        ("langfuse_public_key", text()),
        ("langfuse_secret_key", text()),
        ("langfuse_endpoint", endpoint),
        ("langfuse_upstream", text()),
        ("protocol", protocol),
        ("projects", projects),
        ("providers", providers),
        ("prices", prices),
        ("langfuse_timeout", count(1, 600_000)),
        ("environment", environment),
        ("release", text()),
        ("version", text()),
        ("tags", words()),
        ("context", context),
        ("trust_caller", words_of(&["all", "authenticated", "none"])),
        ("gateway_authenticates", flag()),
        ("parent", words_of(&["auto", "trust", "foreign", "ignore"])),
        ("verified_jwt", verified_jwt),
        ("response_headers", flag()),
        ("log_level", log_level),
        ("ignore_paths", words()),
        ("max_input_bytes", count(0, 16 * MIB)),
        ("max_output_bytes", count(0, 16 * MIB)),
        ("max_read", count(0, 64 * MIB)),
        ("memory_budget", count(MIB, 1024 * MIB)),
        ("estimate_usage", flag()),
        ("queue_max_items", count(1, 1_000_000)),
        ("queue_max_bytes", count(MIB, 1024 * MIB)),
        ("batch_max_items", count(1, 10_000)),
        ("batch_max_bytes", count(1024, 64 * MIB)),
        ("batch_max_age", count(0, 600_000)),
        ("retry_max_age", count(0, 86_400_000)),
        ("enabled", flag()),
    ];
    kinds.into_iter().map(|(key, (good, bad))| (key, good, bad)).collect()
}

#[test]
fn each_key_has_samples() {
    let sampled: Vec<_> = samples().into_iter().map(|(key, ..)| key).collect();
    assert_eq!(sampled, KEYS);
}

#[test]
fn schema_and_parser_take_and_refuse_the_same_samples() {
    let schema = Schema::new();
    for (key, good, bad) in samples() {
        good.into_iter().for_each(|value| assert!(schema.agrees(&one(key, value.clone())), "{key}: {value}"));
        bad.into_iter().for_each(|value| assert!(!schema.agrees(&one(key, value.clone())), "{key}: {value}"));
    }
    for (whole, taken) in [
        (json!({}), true),
        (json!({"langfuse_enable": true}), false),
        (json!({"zzz": null}), false),
        (json!([]), false),
        (json!(5), false),
    ] {
        assert_eq!(schema.agrees(&whole), taken, "{whole}");
    }
}

/// The one difference: the parser also takes a string that holds the object, which is how Kong 3.4 (which reads no
/// schema) stores it. From 3.5 on, with the schema beside the module, Kong takes the object alone.
#[test]
fn a_configuration_in_a_string_is_for_kong_without_a_schema() {
    let text = json!(r#"{"langfuse_enabled":true}"#);
    assert!(parse(&text).is_ok());
    assert!(!jsonschema::draft4::is_valid(&meta()["config_schema"], &text));
}

#[test]
fn schema_and_parser_agree_on_odd_values() {
    let odd = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1",
        "-1",
        "5000",
        "5000.0",
        "5e3",
        "5000.5",
        "1e300",
        "-1e300",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        "9007199254740992.0",
        "1e-9",
        "1048576",
        r#""""#,
        r#"" ""#,
        r#""true""#,
        r#""false""#,
        r#""True""#,
        r#""5000""#,
        r#""+5000""#,
        r#""++5000""#,
        r#""-0""#,
        r#""0000000000000000000000005000""#,
        r#""99999999999999999999999""#,
        r#""0x10""#,
        r#""5_000""#,
        r#""５""#,
        r#""null""#,
        r#""a,b""#,
        r#""ä\n""#,
        r#""\u0000""#,
        r#""info""#,
        r#""production""#,
        r#""https://h""#,
        "[]",
        "[null]",
        r#"["a"]"#,
        r#"["a",1]"#,
        "[[]]",
        "[{}]",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#""http://h:+080/a b""#,
        r#""http://h:""#,
        r#""http://[]""#,
        r#""http://[[a]:]:1""#,
        r#""http://]:1""#,
        r#""http://h//x%20\n""#,
        r#""\u00a0http://h\u2003""#,
        r#""HTTP://h""#,
        r#""\u00a0prod\u0085""#,
    ];
    let schema = Schema::new();
    for key in KEYS {
        for text in odd {
            schema.agrees(&one(key, serde_json::from_str(text).unwrap()));
        }
    }
}

fn near_the_rules() -> impl Strategy<Value = (usize, Value)> {
    let text = || {
        prop_oneof![
            r"\+?0{0,3}[0-9]{1,11}",
            r" ?https?://[a\[\]:.%_ -]{0,5}(:[+0-9]{0,6})?[/a?#@ ]{0,3}",
            r"[ \t]?(langfuse|LANGFUSE|lang)?[A-Za-z0-9_. -]{0,42}",
            r"(true|false|debug|info|warn|warning|error)[a ]?",
            any::<String>(),
        ]
    };
    let value = prop_oneof![
        any::<u64>().prop_map(Value::from),
        (0u64..2_000_000_000).prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        (0u64..200_000_000).prop_map(|n| json!(n as f64 / 2.0)),
        proptest::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
    ];
    let position = |wanted| KEYS.iter().position(|key| *key == wanted).unwrap();
    // Half of the cases for the keys whose rule is a grammar.
    let key = prop_oneof![
        2 => 0..KEYS.len(),
        1 => Just(position("langfuse_endpoint")),
        1 => Just(position("environment")),
    ];
    (key, prop_oneof![1 => value, 2 => text().prop_map(Value::from)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn schema_and_parser_agree_on_values_near_their_rules((key, value) in near_the_rules()) {
        thread_local!(static SCHEMA: Schema = Schema::new());
        SCHEMA.with(|schema| schema.agrees(&one(KEYS[key], value)));
    }
}

/// Raw strings in the sources that are configurations: whatever a test expects of one, both say the same.
#[test]
fn schema_and_parser_agree_on_the_configurations_in_tests() {
    let schema = Schema::new();
    let mut seen = 0;
    for name in ["src/config/file.rs", "src/config/mod.rs", "tests/envoy/configuration.rs", "tests/envoy/secrets.rs"] {
        for literal in read(name).split("r#\"").skip(1).filter_map(|rest| rest.split("\"#").next()) {
            if let Ok(config @ Value::Object(_)) = serde_json::from_str(literal) {
                schema.agrees(&config);
                seen += 1;
            }
        }
    }
    assert!(seen >= 15, "{seen} configurations");
}

#[test]
fn every_configuration_in_the_documents_passes_the_schema() {
    let schema = Schema::new();
    let mut seen = 0;
    for name in ["README.md", "docs/migration.md", "docs/kong.md"] {
        let text = read(name);
        let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
        let blocks = blocks.filter(|block| block.contains("langfuse_enabled"));
        let blocks = blocks.map(|block| serde_json::from_str(block).unwrap());
        for config in blocks.chain(curls(&text).into_iter().flat_map(|curl| curl.configs)) {
            // As a string: for Kong 3.4.
            let object = config.as_str().map_or(config.clone(), |text| serde_json::from_str(text).unwrap());
            assert!(parse(&config).is_ok() && schema.agrees(&object), "{name}: {config}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} configurations");
}

#[test]
fn envoys_configuration_would_pass_the_schema() {
    let envoy: Value = serde_saphyr::from_str(&read("envoy.yaml")).unwrap();
    let listener = &envoy["static_resources"]["listeners"][0];
    let filters = &listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
    let text = filters[0]["typed_config"]["config"]["configuration"]["value"].as_str().unwrap();
    assert!(Schema::new().agrees(&serde_json::from_str(text).unwrap()), "{text}");
}

/// What the predecessor's documents tell users to send to the Admin API, as Kong hands it to a filter: the document, the
/// end of the address, the configuration.
fn predecessors_commands() -> [(&'static str, &'static str, Value); 5] {
    let key = |kind: &str, stage: &str| format!("{kind}-lf-{stage}xxx");
    let environment = |stage: &str, name: &str, level: &str| {
        json!({"langfuse_enabled": "true", "langfuse_public_key": key("pk", stage),
            "langfuse_secret_key": key("sk", stage), "environment": name, "log_level": level})
    };
    let ingestion = "https://cloud.langfuse.com/api/public/ingestion";
    let json_form = json!({"langfuse_enabled": true, "langfuse_public_key": "pk-lf-...",
        "langfuse_secret_key": "sk-lf-...", "langfuse_endpoint": ingestion, "environment": "production"});
    let readme = json!({"langfuse_enabled": "true", "langfuse_public_key": key("pk", "xxxxxxxxx"),
        "langfuse_secret_key": key("sk", "xxxxxxxxx"), "langfuse_endpoint": ingestion, "langfuse_timeout": "5000"});
    [
        ("guide.txt", "/services/YOUR_AI_SERVICE/plugins", json_form),
        ("guide.txt", "/services/ai-service-dev/plugins", environment("dev-", "development", "debug")),
        ("guide.txt", "/services/ai-service-prod/plugins", environment("prod-", "production", "warn")),
        ("guide.txt", "/plugins/PLUGIN_ID", json!({"log_level": "debug"})),
        ("plugin-readme.txt", "/services/ai-service/plugins", readme),
    ]
}

/// Of the PATCH this says only that it is a valid configuration: docs/kong.md tells what Kong does with it.
#[test]
fn the_predecessors_commands_are_valid() {
    let schema = Schema::new();
    for (name, url, config) in predecessors_commands() {
        assert!(schema.agrees(&config), "{name} {url}: {config}");
    }
}

/// The predecessor's documents lie outside the repository, in the folder of this variable.
fn predecessor(name: &str) -> PathBuf {
    let default = || testkit::repository_root().join("../shared/predecessor");
    std::env::var_os("AI_TRACING_PREDECESSOR").map_or_else(default, PathBuf::from).join(name)
}

#[test]
fn the_predecessors_documents_have_no_other_commands() {
    let table = predecessors_commands();
    for name in ["guide.txt", "plugin-readme.txt"] {
        let Ok(text) = std::fs::read_to_string(predecessor(name)) else {
            testkit::say_skipped(&format!("{name} of the predecessor: not found (AI_TRACING_PREDECESSOR)"));
            continue;
        };
        let found = curls(&text).into_iter().filter(|curl| !curl.configs.is_empty());
        let found: Vec<_> = found.map(|curl| (curl.url, curl.configs)).collect();
        let listed: Vec<_> = table.iter().filter(|(document, ..)| *document == name).collect();
        assert_eq!(found.len(), listed.len(), "{name}: {found:?}");
        for ((url, configs), (_, end, config)) in found.iter().zip(listed) {
            assert!(url.ends_with(end), "{url} {end}");
            assert_eq!(configs, std::slice::from_ref(config), "{url}");
        }
    }
}

/// Name and labels of a metric as Kong 3.9's Prometheus plugin makes them (kong/plugins/prometheus/wasmx.lua): one position
/// for all patterns, set behind each whole match, from which the length of the first group is taken off.
fn labelled(name: &str) -> (String, Vec<(String, String)>) {
    let meta = meta();
    let (mut position, mut end, mut labels) = (0, name.len(), Vec::new());
    for entry in meta["metrics"]["label_patterns"].as_array().unwrap() {
        let pattern = fancy_regex::Regex::new(entry["pattern"].as_str().unwrap()).unwrap();
        let Some(found) = pattern.captures_from_pos(name, position).unwrap() else { continue };
        position = found.get(0).unwrap().end();
        end = end.min(position - found[1].len());
        labels.push((entry["label"].as_str().unwrap().to_owned(), found[2].to_owned()));
    }
    (name[..end].to_owned(), labels)
}

#[test]
fn the_label_patterns_fit_the_metrics() {
    for counter in Counter::ALL {
        let (name, labels) = labelled(counter.name());
        assert!(!name.contains('=') && labels.len() <= 1, "{}: {name} {labels:?}", counter.name());
    }
    let measures = Measures::default();
    let sample = Sample {
        provider: "openai_compatible".into(),
        model: Some("org/gpt_4o=x".to_owned()),
        result: CallResult::Ok,
        input_tokens: 1,
        output_tokens: 1,
        first_token_ms: Some(1),
        duration_ms: 1,
    };
    measures.call(&sample);
    measures.export(1);
    let mut seen = 0;
    measures.publish(|_, name, _, _| {
        let (rest, labels) = labelled(name);
        assert!(rest.starts_with("ai_tracing_") && !rest.contains('='), "{name}: {rest}");
        for (label, value) in labels {
            let wanted = match label.as_str() {
                "result" => "ok",
                "provider" => "openai_compatible",
                "model" => "org_gpt_4o_x",
                other => panic!("{other}"),
            };
            assert_eq!(value, wanted, "{name}");
            seen += 1;
        }
    });
    assert_eq!(seen, 3 + 4 * 2);
}

/// Both gateways show the same labels.
#[test]
fn envoys_tags_are_the_labels_of_kong() {
    let envoy = read("envoy.yaml");
    for entry in meta()["metrics"]["label_patterns"].as_array().unwrap() {
        let label = entry["label"].as_str().unwrap();
        assert!(envoy.contains(&format!("tag_name: {label}\n")), "envoy.yaml has no tag {label}");
    }
}
