//! Percentiles of many durations in little memory.

use std::collections::BTreeMap;

/// Counts of durations by size, which give percentiles to within 1 %.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Percentiles {
    counts: BTreeMap<u16, u32>,
    total: u64,
}

/// Maximum duration that is counted exactly, in milliseconds.
const EXACT_MS: u32 = 50;

/// Ratio of the durations of two neighbouring buckets.
const RATIO: f64 = 1.02;

impl Percentiles {
    /// Adds a duration.
    pub fn add(&mut self, milliseconds: u32) {
        let count = self.counts.entry(bucket(milliseconds)).or_default();
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// Returns the number of durations.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Returns a percentile in seconds (nearest rank), or `None` without any duration.
    pub fn seconds(&self, percent: u64) -> Option<f64> {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(duration(*bucket) / 1000.0);
            }
        }
        None
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the logarithm of a u32 is small")]
fn bucket(milliseconds: u32) -> u16 {
    let above = f64::from(milliseconds) / f64::from(EXACT_MS);
    if milliseconds <= EXACT_MS {
        milliseconds as u16
    } else {
        EXACT_MS as u16 + (above.ln() / RATIO.ln()).round() as u16
    }
}

/// Returns the duration in the middle of a bucket, in milliseconds.
fn duration(bucket: u16) -> f64 {
    let exact = f64::from(EXACT_MS);
    let above = f64::from(bucket) - exact;
    if above <= 0.0 { f64::from(bucket) } else { (exact * RATIO.powf(above)).round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations_to_within_a_hundredth() {
        assert_eq!(Percentiles::default().seconds(50), None);
        let mut few = Percentiles::default();
        for ms in [7, 3, 50, 0] {
            few.add(ms);
        }
        for (percent, exact) in [(1, 0.0), (25, 0.0), (50, 0.003), (75, 0.007), (95, 0.05)] {
            assert!((few.seconds(percent).unwrap() - exact).abs() < 1e-9, "{percent}");
        }
        let mut many = Percentiles::default();
        (1..=10_000).for_each(|n| many.add(n * 7));
        for percent in 1..=100_u32 {
            let exact = f64::from(percent) * 0.7;
            let read = many.seconds(percent.into()).unwrap();
            assert!((read / exact - 1.0).abs() <= 0.011, "{percent}: {read} for {exact}");
        }
        many.add(u32::MAX);
        assert!(many.counts.len() < 1000, "{} buckets", many.counts.len());
    }
}
