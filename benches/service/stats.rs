//! Medians, percentiles and number formats.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// A duration in microseconds, printed in the most readable unit.
pub(crate) struct Time(pub(crate) f64);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros < 1000.0 => write!(f, "{micros:.0} µs"),
            micros if micros < 10_000.0 => write!(f, "{:.2} ms", micros / 1000.0),
            micros => write!(f, "{:.1} ms", micros / 1000.0),
        }
    }
}

/// Converts a count or a size, which is far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "nothing that is counted here reaches 2^52")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// Returns the median: the middle value, or the mean of the two middle values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

/// Returns a percentile, in microseconds: the smallest of the ascending durations that at least the share `part` of
/// them does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length is between 0 and the length"
)]
pub(crate) fn percentile(ascending: &[Duration], part: f64) -> f64 {
    let count = float(u64::try_from(ascending.len()).expect("a length"));
    let rank = (count * part).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
}
