//! What families say of an answer beside its content: who answered, what was counted, how it ended.

use std::borrow::Cow;

use super::{Collector, NAME_MAX, REASON_MAX};
use crate::json::Value;
use crate::provider::ProviderError;
use crate::provider::count::{Count, Counts, told_iterations};

/// Longest list of iterations that is kept, bytes.
const ITERATIONS_MAX: usize = 8 * 1024;

impl Collector {
    /// The id of the answer: a text, or (AI21) a number.
    pub fn id(&mut self, value: Value<'_>) {
        let id = value.non_empty().or_else(|| value.amount().map(Cow::Borrowed));
        self.effects.changes += u32::from(set_once(&mut self.id, id));
    }

    /// The model that answers.
    pub fn model(&mut self, value: Value<'_>) {
        self.effects.changes += u32::from(set_once(&mut self.model, value.non_empty()));
    }

    /// Usage, where the family's usage objects stand. `{}` and `null` state nothing, and take nothing back.
    pub fn usage(&mut self, usage: Value<'_>) {
        if !usage.is_object() || self.reads_cut() {
            return;
        }
        let rules = self.api.usage;
        let mut counts = if rules.merges { self.counts.clone() } else { Counts::default() };
        if counts.read(usage, rules) {
            self.counts = counts;
            self.effects.changes += 1;
        }
        if let Some(iterations) = told_iterations(usage, rules).filter(|json| json.len() <= ITERATIONS_MAX) {
            self.iterations = Some(iterations.to_owned());
        }
        rules.billed_at.iter().for_each(|(parameter, path)| self.billed_at(parameter, usage.at(path)));
        let costs = rules.cost.iter().map(|path| usage.at(path));
        self.cost(costs.into_iter().find(|cost| cost.amount().is_some()).unwrap_or_default());
    }

    /// What the call cost, in dollars.
    pub fn cost(&mut self, cost: Value<'_>) {
        if let Some(cost) = cost.amount() {
            self.cost = Some(crate::trace::truncate(cost, REASON_MAX).to_owned());
            self.effects.changes += 1;
        }
    }

    /// The tier or speed at which the provider bills the call, by the name of the parameter that asks for one; the last word
    /// counts. `auto` is what was asked for: it is not decided yet.
    pub fn billed_at(&mut self, parameter: &'static str, value: Value<'_>) {
        let Some(word) = value.non_empty().filter(|word| word != "auto" && !self.reads_cut()) else { return };
        let word = crate::trace::truncate(&word, REASON_MAX);
        if self.billed_at.iter().any(|(known, said)| *known == parameter && said == word) {
            return;
        }
        self.billed_at.retain(|(known, _)| *known != parameter);
        self.billed_at.push((parameter, word.to_owned()));
        self.effects.changes += 1;
    }

    /// States one count.
    pub fn count(&mut self, count: Count, value: Option<u64>) {
        if let Some(value) = value {
            self.counts.set(count, value);
            self.effects.changes += 1;
        }
    }

    /// States a count, unless it is stated already: by a header, for one.
    pub fn count_if_missing(&mut self, count: Count, value: Option<u64>) {
        if self.counts.get(count).is_none() {
            self.count(count, value);
        }
    }

    /// Tokens were counted.
    #[must_use]
    pub fn has_usage(&self) -> bool {
        self.counts.has_tokens()
    }

    /// The count so far.
    #[must_use]
    pub fn counted(&self, count: Count) -> Option<u64> {
        self.counts.get(count)
    }

    /// The answer reports an error.
    pub fn fail(&mut self, error: ProviderError) {
        self.error = Some(error);
        self.effects.changes += 1;
    }

    /// A message could not be read.
    pub fn missed(&mut self) {
        self.unread = self.unread.saturating_add(1);
    }

    /// The provider has said that the answer is whole.
    pub fn end(&mut self) {
        self.done |= !self.reads_cut();
        self.effects.changes += 1;
    }

    /// Nothing will tell the end of the answer, so that none can be missed.
    pub fn has_no_end(&mut self) {
        self.effects.changes += u32::from(!std::mem::replace(&mut self.endless, true));
    }
}

fn set_once(slot: &mut Option<String>, text: Option<Cow<'_, str>>) -> bool {
    let new = if slot.is_none() { text } else { None };
    if let Some(text) = &new {
        *slot = Some(crate::trace::truncate(text, NAME_MAX).to_owned());
    }
    new.is_some()
}
