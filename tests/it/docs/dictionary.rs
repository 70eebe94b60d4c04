//! The dictionary of columns for analysts: units, and when a value is missing, which the schema's comments do not say
//! for each column. Both are compared with sample calls.

use crate::support::sample_calls::load_sample_calls;
use crate::support::service::Service;
use crate::support::whole_call::SECRET;
use rusqlite::types::Value;

/// The views whose columns have a unit and a rule for NULL.
pub(super) const VIEWS: [&str; 2] = ["call_overview", "transcript"];

/// A value that is never missing.
const NEVER: &str = "never";

/// A fact that only a record has.
const UNTOLD: &str = "if no record tells it";

/// Units and rules for NULL by column, of both views and of the table of calls. Equal names mean the same.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("conversation_id", "", NEVER),
    ("status", "", NEVER),
    ("driver_id", "", "while the driver is not known"),
    ("driver_name", "", "while the driver is not known"),
    ("driver_phone_number", "E.164", "while the driver is not known, or without a number"),
    ("driver_source", "", "while the driver is not known"),
    ("driver_conflict", "", "without a conflict"),
    ("call_start_time", "UTC", NEVER),
    ("call_end_time", "UTC", "while the call runs, or if its end is not known"),
    ("duration_seconds", "seconds", "while the call runs, or if its end is not known"),
    ("turn_count", "turns", NEVER),
    ("agent_turns", "turns", NEVER),
    ("driver_turns", "turns", NEVER),
    ("first_turn_time", "UTC", "without turns"),
    ("last_turn_time", "UTC", "without turns"),
    ("outcome", "", UNTOLD),
    ("termination_reason", "", UNTOLD),
    ("title", "", UNTOLD),
    ("summary", "", UNTOLD),
    ("answered_by", "", "without any information"),
    ("answered_by_source", "", "without any information"),
    ("answered_by_conflict", "", "without a conflict"),
    ("channel", "", "without a record"),
    ("direction", "", UNTOLD),
    ("agent_id", "", UNTOLD),
    ("agent_name", "", UNTOLD),
    ("agent_number", "", UNTOLD),
    ("external_number", "", UNTOLD),
    ("main_language", "", UNTOLD),
    ("environment", "", UNTOLD),
    ("parent_conversation_id", "", "if the conversation is no sub-agent's"),
    ("campaign", "", UNTOLD),
    ("tags", "JSON", "without tags"),
    ("cost_usd", "US dollars", UNTOLD),
    ("cost", "credits", UNTOLD),
    ("queue_wait_seconds", "seconds", UNTOLD),
    ("accepted_time", "UTC", UNTOLD),
    ("sentiment", "", UNTOLD),
    ("record_complete", "0 or 1", "without a record, or if its counts are missing"),
    ("tool_calls", "calls of tools", NEVER),
    ("tool_errors", "calls of tools", NEVER),
    ("end_reason", "", "while the call runs, or if nothing tells it"),
    ("user_id", "", UNTOLD),
    ("batch_id", "", UNTOLD),
    ("branch_id", "", UNTOLD),
    ("version_id", "", UNTOLD),
    ("conversation_product", "", UNTOLD),
    ("initiation_source", "", UNTOLD),
    ("live_only", "turns", "without a record"),
    ("matched", "turns", "without a record"),
    ("added", "turns", "without a record"),
    ("corrected", "turns", "without a record"),
    ("repeated", "turns", "without a record"),
    ("created_at", "UTC", NEVER),
    ("updated_at", "UTC", NEVER),
    ("sequence_number", "", NEVER),
    ("place", "", "without a record"),
    ("timestamp", "UTC", NEVER),
    ("speaker_type", "", NEVER),
    ("message_text", "", NEVER),
    ("text_as_heard", "", NEVER),
    ("interrupted", "0 or 1", UNTOLD),
    ("call_status", "", NEVER),
    ("source", "", NEVER),
    ("transcription_id", "", NEVER),
    ("in_record", "0 or 1", "without a record after the call"),
    ("record_time", "UTC", UNTOLD),
    ("said_at", "UTC", NEVER),
    ("kind", "", NEVER),
    ("metrics", "JSON, seconds", "if ElevenLabs measured nothing"),
    ("said_by", "", NEVER),
];

/// Returns the unit of a column and when it is NULL.
#[track_caller]
pub(super) fn unit_and_null(column: &str) -> (&'static str, &'static str) {
    let found = COLUMNS.iter().find(|(name, ..)| *name == column);
    let Some((_, unit, null)) = found else { panic!("{column} has neither a unit nor a rule") };
    (unit, null)
}

/// Returns the columns of the table of calls.
pub(super) fn header_of_calls_csv(service: &Service) -> Vec<String> {
    let table = service.get("/api/v1/export?format=calls-csv").expect(200).text;
    table.lines().next().unwrap().split(',').map(str::to_owned).collect()
}

/// A column of a source, with its values as text; `None` where there is none.
type Column = (String, String, Vec<Option<String>>);

fn columns_of_views(service: &Service) -> Vec<Column> {
    let connection = service.sqlite();
    let mut columns = Vec::new();
    for view in VIEWS {
        let mut select = connection.prepare(&format!("SELECT * FROM {view}")).unwrap();
        let names: Vec<_> = select.column_names().into_iter().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| (0..names.len()).map(|at| row.get::<_, Value>(at)).collect();
        let rows: Vec<Vec<Value>> = select.query_map([], row).unwrap().map(Result::unwrap).collect();
        assert!(rows.len() > 200);
        for (at, name) in names.iter().enumerate() {
            let text = |value: &Value| match value {
                Value::Null => None,
                Value::Integer(number) => Some(number.to_string()),
                Value::Real(number) => Some(number.to_string()),
                Value::Text(text) => Some(text.clone()),
                Value::Blob(_) => panic!("{view}.{name} is no text"),
            };
            columns.push((view.to_owned(), name.clone(), rows.iter().map(|row| text(&row[at])).collect()));
        }
    }
    columns
}

fn columns_of_calls_csv(service: &Service) -> Vec<Column> {
    let table = service.get("/api/v1/export?format=calls-csv").expect(200).text;
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let names: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let value = |at: usize| rows.iter().map(move |row| Some(row[at].to_owned()).filter(|text| !text.is_empty()));
    names.into_iter().enumerate().map(|(at, name)| ("calls-csv".to_owned(), name, value(at).collect())).collect()
}

#[test]
fn units_and_missing_values_are_as_the_dictionary_says() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    load_sample_calls(&service, 300);
    for (source, name, values) in columns_of_views(&service).into_iter().chain(columns_of_calls_csv(&service)) {
        let (unit, null) = unit_and_null(&name);
        let missing = values.iter().filter(|value| value.is_none()).count();
        assert_eq!(null == NEVER, missing == 0, "{source}.{name}: {missing} of {} are missing", values.len());
        for value in values.iter().flatten() {
            let fits = match unit {
                "" => true,
                "UTC" => value.len() == 27 && value.ends_with('Z') && value.as_bytes()[10] == b'T',
                "0 or 1" => matches!(&**value, "0" | "1" | "true" | "false"),
                "E.164" => value.starts_with('+') && value[1..].bytes().all(|digit| digit.is_ascii_digit()),
                "JSON" | "JSON, seconds" => serde_json::from_str::<serde_json::Value>(value).is_ok(),
                _ => value.parse::<f64>().is_ok_and(|number| number >= 0.0),
            };
            assert!(fits, "{source}.{name}: {value} is not in {unit}");
        }
    }
}

#[test]
fn the_dictionary_has_no_column_that_is_gone() {
    let service = Service::start();
    let connection = service.sqlite();
    for (name, ..) in COLUMNS {
        let in_view = |view: &&str| {
            let sql = format!("SELECT count(*) FROM pragma_table_info('{view}') WHERE name = ?1");
            connection.query_row(&sql, [name], |row| row.get::<_, i64>(0)).unwrap() > 0
        };
        let there = VIEWS.iter().any(in_view) || header_of_calls_csv(&service).iter().any(|column| column == name);
        assert!(there, "no view has {name}");
    }
}
