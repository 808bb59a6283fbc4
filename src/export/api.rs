//! Which of Langfuse's APIs is called: OTLP first, the legacy ingestion API where the server has no OTLP (Langfuse v2,
//! v3 before 3.22), and back where it turns out to have it.

use crate::config::Protocol;

/// An API that takes traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/api/public/otel/v1/traces`, protobuf.
    Otlp,
    /// `/api/public/ingestion`, JSON.
    Ingestion,
}

/// How often a server that had no OTLP is asked whether it has now (it may have been upgraded), nanoseconds.
const PROBE_NS: u64 = 3600 * 1_000_000_000;

/// The choice for one server.
#[derive(Debug)]
pub(super) struct ApiChoice {
    protocol: Protocol,
    current: Api,
    /// The other API was found missing, and the current one has not worked since.
    other_is_missing: bool,
    probe_at: u64,
}

impl ApiChoice {
    pub(super) fn new(protocol: Protocol) -> Self {
        let current = if protocol == Protocol::Ingestion { Api::Ingestion } else { Api::Otlp };
        Self { protocol, current, other_is_missing: false, probe_at: 0 }
    }

    /// The API to call.
    pub(super) fn current(&self) -> Api {
        self.current
    }

    /// The server does not have the current API, or takes no traces by it. True where the other one should be tried at
    /// once; false where there is none to try: the server has neither, or the configuration allows no other.
    pub(super) fn is_refused(&mut self, now: u64) -> bool {
        if self.protocol != Protocol::Auto {
            return false;
        }
        let try_other = !self.other_is_missing;
        self.other_is_missing = try_other;
        match self.current {
            Api::Otlp if try_other => self.go(Api::Ingestion, now),
            // With both missing the next try begins anew.
            _ => self.go(Api::Otlp, now),
        }
        try_other
    }

    /// The current API has taken something.
    pub(super) fn works(&mut self) {
        self.other_is_missing = false;
    }

    /// OTLP should be asked for again, without a trace.
    pub(super) fn is_probe_due(&mut self, now: u64) -> bool {
        let due = self.protocol == Protocol::Auto && self.current == Api::Ingestion && now >= self.probe_at;
        if due {
            self.probe_at = now.saturating_add(PROBE_NS);
        }
        due
    }

    /// The probe has found OTLP.
    pub(super) fn has_otlp(&mut self, now: u64) {
        self.go(Api::Otlp, now);
        self.other_is_missing = false;
    }

    fn go(&mut self, api: Api, now: u64) {
        self.current = api;
        self.probe_at = now.saturating_add(PROBE_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = PROBE_NS;

    #[test]
    fn a_server_without_otlp_is_served_by_ingestion_and_asked_again_each_hour() {
        let mut choice = ApiChoice::new(Protocol::Auto);
        assert_eq!((choice.current(), choice.is_probe_due(0)), (Api::Otlp, false));
        assert!(choice.is_refused(5));
        choice.works();
        assert_eq!((choice.current(), choice.is_probe_due(HOUR)), (Api::Ingestion, false));
        assert!(choice.is_probe_due(HOUR + 5) && !choice.is_probe_due(HOUR + 6), "once");
        choice.has_otlp(HOUR + 7);
        assert_eq!((choice.current(), choice.is_probe_due(9 * HOUR)), (Api::Otlp, false));
    }

    #[test]
    fn a_server_with_neither_is_asked_anew_beginning_with_otlp() {
        let mut choice = ApiChoice::new(Protocol::Auto);
        for _ in 0..3 {
            assert!(choice.is_refused(0));
            assert_eq!(choice.current(), Api::Ingestion);
            assert!(!choice.is_refused(0), "not at once");
            assert_eq!(choice.current(), Api::Otlp);
        }
    }

    #[test]
    fn an_upgraded_server_that_refuses_ingestion_gets_otlp_at_once() {
        let mut choice = ApiChoice::new(Protocol::Auto);
        choice.is_refused(0);
        choice.works();
        assert!(choice.is_refused(0));
        assert_eq!(choice.current(), Api::Otlp);
        assert!(!choice.is_refused(0), "but the two do not take turns for ever");
    }

    #[test]
    fn a_fixed_protocol_stays() {
        for (protocol, api) in [(Protocol::Otlp, Api::Otlp), (Protocol::Ingestion, Api::Ingestion)] {
            let mut choice = ApiChoice::new(protocol);
            assert!(!choice.is_refused(0) && !choice.is_probe_due(u64::MAX));
            assert_eq!(choice.current(), api);
        }
    }
}
