//! Answering host calls with any status instead of carrying them out.

use std::collections::HashMap;
use std::fmt;

type Decide = Box<dyn FnMut(u32) -> Option<u32>>;

/// What is done to host calls.
#[derive(Default)]
pub(crate) struct Chaos {
    decide: HashMap<String, Decide>,
    made: HashMap<&'static str, u32>,
    pub garbage: bool,
}

impl Chaos {
    pub(crate) fn set(&mut self, call: &str, decide: Decide) {
        self.decide.insert(call.to_owned(), decide);
    }

    pub(crate) fn clear(&mut self) {
        self.decide.clear();
    }

    /// Counts a call; the status it shall have instead of its own.
    pub(crate) fn answer(&mut self, call: &'static str) -> Option<u32> {
        let made = self.made.entry(call).or_default();
        *made += 1;
        let nth = *made;
        self.decide.get_mut(call).and_then(|decide| decide(nth))
    }

    /// How often a call was made.
    pub(crate) fn made(&self, call: &str) -> u32 {
        self.made.get(call).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Chaos").field("made", &self.made).field("garbage", &self.garbage).finish_non_exhaustive()
    }
}
