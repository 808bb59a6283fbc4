//! The samples of all rounds, and what is made of them: medians, and differences within a round.

use super::gateway::{Sample, Variant};
use super::workload::Workload;
use std::collections::BTreeMap;
use std::fmt;

/// A median with the smallest and the largest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` without a finite value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = formatter.precision().unwrap_or(2);
        write!(formatter, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.min, self.max)
    }
}

/// All samples, in order of the rounds.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<(Workload, Variant), Vec<Sample>>);

impl Results {
    pub(super) fn push(&mut self, workload: Workload, variant: Variant, sample: Sample) {
        self.0.entry((workload, variant)).or_default().push(sample);
    }

    pub(super) fn of(&self, workload: Workload, variant: Variant) -> &[Sample] {
        self.0.get(&(workload, variant)).map_or(&[], Vec::as_slice)
    }

    /// All samples of a variant.
    pub(super) fn of_variant(&self, variant: Variant) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |((_, other), _)| *other == variant).flat_map(|(_, samples)| samples)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Sample> {
        self.0.values().flatten()
    }

    /// A value of each round.
    pub(super) fn spread(&self, workload: Workload, variant: Variant, value: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.of(workload, variant).iter().map(value))
    }

    /// Processor time added to bare Envoy's of the same round, microseconds for each request.
    pub(super) fn added(&self, workload: Workload, variant: Variant) -> Vec<f64> {
        let bare = self.of(workload, Variant::Bare);
        bare.iter().zip(self.of(workload, variant)).map(|(bare, other)| other.cpu_us - bare.cpu_us).collect()
    }

    /// Added processor time of a variant over that of the null tap, round by round.
    pub(super) fn added_ratio(&self, workload: Workload, variant: Variant) -> Option<Spread> {
        let (floor, added) = (self.added(workload, Variant::NullTap), self.added(workload, variant));
        // A null tap that seems to cost nothing is noise, and no base for a ratio.
        let rounds = added.into_iter().zip(floor).filter(|(_, floor)| *floor > 0.0);
        Spread::of(rounds.map(|(added, floor)| added / floor))
    }

    /// Two variants' values of the same round, combined.
    pub(super) fn paired(
        &self,
        workload: Workload,
        [one, other]: [Variant; 2],
        combine: impl Fn(&Sample, &Sample) -> f64,
    ) -> Option<Spread> {
        let pairs = self.of(workload, one).iter().zip(self.of(workload, other));
        Spread::of(pairs.map(|(one, other)| combine(one, other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).map(|spread| spread.median);
        assert_eq!((spread(&[3.0, 1.0, 2.0]), spread(&[1.0, 2.0])), (Some(2.0), Some(1.5)));
        assert_eq!(spread(&[f64::NAN]), None);
        assert_eq!(format!("{:.1}", Spread::of([1.0, 2.0, 4.0]).unwrap()), "2.0 (1.0 to 4.0)");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        for (bare, null, filter) in [(10.0, 20.0, 30.0), (100.0, 120.0, 140.0), (50.0, 40.0, 60.0)] {
            for (variant, cpu_us) in [(Variant::Bare, bare), (Variant::NullTap, null), (Variant::LiveLangfuse, filter)]
            {
                results.push(Workload::Chat, variant, Sample { cpu_us, ..Sample::default() });
            }
        }
        let ratio = results.added_ratio(Workload::Chat, Variant::LiveLangfuse);
        assert_eq!(ratio, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }), "the third round has no base");
    }
}
