//! From measurements to ratios: what each figure is called, what it should be, and what came of it.
//!
//! A pair is one measurement of ours and one of theirs right after it; the ratio is taken within
//! the pair, so that what the machine does meanwhile touches both alike. Where there is no rival, a
//! pair is ours alone, and it is the value itself that has an aim.

use std::collections::BTreeMap;

/// What one measurement of one broker yielded, by the figures' keys.
pub(crate) type Measured = BTreeMap<&'static str, f64>;

/// What the ratio of ours to theirs should be, or, where there are no others, ours.
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
    /// None where there is no rival.
    pub(crate) theirs: Option<Measured>,
}

/// A figure over all pairs.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) figure: Figure,
    /// The median.
    pub(crate) ours: f64,
    /// The median, if there is a rival.
    pub(crate) theirs: Option<f64>,
    /// What the aim is about, sorted: ours by theirs within each pair, or ours where there is no
    /// rival. Empty if some pair of values has no ratio.
    pub(crate) judged: Vec<f64>,
}

impl Outcome {
    /// None if it was not measured in every pair.
    pub(crate) fn of(figure: Figure, pairs: &[Pair]) -> Option<Self> {
        let get = |measured: &Measured| measured.get(figure.key).copied();
        let ours: Vec<f64> = pairs.iter().map(|pair| get(&pair.ours)).collect::<Option<_>>()?;
        let rivals: Vec<&Measured> = pairs.iter().filter_map(|pair| pair.theirs.as_ref()).collect();
        let (theirs, mut judged) = if rivals.is_empty() {
            (None, ours.clone())
        } else {
            let theirs: Vec<f64> = rivals.into_iter().map(get).collect::<Option<_>>()?;
            let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
            (Some(median(theirs)?), ratios)
        };
        if !judged.iter().all(|value| value.is_finite()) {
            judged.clear();
        }
        judged.sort_by(f64::total_cmp);
        Some(Outcome { figure, ours: median(ours)?, theirs, judged })
    }

    /// The ratio, or ours where there is no rival.
    pub(crate) fn judged(&self) -> Option<f64> {
        median(self.judged.clone())
    }

    /// What is judged and, in parentheses, the least and the greatest of any pair.
    pub(crate) fn judged_text(&self) -> String {
        let (Some(median), Some(least), Some(most)) =
            (self.judged(), self.judged.first(), self.judged.last())
        else {
            return "–".to_owned();
        };
        let text = if self.theirs.is_some() { ratio_text } else { value_text };
        if self.judged.len() == 1 {
            return text(median);
        }
        format!("{} ({}–{})", text(median), text(*least), text(*most))
    }

    /// Whether the median is what it should be.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.figure.aim?.is_met_by(self.judged()?))
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
        let theirs = Some(Measured::from([("it", theirs)]));
        Pair { ours: Measured::from([("it", ours)]), theirs }
    }

    #[test]
    fn a_ratio_is_taken_within_its_pair() {
        // The machine was half as fast in the last pair: the medians of the values would say 3.75.
        let pairs = [pair(60.0, 30.0), pair(64.0, 16.0), pair(30.0, 15.0)];
        let outcome = Outcome::of(Figure::at_least("it", "it", 2.5), &pairs);
        let outcome = outcome.expect("every pair has it");
        assert_eq!(outcome.judged, [2.0, 2.0, 4.0]);
        assert_eq!(outcome.judged(), Some(2.0));
        assert_eq!(outcome.is_met(), Some(false));
        assert_eq!(outcome.judged_text(), "2.00 (2.00–4.00)");
    }

    #[test]
    fn what_is_missing_on_one_side_is_no_outcome() {
        let mut lacking = pair(1.0, 1.0);
        lacking.theirs = Some(Measured::new());
        assert!(Outcome::of(Figure::plain("it", "it"), &[pair(1.0, 1.0), lacking]).is_none());
    }

    #[test]
    fn without_a_rival_the_value_itself_is_judged() {
        let alone = |ours| Pair { ours: Measured::from([("it", ours)]), theirs: None };
        let pairs = [alone(0.4), alone(0.8), alone(0.5)];
        let outcome = Outcome::of(Figure::at_most("it", "it", 0.6), &pairs);
        let outcome = outcome.expect("every pair has it");
        assert_eq!((outcome.is_met(), outcome.theirs), (Some(true), None));
        assert_eq!(outcome.judged_text(), "0.500 (0.400–0.800)");
    }

    #[test]
    fn a_ratio_to_nothing_is_neither_met_nor_missed() {
        let outcome = Outcome::of(Figure::at_most("it", "it", 0.5), &[pair(1.0, 0.0)]);
        assert_eq!(outcome.expect("every pair has it").met_text(), "not measured");
    }
}
