//! Percentiles of ElevenLabs' measurements of turns: of all calls, by day and by agent.

use super::percentiles::Percentiles;
use super::stats::NamedTimeZone;
use jiff::civil::Date;
use std::collections::{BTreeMap, HashMap};

/// Maximum number of names of measurements. Others are left out.
const MAX_NAMES: usize = 32;

/// Maximum number of days with percentiles of their own. If there are more, no day has them.
const MAX_DAYS: usize = 400;

/// Maximum number of agents with percentiles of their own. Others are left out.
const MAX_AGENTS: usize = 200;

/// Percentiles by name of the measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedPercentiles(BTreeMap<Box<str>, Percentiles>);

impl NamedPercentiles {
    fn add(&mut self, name: &str, milliseconds: u32) {
        if let Some(durations) = self.0.get_mut(name) {
            durations.add(milliseconds);
        } else if self.0.len() < MAX_NAMES {
            self.0.entry(name.into()).or_default().add(milliseconds);
        }
    }

    /// Returns the percentiles with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Percentiles)> {
        self.0.iter().map(|(name, durations)| (&**name, durations))
    }
}

/// The measurements of a call's turns.
#[derive(Debug, Clone, Copy)]
pub struct CallMetrics<'a> {
    /// Start of the call, in whole seconds since 1970.
    pub start_unix_seconds: i64,
    /// Agent of the call.
    pub agent_id: Option<&'a str>,
    /// Milliseconds by name, such as `convai_llm_service_ttfb:250,310;convai_tts_service_ttfb:90`.
    pub milliseconds: &'a str,
}

/// Accumulator of the measurements of many calls.
pub struct MetricsBuilder {
    zone: NamedTimeZone,
    all: NamedPercentiles,
    days: BTreeMap<Date, NamedPercentiles>,
    has_too_many_days: bool,
    agents: HashMap<Option<Box<str>>, NamedPercentiles>,
}

impl MetricsBuilder {
    /// Creates an accumulator without calls.
    pub fn new(zone: NamedTimeZone) -> Self {
        Self {
            zone,
            all: NamedPercentiles::default(),
            days: BTreeMap::new(),
            has_too_many_days: false,
            agents: HashMap::new(),
        }
    }

    /// Adds a call.
    pub fn count(&mut self, call: CallMetrics<'_>) {
        let date = self.zone.date(call.start_unix_seconds).filter(|_| !self.has_too_many_days);
        let mut day = date.map(|date| self.days.entry(date).or_default());
        let agent_id = call.agent_id.map(Into::into);
        let has_room = self.agents.len() < MAX_AGENTS || self.agents.contains_key(&agent_id);
        let mut agent = has_room.then(|| self.agents.entry(agent_id).or_default());
        for (name, durations) in call.milliseconds.split(';').filter_map(|metric| metric.split_once(':')) {
            for milliseconds in durations.split(',').filter_map(|number| number.parse().ok()) {
                self.all.add(name, milliseconds);
                if let Some(day) = &mut day {
                    day.add(name, milliseconds);
                }
                if let Some(agent) = &mut agent {
                    agent.add(name, milliseconds);
                }
            }
        }
        if self.days.len() > MAX_DAYS {
            self.days.clear();
            self.has_too_many_days = true;
        }
    }

    /// Returns the percentiles of all calls.
    pub const fn all(&self) -> &NamedPercentiles {
        &self.all
    }

    /// Returns the percentiles of a day, written as `YYYY-MM-DD`.
    pub fn day(&self, date: &str) -> Option<&NamedPercentiles> {
        self.days.get(&date.parse().ok()?)
    }

    /// Returns the percentiles of an agent.
    pub fn agent(&self, agent_id: Option<&str>) -> Option<&NamedPercentiles> {
        self.agents.get(&agent_id.map(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_those_of_their_day_and_agent_and_bounded() {
        let mut metrics = MetricsBuilder::new(NamedTimeZone::named("UTC").unwrap());
        let call = |day: i64, agent_id: Option<&'static str>, milliseconds: &'static str| CallMetrics {
            start_unix_seconds: day * 86_400,
            agent_id,
            milliseconds,
        };
        metrics.count(call(0, Some("a"), "x:10,20;y:30"));
        metrics.count(call(1, None, "x:40;broken;z:no;:"));
        let read = |named: Option<&NamedPercentiles>, percent| -> Vec<(String, u64, f64)> {
            let all = named.unwrap().iter();
            all.map(|(name, of)| (name.to_owned(), of.total(), of.seconds(percent).unwrap())).collect()
        };
        let row = |name: &str, total, seconds| (name.to_owned(), total, seconds);
        assert_eq!(read(Some(metrics.all()), 50), [row("x", 3, 0.02), row("y", 1, 0.03)]);
        assert_eq!(read(metrics.day("1970-01-02"), 95), [row("x", 1, 0.04)]);
        assert_eq!(read(metrics.agent(Some("a")), 95), [row("x", 2, 0.02), row("y", 1, 0.03)]);
        assert_eq!(read(metrics.agent(None), 50), [row("x", 1, 0.04)]);
        assert_eq!(metrics.agent(Some("b")), None);
        for day in 0..500 {
            metrics.count(call(day, None, "x:1"));
        }
        assert_eq!(metrics.day("1970-01-02"), None);
        assert_eq!(metrics.all().iter().next().unwrap().1.total(), 503);
    }
}
