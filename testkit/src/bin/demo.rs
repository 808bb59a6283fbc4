//! `cargo run -p testkit --bin demo`: seven LLM calls through Envoy with the filter; see `testkit::demo`.

use std::process::ExitCode;
use testkit::interrupt::{INTERRUPTED, interrupted};

#[tokio::main]
async fn main() -> ExitCode {
    // Whichever ends first: dropping the other side ends Envoy and the servers.
    tokio::select! {
        result = testkit::demo::run() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("\n{problem}");
                ExitCode::FAILURE
            }
        },
        () = interrupted() => ExitCode::from(INTERRUPTED),
    }
}
