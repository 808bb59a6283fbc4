//! What a platform team alerts on: calls by result, tokens, time to the first token, duration, export latency.
//!
//! Kept in the VM and published with the tick, like the counters of [`crate::counters`]. Counters and histograms only (a
//! gauge traps on one host or the other). Labels stand in a metric's name, `NAME_result=R_provider=P_model=M`, always in
//! this order, and are taken out by Envoy's `stats_tags` and Kong's `label_patterns`.

use std::borrow::Cow;
use std::cell::RefCell;

/// Models that have series of their own in one VM; further ones share the model `other` of their provider. At most seven
/// series each, so that there are at most 200 (these, and those of [`PROVIDERS_MAX`]), whatever callers ask for.
const MODELS_MAX: usize = 16;
/// Providers whose further models share a series; those of further providers share the provider `other`, too.
const PROVIDERS_MAX: usize = 11;
/// Longest model that has a label, bytes: WasmX takes names of 256.
const MODEL_MAX: usize = 80;
/// Values of one histogram that wait for the tick; what exceeds them is not measured.
const VALUES_MAX: usize = 4096;
/// The model of calls whose answer named none, and of those beyond [`MODELS_MAX`].
const OTHER: &str = "other";

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// Answered whole.
    Ok,
    /// Failed.
    Error,
    /// The client left before the end, or the answer was cut.
    Aborted,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Metadata `provider`.
    pub provider: Cow<'static, str>,
    /// The model that answered; none where no answer named one (what a caller asks for is no label).
    pub model: Option<String>,
    /// How it ended.
    pub result: CallResult,
    /// Input tokens that the provider stated.
    pub input_tokens: u64,
    /// Output tokens that the provider stated.
    pub output_tokens: u64,
    /// Milliseconds to the first content of a stream.
    pub first_token_ms: Option<u64>,
    /// Milliseconds in all.
    pub duration_ms: u64,
}

/// Metric kinds that every host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A distribution.
    Histogram,
}

#[derive(Debug)]
struct Series {
    name: String,
    kind: Kind,
    /// One number to add, or values to record.
    pending: Vec<u64>,
}

impl Series {
    fn new(name: String, kind: Kind) -> Self {
        Self { name, kind, pending: Vec::new() }
    }

    fn add(&mut self, value: u64) {
        let waiting = self.pending.len();
        match (self.kind, self.pending.first_mut()) {
            (Kind::Counter, Some(sum)) => *sum = sum.saturating_add(value),
            (Kind::Histogram, _) if waiting >= VALUES_MAX => {}
            _ => self.pending.push(value),
        }
    }
}

/// What is measured of calls; each has a series of its own per model.
#[derive(Debug, Clone, Copy)]
enum Aspect {
    Ok,
    Error,
    Aborted,
    InputTokens,
    OutputTokens,
    FirstToken,
    Duration,
}

impl Aspect {
    const COUNT: usize = 7;

    fn kind(self) -> Kind {
        if matches!(self, Self::FirstToken | Self::Duration) { Kind::Histogram } else { Kind::Counter }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ai_tracing_calls_result=ok",
            Self::Error => "ai_tracing_calls_result=error",
            Self::Aborted => "ai_tracing_calls_result=aborted",
            Self::InputTokens => "ai_tracing_tokens_input",
            Self::OutputTokens => "ai_tracing_tokens_output",
            Self::FirstToken => "ai_tracing_time_to_first_token_ms",
            Self::Duration => "ai_tracing_call_duration_ms",
        }
    }
}

impl From<CallResult> for Aspect {
    fn from(result: CallResult) -> Self {
        match result {
            CallResult::Ok => Self::Ok,
            CallResult::Error => Self::Error,
            CallResult::Aborted => Self::Aborted,
        }
    }
}

/// The series of one model: numbers in [`Known::series`], given when first needed.
#[derive(Debug)]
struct Model {
    provider: String,
    /// As the answers name it.
    name: String,
    series: [Option<usize>; Aspect::COUNT],
}

#[derive(Debug, Default)]
struct Known {
    models: Vec<Model>,
    series: Vec<Series>,
    export: Option<usize>,
}

/// All series of a VM.
#[derive(Debug, Default)]
pub struct Measures {
    known: RefCell<Known>,
}

impl Measures {
    /// Counts a call.
    pub fn call(&self, sample: &Sample) {
        let Ok(mut known) = self.known.try_borrow_mut() else { return };
        let model = known.model(&sample.provider, sample.model.as_deref().unwrap_or_default());
        known.add(model, sample.result.into(), 1);
        for (aspect, tokens) in
            [(Aspect::InputTokens, sample.input_tokens), (Aspect::OutputTokens, sample.output_tokens)]
        {
            if tokens > 0 {
                known.add(model, aspect, tokens);
            }
        }
        if let Some(first_token) = sample.first_token_ms {
            known.add(model, Aspect::FirstToken, first_token);
        }
        known.add(model, Aspect::Duration, sample.duration_ms);
    }

    /// Counts an export call that took so many milliseconds.
    pub fn export(&self, milliseconds: u64) {
        let Ok(mut known) = self.known.try_borrow_mut() else { return };
        let known = &mut *known;
        let series = *known.export.get_or_insert_with(|| {
            known.series.push(Series::new("ai_tracing_export_duration_ms".to_owned(), Kind::Histogram));
            known.series.len() - 1
        });
        if let Some(series) = known.series.get_mut(series) {
            series.add(milliseconds);
        }
    }

    /// Hands out what was measured since the last time: number of the series (from 0, without gaps, for ever the same),
    /// its name and kind, and each value.
    pub fn publish(&self, mut take: impl FnMut(usize, &str, Kind, u64)) {
        let Ok(mut known) = self.known.try_borrow_mut() else { return };
        for (number, series) in known.series.iter_mut().enumerate() {
            for value in series.pending.drain(..) {
                take(number, &series.name, series.kind, value);
            }
        }
    }
}

impl Known {
    /// The number of the model, which is its own as long as there is room for it.
    fn model(&mut self, provider: &str, name: &str) -> usize {
        let find = |models: &[Model], provider: &str, name: &str| {
            models.iter().position(|model| model.provider == provider && model.name == name)
        };
        if let Some(known) = find(&self.models, provider, name) {
            return known;
        }
        let named = self.models.iter().filter(|model| !model.name.is_empty()).count();
        let unnamed = self.models.len() - named;
        let name = if named < MODELS_MAX && name.len() <= MODEL_MAX { name } else { "" };
        if let Some(known) = find(&self.models, provider, name) {
            return known;
        }
        let provider = if name.is_empty() && unnamed >= PROVIDERS_MAX { OTHER } else { provider };
        find(&self.models, provider, name).unwrap_or_else(|| {
            let (provider, name) = (provider.to_owned(), name.to_owned());
            self.models.push(Model { provider, name, series: [None; Aspect::COUNT] });
            self.models.len() - 1
        })
    }

    fn add(&mut self, model: usize, aspect: Aspect, value: u64) {
        let Some(model) = self.models.get_mut(model) else { return };
        let Some(number) = model.series.get_mut(aspect as usize) else { return };
        let number = *number.get_or_insert_with(|| {
            let label = label(&model.name);
            let name = format!("{}_provider={}_model={label}", aspect.name(), model.provider);
            self.series.push(Series::new(name, aspect.kind()));
            self.series.len() - 1
        });
        if let Some(series) = self.series.get_mut(number) {
            series.add(value);
        }
    }
}

/// The model as a label: what a metric's name cannot hold becomes `_`.
fn label(model: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match model {
        "" => OTHER.to_owned(),
        model => model.bytes().map(|byte| if kept(byte) { char::from(byte) } else { '_' }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(model: Option<&str>) -> Sample {
        Sample {
            provider: "openai_compatible".into(),
            model: model.map(str::to_owned),
            result: CallResult::Ok,
            input_tokens: 3,
            output_tokens: 4,
            first_token_ms: Some(20),
            duration_ms: 100,
        }
    }

    fn published(measures: &Measures) -> Vec<(String, Kind, u64)> {
        let mut seen = Vec::new();
        measures.publish(|_, name, kind, value| seen.push((name.to_owned(), kind, value)));
        seen
    }

    #[test]
    fn counters_are_summed_and_each_value_of_a_histogram_is_kept() {
        let measures = Measures::default();
        measures.call(&sample(Some("gpt-4o")));
        measures.call(&Sample { duration_ms: 200, first_token_ms: None, ..sample(Some("gpt-4o")) });
        measures.export(7);
        let labels = "_provider=openai_compatible_model=gpt-4o";
        let named = |name: &str| format!("{name}{labels}");
        assert_eq!(
            published(&measures),
            [
                (format!("ai_tracing_calls_result=ok{labels}"), Kind::Counter, 2),
                (named("ai_tracing_tokens_input"), Kind::Counter, 6),
                (named("ai_tracing_tokens_output"), Kind::Counter, 8),
                (named("ai_tracing_time_to_first_token_ms"), Kind::Histogram, 20),
                (named("ai_tracing_call_duration_ms"), Kind::Histogram, 100),
                (named("ai_tracing_call_duration_ms"), Kind::Histogram, 200),
                ("ai_tracing_export_duration_ms".to_owned(), Kind::Histogram, 7),
            ]
        );
        assert_eq!(published(&measures), [], "once");
    }

    #[test]
    fn there_are_never_more_than_200_series() {
        let measures = Measures::default();
        let results = [CallResult::Ok, CallResult::Error, CallResult::Aborted];
        for number in 0..1000_u32 {
            for provider in (0..50).map(|provider| format!("provider_{provider}")) {
                for result in results {
                    let name = format!("model-{number}");
                    measures.call(&Sample { provider: provider.clone().into(), result, ..sample(Some(&name)) });
                }
            }
        }
        let mut names: Vec<String> = published(&measures).into_iter().map(|(name, ..)| name).collect();
        names.dedup();
        assert!(names.len() <= 200, "{}", names.len());
        assert!(names.iter().any(|name| name.ends_with("_model=other")));
    }

    #[test]
    fn a_label_holds_nothing_that_a_name_cannot() {
        let measures = Measures::default();
        measures.call(&sample(Some("hf:org/model=1 \n√")));
        measures.call(&sample(None));
        measures.call(&sample(Some(&"x".repeat(500))));
        let names: Vec<String> = published(&measures).into_iter().map(|(name, ..)| name).collect();
        assert!(names.iter().any(|name| name.ends_with("_model=hf_org_model_1_____")), "{names:?}");
        assert!(names.iter().any(|name| name.ends_with("_model=other")));
        assert!(names.iter().all(|name| name.len() < 200), "{names:?}");
    }

    #[test]
    fn a_histogram_that_nobody_takes_stays_small() {
        let measures = Measures::default();
        (0..VALUES_MAX + 10).for_each(|_| measures.export(1));
        assert_eq!(published(&measures).len(), VALUES_MAX);
    }
}
