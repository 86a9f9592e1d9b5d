//! From measurements to ratios: what each figure is called, what it should be, and what came of it.
//!
//! A pair is one measurement of ours and one of theirs right after it; the ratio is taken within
//! the pair, so that what the machine does meanwhile touches both alike.

use std::collections::BTreeMap;

/// What one measurement of one broker yielded, by the figures' keys.
pub(crate) type Measured = BTreeMap<&'static str, f64>;

/// What the ratio of ours to theirs should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    pub(crate) fn bound(self) -> f64 {
        match self {
            Aim::AtLeast(bound) | Aim::AtMost(bound) => bound,
        }
    }

    pub(crate) fn is_met_by(self, ratio: f64) -> bool {
        match self {
            Aim::AtLeast(bound) => ratio >= bound,
            Aim::AtMost(bound) => ratio <= bound,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Aim::AtLeast(bound) => format!("≥ {}", ratio_text(bound)),
            Aim::AtMost(bound) => format!("≤ {}", ratio_text(bound)),
        }
    }
}

/// A figure that a scenario yields for each broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    /// What it is, with its unit.
    pub(crate) name: &'static str,
    pub(crate) aim: Option<Aim>,
}

impl Figure {
    pub(crate) const fn plain(key: &'static str, name: &'static str) -> Self {
        Figure { key, name, aim: None }
    }

    pub(crate) const fn at_least(key: &'static str, name: &'static str, bound: f64) -> Self {
        Figure { key, name, aim: Some(Aim::AtLeast(bound)) }
    }

    pub(crate) const fn at_most(key: &'static str, name: &'static str, bound: f64) -> Self {
        Figure { key, name, aim: Some(Aim::AtMost(bound)) }
    }
}

/// What both brokers did, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) ours: Measured,
    pub(crate) theirs: Measured,
}

/// A figure over all pairs.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) figure: Figure,
    /// Medians.
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// Ours by theirs within each pair, sorted; empty if some pair of values has no ratio.
    pub(crate) ratios: Vec<f64>,
}

impl Outcome {
    /// None if it was not measured in every pair.
    pub(crate) fn of(figure: Figure, pairs: &[Pair]) -> Option<Self> {
        let of_all = |side: fn(&Pair) -> &Measured| -> Option<Vec<f64>> {
            pairs.iter().map(|pair| side(pair).get(figure.key).copied()).collect()
        };
        let (ours, theirs) = (of_all(|pair| &pair.ours)?, of_all(|pair| &pair.theirs)?);
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs);
        let mut ratios: Vec<f64> = ratios.collect();
        if !ratios.iter().all(|ratio| ratio.is_finite()) {
            ratios.clear();
        }
        ratios.sort_by(f64::total_cmp);
        Some(Outcome { figure, ours: median(ours)?, theirs: median(theirs)?, ratios })
    }

    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.ratios.clone())
    }

    /// The ratio and, in parentheses, the least and the greatest of any pair.
    pub(crate) fn ratio_text(&self) -> String {
        let (Some(ratio), Some(least), Some(most)) =
            (self.ratio(), self.ratios.first(), self.ratios.last())
        else {
            return "–".to_owned();
        };
        if self.ratios.len() == 1 {
            return ratio_text(ratio);
        }
        format!("{} ({}–{})", ratio_text(ratio), ratio_text(*least), ratio_text(*most))
    }

    /// Whether the median ratio is what it should be.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.figure.aim?.is_met_by(self.ratio()?))
    }

    pub(crate) fn met_text(&self) -> &'static str {
        match (self.figure.aim, self.is_met()) {
            (None, _) => "",
            (Some(_), Some(true)) => "yes",
            (Some(_), Some(false)) => "**no**",
            (Some(_), None) => "not measured",
        }
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

pub(crate) fn ratio_text(ratio: f64) -> String {
    match ratio {
        0.0..0.1 => format!("{ratio:.3}"),
        0.1..10.0 => format!("{ratio:.2}"),
        _ => format!("{ratio:.0}"),
    }
}

/// A value with about three digits that count.
pub(crate) fn value_text(value: f64) -> String {
    match value {
        100.0.. => grouped(value),
        10.0..100.0 => format!("{value:.1}"),
        1.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: f64, theirs: f64) -> Pair {
        Pair { ours: Measured::from([("it", ours)]), theirs: Measured::from([("it", theirs)]) }
    }

    #[test]
    fn a_ratio_is_taken_within_its_pair() {
        // The machine was half as fast in the last pair: the medians of the values would say 3.75.
        let pairs = [pair(60.0, 30.0), pair(64.0, 16.0), pair(30.0, 15.0)];
        let outcome = Outcome::of(Figure::at_least("it", "it", 2.5), &pairs);
        let outcome = outcome.expect("every pair has it");
        assert_eq!(outcome.ratios, [2.0, 2.0, 4.0]);
        assert_eq!(outcome.ratio(), Some(2.0));
        assert_eq!(outcome.is_met(), Some(false));
        assert_eq!(outcome.ratio_text(), "2.00 (2.00–4.00)");
    }

    #[test]
    fn what_is_missing_on_one_side_is_no_outcome() {
        let mut lacking = pair(1.0, 1.0);
        lacking.theirs.clear();
        assert!(Outcome::of(Figure::plain("it", "it"), &[pair(1.0, 1.0), lacking]).is_none());
    }

    #[test]
    fn a_ratio_to_nothing_is_neither_met_nor_missed() {
        let outcome = Outcome::of(Figure::at_most("it", "it", 0.5), &[pair(1.0, 0.0)]);
        assert_eq!(outcome.expect("every pair has it").met_text(), "not measured");
    }
}
