//! Statistics over many calls.

use super::filter::CallFilterParams;
use super::stats_details::{CriterionResults, DataResults, MetricPercentiles, percentiles, result_lists, rounded};
use crate::api::error::{ApiError, Errors, ListErrors};
use crate::api::pagination::parse_query_params;
use crate::api::reader::{Answer, Depth, Reader};
use crate::api::tag::Tag;
use crate::domain::result_sums::ResultSums;
use crate::domain::stats::{CallTotals, Grouping, NamedTimeZone, Reconciliation, StatsBuilder};
use crate::domain::turn_metrics::MetricsBuilder;
use crate::domain::{self, DriverId};
use crate::store::{self, Reads};
use poem::Request;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use std::collections::BTreeMap;

pub(in crate::api) struct StatsApi {
    pub(in crate::api) reader: Reader,
}

/// Maximum number of drivers in a response.
const MAX_DRIVERS: usize = 100;

/// Maximum number of groups in a response.
const MAX_GROUPS: usize = 100;

/// Statistics of the calls in a period.
#[derive(Debug, Object)]
#[oai(example)]
struct Stats {
    /// Time zone of the days.
    zone: String,
    /// Totals of all calls.
    all: CallSums,
    /// Median of the known durations, in seconds; null if none is known.
    #[oai(nullable)]
    median_seconds: Option<f64>,
    /// 90th percentile of the known durations, in seconds; null if none is known.
    #[oai(nullable)]
    p90_seconds: Option<f64>,
    /// Results of reconciling calls with ElevenLabs' records.
    reconciliation: ReconciledSums,
    /// Totals by day of the call's start, in ascending order; days without calls are left out.
    days: Vec<Day>,
    /// Totals by driver, the driver with the most calls first, at most 100.
    drivers: Vec<OfDriver>,
    /// True if there are more drivers.
    more_drivers: bool,
    /// Stored events with parse errors, for any period and driver.
    events: UnreadEvents,
    /// Totals by the property that `by` names, the value with the most calls first, at most 100; only with `by`.
    #[oai(skip_serializing_if_is_none)]
    groups: Option<Vec<Group>>,
    /// True if there are more values; only with `by`.
    #[oai(skip_serializing_if_is_none)]
    more_groups: Option<bool>,
    /// Percentiles of ElevenLabs' measurements of turns, by name; only with `include=metrics`.
    #[oai(skip_serializing_if_is_none)]
    metrics: Option<Vec<MetricPercentiles>>,
    /// Sums over ElevenLabs' evaluation of criteria, by name; only with `include=results`.
    #[oai(skip_serializing_if_is_none)]
    evaluation_criteria_results: Option<Vec<CriterionResults>>,
    /// Sums over the data that ElevenLabs collected, by name; only with `include=results`.
    #[oai(skip_serializing_if_is_none)]
    data_collection_results: Option<Vec<DataResults>>,
    /// True if there are more than 100 criteria or collected values; only with `include=results`.
    #[oai(skip_serializing_if_is_none)]
    more_results: Option<bool>,
}

/// A property of calls that groups statistics.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum StatsGrouping {
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

impl From<StatsGrouping> for Grouping {
    fn from(by: StatsGrouping) -> Self {
        match by {
            StatsGrouping::Agent => Self::Agent,
            StatsGrouping::Outcome => Self::Outcome,
            StatsGrouping::AnsweredBy => Self::AnsweredBy,
            StatsGrouping::Channel => Self::Channel,
            StatsGrouping::Direction => Self::Direction,
        }
    }
}

/// More statistics to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum StatsInclude {
    /// Sums over the results of ElevenLabs' analyses.
    Results,
    /// Percentiles of ElevenLabs' measurements of turns.
    Metrics,
}

/// Totals of the calls with one value of the property that `by` names.
#[derive(Debug, Object)]
#[oai(example)]
struct Group {
    /// The value; null for calls without a known value.
    #[oai(nullable)]
    value: Option<String>,
    #[oai(flatten)]
    sums: CallSums,
    /// Percentiles of ElevenLabs' measurements of turns; only with `by=agent` and `include=metrics`.
    #[oai(skip_serializing_if_is_none)]
    metrics: Option<Vec<MetricPercentiles>>,
}

impl Example for Group {
    fn example() -> Self {
        Self { value: Some("human".to_owned()), sums: CallSums::example(), metrics: None }
    }
}

/// Stored events that could not be parsed, fully or in part.
#[derive(Debug, Object)]
#[oai(example)]
struct UnreadEvents {
    /// Number of events that could not be parsed at all, counted up to 1000.
    unreadable: u64,
    /// Ids of the first hundred of these events, as in the table `webhook_events`.
    ids: Vec<i64>,
    /// Number of events with parts that could not be parsed, counted up to 1000.
    remarked: u64,
    /// Number of events from before an upgrade that are still to be parsed again, which goes on in the background.
    /// Until it is 0, older calls may lack facts.
    rereading: u64,
}

impl From<store::UnreadEvents> for UnreadEvents {
    fn from(unread: store::UnreadEvents) -> Self {
        let store::UnreadEvents { unreadable, ids, remarked, rereading } = unread;
        Self { unreadable, ids, remarked, rereading }
    }
}

impl Example for UnreadEvents {
    fn example() -> Self {
        Self { unreadable: 1, ids: vec![17], remarked: 0, rereading: 0 }
    }
}

/// Totals of some calls.
#[derive(Debug, Object)]
#[oai(example)]
struct CallSums {
    /// Number of calls.
    calls: u64,
    /// Number of calls in progress.
    in_progress: u64,
    /// Number of calls that are over.
    completed: u64,
    /// Number of calls that failed.
    failed: u64,
    /// Number of calls with a known duration, in whole seconds: from ElevenLabs, else from start to end. Calls that
    /// failed with a duration of 0 s are left out of all durations.
    with_duration: u64,
    /// Sum of the known durations, in seconds.
    duration_seconds: f64,
    /// Mean of the known durations, in seconds; null if none is known.
    #[oai(nullable)]
    mean_seconds: Option<f64>,
    /// Totals of the agent's turns.
    agent: Speech,
    /// Totals of the drivers' turns.
    driver: Speech,
    /// Silence between turns, in seconds, estimated in the same way as `seconds` of a speaker. A pause of more than five
    /// minutes does not count.
    silence_seconds: f64,
    /// Number of calls that a person answered.
    reached: u64,
    /// Number of calls that the service ended because no more turns arrived; `completed` includes them.
    given_up: u64,
}

/// Totals of one speaker, over spoken and typed words. Superseded turns, silence, backchannels, keys and context do not
/// count, nor do the words of a voicemail or fax. The text of ElevenLabs' record counts where it differs from the live
/// text.
#[derive(Debug, Object)]
#[oai(example)]
struct Speech {
    /// Number of turns.
    turns: i64,
    /// Number of characters in the turns' text.
    characters: i64,
    /// Estimated speaking time, in seconds: 15 characters per second, at most until the next turn begins.
    seconds: f64,
    /// Share of the characters of both speakers, from 0 to 1; null if nothing was said.
    #[oai(nullable)]
    share_of_characters: Option<f64>,
    /// Share of the seconds of both speakers, from 0 to 1; null if nothing was said.
    #[oai(nullable)]
    share_of_seconds: Option<f64>,
}

/// Totals of the calls with a record, with the fields of a call.
#[derive(Debug, Object)]
#[oai(example)]
struct ReconciledSums {
    /// Number of calls with a record.
    calls: u64,
    /// Number of live turns that the records do not contain.
    live_only: i64,
    /// Number of live turns that the records contain.
    matched: i64,
    /// Number of turns that only the records contain.
    added: i64,
    /// Number of matched turns with different text in the record.
    corrected: i64,
    /// Number of live turns that repeat a matched turn.
    repeated: i64,
}

/// Totals of the calls that started on one day.
#[derive(Debug, Object)]
#[oai(example)]
struct Day {
    /// The day in the requested time zone, as `YYYY-MM-DD`.
    date: String,
    #[oai(flatten)]
    sums: CallSums,
    /// Percentiles of ElevenLabs' measurements of turns; only with `include=metrics`, for at most 400 days.
    #[oai(skip_serializing_if_is_none)]
    metrics: Option<Vec<MetricPercentiles>>,
}

/// Totals of one driver's calls.
#[derive(Debug, Object)]
#[oai(example)]
struct OfDriver {
    /// The driver; null for calls with an unknown driver.
    #[oai(nullable)]
    driver_id: Option<i64>,
    /// Name of the driver.
    #[oai(nullable)]
    driver_name: Option<String>,
    /// Former name of `driver_name`.
    #[oai(nullable)]
    name: Option<String>,
    #[oai(flatten)]
    sums: CallSums,
}

fn share(part: f64, other: f64) -> Option<f64> {
    let whole = part + other;
    (whole > 0.0).then(|| (part / whole * 10_000.0).round() / 10_000.0)
}

#[expect(clippy::cast_precision_loss, reason = "no sum of characters or calls comes near 2^52")]
impl From<CallTotals> for CallSums {
    fn from(sums: CallTotals) -> Self {
        let CallTotals { calls, durations, talk, reached, given_up } = sums;
        let total_seconds = durations.seconds as f64;
        let speech = |said: domain::SpeakerStats, other: domain::SpeakerStats| Speech {
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
            duration_seconds: total_seconds,
            mean_seconds: (durations.calls > 0).then(|| rounded(total_seconds / durations.calls as f64)),
            agent: speech(talk.agent, talk.driver),
            driver: speech(talk.driver, talk.agent),
            silence_seconds: rounded(talk.silence_seconds),
            reached,
            given_up,
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
            reached: 9,
            given_up: 0,
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
        Self { date: "2026-09-28".to_owned(), sums: CallSums::example(), metrics: None }
    }
}

impl Example for OfDriver {
    fn example() -> Self {
        let name = Some("Maria Kowalski".to_owned());
        Self { driver_id: Some(1042), driver_name: name.clone(), name, sums: CallSums::example() }
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
            groups: None,
            more_groups: None,
            metrics: None,
            evaluation_criteria_results: None,
            data_collection_results: None,
            more_results: None,
        }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl StatsApi {
    /// Get statistics
    ///
    /// Returns numbers of calls by status, durations, speaking shares and reconciliation results: in total, by day and
    /// by driver. Without the filter `environment`, calls of other environments than `production` are left out.
    ///
    /// `include=results` requires the role `read`, because collected values may be words of a call.
    #[oai(path = "/stats", method = "get", operation_id = "get_stats")]
    async fn get_stats(
        &self,
        request: &Request,
        calls: CallFilterParams,
        /// Time zone of the days, as an IANA name such as `America/Chicago`; `UTC` by default.
        zone: Query<Option<String>>,
        /// Also return totals by this property.
        by: Query<Option<StatsGrouping>>,
        /// `results`: also sums over ElevenLabs' evaluation of criteria and collected data. `metrics`: also percentiles
        /// of its measurements of turns, by day and, with `by=agent`, by agent.
        include: Query<Vec<StatsInclude>>,
    ) -> Result<Answer<Stats>, Errors<ListErrors>> {
        let known = CallFilterParams::names_with(&["zone", "by", "include"]);
        parse_query_params(request, &known, &CallFilterParams::repeatable_with(&["include"]))?;
        let zone = NamedTimeZone::named(zone.0.as_deref().unwrap_or("UTC"))
            .ok_or_else(|| ApiError::field("zone", "must be an IANA time zone, such as America/Chicago or UTC"))?;
        let mut filter = calls.parse(false)?;
        filter.production_only = filter.environment.is_none();
        let (by, include) = (by.0, include.0);
        let make = move |store: &dyn Reads| {
            let mut tally = StatsBuilder::new(zone.clone(), by.map(Into::into));
            store.figures(&filter, &mut |call| tally.count(call))?;
            let mut metrics = None;
            if include.contains(&StatsInclude::Metrics) {
                let metrics = metrics.insert(MetricsBuilder::new(zone));
                store.turn_metrics(&filter, &mut |call| metrics.count(call))?;
            }
            let mut results = None;
            if include.contains(&StatsInclude::Results) {
                let results = results.insert(ResultSums::default());
                store.results(&filter, &mut |result| results.count(result))?;
            }
            let more_results = results.as_ref().map(|results| results.has_more);
            let (criteria, data) = results.map(result_lists).unzip();
            let (groups, more_groups) = tally.groups(MAX_GROUPS);
            let groups = groups.into_iter().map(|(value, sums)| Group {
                value: value.map(str::to_owned),
                sums: sums.into(),
                metrics: match (&metrics, by) {
                    (Some(metrics), Some(StatsGrouping::Agent)) => metrics.agent(value).map(percentiles),
                    _ => None,
                },
            });
            let groups: Vec<_> = groups.collect();
            let (drivers, more) = tally.drivers(MAX_DRIVERS);
            let ids = drivers.iter().filter_map(|(driver, _)| *driver).collect();
            let known = store.drivers_by_ids(&ids)?.into_iter().map(|driver| (driver.id, driver.name));
            let mut by_id: BTreeMap<_, _> = known.collect();
            let of_driver = |(driver, sums): (Option<DriverId>, CallTotals)| {
                let name = driver.and_then(|id| by_id.remove(&id));
                OfDriver { driver_id: driver.map(DriverId::get), driver_name: name.clone(), name, sums: sums.into() }
            };
            let named = drivers.into_iter().map(of_driver).collect();
            let of_day = |date: &str| metrics.as_ref()?.day(date).map(percentiles);
            let days = tally.days().map(|(date, sums)| Day { metrics: of_day(&date), date, sums: sums.into() });
            let days: Vec<_> = days.collect();
            Ok(Stats {
                zone: tally.zone().to_owned(),
                all: tally.all.into(),
                median_seconds: tally.percentile(50).map(rounded),
                p90_seconds: tally.percentile(90).map(rounded),
                reconciliation: tally.reconciliation.into(),
                days,
                drivers: named,
                more_drivers: more,
                events: store.unread_events()?.into(),
                groups: by.map(|_| groups),
                more_groups: by.map(|_| more_groups),
                metrics: metrics.as_ref().map(|metrics| percentiles(metrics.all())),
                evaluation_criteria_results: criteria,
                data_collection_results: data,
                more_results,
            })
        };
        Ok(self.reader.answer(request, Depth::Deep, make).await?)
    }
}
