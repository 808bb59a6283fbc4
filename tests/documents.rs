//! The documents say what the code does: what can be made from the code is, and `make docs` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;

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

#[test]
fn the_readmes_table_of_keys_is_that_of_the_code() {
    let (path, text) = read("README.md");
    let (before, rest) = text.split_once(BEGIN).expect("the README has the table's begin mark");
    let (table, after) = rest.split_once(END).expect("the README has the table's end mark");
    let wanted = configuration_table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, wanted, "run: make docs");
    }
}

/// Each `json` block of the documents that is a configuration is a valid one.
#[test]
fn every_configuration_in_the_documents_is_valid() {
    let mut seen = 0;
    for name in ["README.md", "docs/migration.md"] {
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
