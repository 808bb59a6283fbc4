//! What a provider counted of a call, as it said it: tokens by kind, and other units.
//!
//! A count that was not stated is absent, never 0. Where a family's counts stand and what they include is a table
//! ([`UsageRules`]); [`super::usage`] makes disjoint buckets of them.

use crate::json::{Fields, Value};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $count:ident = $name:literal;)*) => {
        /// A kind of count.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Count {
            $($(#[doc = $doc])+ $count,)*
        }

        impl Count {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$count),*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$count => $name,)*
                }
            }
        }
    };
}

counts! {
    /// Input tokens, with or without cached ones as the family has it.
    Input = "input";
    /// Output tokens, with or without reasoning as the family has it.
    Output = "output";
    /// All tokens.
    Total = "total";
    /// Input tokens read from a cache.
    CacheRead = "cache_read_input_tokens";
    /// Input tokens written to a cache.
    CacheWrite = "cache_creation_input_tokens";
    /// Of these, to the cache of 5 minutes.
    CacheWrite5m = "cache_creation_5m";
    /// Of these, to the cache of an hour.
    CacheWrite1h = "cache_creation_1h";
    /// Output tokens of reasoning.
    Reasoning = "reasoning_tokens";
    /// Input tokens of audio.
    InputAudio = "input_audio_tokens";
    /// Output tokens of audio.
    OutputAudio = "output_audio_tokens";
    /// Input tokens of images.
    InputImage = "input_image_tokens";
    /// Predicted tokens that were used.
    AcceptedPrediction = "accepted_prediction_tokens";
    /// Predicted tokens that were not.
    RejectedPrediction = "rejected_prediction_tokens";
    /// Input tokens of tools that the provider ran.
    ToolUse = "tool_use_prompt_tokens";
    /// Input tokens that are billed, where they differ.
    BilledInput = "billed_input_tokens";
    /// Output tokens that are billed, where they differ.
    BilledOutput = "billed_output_tokens";
    /// Searches of a reranker.
    SearchUnits = "search_units";
    /// Searches of the web that the provider ran.
    WebSearches = "web_search_requests";
    /// Seconds of audio.
    Seconds = "seconds";
}

/// Counts that are no tokens, and go to the metadata under their names.
pub const UNITS: [Count; 5] =
    [Count::BilledInput, Count::BilledOutput, Count::SearchUnits, Count::WebSearches, Count::Seconds];

/// What was stated, by kind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts([Option<u64>; Count::ALL.len()]);

impl Counts {
    /// The count of that kind.
    #[must_use]
    pub fn get(&self, count: Count) -> Option<u64> {
        self.0.get(count as usize).copied().flatten()
    }

    /// States a count.
    pub fn set(&mut self, count: Count, value: u64) {
        if let Some(slot) = self.0.get_mut(count as usize) {
            *slot = Some(value);
        }
    }

    /// Nothing was stated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// A number of tokens was stated.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        [Count::Input, Count::Output, Count::Total].into_iter().any(|count| self.get(count).is_some())
    }

    /// Kinds and counts that were stated.
    pub fn stated(&self) -> impl Iterator<Item = (Count, u64)> {
        Count::ALL.iter().filter_map(|count| Some((*count, self.get(*count)?)))
    }

    /// Takes what `usage` states where `rules` look for it; true where that is anything.
    ///
    /// Of several iterations of one call, the sums of those that are billed at the model's price count, where they state
    /// anything: the counts above them leave compactions out
    /// (<https://platform.claude.com/docs/en/build-with-claude/compaction>, "Understanding usage"). A fallback that declined is
    /// not billed, and an advisor is another model.
    pub fn read(&mut self, usage: Value<'_>, rules: &UsageRules) -> bool {
        let mut stated = self.read_one(usage, rules);
        let mut sums = Self::default();
        for iteration in iterations(usage, rules).filter(|one| BILLED.iter().any(|kind| one.get("type").is(kind))) {
            let mut one = Self::default();
            one.read_one(iteration, rules);
            one.stated().for_each(|(count, number)| {
                sums.set(count, sums.get(count).unwrap_or(0).saturating_add(number));
            });
        }
        for (count, number) in sums.stated() {
            self.set(count, number);
            stated = true;
        }
        stated
    }

    fn read_one(&mut self, usage: Value<'_>, rules: &UsageRules) -> bool {
        let usage = Fields::of(usage);
        let mut stated = false;
        for (count, paths) in rules.fields {
            if let Some(number) = paths.iter().find_map(|path| usage.at(path).number()) {
                self.set(*count, number);
                stated = true;
            }
        }
        stated
    }
}

/// Kinds of iterations that are billed at the price of the model that answers.
const BILLED: [&str; 2] = ["message", "compaction"];

fn iterations<'a>(usage: Value<'a>, rules: &UsageRules) -> impl Iterator<Item = Value<'a>> {
    let iterations = if rules.iterates { usage.get("iterations") } else { Value::ABSENT };
    iterations.items()
}

/// The iterations of a call as they were stated, where they say more than the sum of them: JSON text.
pub(super) fn told_iterations<'a>(usage: Value<'a>, rules: &UsageRules) -> Option<&'a str> {
    let mut all = iterations(usage, rules);
    let first = all.next()?;
    (all.next().is_some() || !first.get("type").is("message")).then(|| usage.get("iterations").raw())
}

/// Where a family's usage object has its counts, and what they include.
#[derive(Debug, Clone)]
pub struct UsageRules {
    /// Kind, and where it stands (paths of [`Value::at`]; the first that holds a number counts).
    pub fields: &'static [(Count, &'static [&'static str])],
    /// The input includes tokens read from and written to caches.
    pub input_includes_cache: bool,
    /// The output includes reasoning.
    pub output_includes_reasoning: bool,
    /// What a later message of a stream states is added to what earlier ones did; else it replaces all of that.
    pub merges: bool,
    /// The call may have been several iterations, which `iterations` lists (Anthropic's).
    pub iterates: bool,
    /// Where the provider says at which tier or speed the call is billed, and the parameter by which Langfuse chooses its
    /// price.
    pub billed_at: &'static [(&'static str, &'static str)],
    /// Where the provider says what the call cost, in dollars.
    pub cost: &'static [&'static str],
}

impl UsageRules {
    /// No usage.
    pub const NONE: Self = Self {
        fields: &[],
        input_includes_cache: true,
        output_includes_reasoning: true,
        merges: false,
        iterates: false,
        billed_at: &[],
        cost: &[],
    };
}
