//! Exports contain what is understood of calls and turns.

use crate::support::export::{export, exported};
use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::understood::{change, whole};
use serde_json::{Value, json};

/// The rows of a CSV file, each by its columns.
fn rows(file: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    let names = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        let cells = names.iter().zip(record.iter()).map(|(name, cell)| (name.to_owned(), json!(cell)));
        Value::Object(cells.collect())
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn download(service: &Service, query: &str) -> String {
    service.get(&format!("/api/v1/export?{query}")).expect(200).text
}

#[test]
fn a_row_of_a_turn_tells_its_kind_and_who_said_it() {
    let service = whole();
    let file = download(&service, "format=csv");
    let turns = rows(&file);
    let column = |name: &str| turns.iter().map(|row| row[name].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(column("kind"), ["silence", "speech", "keypad", "context", "speech", "speech"]);
    assert_eq!(column("said_by"), ["nobody", "agent", "driver", "nobody", "driver", "agent"]);
    assert_eq!(column("metrics")[1], "{\"convai_llm_service_ttfb\":0.25}");
    assert_eq!(column("answered_by"), ["human"; 6]);
    assert_eq!(column("channel"), ["phone"; 6]);
    assert_eq!(turns[0].get("tool_calls"), None);
    let with_tools = rows(&download(&service, "format=csv&include=tools"));
    let called: Vec<Value> = with_tools
        .iter()
        .map(|row| match row["tool_calls"].as_str().unwrap() {
            "" => json!([]),
            text => serde_json::from_str::<Value>(text).unwrap(),
        })
        .collect();
    let positions: Vec<Vec<i64>> = called
        .iter()
        .map(|calls| calls.as_array().unwrap().iter().map(|call| call["position"].as_i64().unwrap()).collect())
        .collect();
    assert_eq!(positions, [vec![1], vec![2], vec![], vec![], vec![], vec![3]]);
    let listed = service.get("/api/v1/calls/conv_a/tool_calls").expect(200).json();
    assert_eq!(called[1][0], listed["data"][1]);
}

#[test]
fn a_sub_agent_answers_requests_not_the_driver() {
    let service = whole();
    let count = |format: &str, name: &str| {
        let file = download(&service, &format!("format={format}&conversation_id=conv_a"));
        // The heading of a call names its driver.
        file.lines().filter(|line| line.contains(name) && *line != "Driver: not known").count()
    };
    let formats = [("text", "Driver"), ("markdown", "**Driver**"), ("vtt", "<v Driver>"), ("srt", "Driver")];
    let request = |name: &str| name.replace("Driver", "Request");
    let before = formats.map(|(format, name)| (count(format, name), count(format, &request(name))));
    assert!(before.iter().all(|(drivers, requests)| *drivers > 0 && *requests == 0), "{before:?}");
    change(&service, "UPDATE calls SET initiation_source = 'subagent_tool'");
    let after = formats.map(|(format, name)| (count(format, &request(name)), count(format, name)));
    assert_eq!(after, before);
}

#[test]
fn transcripts_label_what_is_no_speech_and_show_tool_calls_if_asked() {
    let service = whole();
    let labels = |format: &str, more: &str, label: &str| -> usize {
        download(&service, &format!("format={format}&conversation_id=conv_a{more}")).matches(label).count()
    };
    for format in ["text", "markdown", "vtt", "srt"] {
        for label in ["(silence)", "(keypad)", "(context)"] {
            let shown = if format == "markdown" { format!("*{label}*") } else { label.to_owned() };
            assert_eq!(labels(format, "", &shown), 1, "{format} {label}");
            assert_eq!(labels(format, "&kind=speech", &shown), 0, "{format} {label}");
        }
        assert_eq!(labels(format, "", "set_point"), 0, "{format}");
        let name = if format == "markdown" { "set\\_point" } else { "set_point" };
        assert_eq!(labels(format, "&include=tools", name), 1, "{format}");
        assert_eq!(
            labels(format, "&include=tools", "failed)")
                + labels(format, "&include=tools", "failed*")
                + labels(format, "&include=tools", "failed:"),
            1,
            "{format}"
        );
    }
    // In the place that they have.
    let text = download(&service, "format=text&include=tools");
    let lines: Vec<_> = text.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    let at = |words: &str| lines.iter().position(|line| line.contains(words)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!((at("greeting"), at("number 1:"), at("set_point"), at("number 2:")), (0, 2, 3, 4), "{text}");
    assert_eq!(at("end_call"), lines.len() - 1, "{text}");
    assert!(lines[3].contains("{} → {\"ok\":true}"), "{text}");
    change(&service, "UPDATE calls SET answered_by = 'voicemail'");
    assert_eq!(labels("text", "", "Mailbox"), 2);
    assert_eq!(labels("text", "", "] Driver"), 0);
    assert_eq!(labels("vtt", "", "<v Mailbox>"), 2);
}

#[test]
fn kinds_can_be_left_out_but_never_of_an_archive() {
    let service = whole();
    let count = |query: &str| rows(&download(&service, query)).len();
    assert_eq!(count("format=csv"), 6);
    assert_eq!(count("format=csv&kind=speech"), 3);
    for (query, field) in [
        ("format=jsonl&kind=speech", "kind"),
        ("kind=speech", "kind"),
        ("format=calls-csv&kind=speech", "kind"),
        ("format=calls-csv&include=tools", "include"),
        ("format=csv&kind=noise", "kind"),
        ("format=csv&include=all", "include"),
    ] {
        let error = service.get(&format!("/api/v1/export?{query}")).expect_error(400);
        assert!(error["details"].as_str().unwrap().starts_with(&format!("{field}: ")), "{query}: {error}");
    }
    let database = service.database().to_owned();
    for flags in [
        &["--format", "csv", "--kind", "speech,keypad"][..],
        &["--format", "csv", "--kind", "speech", "--kind", "keypad"],
    ] {
        assert_eq!(rows(&exported(&database, flags)).len(), 4, "{flags:?}");
    }
    for flags in [
        &["--format", "jsonl", "--kind", "speech"][..],
        &["--format", "calls-csv", "--kind", "speech"],
        &["--format", "calls-csv", "--include", "tools"],
        &["--format", "csv", "--kind", "noise"],
    ] {
        assert_eq!(export(&database, flags).status.code(), Some(2), "{flags:?}");
    }
    let text = exported(&database, &["--format", "text", "--include", "tools"]);
    assert_eq!(text, download(&service, "format=text&include=tools"));
}

#[test]
fn a_table_of_calls_has_a_row_for_each_call_also_without_turns() {
    let service = whole();
    service.put("/api/v1/drivers/7", &json!({"name": "Jo, \"J\"", "phone_number": "+15550100007"})).expect(201);
    service.put("/api/v1/dispatches/conv_b", &json!({"driver_id": 7})).expect(201);
    service.deliver(&turn("conv_b", 1)).expect(201);
    change(
        &service,
        "INSERT INTO calls (conversation_id, call_start_time, call_end_time, status, termination_reason, \
            answered_by, created_at, updated_at) \
         VALUES ('conv_c', '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:31.700000Z', 'failed', 'no-answer', \
            'no_answer', '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z')",
    );
    let file = download(&service, "format=calls-csv");
    let calls = rows(&file);
    assert_eq!(calls.len(), 3);
    // Each column that the API has too says the same.
    for row in &calls {
        let id = row["conversation_id"].as_str().unwrap();
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        let mut compared = 0;
        for (name, cell) in row.as_object().unwrap() {
            let Some(value) = call.get(name) else { continue };
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Array(values) if values.is_empty() => String::new(),
                other => other.to_string(),
            };
            assert_eq!(cell, &json!(text), "{id} {name}");
            compared += 1;
        }
        assert!(compared > 35, "{compared} columns are those of the API");
    }
    assert_eq!(
        (&calls[1]["driver_name"], &calls[1]["driver_phone_number"]),
        (&json!("Jo, \"J\""), &json!("+15550100007"))
    );
    let failed = &calls[2];
    assert_eq!((&failed["duration_seconds"], &failed["end_reason"]), (&json!("32"), &json!("no_answer")));
    let by_command = exported(service.database(), &["--format", "calls-csv"]);
    assert_eq!(by_command, file);
    assert_eq!(exported(service.database(), &["--format", "calls-csv", "--bom"]), format!("\u{feff}{file}"));
    assert_eq!(rows(&download(&service, "format=calls-csv&status=failed")).len(), 1);
    let answer = service.get("/api/v1/export?format=calls-csv").expect(200);
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
}
