//! Statistics over many calls: counts, durations and talk time, by day and by driver.
//!
//! Calls are added one by one and only sums are stored, so memory does not grow with their words. Days are those of a
//! time zone, whose rules are read from the system, or else from this binary.

use super::{AnsweredBy, CallOutcome, CallStats, CallStatus, Channel, Direction, DriverId, ReconcileCounts, TalkTime};
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

    /// Returns the date of an instant in the zone.
    pub(super) fn date(&self, unix_seconds: i64) -> Option<Date> {
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
    pub seconds: i64,
}

impl Durations {
    fn count(&mut self, seconds: Option<i64>) {
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
    /// Calls that a person answered.
    pub reached: u64,
    /// Calls that this service ended because no more turns arrived.
    pub given_up: u64,
}

/// Returns the duration of a call that counts in averages. A call that failed at once has none.
fn counted_duration(call: &CallStats<'_>) -> Option<i64> {
    call.duration_seconds.filter(|seconds| *seconds > 0 || call.status != CallStatus::Failed)
}

impl CallTotals {
    fn count(&mut self, call: &CallStats<'_>) {
        self.calls.count(call.status);
        self.durations.count(counted_duration(call));
        self.reached += u64::from(call.answered_by == Some(AnsweredBy::Human));
        self.given_up += u64::from(call.given_up);
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

/// A property of calls that groups statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// The agent.
    Agent,
    /// The outcome of the call's goal.
    Outcome,
    /// The one who answered.
    AnsweredBy,
    /// The channel.
    Channel,
    /// The direction.
    Direction,
}

impl Grouping {
    /// Returns the value of a call; `None` if it is not known.
    fn value<'a>(self, call: &CallStats<'a>) -> Option<&'a str> {
        match self {
            Self::Agent => call.agent_id,
            Self::Outcome => call.outcome.map(CallOutcome::as_str),
            Self::AnsweredBy => call.answered_by.map(AnsweredBy::as_str),
            Self::Channel => call.channel.map(Channel::as_str),
            Self::Direction => call.direction.map(Direction::as_str),
        }
    }
}

/// Totals by the value of a [`Grouping`].
#[derive(Debug, Default)]
struct Groups {
    by_value: HashMap<Box<str>, CallTotals>,
    /// Totals of the calls without a known value.
    unknown: Option<CallTotals>,
    /// True if there were more values than [`MAX_GROUPS`].
    has_more: bool,
}

/// Maximum number of groups that are counted. Agents are the only property without a fixed number of values.
const MAX_GROUPS: usize = 1000;

impl Groups {
    fn count(&mut self, value: Option<&str>, call: &CallStats<'_>) {
        let totals = match value {
            None => self.unknown.get_or_insert_default(),
            Some(value) => {
                // Almost always there is an entry, so no key is allocated.
                if !self.by_value.contains_key(value) {
                    if self.by_value.len() == MAX_GROUPS {
                        self.has_more = true;
                        return;
                    }
                    self.by_value.insert(value.into(), CallTotals::default());
                }
                let Some(totals) = self.by_value.get_mut(value) else { return };
                totals
            }
        };
        totals.count(call);
    }
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
    by: Option<Grouping>,
    groups: Groups,
    days: BTreeMap<Date, CallTotals>,
    drivers: HashMap<Option<DriverId>, CallTotals>,
}

impl StatsBuilder {
    /// Creates an accumulator without calls.
    pub fn new(zone: NamedTimeZone, by: Option<Grouping>) -> Self {
        Self {
            zone,
            all: CallTotals::default(),
            reconciliation: Reconciliation::default(),
            seconds: Vec::new(),
            by,
            groups: Groups::default(),
            days: BTreeMap::new(),
            drivers: HashMap::new(),
        }
    }

    /// Adds a call.
    pub fn count(&mut self, call: &CallStats<'_>) {
        self.all.count(call);
        if let Some(by) = self.by {
            self.groups.count(by.value(call), call);
        }
        self.drivers.entry(call.driver_id).or_default().count(call);
        if let Some(date) = self.zone.date(call.start_unix_seconds) {
            self.days.entry(date).or_default().count(call);
        }
        #[expect(clippy::cast_precision_loss, reason = "no call comes near 2^24 seconds")]
        self.seconds.extend(counted_duration(call).map(|seconds| seconds as f32));
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

    /// Returns up to `most` groups with the most calls, and whether there are more. `None` stands for all calls whose
    /// value is not known.
    pub fn groups(&self, most: usize) -> (Vec<(Option<&str>, CallTotals)>, bool) {
        let known = self.groups.by_value.iter().map(|(value, sums)| (Some(&**value), *sums));
        let mut groups: Vec<_> = known.chain(self.groups.unknown.map(|sums| (None, sums))).collect();
        groups.sort_unstable_by_key(|(value, sums)| (std::cmp::Reverse(sums.calls.total()), *value));
        let more = self.groups.has_more || groups.len() > most;
        groups.truncate(most);
        (groups, more)
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
        let mut tally = StatsBuilder::new(NamedTimeZone::named("UTC").expect("a zone"), None);
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
