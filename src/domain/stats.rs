//! Statistics over many calls: counts, durations and talk time, by day and by driver.
//!
//! Calls are added one by one and only sums are stored, so memory does not grow with their words. Days are those of a
//! time zone, whose rules are read from the system, or else from this binary.

use super::{CallStats, CallStatus, DriverId, ReconcileCounts, TalkTime};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap};

/// A time zone of the IANA database.
#[derive(Debug, Clone)]
pub struct NamedTimeZone(TimeZone);

impl NamedTimeZone {
    /// Looks up a zone by a name such as `America/Chicago`.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self)
    }

    /// Returns the zone's name in the database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    fn date(&self, unix_seconds: i64) -> Option<Date> {
        let instant = jiff::Timestamp::from_second(unix_seconds).ok()?;
        Some(self.0.to_datetime(instant).date())
    }
}

/// Counts of calls by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusCounts {
    /// Calls in progress.
    pub in_progress: u64,
    /// Calls that ended normally.
    pub completed: u64,
    /// Calls that failed.
    pub failed: u64,
}

impl StatusCounts {
    /// Returns the count of all calls.
    pub fn total(self) -> u64 {
        self.in_progress + self.completed + self.failed
    }

    fn count(&mut self, status: CallStatus) {
        *match status {
            CallStatus::InProgress => &mut self.in_progress,
            CallStatus::Completed => &mut self.completed,
            CallStatus::Failed => &mut self.failed,
        } += 1;
    }
}

/// Sum of the known durations of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    /// Number of calls with a known duration.
    pub calls: u64,
    /// Total duration, in seconds.
    pub seconds: f64,
}

impl Durations {
    fn count(&mut self, seconds: Option<f64>) {
        if let Some(seconds) = seconds {
            self.calls += 1;
            self.seconds += seconds;
        }
    }
}

/// Totals of a set of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallTotals {
    /// Counts by status.
    pub calls: StatusCounts,
    /// Durations.
    pub durations: Durations,
    /// Talk time by speaker.
    pub talk: TalkTime,
}

impl CallTotals {
    fn count(&mut self, call: &CallStats) {
        self.calls.count(call.status);
        self.durations.count(call.duration_seconds);
        self.talk += call.talk;
    }
}

/// Results of reconciling calls with their records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Number of calls with a record.
    pub calls: u64,
    /// Summed counts of these calls.
    pub counts: ReconcileCounts,
}

/// Accumulator of the statistics of all calls.
pub struct StatsBuilder {
    zone: NamedTimeZone,
    /// Totals of all calls.
    pub all: CallTotals,
    /// Totals of the calls with a record.
    pub reconciliation: Reconciliation,
    /// Known durations, in seconds; reordered by `percentile`.
    seconds: Vec<f32>,
    days: BTreeMap<Date, CallTotals>,
    drivers: HashMap<Option<DriverId>, CallTotals>,
}

impl StatsBuilder {
    /// Creates an accumulator without calls.
    pub fn new(zone: NamedTimeZone) -> Self {
        Self {
            zone,
            all: CallTotals::default(),
            reconciliation: Reconciliation::default(),
            seconds: Vec::new(),
            days: BTreeMap::new(),
            drivers: HashMap::new(),
        }
    }

    /// Adds a call.
    pub fn count(&mut self, call: &CallStats) {
        self.all.count(call);
        self.drivers.entry(call.driver_id).or_default().count(call);
        if let Some(date) = self.zone.date(call.start_unix_seconds) {
            self.days.entry(date).or_default().count(call);
        }
        #[expect(clippy::cast_possible_truncation, reason = "to a hundredth of a second for calls of a day")]
        self.seconds.extend(call.duration_seconds.map(|seconds| seconds as f32));
        if let Some(counts) = call.reconciled {
            self.reconciliation.calls += 1;
            let sum = &mut self.reconciliation.counts;
            sum.live_only += counts.live_only;
            sum.matched += counts.matched;
            sum.added += counts.added;
            sum.corrected += counts.corrected;
            sum.repeated += counts.repeated;
        }
    }

    /// Returns the zone's name.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// Returns a percentile of the known durations, in seconds (nearest rank).
    pub fn percentile(&mut self, percent: usize) -> Option<f64> {
        let rank = (self.seconds.len() * percent).div_ceil(100).checked_sub(1)?;
        let (_, seconds, _) = self.seconds.select_nth_unstable_by(rank, f32::total_cmp);
        Some(f64::from(*seconds))
    }

    /// Returns the days on which calls began, in order, as `YYYY-MM-DD`.
    pub fn days(&self) -> impl Iterator<Item = (String, CallTotals)> {
        self.days.iter().map(|(date, sums)| (date.to_string(), *sums))
    }

    /// Returns up to `most` drivers with the most calls, and whether there are more. `None` stands for all calls
    /// without a known driver.
    pub fn drivers(&self, most: usize) -> (Vec<(Option<DriverId>, CallTotals)>, bool) {
        let mut drivers: Vec<_> = self.drivers.iter().map(|(driver, sums)| (*driver, *sums)).collect();
        drivers
            .sort_unstable_by_key(|(driver, sums)| (std::cmp::Reverse(sums.calls.total()), driver.map(DriverId::get)));
        let more = drivers.len() > most;
        drivers.truncate(most);
        (drivers, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let mut tally = StatsBuilder::new(NamedTimeZone::named("UTC").expect("a zone"));
        assert_eq!(tally.percentile(50), None);
        tally.seconds = vec![9.0, 1.0, 5.0, 3.0];
        assert_eq!([1, 25, 50, 75, 90, 100].map(|p| tally.percentile(p)), [1.0, 1.0, 3.0, 5.0, 9.0, 9.0].map(Some));
    }

    #[test]
    fn a_day_of_a_zone_is_as_long_as_its_clocks_have_it() {
        let zone = NamedTimeZone::named("america/chicago").expect("a zone");
        assert_eq!(zone.name(), "America/Chicago");
        // In 2026 clocks there went back on November 1st, at 7:00 UTC.
        for (utc, date) in [
            ("2026-11-01T04:59:59Z", "2026-10-31"),
            ("2026-11-01T05:00:00Z", "2026-11-01"),
            ("2026-11-02T05:59:59Z", "2026-11-01"),
            ("2026-11-02T06:00:00Z", "2026-11-02"),
        ] {
            let instant: jiff::Timestamp = utc.parse().expect("an instant");
            assert_eq!(zone.date(instant.as_second()).expect("a date").to_string(), date, "{utc}");
        }
        assert!(NamedTimeZone::named("Mars/Olympus").is_none());
    }
}
