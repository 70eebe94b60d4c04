//! Statistics over what ElevenLabs found and measured: criteria, collected data, measurements of turns.

use crate::domain::result_sums::{NumberSums, ResultSums};
use crate::domain::turn_metrics::NamedPercentiles;
use poem_openapi::Object;
use poem_openapi::types::Example;

/// Rounds to milliseconds. More digits would be noise of floating-point sums.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Percentiles of one of ElevenLabs' measurements of turns, to within 1 %.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct MetricPercentiles {
    /// Name of the measurement, in ElevenLabs' words.
    name: String,
    /// Number of measured turns.
    turns: u64,
    /// Median, in seconds.
    p50_seconds: f64,
    /// 95th percentile, in seconds.
    p95_seconds: f64,
}

impl Example for MetricPercentiles {
    fn example() -> Self {
        Self { name: "convai_llm_service_ttfb".to_owned(), turns: 71, p50_seconds: 0.31, p95_seconds: 0.94 }
    }
}

/// Returns the percentiles by name.
pub(super) fn percentiles(named: &NamedPercentiles) -> Vec<MetricPercentiles> {
    let seconds = |value: Option<f64>| rounded(value.unwrap_or_default());
    named
        .iter()
        .map(|(name, durations)| MetricPercentiles {
            name: name.to_owned(),
            turns: durations.total(),
            p50_seconds: seconds(durations.seconds(50)),
            p95_seconds: seconds(durations.seconds(95)),
        })
        .collect()
}

/// Numbers of calls by ElevenLabs' verdict on a criterion.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct CriterionResults {
    /// Id of the criterion.
    name: String,
    /// Number of calls that met it.
    success: u64,
    /// Number of calls that did not meet it.
    failure: u64,
    /// Number of calls without a decision.
    unknown: u64,
}

impl Example for CriterionResults {
    fn example() -> Self {
        Self { name: "set_point_confirmed".to_owned(), success: 8, failure: 1, unknown: 1 }
    }
}

/// Sums over a value that ElevenLabs collected in calls.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct DataResults {
    /// Id of the value.
    name: String,
    /// Number of calls that lack it.
    missing: u64,
    /// Number of calls by text, `true` or `false`, the most frequent first, at most 50. Texts are cut at 64 characters.
    values: Vec<ValueCount>,
    /// Number of calls with other texts.
    other_values: u64,
    #[oai(nullable)]
    numbers: Option<NumberResults>,
}

/// Number of calls with a text.
#[derive(Debug, Object)]
#[oai(example)]
struct ValueCount {
    /// The text.
    value: String,
    /// Number of calls.
    calls: u64,
}

/// Sums over collected numbers; null if there are none.
#[derive(Debug, Object)]
#[oai(example)]
struct NumberResults {
    /// Number of calls with a number.
    calls: u64,
    /// Least number.
    min: f64,
    /// Mean.
    avg: f64,
    /// Greatest number.
    max: f64,
}

impl Example for ValueCount {
    fn example() -> Self {
        Self { value: "true".to_owned(), calls: 7 }
    }
}

impl Example for NumberResults {
    fn example() -> Self {
        Self { calls: 9, min: 28.0, avg: 36.5, max: 45.0 }
    }
}

impl Example for DataResults {
    fn example() -> Self {
        Self {
            name: "reefer_temperature".to_owned(),
            missing: 1,
            values: vec![ValueCount::example()],
            other_values: 0,
            numbers: Some(NumberResults::example()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no count of calls comes near 2^52")]
fn number_results(sums: NumberSums) -> NumberResults {
    NumberResults { calls: sums.count, min: sums.min, avg: rounded(sums.sum / sums.count as f64), max: sums.max }
}

/// Returns the sums by name: those over criteria and those over collected values.
pub(super) fn result_lists(sums: ResultSums) -> (Vec<CriterionResults>, Vec<DataResults>) {
    let criteria = sums.criteria.into_iter().map(|(name, counts)| CriterionResults {
        name: name.into_string(),
        success: counts.success,
        failure: counts.failure,
        unknown: counts.unknown,
    });
    let data = sums.data.into_iter().map(|(name, collected)| {
        let mut values: Vec<_> = collected
            .values
            .into_iter()
            .map(|(value, calls)| ValueCount { value: value.into_string(), calls })
            .collect();
        values.sort_by_key(|count| std::cmp::Reverse(count.calls));
        DataResults {
            name: name.into_string(),
            missing: collected.missing,
            values,
            other_values: collected.other_values,
            numbers: collected.numbers.map(number_results),
        }
    });
    (criteria.collect(), data.collect())
}
