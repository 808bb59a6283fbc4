//! When a call may be made on WasmX, where one that is under way can crash the worker.
//!
//! Kong frees the plan of a filter chain that was changed or removed some time after the change, and with it every
//! instance of the worker, this one too (ngx_proxy_wasm.c, `ngx_proxy_wasm_root_destroy`). A call that is under way at that
//! moment and is answered afterwards is a NULL dereference in the worker (ngx_http_proxy_wasm_dispatch.c,
//! `ngx_http_proxy_wasm_dispatch_resume_handler`). Nothing tells a filter that a plan is about to be freed, but a root that
//! is started in an instance in which others have run already means that a plan was loaded, so that an older one may be.
//! So calls have a small share of a worker's time, and behind a change a very small one. docs/kong.md says what remains.

/// A second, nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// An instance that was made anew makes no call for so long: changes come in rows, and a call in the tick of another root
/// traps before the root's own first tick.
const SETTLE_NS: u64 = 3 * SECOND;
/// Behind a change, an older plan is about to be freed for so long under load (measured: 2 to 8 seconds).
const IMMINENT_NS: u64 = 60 * SECOND;
/// And for so long with little traffic: Lua's collector, which frees it, is driven by requests.
const POSSIBLE_NS: u64 = 6 * 3600 * SECOND;
/// Requests behind a change after which nothing is left to be freed (measured: 3,000 to 16,000).
const FREED_AFTER: u64 = 50_000;

/// Calls are under way for one in so many parts of a worker's time: at most, while a plan may be about to be freed, and
/// while one is.
const SHARES: [u64; 3] = [20, 100, 1000];
/// The longest rest behind a call.
const REST_MAX_NS: u64 = 120 * SECOND;

/// That a plan was loaded into an instance that had run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When, nanoseconds since 1970.
    pub at: u64,
    /// Requests that the instance had seen by then.
    pub requests: u64,
}

/// A call that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// When it ended, nanoseconds since 1970.
    pub at: u64,
    /// How long it was under way, nanoseconds.
    pub took: u64,
}

/// What is known of an instance, and of the root whose timer ticks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// When the root was configured, nanoseconds since 1970.
    pub since: u64,
    /// The root was made anew, without a start: its instance has replaced another.
    pub is_replacement: bool,
    /// The last change.
    pub change: Option<Change>,
    /// Requests that the instance has seen.
    pub requests: u64,
    /// The last call.
    pub last: Option<Made>,
}

impl Pace {
    /// A call may be made at `now`.
    #[must_use]
    pub fn may_call(&self, now: u64) -> bool {
        let is_settling = self.is_replacement && now.saturating_sub(self.since) < SETTLE_NS;
        let [usual, possible, imminent] = SHARES;
        let share = match self.change {
            Some(change) if self.requests.saturating_sub(change.requests) < FREED_AFTER => {
                match now.saturating_sub(change.at) {
                    age if age < IMMINENT_NS => imminent,
                    age if age < POSSIBLE_NS => possible,
                    _ => usual,
                }
            }
            _ => usual,
        };
        match self.last {
            _ if is_settling => false,
            // How long a call takes is not known.
            None => share != imminent,
            // A clock that was set back must not make the rest longer.
            Some(Made { at, took }) => now < at || now - at >= took.saturating_mul(share - 1).min(REST_MAX_NS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_318_664 * SECOND;
    const MS: u64 = 1_000_000;

    /// When calls are possible again behind one of `took_ms`, in milliseconds.
    fn rest_ms(pace: Pace, took_ms: u64) -> u64 {
        let pace = Pace { last: Some(Made { at: NOW, took: took_ms * MS }), ..pace };
        (0..).step_by(10).find(|ms| pace.may_call(NOW + ms * MS)).unwrap()
    }

    #[test]
    fn calls_have_their_share_of_the_time() {
        assert!(Pace::default().may_call(NOW), "the first one needs no rest");
        assert_eq!((rest_ms(Pace::default(), 150), rest_ms(Pace::default(), 0)), (19 * 150, 0));
        assert_eq!(rest_ms(Pace::default(), 80_000), 120_000, "a rest has an end however long the call was");
        let back = Pace { last: Some(Made { at: NOW, took: SECOND }), ..Pace::default() };
        assert!(back.may_call(NOW - 10_000 * SECOND), "a clock that is set back ends the rest");
    }

    #[test]
    fn an_instance_that_was_made_anew_settles_first() {
        let pace = Pace { since: NOW, is_replacement: true, ..Pace::default() };
        assert!(!pace.may_call(NOW + SETTLE_NS - 1) && pace.may_call(NOW + SETTLE_NS));
    }

    #[test]
    fn behind_a_change_calls_are_rare_until_nothing_is_left_to_be_freed() {
        let changed = |at| Pace { change: Some(Change { at, requests: 5 }), requests: 5, ..Pace::default() };
        assert!(!changed(NOW).may_call(NOW), "who has never called does not know how long a call takes");
        assert_eq!((rest_ms(changed(NOW), 1), rest_ms(changed(NOW), 150)), (1000, 60_000));
        assert_eq!(rest_ms(changed(NOW - IMMINENT_NS), 150), 99 * 150);
        assert_eq!(rest_ms(changed(NOW - POSSIBLE_NS), 150), 19 * 150);
        let busy = Pace { requests: 5 + FREED_AFTER, ..changed(NOW) };
        assert_eq!(rest_ms(busy, 150), 19 * 150, "so much traffic has freed what there was");
    }
}
