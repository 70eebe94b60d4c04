//! Merging of the records of one call.

use super::redacted::{WordsUse, redact_entries, redact_text, redact_tools, remove_words, words_uses};
use super::{CallStatus, Entry, Facts, Record, RecordKind, Speaker, Timestamp, ToolCall};

/// The merged records of one call. Does not depend on the order of their arrival.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergedRecord {
    /// Merged facts.
    pub facts: Facts,
    /// Most complete transcript.
    pub transcript: Option<Vec<Entry>>,
    /// Calls of tools, of the record with the transcript if it has any, or else of the highest-ranked record with any.
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
    /// with fewer entries, whatever the kinds of the records. Of a record that only fills in what another one has
    /// redacted, no words are used ([`super::redacted`]).
    pub fn merge(mut records: Vec<Record>) -> Self {
        let mut order: Vec<usize> = (0..records.len()).collect();
        let rank = |record: &Record| {
            // The JSON only orders different records with equal rank, so the result is deterministic.
            let text = serde_json::to_string(record).unwrap_or_default();
            (record.kind, record.event_time, record.entries.as_ref().map_or(0, Vec::len), text)
        };
        let mut uses = vec![WordsUse::Full; records.len()];
        // The JSON of long records takes much memory. It is not needed for a single record, the usual case.
        if order.len() > 1 {
            order.sort_by_cached_key(|&at| rank(&records[at]));
            uses = words_uses(&records);
        }
        let words = SelectedWords::select(&mut records, &order, &uses);
        let mut combined = Self::default();
        for &at in &order {
            combined.facts.update(&records[at].facts);
        }
        (combined.facts.summary, combined.facts.title, combined.facts.analysis) =
            (words.summary, words.title, words.analysis);
        let preferred = || order.iter().copied().filter(|at| uses[*at] == WordsUse::Full);
        let with_words = |at: &usize| records[*at].entries.as_ref().is_some_and(|entries| !entries.is_empty());
        let length = |at: &usize| records[*at].entries.as_ref().map_or(0, Vec::len);
        // `max_by_key` returns the last maximum, which has the highest rank.
        let fullest = preferred().filter(with_words).max_by_key(|at| (length(at), records[*at].kind));
        let is_record = |at: &usize| records[*at].kind != RecordKind::Detection;
        combined.best = fullest.or_else(|| preferred().rfind(is_record));
        combined.event_time = order.iter().copied().rfind(is_record).and_then(|at| records[at].event_time);
        let has_tools = |at: &usize| !records[*at].tools.is_empty();
        let of_transcript = fullest.filter(has_tools);
        let with_tools = of_transcript
            .or_else(|| preferred().rev().find(has_tools))
            .or_else(|| order.iter().rev().copied().find(has_tools));
        combined.tools_of_transcript = of_transcript.is_some();
        if let Some(selected) = with_tools {
            let mut tools = std::mem::take(&mut records[selected].tools);
            for other in others_with_marks(&records, &order, selected) {
                redact_tools(&mut tools, &other.tools);
            }
            combined.tools = tools;
        }
        let spoken = |at: usize| records[at].entries.iter().flatten().any(is_of_driver);
        if fullest.is_some_and(spoken) && combined.facts.status == Some(CallStatus::Completed) {
            // An earlier failure is not how the call ended.
            let mut of_talk = order.iter().rev().filter(|at| records[**at].kind > RecordKind::Failure);
            combined.facts.termination_reason = of_talk.find_map(|at| records[*at].facts.termination_reason.clone());
        }
        if let Some(selected) = fullest {
            let mut entries = records[selected].entries.take().unwrap_or_default();
            for other in others_with_marks(&records, &order, selected) {
                if other.kind == records[selected].kind {
                    redact_entries(&mut entries, other.entries.as_deref().unwrap_or_default());
                }
            }
            combined.transcript = Some(entries);
        }
        combined
    }
}

/// Returns whether the driver said or did something.
fn is_of_driver(entry: &Entry) -> bool {
    entry.speaker == Speaker::Driver && entry.kind.is_human()
}

/// Returns the records whose marks are used in the words of a selected one, if it is not itself preferred unredacted.
fn others_with_marks<'a>(
    records: &'a [Record],
    order: &'a [usize],
    selected: usize,
) -> impl Iterator<Item = &'a Record> + use<'a> {
    let is_redacted = !records[selected].unredacted;
    let others = order.iter().filter(move |at| is_redacted && **at != selected);
    others.map(|at| &records[*at]).filter(|other| !other.unredacted)
}

/// The words of a call beside its transcript.
#[derive(Default)]
struct SelectedWords {
    summary: Option<String>,
    title: Option<String>,
    analysis: Option<String>,
}

impl SelectedWords {
    /// Selects the words of the highest-ranked records that have them, with the marks of all others. Removes the words
    /// that are not used from their records.
    fn select(records: &mut [Record], order: &[usize], uses: &[WordsUse]) -> Self {
        let selected = |text: fn(&Facts) -> &Option<String>| {
            let of_use = |wanted: WordsUse| {
                let mut ranked = order.iter().rev().filter(|at| uses[**at] == wanted);
                ranked.find_map(|at| text(&records[*at].facts).as_ref())
            };
            let mut selected = of_use(WordsUse::Full).or_else(|| of_use(WordsUse::Fallback)).cloned();
            if records.len() > 1 {
                let all: Vec<_> =
                    records.iter().map(|record| (text(&record.facts).as_deref(), record.unredacted)).collect();
                redact_text(&mut selected, &all);
            }
            selected
        };
        let words = Self {
            summary: selected(|facts| &facts.summary),
            title: selected(|facts| &facts.title),
            analysis: selected(|facts| &facts.analysis),
        };
        for (record, words_use) in records.iter_mut().zip(uses) {
            if *words_use == WordsUse::Ignored {
                remove_words(record);
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AnswerClaims, CallOutcome, CallResult, TurnKind};
    use serde_json::json;

    /// A record with its words and its second.
    fn record(second: i64, words: &[&str], summary: Option<&str>) -> Record {
        let entry = |(index, words): (usize, &&str)| json!({"index": index, "speaker": "driver", "message": words});
        let entries: Vec<_> = words.iter().enumerate().map(entry).collect();
        let mut record: Record = serde_json::from_value(json!({
            "conversation_id": "c", "kind": "conversation", "event_time": null, "facts": {}, "entries": entries,
        }))
        .unwrap();
        record.event_time = Timestamp::from_unix_micros(second * 1_000_000);
        record.facts.summary = summary.map(str::to_owned);
        record.facts.analysis = summary.map(|summary| json!({"transcript_summary": summary}).to_string());
        record
    }

    fn with_tool(record: Record, arguments: &str, result: &str) -> Record {
        let tool = json!({"index": 0, "request_id": "r", "name": "x", "purpose": "tool", "arguments": arguments,
            "result": result});
        Record { tools: vec![serde_json::from_value(tool).unwrap()], ..record }
    }

    fn shown(merged: &MergedRecord) -> String {
        let words = merged.transcript.iter().flatten().map(|entry| entry.message.as_str());
        let tools = merged.tools.iter().flat_map(|tool| [tool.arguments.as_deref(), tool.result.as_deref()]);
        let facts = [merged.facts.summary.as_deref(), merged.facts.analysis.as_deref()];
        words.map(Some).chain(facts).chain(tools).map(|text| text.unwrap_or("-")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn words_that_any_record_has_redacted_are_redacted_everywhere_in_any_order() {
        let unredacted = |record: Record| Record { unredacted: true, ..record };
        let analysis = |summary: &str| json!({"transcript_summary": summary}).to_string();
        let redacted = format!("Yes|[NAME] agreed|{}", analysis("[NAME] agreed"));
        let open = format!("Yes|Zoe agreed|{}", analysis("Zoe agreed"));
        for (case, first, second, wanted) in [
            (
                "a summary",
                record(1, &["Yes"], Some("[NAME] agreed")),
                record(2, &["Yes"], Some("Zoe agreed")),
                redacted.clone(),
            ),
            (
                "a summary of a longer record",
                record(1, &["Yes"], Some("[NAME] agreed")),
                record(2, &["Yes", "Bye"], Some("Zoe agreed")),
                redacted.replacen("Yes|", "Yes|Bye|", 1),
            ),
            (
                "a summary in other words, of a copy",
                record(1, &["I am [NAME]"], Some("[NAME] agreed")),
                record(2, &["I am Zoe"], Some("It is Zoe")),
                redacted.replacen("Yes", "I am [NAME]", 1),
            ),
            (
                "a copy whose redacted record has no summary",
                record(1, &["I am [NAME]"], None),
                record(2, &["I am Zoe"], Some("It is Zoe")),
                "I am [NAME]|-|-".to_owned(),
            ),
            (
                "words of a longer record",
                record(1, &["I am [NAME]"], None),
                record(2, &["I am Zoe", "Bye"], None),
                "I am [NAME]|Bye|-|-".to_owned(),
            ),
            (
                "a tool",
                with_tool(record(1, &["Yes"], None), r#"{"who":"[NAME]","n":1}"#, "for [NAME]"),
                with_tool(record(2, &["Yes"], None), r#"{"who":"Zoe","n":1}"#, "for Zoe"),
                r#"Yes|-|-|{"who":"[NAME]","n":1}|for [NAME]"#.to_owned(),
            ),
            (
                "preferred words",
                record(2, &["Yes"], Some("[NAME] agreed")),
                unredacted(record(1, &["Yes"], Some("Zoe agreed"))),
                open,
            ),
            (
                "preferred words without a summary",
                record(2, &["I am [NAME]"], Some("[NAME] agreed")),
                unredacted(record(1, &["I am Zoe"], None)),
                redacted.replacen("Yes", "I am Zoe", 1),
            ),
            ("no redaction", record(1, &["Yes"], None), record(2, &["No"], None), "No|-|-".to_owned()),
        ] {
            for records in [[first.clone(), second.clone()], [second, first]] {
                assert_eq!(shown(&MergedRecord::merge(records.to_vec())), wanted, "{case}");
            }
        }
    }

    #[test]
    fn facts_of_a_record_whose_words_are_ignored_are_used() {
        let mut later = record(2, &["Haha sure"], None);
        later.facts.status = Some(CallStatus::Failed);
        later.facts.outcome = Some(CallOutcome::Failure);
        later.facts.details.tags = Some(vec!["a".to_owned()]);
        later.facts.answer = AnswerClaims { call_result: Some(CallResult::Voicemail), ..AnswerClaims::default() };
        let mut first = record(1, &["[laughs] sure"], None);
        first.facts.status = Some(CallStatus::Completed);
        for records in [[first.clone(), later.clone()], [later.clone(), first]] {
            let merged = MergedRecord::merge(records.to_vec());
            assert_eq!(shown(&merged), "[laughs] sure|-|-");
            assert_eq!(merged.facts, later.facts);
            assert_eq!(merged.event_time, later.event_time);
        }
    }

    #[test]
    fn a_call_that_was_established_in_the_end_did_not_end_with_its_failure() {
        let failure = Record { kind: RecordKind::Failure, entries: None, ..record(1, &[], None) };
        for (words, reason, wanted) in [
            (&["Hello"][..], None, None),
            (&["Hello"], Some("hung up"), Some("hung up")),
            (&["..."], None, Some("busy")),
            (&[], None, Some("busy")),
        ] {
            let mut failure = failure.clone();
            failure.facts.status = Some(CallStatus::Failed);
            failure.facts.termination_reason = Some("busy".to_owned());
            let mut talk = record(2, words, None);
            talk.entries.iter_mut().flatten().for_each(|entry| entry.kind = TurnKind::of_words(entry.message.as_str()));
            talk.facts.status = Some(CallStatus::Completed);
            talk.facts.termination_reason = reason.map(str::to_owned);
            for records in [[failure.clone(), talk.clone()], [talk, failure]] {
                let merged = MergedRecord::merge(records.to_vec());
                assert_eq!(merged.facts.termination_reason.as_deref(), wanted, "{words:?}");
            }
        }
    }
}
