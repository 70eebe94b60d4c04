//! What many calls come to.

use crate::api::date_time::Instant;
use crate::api::error::{ApiError, List, Refused};
use crate::api::pagination::parameters;
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::stats::{Reconciliation, Sums, Tally, Zone};
use crate::domain::{self, DriverId};
use crate::store::{self, FiguresQuery, Store};
use poem::Request;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

pub(in crate::api) struct StatsApi {
    pub(in crate::api) reader: Reader,
}

/// Greatest number of drivers in an answer.
const MAX_DRIVERS: usize = 100;

/// What the calls of a time come to.
#[derive(Debug, Object)]
#[oai(example)]
struct Stats {
    /// The time zone of the days.
    zone: String,
    /// All of them together.
    all: CallSums,
    /// Half of the known durations are at most this, in seconds; null while none is known.
    #[oai(nullable)]
    median_seconds: Option<f64>,
    /// Nine tenths of them are at most this.
    #[oai(nullable)]
    p90_seconds: Option<f64>,
    /// What came of bringing calls and the platform's records together.
    reconciliation: ReconciledSums,
    /// By the day on which they began, in order; days without calls are left out.
    days: Vec<Day>,
    /// By driver, the one with the most calls first, 100 at most.
    drivers: Vec<OfDriver>,
    /// Whether there are more drivers than these.
    more_drivers: bool,
    /// What could not be read of the stored events, whatever the time and driver that are asked for.
    events: UnreadEvents,
}

/// Stored events that could not be read: as a whole, or parts of them.
#[derive(Debug, Object)]
#[oai(example)]
struct UnreadEvents {
    /// How many cannot be read at all, counted up to 1000.
    unreadable: u64,
    /// The numbers of the first hundred of them, as in the table `webhook_events`.
    ids: Vec<i64>,
    /// How many were read but for some parts, counted up to 1000.
    remarked: u64,
}

impl From<store::UnreadEvents> for UnreadEvents {
    fn from(unread: store::UnreadEvents) -> Self {
        let store::UnreadEvents { unreadable, ids, remarked } = unread;
        Self { unreadable, ids, remarked }
    }
}

impl Example for UnreadEvents {
    fn example() -> Self {
        Self { unreadable: 1, ids: vec![17], remarked: 0 }
    }
}

/// Sums over some calls.
#[derive(Debug, Object)]
#[oai(example)]
struct CallSums {
    /// How many calls.
    calls: u64,
    /// Of these, in progress.
    in_progress: u64,
    /// Of these, over.
    completed: u64,
    /// Of these, failed.
    failed: u64,
    /// How many of them have a known duration: the platform's, or else from start to end.
    with_duration: u64,
    /// Their durations together.
    duration_seconds: f64,
    /// Their durations' mean; null while none is known.
    #[oai(nullable)]
    mean_seconds: Option<f64>,
    /// What the agent said.
    agent: Speech,
    /// What the drivers said.
    driver: Speech,
    /// Seconds between turns in which nobody spoke, by the same estimate as `seconds` of what was said.
    silence_seconds: f64,
}

/// What one side said. Turns that another one stands for do not count, and words are those of the platform's record where
/// it has others.
#[derive(Debug, Object)]
#[oai(example)]
struct Speech {
    /// Turns.
    turns: i64,
    /// Characters of their words.
    characters: i64,
    /// How long that took, by estimate: 15 characters a second, but no longer than until the next turn begins.
    seconds: f64,
    /// Its share of the characters of both, from 0 to 1; null where nothing was said.
    #[oai(nullable)]
    share_of_characters: Option<f64>,
    /// Its share of the seconds of both.
    #[oai(nullable)]
    share_of_seconds: Option<f64>,
}

/// Sums over the calls that have a record, by the fields of a call.
#[derive(Debug, Object)]
#[oai(example)]
struct ReconciledSums {
    /// How many calls have one.
    calls: u64,
    /// Turns that were heard and are not in the record.
    live_only: i64,
    /// Turns that were heard and are in the record.
    matched: i64,
    /// Turns that only the record had.
    added: i64,
    /// Of those matched, how many were heard with other words.
    corrected: i64,
    /// Turns that were heard once more than the record has them.
    repeated: i64,
}

/// The calls that began on one day.
#[derive(Debug, Object)]
#[oai(example)]
struct Day {
    /// The day in the time zone, as `YYYY-MM-DD`.
    date: String,
    #[oai(flatten)]
    sums: CallSums,
}

/// The calls of one driver.
#[derive(Debug, Object)]
#[oai(example)]
struct OfDriver {
    /// The driver; null for calls whose driver is not known.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// The driver's name.
    #[oai(nullable)]
    name: Option<String>,
    #[oai(flatten)]
    sums: CallSums,
}

/// To the millisecond: what is behind is no knowledge, and sums of fractions do not come out even.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn share(part: f64, other: f64) -> Option<f64> {
    let whole = part + other;
    (whole > 0.0).then(|| (part / whole * 10_000.0).round() / 10_000.0)
}

#[expect(clippy::cast_precision_loss, reason = "no sum of characters or calls comes near 2^52")]
impl From<Sums> for CallSums {
    fn from(sums: Sums) -> Self {
        let Sums { calls, durations, talk } = sums;
        let speech = |said: domain::Said, other: domain::Said| Speech {
            turns: said.turns,
            characters: said.characters,
            seconds: rounded(said.seconds),
            share_of_characters: share(said.characters as f64, other.characters as f64),
            share_of_seconds: share(said.seconds, other.seconds),
        };
        Self {
            calls: calls.total(),
            in_progress: calls.in_progress,
            completed: calls.completed,
            failed: calls.failed,
            with_duration: durations.calls,
            duration_seconds: rounded(durations.seconds),
            mean_seconds: (durations.calls > 0).then(|| rounded(durations.seconds / durations.calls as f64)),
            agent: speech(talk.agent, talk.driver),
            driver: speech(talk.driver, talk.agent),
            silence_seconds: rounded(talk.silence_seconds),
        }
    }
}

impl From<Reconciliation> for ReconciledSums {
    fn from(sums: Reconciliation) -> Self {
        let counts = sums.counts;
        Self {
            calls: sums.calls,
            live_only: counts.live_only,
            matched: counts.matched,
            added: counts.added,
            corrected: counts.corrected,
            repeated: counts.repeated,
        }
    }
}

impl Example for Speech {
    fn example() -> Self {
        Self {
            turns: 7,
            characters: 420,
            seconds: 26.5,
            share_of_characters: Some(0.6),
            share_of_seconds: Some(0.5821),
        }
    }
}

impl Example for CallSums {
    fn example() -> Self {
        Self {
            calls: 12,
            in_progress: 1,
            completed: 10,
            failed: 1,
            with_duration: 11,
            duration_seconds: 1760.0,
            mean_seconds: Some(160.0),
            agent: Speech::example(),
            driver: Speech::example(),
            silence_seconds: 95.25,
        }
    }
}

impl Example for ReconciledSums {
    fn example() -> Self {
        Self { calls: 10, live_only: 1, matched: 120, added: 14, corrected: 9, repeated: 0 }
    }
}

impl Example for Day {
    fn example() -> Self {
        Self { date: "2026-09-28".to_owned(), sums: CallSums::example() }
    }
}

impl Example for OfDriver {
    fn example() -> Self {
        Self { driver_id: Some(1042), name: Some("Maria Kowalski".to_owned()), sums: CallSums::example() }
    }
}

impl Example for Stats {
    fn example() -> Self {
        Self {
            zone: "America/Chicago".to_owned(),
            all: CallSums::example(),
            median_seconds: Some(148.0),
            p90_seconds: Some(260.0),
            reconciliation: ReconciledSums::example(),
            days: vec![Day::example()],
            drivers: vec![OfDriver::example()],
            more_drivers: false,
            events: UnreadEvents::example(),
        }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl StatsApi {
    /// Count calls
    ///
    /// Numbers of calls by status, durations, who talked how much, and what was reconciled; in all, by day and by driver.
    #[oai(path = "/stats", method = "get", operation_id = "get_stats")]
    async fn get_stats(
        &self,
        request: &Request,
        /// Only calls that started at this time or later.
        started_after: Query<Option<Instant>>,
        /// Only calls that started before this time.
        started_before: Query<Option<Instant>>,
        /// Only calls of this driver.
        driver_id: Query<Option<i64>>,
        /// The time zone of the days, by its name in the IANA database, such as `America/Chicago`; `UTC` without it.
        zone: Query<Option<String>>,
    ) -> Result<Answer<Stats>, Refused<List>> {
        parameters(request, &["started_after", "started_before", "driver_id", "zone"])?;
        let driver_id =
            driver_id.0.map(DriverId::new).transpose().map_err(|rule| ApiError::field("driver_id", rule))?;
        let zone = Zone::named(zone.0.as_deref().unwrap_or("UTC")).ok_or_else(|| {
            ApiError::field("zone", "must be the name of a time zone, such as America/Chicago or UTC")
        })?;
        let query = FiguresQuery {
            started_after: started_after.0.map(|time| time.0),
            started_before: started_before.0.map(|time| time.0),
            driver_id,
        };
        let make = move |store: &dyn Store| {
            let mut tally = Tally::new(zone);
            store.figures(&query, &mut |call| tally.count(call))?;
            let (drivers, more) = tally.drivers(MAX_DRIVERS);
            let mut named = Vec::with_capacity(drivers.len());
            for (driver, sums) in drivers {
                let name = match driver {
                    Some(id) => store.driver(id)?.map(|driver| driver.name),
                    None => None,
                };
                named.push(OfDriver { driver_id: driver.map(DriverId::get), name, sums: sums.into() });
            }
            Ok(Stats {
                zone: tally.zone().to_owned(),
                all: tally.all.into(),
                median_seconds: tally.percentile(50).map(rounded),
                p90_seconds: tally.percentile(90).map(rounded),
                reconciliation: tally.reconciliation.into(),
                days: tally.days().map(|(date, sums)| Day { date, sums: sums.into() }).collect(),
                drivers: named,
                more_drivers: more,
                events: store.unread_events()?.into(),
            })
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }
}
