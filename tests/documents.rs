//! The documents say what the code does: what can be made from the code is, and `make docs` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;

use ai_tracing::provider::{FAMILIES, When};

const BEGIN: &str = "<!-- made from the code by `make docs`: begin -->\n";
const END: &str = "<!-- end -->\n";

fn read(name: &str) -> (PathBuf, String) {
    let path = testkit::repository_root().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (path, text)
}

fn configuration_table() -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for (key, default, meaning) in ai_tracing::config::documentation() {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        table.push_str(&format!("| `{key}` | {default} | {} |\n", meaning.replace('|', "\\|")));
    }
    table
}

fn condition(when: &When) -> String {
    match when {
        When::Always => String::new(),
        When::Member(name) => format!("the body has `{name}`"),
        When::Host(host) => format!("host `{host}`"),
        When::Header(name) => format!("header `{name}`"),
        When::Model(part) => format!("the model has `{part}` in its name"),
        When::Any(all) => all.iter().map(condition).collect::<Vec<_>>().join(", or "),
    }
}

fn table_of_apis() -> String {
    let mut table =
        "| family | ends of paths | and | observation | `metadata.provider` |\n|---|---|---|---|---|\n".to_owned();
    for api in FAMILIES.iter().flat_map(|apis| apis.iter()) {
        let paths = api.paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" ");
        let (family, kind, name, provider) = (api.family, api.operation.kind(), api.observation(), api.provider);
        let when = condition(&api.when);
        table.push_str(&format!("| {family} | {paths} | {when} | {kind} `{name}` | `{provider}` |\n"));
    }
    table
}

/// Compares what stands between the marks with what the code says, or writes it there.
fn check_or_write(name: &str, wanted: &str) {
    let (path, text) = read(name);
    let (before, rest) = text.split_once(BEGIN).expect("the document has the begin mark");
    let (table, after) = rest.split_once(END).expect("the document has the end mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, wanted, "{name}: run: make docs");
    }
}

fn table_of_sources() -> String {
    let mut table = "| field | sources, best first |\n|---|---|\n".to_owned();
    for (field, sources) in ai_tracing::context::documentation() {
        let sources: Vec<String> = sources.iter().map(|source| format!("`{source}`")).collect();
        table.push_str(&format!("| {field} | {} |\n", sources.join(", ")));
    }
    table
}

#[test]
fn the_table_of_sources_is_that_of_the_code() {
    check_or_write("docs/context.md", &table_of_sources());
}

#[test]
fn the_readmes_table_of_keys_is_that_of_the_code() {
    check_or_write("README.md", &configuration_table());
}

#[test]
fn the_table_of_apis_is_that_of_the_code() {
    check_or_write("docs/apis.md", &table_of_apis());
}

/// Each `json` block of the documents that is a configuration is a valid one.
#[test]
fn every_configuration_in_the_documents_is_valid() {
    let mut seen = 0;
    for name in ["README.md", "docs/apis.md", "docs/context.md", "docs/migration.md"] {
        let (_, text) = read(name);
        for block in text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if block.contains("langfuse_enabled") {
                let loaded = ai_tracing::config::Settings::load(block.as_bytes(), &|_| None);
                assert!(loaded.is_ok(), "{name}: {}\n{block}", loaded.unwrap_err());
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "{seen} configurations");
}
