//! What a call cost, by a configured table of prices: for models that Langfuse has no price for (vLLM, own models).
//!
//! Prices are dollars per million tokens. Everything is counted in whole billionths, so that `0.1` stays `0.1`.

use super::usage::Usage;
use crate::json::ObjectWriter;

/// Digits behind the point of a price that count.
const PRICE_DIGITS: usize = 9;
/// Digits behind the point of a cost: those of the price, and six of the million.
const COST_DIGITS: usize = PRICE_DIGITS + 6;

/// Billionths of a dollar per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price(u64);

impl Price {
    /// Reads a decimal number of at least 0 as written in JSON, without an exponent; none for anything else, and for
    /// prices of a billion dollars or more.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let kept = fraction.get(..fraction.len().min(PRICE_DIGITS))?;
        format!("{whole}{kept:0<PRICE_DIGITS$}").parse().ok().map(Self)
    }
}

/// The prices of models whose names fit a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrices {
    /// The name; `*` is any text.
    pub model: String,
    /// Of input tokens.
    pub input: Price,
    /// Of output tokens.
    pub output: Price,
    /// Of input tokens read from a cache; none = as input.
    pub cached: Option<Price>,
    /// Of input tokens written to a cache; none = as input.
    pub cache_write: Option<Price>,
    /// Of reasoning tokens; none = as output.
    pub reasoning: Option<Price>,
    /// Of audio tokens, in and out; none = as the others.
    pub audio: Option<Price>,
}

impl ModelPrices {
    /// The prices are those of `model`.
    #[must_use]
    pub fn fits(&self, model: &str) -> bool {
        fits(self.model.as_bytes(), model.as_bytes())
    }

    fn of(&self, bucket: &str) -> Price {
        match bucket {
            "input_cached_tokens" => self.cached.unwrap_or(self.input),
            "input_cache_creation" | "input_cache_creation_5m" | "input_cache_creation_1h" => {
                self.cache_write.unwrap_or(self.input)
            }
            "input_audio_tokens" => self.audio.unwrap_or(self.input),
            "output_audio_tokens" => self.audio.unwrap_or(self.output),
            "output" => self.output,
            _ => self.input,
        }
    }

    /// What these tokens cost: input, output, and both.
    fn sums(&self, usage: &Usage) -> [u128; 3] {
        let cost = |tokens: u64, price: Price| u128::from(tokens) * u128::from(price.0);
        let (mut input, mut output) = (0, 0);
        for (bucket, tokens) in usage.buckets.iter() {
            // Reasoning is a part of the output.
            let reasoning = if bucket == "output" { usage.reasoning().min(tokens) } else { 0 };
            let side = if bucket.starts_with("input") { &mut input } else { &mut output };
            *side += cost(tokens - reasoning, self.of(bucket));
            *side += cost(reasoning, self.reasoning.unwrap_or(self.output));
        }
        [input, output, input + output]
    }

    /// The JSON object of `langfuse.observation.cost_details` for these tokens.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> String {
        let mut object = ObjectWriter::default();
        for (name, cost) in ["input", "output", "total"].into_iter().zip(self.sums(usage)) {
            object.raw(name, &dollars(cost));
        }
        object.finish()
    }
}

/// The table of prices: the first that fits a model counts.
#[must_use]
pub fn cost(prices: &[ModelPrices], model: &str, usage: &Usage) -> Option<String> {
    prices.iter().find(|prices| prices.fits(model)).map(|prices| prices.cost(usage))
}

/// A sum as a decimal number.
fn dollars(sum: u128) -> String {
    let digits = format!("{sum:0>width$}", width = COST_DIGITS + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - COST_DIGITS).unwrap_or((&digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// `text` fits `pattern`, in which `*` is any text.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on when it does not fit: behind the last star, one byte further into the text.
    let (mut at, mut in_pattern, mut retry) = (0, 0, None);
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                retry = Some((at, in_pattern + 1));
                in_pattern += 1;
            }
            Some(byte) if text.get(at) == Some(byte) => (at, in_pattern) = (at + 1, in_pattern + 1),
            _ => {
                let Some((from, behind)) = retry else { return false };
                retry = Some((from + 1, behind));
                (at, in_pattern) = (from + 1, behind);
            }
        }
    }
    pattern.get(in_pattern..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Count, Counts, UsageRules};

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    fn prices(model: &str) -> ModelPrices {
        let (input, output) = (price("0.15"), price("0.6"));
        ModelPrices {
            model: model.to_owned(),
            input,
            output,
            cached: Some(price("0.075")),
            cache_write: None,
            reasoning: None,
            audio: None,
        }
    }

    fn usage(counts: &[(Count, u64)]) -> Usage {
        let mut all = Counts::default();
        counts.iter().for_each(|(count, number)| all.set(*count, *number));
        Usage::new(all, &UsageRules::NONE).unwrap()
    }

    #[test]
    fn a_cost_is_exact() {
        let usage_of_call =
            usage(&[(Count::Input, 1000), (Count::CacheRead, 400), (Count::Output, 10), (Count::Reasoning, 3)]);
        // 600 at 0.15, 400 at 0.075, 10 at 0.6 per million.
        let cost = prices("m").cost(&usage_of_call);
        assert_eq!(cost, r#"{"input":0.00012,"output":0.000006,"total":0.000126}"#);
        let free = ModelPrices { input: price("0"), output: price("0"), cached: None, ..prices("m") };
        assert_eq!(free.cost(&usage_of_call), r#"{"input":0,"output":0,"total":0}"#);
    }

    #[test]
    fn reasoning_is_priced_once_and_what_only_the_total_tells_as_output() {
        let table = ModelPrices { reasoning: Some(price("2")), ..prices("m") };
        // 7 at 0.6 and 3 at 2 per million.
        let reasoned = usage(&[(Count::Output, 10), (Count::Reasoning, 3)]);
        assert_eq!(table.cost(&reasoned), r#"{"input":0,"output":0.0000102,"total":0.0000102}"#);
        let more = usage(&[(Count::Output, 1), (Count::Reasoning, 3)]);
        assert_eq!(table.cost(&more), r#"{"input":0,"output":0.000002,"total":0.000002}"#);
        // 1 at 0.15, 4 at 0.6 per million.
        let hidden = usage(&[(Count::Input, 1), (Count::Output, 1), (Count::Total, 5)]);
        assert_eq!(prices("m").cost(&hidden), r#"{"input":0.00000015,"output":0.0000024,"total":0.00000255}"#);
    }

    #[test]
    fn the_largest_counts_and_prices_do_not_overflow() {
        let most = ModelPrices {
            input: price("999999999.999999999"),
            output: price("999999999"),
            cached: None,
            ..prices("*")
        };
        let cost = most.cost(&usage(&[(Count::Input, u64::MAX), (Count::Output, u64::MAX)]));
        assert!(serde_json::from_str::<serde_json::Value>(&cost).is_ok(), "{cost}");
    }

    #[test]
    fn prices_are_decimal_numbers() {
        for (text, wanted) in [("1", Some(1_000_000_000)), ("0.0000000019", Some(1)), ("12.5", Some(12_500_000_000))] {
            assert_eq!(Price::parse(text).map(|price| price.0), wanted, "{text}");
        }
        for text in ["", ".5", "-1", "1e3", "1.x", "1234567890", "\"1\""] {
            assert_eq!(Price::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_counts() {
        for (pattern, model, wanted) in [
            ("llama-*", "llama-3.1-8b", true),
            ("*/llama*", "meta/llama-3", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("gpt-4", "gpt-4o", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(prices(pattern).fits(model), wanted, "{pattern} {model}");
        }
        let table = [prices("a"), ModelPrices { input: price("7"), ..prices("*") }];
        let one = usage(&[(Count::Input, 1_000_000)]);
        assert!(cost(&table, "a", &one).unwrap().contains("0.15") && cost(&table, "b", &one).unwrap().contains('7'));
        assert_eq!(cost(&table[..1], "b", &one), None);
    }
}
