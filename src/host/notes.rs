//! What the export has to say, in an operator's words, and not too often.

use std::cell::Cell;

use super::log;
use crate::config::{LogLevel, Target};
use crate::export::{Api, Note};

/// Notes that are logged in one [`WINDOW_NS`].
const NOTES_MAX: u32 = 6;
/// A minute.
const WINDOW_NS: u64 = 60_000_000_000;

/// Logs notes, at most [`NOTES_MAX`] a minute: a server that answers now this, now that, must not fill the log.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Since when notes are counted, and how many there were.
    counted: Cell<(u64, u32)>,
}

impl Notes {
    /// Logs `note` on the project of `target`.
    pub(super) fn log(&self, note: Note, target: &Target, threshold: LogLevel, now: u64) {
        let (since, said) = self.counted.get();
        let (since, said) = if now.saturating_sub(since) >= WINDOW_NS { (now, 0) } else { (since, said) };
        self.counted.set((since, said + 1));
        if said < NOTES_MAX {
            match note {
                Note::Refused(_) => log::line(threshold, LogLevel::Warn, || line(note, target)),
                _ => log::operator(&line(note, target)),
            }
        }
    }
}

fn line(note: Note, target: &Target) -> String {
    let url = target.endpoint.base_url();
    let upstream = &target.upstream;
    let text = match note {
        Note::Connected(Api::Otlp) => format!("connected to Langfuse at {url}"),
        Note::Connected(Api::Ingestion) => format!("connected to Langfuse at {url} by its legacy ingestion API"),
        Note::UsingIngestion => {
            format!("Langfuse at {url} has no OTLP (it has since 3.22): trying its legacy ingestion API")
        }
        Note::UsingOtlp => format!("Langfuse at {url} takes traces by OTLP: using it from now on"),
        Note::IngestionRefused => format!(
            "Langfuse at {url} takes no traces by its ingestion API any more: set protocol to auto or otlp; asking again \
             every minute"
        ),
        Note::WrongKeys(status) => format!(
            "Langfuse at {url} refuses the keys (HTTP {status}): check langfuse_public_key and langfuse_secret_key; \
             asking again every minute"
        ),
        Note::WrongAddress(status) => format!(
            "nothing at {url} takes traces (HTTP {status}): check langfuse_endpoint (https or http, path) and protocol; \
             asking again every minute"
        ),
        Note::NoAnswer => format!(
            "no answer from Langfuse at {url} (called as {upstream}): check that the host can be found (resolver) and \
             reached; trying again"
        ),
        Note::Unwell(status) => format!("Langfuse at {url} answers HTTP {status} (called as {upstream}); trying again"),
        Note::CannotCall => format!(
            "the gateway finds no healthy host to call as `{upstream}`: check the cluster's endpoints; trying again"
        ),
        Note::NoUpstream => format!(
            "the gateway cannot call `{upstream}`: define a cluster of that name (Envoy) or a valid address (Kong), or \
             set langfuse_upstream; trying again"
        ),
        Note::Refused(status) => format!("Langfuse at {url} refused traces for good (HTTP {status})"),
    };
    format!("ai-tracing: {text}")
}
