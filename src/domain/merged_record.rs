//! Merging of the records of one call.

use super::redacted::ignored_copies;
use super::{Entry, Facts, Record, RecordKind, Timestamp, ToolCall};

/// The merged records of one call. Does not depend on the order in which they were received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergedRecord {
    /// Merged facts.
    pub facts: Facts,
    /// Most complete transcript.
    pub transcript: Option<Vec<Entry>>,
    /// Calls of tools, of the record with the transcript if it has any, or else of the highest-ranked record.
    pub tools: Vec<ToolCall>,
    /// True if the tool calls and the transcript are from one record, so that their indexes can be compared.
    pub tools_of_transcript: bool,
    /// Index of the most authoritative record: the one with the transcript, or else the one with the highest rank. A
    /// detection is none.
    pub best: Option<usize>,
    /// Event time of the highest-ranked record.
    pub event_time: Option<Timestamp>,
}

impl MergedRecord {
    /// Merges records, independently of their order.
    ///
    /// Each fact is from the highest-ranked record that has it: a conversation ranks above traces, traces above a
    /// failure, a failure above a detection, then the later one above the earlier one. A transcript never loses to one
    /// with fewer entries, whatever the kinds of the records. A record that only fills in what another one has redacted
    /// is ignored ([`super::redacted`]).
    pub fn merge(mut records: Vec<Record>) -> Self {
        let mut order: Vec<usize> = (0..records.len()).collect();
        let rank = |record: &Record| {
            // The JSON only orders different records with equal rank, so the result is deterministic.
            let text = serde_json::to_string(record).unwrap_or_default();
            (record.kind, record.event_time, record.entries.as_ref().map_or(0, Vec::len), text)
        };
        // The JSON of long records takes much memory. It is not needed for a single record, the usual case.
        if order.len() > 1 {
            order.sort_by_cached_key(|&at| rank(&records[at]));
            let ignored = ignored_copies(&records);
            order.retain(|at| !ignored[*at]);
        }
        let mut combined = Self::default();
        for &at in &order {
            combined.facts.update(&records[at].facts);
        }
        let with_words = order.iter().filter_map(|&at| Some((at, records[at].entries.as_ref()?)));
        // `max_by_key` returns the last maximum, which has the highest rank.
        let fullest = with_words.filter(|(_, e)| !e.is_empty()).max_by_key(|&(at, e)| (e.len(), records[at].kind));
        let fullest = fullest.map(|(at, _)| at);
        let highest = order.last().copied().filter(|at| records[*at].kind != RecordKind::Detection);
        combined.best = fullest.or(highest);
        combined.event_time = highest.and_then(|at| records[at].event_time);
        let has_tools = |at: &usize| !records[*at].tools.is_empty();
        let of_transcript = fullest.filter(has_tools);
        let with_tools = of_transcript.or_else(|| order.iter().rev().copied().find(has_tools));
        combined.tools_of_transcript = of_transcript.is_some();
        combined.tools = with_tools.map(|at| std::mem::take(&mut records[at].tools)).unwrap_or_default();
        combined.transcript = fullest.and_then(|at| records.swap_remove(at).entries);
        combined
    }
}
