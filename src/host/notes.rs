//! What the export has to say, in an operator's words, and not too often.

use super::{hostcalls, log};
use crate::config::{LogLevel, Target};
use crate::export::{Api, Note};

/// Notes that are logged in one [`WINDOW_NS`].
const NOTES_MAX: u32 = 6;
/// A minute.
const WINDOW_NS: u64 = 60_000_000_000;

/// What has been said of one lane lately.
#[derive(Debug, Default, Clone, Copy)]
struct Said {
    since: u64,
    count: u32,
    /// A refusal was said in this minute.
    refused: bool,
    /// The last one that was too many: said when the minute is over, because a lane says nothing twice.
    kept_back: Option<Note>,
}

/// Logs notes, for each lane at most [`NOTES_MAX`] a minute: a server that answers now this, now that, must not fill the
/// log.
#[derive(Debug)]
pub(super) struct Notes {
    lanes: Vec<Said>,
    /// The VMs of this process share data, so that one of them speaks for all (Envoy).
    pub is_shared: bool,
}

impl Notes {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: vec![Said::default(); lanes], is_shared: false }
    }

    /// Logs `note` on the project of `target`, the lane of that number.
    pub(super) fn log(&mut self, note: Note, lane: usize, target: &Target, threshold: LogLevel, now: u64) {
        let Some(said) = self.lanes.get_mut(lane) else { return };
        if now.saturating_sub(said.since) >= WINDOW_NS {
            *said = Said { since: now, ..Said::default() };
        }
        if let Note::Refused(_) = note {
            // Each half of a batch that is searched for its bad trace is refused anew.
            if !std::mem::replace(&mut said.refused, true) {
                log::line(threshold, LogLevel::Warn, || line(note, target));
            }
            return;
        }
        let line = line(note, target);
        let is_problem = !matches!(note, Note::Connected(_) | Note::UsingIngestion | Note::UsingOtlp);
        if is_problem && self.is_shared && !hostcalls::is_first_to_say(&line, now, WINDOW_NS) {
            return;
        }
        said.count += 1;
        if said.count <= NOTES_MAX {
            log::operator(&line);
        } else {
            said.kept_back = Some(note);
        }
    }

    /// Logs what was kept back, once its minute is over.
    pub(super) fn catch_up(&mut self, targets: &[Target], threshold: LogLevel, now: u64) {
        for (lane, target) in targets.iter().enumerate() {
            let due = |said: &&Said| now.saturating_sub(said.since) >= WINDOW_NS;
            if let Some(note) = self.lanes.get(lane).filter(due).and_then(|said| said.kept_back) {
                self.log(note, lane, target, threshold, now);
            }
        }
    }
}

fn line(note: Note, target: &Target) -> String {
    let server = target.endpoint.server();
    let url = target.endpoint.base_url();
    let upstream = &target.upstream;
    let text = match note {
        Note::Connected(Api::Otlp) => format!("connected to {server}"),
        Note::Connected(Api::Ingestion) => format!("connected to {server} by its legacy ingestion API"),
        Note::UsingIngestion => {
            format!("{server} has no OTLP (it has since 3.22): trying its legacy ingestion API")
        }
        Note::UsingOtlp => format!("{server} takes traces by OTLP: using it from now on"),
        Note::IngestionRefused => format!(
            "{server} takes no traces by its ingestion API any more: set protocol to auto or otlp; asking again \
             every minute"
        ),
        Note::WrongKeys(status) => format!(
            "{server} refuses the keys (HTTP {status}): check langfuse_public_key and langfuse_secret_key; \
             asking again every minute"
        ),
        Note::WrongAddress(status) => format!(
            "{server} takes no traces (HTTP {status}): check langfuse_endpoint (https or http, path) and protocol; \
             asking again every minute"
        ),
        Note::NoAnswer => format!(
            "no answer from {server} (called as {upstream}): check that the host can be found (resolver) and \
             reached; trying again"
        ),
        Note::Unwell(status) => format!("{server} answers HTTP {status} (called as {upstream}); trying again"),
        Note::CannotCall => format!(
            "the gateway finds no healthy host to call as `{upstream}`: check the cluster's endpoints; trying again"
        ),
        Note::NoUpstream => format!(
            "the gateway cannot call `{upstream}`: define a cluster of that name (Envoy) or a valid address (Kong), or \
             set langfuse_upstream; trying again"
        ),
        Note::TlsToAddress => format!(
            "the gateway cannot verify {url}, whose host is an address: write the name of its certificate into \
             langfuse_endpoint, and the address into langfuse_upstream"
        ),
        Note::Refused(status) => format!("{server} refused traces for good (HTTP {status})"),
    };
    format!("ai-tracing: {text}")
}
