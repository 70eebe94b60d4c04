//! The filter of a search: conditions on a turn and its call.

use super::super::call_filter::Conditions;
use super::super::call_list;
use super::super::error::Context as _;
use super::super::statement::Statements as _;
use super::reach::CONTEXT;
use crate::domain::Speaker;
use crate::store::{CallFilter, Result, SearchQuery, SortOrder};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Maximum number of turns of selected calls that are listed before the search (some hundred calls). With more calls,
/// matches are found soon anyway.
const MAX_CANDIDATE_CALLS: usize = 20_000;

/// SQL conditions and the values of their parameters.
pub(super) struct Filter {
    of_turns: Conditions,
    of_calls: Conditions,
    calls: CallFilter,
    /// True if there is a condition on calls other than their start, which [`super::time_blocks`] cover.
    notes: bool,
}

impl Filter {
    pub(super) fn from_query(query: &SearchQuery) -> Self {
        let mut turns = Conditions::default();
        if let Some(speaker) = query.speaker {
            turns.and("t.speaker_type = ?", [speaker.as_str().to_owned().into()]);
            if speaker == Speaker::Driver {
                turns.and("ifnull(c.answered_by, '') NOT IN ('voicemail', 'fax')", []);
            }
        }
        if !query.kinds.is_empty() {
            turns.among("t.kind IN", query.kinds.iter().map(|kind| kind.as_str().to_owned()));
        }
        if let Some(from) = query.said_after {
            turns.and("t.timestamp >= ?", [from.to_string().into()]);
        }
        if let Some(to) = query.said_before {
            turns.and("t.timestamp < ?", [to.to_string().into()]);
        }
        Self {
            of_turns: turns,
            of_calls: Conditions::of_calls(&query.calls),
            notes: query.calls.is_selective(),
            calls: query.calls.clone(),
        }
    }

    /// Returns both kinds of conditions, beginning with the turn's; the turn is `t` and the call `c`.
    pub(super) fn conditions(&self) -> String {
        format!("t.superseded_by IS NULL{}{}", self.of_turns.sql(), self.of_calls.sql())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.of_turns.values().iter().chain(self.of_calls.values())
    }

    /// Returns the turns of the selected calls if they are few, such as those of a driver or of running calls. Few
    /// turns are hard to find among many matches.
    pub(super) fn candidate_ids(&self, connection: &Connection) -> Result<Option<HashSet<i64>>> {
        if !self.notes {
            return Ok(None);
        }
        let mut ids = HashSet::new();
        let mut read = |which: &str, values: &[Value]| {
            let sql = format!(
                "SELECT t.id FROM calls c CROSS JOIN call_transcriptions t ON t.conversation_id = c.conversation_id \
                 WHERE {which}{} LIMIT {}",
                self.of_calls.sql(),
                MAX_CANDIDATE_CALLS + 1
            );
            let values = values.iter().chain(self.of_calls.values());
            let found: Vec<i64> =
                connection.fetch_all(&sql, params_from_iter(values), |row| row.get(0)).context(CONTEXT)?;
            ids.extend(found);
            Ok(if ids.len() > MAX_CANDIDATE_CALLS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        if self.calls.has_few_calls() {
            let _: ControlFlow<()> = read("TRUE", &[])?;
        } else {
            let order = SortOrder::Descending;
            call_list::for_each_candidate(connection, &self.calls, order, None, &mut |(_, id)| {
                read("c.id = ?", &[(*id).into()])
            })?;
        }
        Ok(Some(ids).filter(|ids| ids.len() <= MAX_CANDIDATE_CALLS))
    }
}
