//! The command line tool `explain`, as it is built: its formats, its errors, and that a redacted exchange says nothing.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod errors;
#[path = "../support/expectation.rs"]
mod expectation;
#[path = "../support/feed.rs"]
mod feed;
mod formats;
mod redact;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs the tool, `input` as its standard input. The environment does not matter.
fn explain(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_explain"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LANGFUSE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let written = running.stdin.take().unwrap().write_all(input);
    // It need not read what it does not ask for.
    assert!(written.is_ok() || written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe));
    running.wait_with_output().unwrap()
}

/// What the tool prints when all is well.
fn printed(arguments: &[&str], input: &[u8]) -> String {
    let output = explain(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The file that the README shows.
fn fixture() -> PathBuf {
    testkit::repository_root().join("tests/fixtures/exchange.json")
}

/// The file of a recorded call.
fn file(cassette: &testkit::cassettes::Cassette) -> PathBuf {
    let (folder, name) = (testkit::cassettes::folder(), format!("{}.json", cassette.id));
    let of_the_wire = folder.join(&name);
    if of_the_wire.is_file() { of_the_wire } else { folder.join("synthetic").join(name) }
}
