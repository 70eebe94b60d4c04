//! Sums over the results of ElevenLabs' analyses: evaluated criteria and collected data.

use super::CallOutcome;
use super::stored_text::stored_as;
use std::collections::BTreeMap;

/// Maximum number of names of each kind. Others are left out.
const MAX_NAMES: usize = 100;

/// Maximum number of distinct texts of a name. Others are counted together.
const MAX_VALUES: usize = 50;

/// The kind of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// An evaluated criterion.
    Criterion,
    /// A collected value.
    Data,
}

stored_as!(ResultKind { Criterion => "criterion", Data => "data" });

/// A result of a call.
#[derive(Debug, Clone, Copy)]
pub struct CallResultRow<'a> {
    /// Kind.
    pub kind: ResultKind,
    /// Id of the criterion or value.
    pub name: &'a str,
    /// Verdict, boolean or text.
    pub value: Option<&'a str>,
    /// Number.
    pub number: Option<f64>,
}

/// Counts of the verdicts on a criterion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerdictCounts {
    /// Calls that met it.
    pub success: u64,
    /// Calls that did not meet it.
    pub failure: u64,
    /// Calls without a decision.
    pub unknown: u64,
}

/// Sums over a collected number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberSums {
    /// Number of calls with a number.
    pub count: u64,
    /// Least number.
    pub min: f64,
    /// Greatest number.
    pub max: f64,
    /// Sum.
    pub sum: f64,
}

/// Sums over a collected value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValueSums {
    /// Calls that lack the value.
    pub missing: u64,
    /// Calls by boolean or text.
    pub values: BTreeMap<Box<str>, u64>,
    /// Calls with other texts than those in `values`.
    pub other_values: u64,
    /// Sums over numbers, if there is any.
    pub numbers: Option<NumberSums>,
}

/// Accumulator of the results of many calls.
#[derive(Debug, Default, PartialEq)]
pub struct ResultSums {
    /// Verdicts by criterion.
    pub criteria: BTreeMap<Box<str>, VerdictCounts>,
    /// Sums by collected value.
    pub data: BTreeMap<Box<str>, ValueSums>,
    /// True if names were left out.
    pub has_more: bool,
}

impl ResultSums {
    /// Adds a result.
    pub fn count(&mut self, result: CallResultRow<'_>) {
        match result.kind {
            ResultKind::Criterion => {
                let Some(counts) = entry(&mut self.criteria, result.name, &mut self.has_more) else { return };
                match result.value.and_then(CallOutcome::from_stored) {
                    Some(CallOutcome::Success) => counts.success += 1,
                    Some(CallOutcome::Failure) => counts.failure += 1,
                    Some(CallOutcome::Unknown) | None => counts.unknown += 1,
                }
            }
            ResultKind::Data => {
                if let Some(sums) = entry(&mut self.data, result.name, &mut self.has_more) {
                    sums.count(result.value, result.number);
                }
            }
        }
    }
}

/// Returns the entry of a name, or `None` if there are too many names.
fn entry<'a, T: Default>(map: &'a mut BTreeMap<Box<str>, T>, name: &str, has_more: &mut bool) -> Option<&'a mut T> {
    if !map.contains_key(name) {
        if map.len() == MAX_NAMES {
            *has_more = true;
            return None;
        }
        map.insert(name.into(), T::default());
    }
    map.get_mut(name)
}

impl ValueSums {
    fn count(&mut self, value: Option<&str>, number: Option<f64>) {
        match (value, number) {
            (_, Some(number)) => match &mut self.numbers {
                Some(sums) => {
                    sums.count += 1;
                    sums.min = sums.min.min(number);
                    sums.max = sums.max.max(number);
                    sums.sum += number;
                }
                none => *none = Some(NumberSums { count: 1, min: number, max: number, sum: number }),
            },
            (None, None) => self.missing += 1,
            (Some(text), None) => {
                let has_room = self.values.len() < MAX_VALUES;
                match self.values.get_mut(text) {
                    Some(count) => *count += 1,
                    None if has_room => drop(self.values.insert(text.into(), 1)),
                    None => self.other_values += 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result<'a>(name: &'a str, value: Option<&'a str>, number: Option<f64>) -> CallResultRow<'a> {
        CallResultRow { kind: ResultKind::Data, name, value, number }
    }

    #[test]
    fn names_and_values_are_bounded() {
        let mut sums = ResultSums::default();
        for n in 0..200 {
            sums.count(result("load", Some(&format!("L-{n}")), None));
            sums.count(result(&format!("name_{n}"), None, None));
        }
        for number in [3.0, -1.0, 4.0] {
            sums.count(result("degrees", None, Some(number)));
            sums.count(result("load", None, Some(number)));
        }
        assert_eq!((sums.data.len(), sums.has_more), (MAX_NAMES, true));
        let load = &sums.data["load"];
        assert_eq!((load.values.len(), load.other_values), (MAX_VALUES, 150));
        assert_eq!(load.numbers, Some(NumberSums { count: 3, min: -1.0, max: 4.0, sum: 6.0 }));
        assert!(!sums.data.contains_key("degrees"), "it came after the last name that has room");
    }
}
