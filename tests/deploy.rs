//! What the repository gives to users of Kong: `kong.yml` and `deploy/kong/` are configurations that Kong and the filter
//! take, and `docs/kong.md` explains what is in them and every line that the filter writes to the log.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests"
)]

#[path = "support/configuration.rs"]
mod configuration;

use configuration::{Schema, parse};
use serde_json::Value;
use std::collections::BTreeSet;

const KONG_FILES: [&str; 4] =
    ["kong.yml", "deploy/kong/kong-3.4.yml", "deploy/kong/environments.yml", "deploy/kong/with-plugins.yml"];
const COMPOSE: &str = "deploy/kong/docker-compose.yml";

fn read(name: &str) -> String {
    let path = testkit::repository_root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(entity: &'a Value, key: &str) -> &'a [Value] {
    entity.get(key).map_or(&[], |list| list.as_array().unwrap())
}

/// A filter chain with whom it is for: by nesting, or by reference.
fn chains(file: &Value) -> Vec<(Vec<&'static str>, &Value)> {
    let mut found: Vec<_> = list(file, "filter_chains").iter().map(|chain| (Vec::new(), chain)).collect();
    for service in list(file, "services") {
        found.extend(list(service, "filter_chains").iter().map(|chain| (vec!["service"], chain)));
        let routes = list(service, "routes").iter().flat_map(|route| list(route, "filter_chains"));
        found.extend(routes.map(|chain| (vec!["route"], chain)));
    }
    let top = list(file, "routes").iter().flat_map(|route| list(route, "filter_chains"));
    found.extend(top.map(|chain| (vec!["route"], chain)));
    for (owners, chain) in &mut found {
        owners.extend(["service", "route"].into_iter().filter(|owner| chain.get(owner).is_some()));
    }
    found
}

#[test]
fn every_file_for_kong_is_one_that_the_tests_know() {
    let folder = testkit::repository_root().join("deploy/kong");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let yaml: BTreeSet<_> =
        files.filter(|name| name.ends_with(".yml")).map(|name| format!("deploy/kong/{name}")).collect();
    let known = KONG_FILES.into_iter().chain([COMPOSE]).filter(|name| name.starts_with("deploy"));
    assert_eq!(yaml, known.map(str::to_owned).collect());
}

#[test]
fn every_chain_is_for_one_service_or_route() {
    for name in KONG_FILES {
        let file = yaml(name);
        assert_eq!(file["_format_version"], "3.0", "{name}");
        let chains = chains(&file);
        assert!(!chains.is_empty(), "{name} has no filter chain");
        for (owners, chain) in chains {
            assert_eq!(owners.len(), 1, "{name}: {chain}");
            assert!(!list(chain, "filters").is_empty(), "{name}: {chain}");
            for key in chain.as_object().unwrap().keys() {
                assert!(
                    ["name", "enabled", "filters", "tags", "service", "route"].contains(&key.as_str()),
                    "{name}: {key}"
                );
            }
        }
    }
}

/// Both chains would run.
#[test]
fn no_call_is_traced_twice() {
    for name in KONG_FILES {
        let file = yaml(name);
        for service in list(&file, "services") {
            let own = list(service, "filter_chains").len();
            for route in list(service, "routes") {
                assert!(own + list(route, "filter_chains").len() <= 1, "{name}: {}", service["name"]);
            }
        }
    }
}

#[test]
fn every_configuration_passes_schema_and_parser() {
    let schema = Schema::new();
    for name in KONG_FILES {
        let file = yaml(name);
        for (_, chain) in chains(&file) {
            for filter in list(chain, "filters") {
                assert_eq!(filter["name"], "ai-tracing", "{name}");
                let config = &filter["config"];
                assert_eq!(config.is_string(), name.ends_with("3.4.yml"), "{name}: 3.4 alone takes a string");
                let object = match config.as_str() {
                    Some(text) => {
                        parse(config).unwrap();
                        serde_json::from_str(text).unwrap()
                    }
                    None => config.clone(),
                };
                assert!(schema.agrees(&object), "{name}: {object}");
            }
        }
    }
}

/// The smoke kit's own configuration, with what the script fills in.
#[test]
fn the_smoke_kits_configuration_passes_schema_and_parser() {
    let mut text = read("tests/kong/smoke/kong.yml");
    for (place, value) in [
        ("@UPSTREAM@", "127.0.0.1:9101"),
        ("@LANGFUSE@", "127.0.0.1:9102"),
        ("@PUBLIC_KEY@", "pk-lf-testkit"),
        ("@SECRET_KEY@", "sk-lf-testkit"),
    ] {
        assert!(text.contains(place), "{place}");
        text = text.replace(place, value);
    }
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let chains = chains(&file);
    assert_eq!(chains.len(), 3);
    assert!(chains.iter().all(|(_, chain)| Schema::new().agrees(&chain["filters"][0]["config"])));
}

/// The names `KONG_…` in `text`.
fn variables(text: &str) -> BTreeSet<String> {
    let names = text.match_indices("KONG_").map(|(at, _)| {
        let name = text[at..].chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_');
        name.collect::<String>()
    });
    names.collect()
}

#[test]
fn the_guide_explains_every_setting() {
    // Where Kong is and what it logs to: nothing of the filter's.
    const GENERAL: [&str; 5] = [
        "KONG_DATABASE",
        "KONG_DECLARATIVE_CONFIG",
        "KONG_PROXY_ACCESS_LOG",
        "KONG_PROXY_ERROR_LOG",
        "KONG_ADMIN_LISTEN",
    ];
    let guide = variables(&read("docs/kong.md"));
    assert!(variables(&read("kong.yml")).len() >= 8, "kong.yml names its settings");
    for name in KONG_FILES.into_iter().chain([COMPOSE]) {
        let used = variables(&read(name));
        let unexplained: Vec<_> =
            used.difference(&guide).filter(|variable| !GENERAL.contains(&variable.as_str())).collect();
        assert!(unexplained.is_empty(), "{name}: {unexplained:?}");
    }
}

/// The files that the compose file mounts exist (the module itself is built), and what nginx is to hand on is set.
#[test]
fn the_compose_file_mounts_what_is_there() {
    let compose = yaml(COMPOSE);
    let kong = &compose["services"]["kong"];
    for volume in list(kong, "volumes") {
        let (source, target) = volume.as_str().unwrap().split_once(':').unwrap();
        assert!(testkit::repository_root().join("deploy/kong").join(source).exists(), "{source}");
        assert!(target.starts_with("/kong/"), "{target}");
    }
    let environment = kong["environment"].as_object().unwrap();
    assert!(environment.values().all(Value::is_string), "only strings: YAML's on and off differ between versions");
    let handed_on = read("deploy/kong/langfuse-env.conf");
    for variable in environment.keys().filter(|key| key.starts_with("LANGFUSE_")) {
        assert!(handed_on.contains(&format!("env {variable};\n")), "{variable}");
    }
    for setting in ["KONG_WASM", "KONG_WASM_FILTERS_PATH", "KONG_NGINX_HTTP_CLIENT_BODY_BUFFER_SIZE"] {
        assert!(environment.contains_key(setting), "{setting}");
    }
}

/// The sources' text with lines joined that a string continues over.
fn sources(folder: &str) -> String {
    let folder = testkit::repository_root().join(folder);
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            text.push_str(line.strip_suffix('\\').map_or(line, str::trim_start));
            if !line.ends_with('\\') {
                text.push('\n');
            }
        }
    }
    // What continues a string is indented.
    let joined: Vec<_> = text.split("  ").filter(|part| !part.is_empty()).collect();
    joined.join(" ").replace("{{", "{").replace("}}", "}")
}

/// The first cell of each row of the guide's table of the filter's lines, if it quotes one.
fn quoted_lines() -> Vec<String> {
    let guide = read("docs/kong.md");
    let section = guide.split_once("## Troubleshooting").unwrap().1.split_once("Kong's own lines").unwrap().0;
    let quoted = |row: &str| Some(row.strip_prefix("| `")?.split_once("` |")?.0.to_owned());
    section.lines().filter_map(quoted).collect()
}

#[test]
fn the_guide_quotes_lines_that_the_filter_writes() {
    let sources = sources("src/host") + &sources("src/config");
    let lines = quoted_lines();
    assert!(lines.len() >= 20, "{} lines", lines.len());
    for line in lines {
        for part in line.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(sources.contains(part), "no source has: {part}");
        }
    }
}

/// Every line for operators is in the guide.
#[test]
fn the_filter_writes_no_line_that_the_guide_does_not_know() {
    let guide = quoted_lines();
    let source = sources("src/host");
    let literals = source.split('"').filter_map(|text| text.strip_prefix("ai-tracing: "));
    let mut seen = 0;
    for literal in literals {
        // The words before the first value, or the whole.
        let words = literal.split('{').next().unwrap().trim();
        if words.is_empty() {
            continue;
        }
        assert!(guide.iter().any(|line| line.contains(words)), "docs/kong.md does not explain: {words}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen} lines");
}
