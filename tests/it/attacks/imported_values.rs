//! Imported values obey the rules of received ones, and unstorable ones are reported before a turn is lost.

use crate::support::database::with_long_call;
use crate::support::export::{exported, rich, store};
use crate::support::service::{Service, binary, open, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::CALL;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use transcribe_hook::domain::Timestamp;
use transcribe_hook::export::archived;
use transcribe_hook::store::{Commands as _, Rejection, Write, Written};

const GREATEST: i64 = 1 << 52;

/// A line of the export, what is changed in it, and the field that is named.
type Case = (&'static str, Box<dyn Fn(&mut Value)>, &'static str);

fn set(line: &'static str, pointer: &'static str, value: Value, field: &'static str) -> Case {
    let change = move |line: &mut Value| {
        *line.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
    };
    (line, Box::new(change), field)
}

fn long(length: usize) -> Value {
    json!("x".repeat(length))
}

/// Numbers of rows, of places, and of what refers to them.
fn numbers() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for id in [0, -1, i64::MIN, GREATEST + 1, (1 << 53) - 1, 1 << 53, i64::MAX] {
        cases.push(set("signs", "/id", json!(id), "id"));
        cases.push(set("signs", "/transcriptions/3/id", json!(id), "transcriptions[3].id"));
        cases.push(set("event", "/id", json!(id), "id"));
    }
    for id in [0, -1, 1 << 53, i64::MAX] {
        cases.push(set("driver", "/id", json!(id), "id"));
        cases.push(set("dispatch", "/driver_id", json!(id), "driver_id"));
        cases.push(set("signs", "/driver_id", json!(id), "driver_id"));
    }
    for number in [json!(0), json!(-4), json!(5), json!(i64::MAX), json!("4"), json!(4.5), json!(null)] {
        cases.push(set("signs", "/transcriptions/3/sequence_number", number, "transcriptions[3].sequence_number"));
    }
    for by in [0, -1, 4, 99, i64::MAX, i64::MIN] {
        cases.push(set("signs", "/transcriptions/3/superseded_by", json!(by), "transcriptions[3].superseded_by"));
    }
    let cycle = |line: &mut Value| {
        line["transcriptions"][3]["superseded_by"] = json!(6);
        line["transcriptions"][5]["superseded_by"] = json!(4);
    };
    cases.push(("signs", Box::new(cycle), "transcriptions[3].superseded_by"));
    let places = |line: &mut Value| {
        line["transcriptions"][3]["place"] = json!(1);
        line["transcriptions"][5]["place"] = json!(1);
    };
    cases.push(("signs", Box::new(places), "transcriptions[5].place"));
    let ids = |line: &mut Value| line["transcriptions"][3]["id"] = line["transcriptions"][2]["id"].clone();
    cases.push(("signs", Box::new(ids), "transcriptions[3].id"));
    let keys = |line: &mut Value| {
        line["transcriptions"][3]["delivery_key"] = json!("k");
        line["transcriptions"][4]["delivery_key"] = json!("k");
    };
    cases.push(("signs", Box::new(keys), "transcriptions[4].delivery_key"));
    let tool_time = |line: &mut Value| {
        line["tool_calls"] =
            json!([{"position": 1, "after_place": 0, "name": "a", "purpose": "tool", "at": "x".repeat(27)}]);
    };
    cases.push(("signs", Box::new(tool_time), "tool_calls[0].at"));
    cases
}

/// Cases for the values of turns.
fn of_turns() -> Vec<Case> {
    [
        ("message_text", long(65_537)),
        ("message_text", json!("a\0b")),
        ("message_text", json!(" \n")),
        ("final_text", long(65_537)),
        ("final_text", json!("")),
        ("delivery_key", long(257)),
        ("delivery_key", json!(" ")),
        ("delivery_key", json!(5)),
        ("speaker_type", json!("user")),
        ("source", json!("rumour")),
        ("timestamp", json!("2026-13-28T12:00:05.000000Z")),
        ("timestamp", json!("2026-09-28T12:00:05Z")),
        ("timestamp", json!("2026-09-28T12:00:05.0000000")),
        ("timestamp", json!(1_790_596_805)),
        ("created_at", json!("yesterday at about this hour")),
        ("place", json!(0)),
        ("interrupted", json!(2)),
        ("record_index", json!(-1)),
        ("in_record", json!(2)),
        ("in_record", json!(-1)),
        ("in_record", json!(i64::MAX)),
        ("repeat_key", json!(5)),
        ("repeat_key", json!("5")),
    ]
    .into_iter()
    .map(|(column, value)| {
        let pointer = format!("/transcriptions/3/{column}");
        set("signs", pointer.leak(), value, format!("transcriptions[3].{column}").leak())
    })
    .collect()
}

/// Cases for the values of calls, histories, drivers, dispatches and events.
fn of_other_rows() -> Vec<Case> {
    [
        ("signs", "/turn_count", json!(8)),
        ("signs", "/turn_count", json!(-9)),
        ("signs", "/turn_count", json!(null)),
        ("signs", "/first_turn_time", json!("2026-09-28T12:59:59.000000Z")),
        ("signs", "/last_turn_time", json!(null)),
        ("signs", "/status", json!("done")),
        ("signs", "/direction", json!("sideways")),
        ("signs", "/outcome", json!("maybe")),
        ("signs", "/driver_source", json!("guess")),
        ("signs", "/driver_claims", json!("5")),
        ("signs", "/driver_claims", json!(5)),
        ("signs", "/driver_claims", json!("[]")),
        ("signs", "/driver_claims", json!("{")),
        ("signs", "/analysis", json!("5")),
        ("signs", "/analysis", json!("[1]")),
        ("signs", "/matched", json!(-1)),
        ("signs", "/added", json!(1)),
        ("signs", "/uncompared", json!(-1)),
        ("signs", "/uncompared", json!(i64::MAX)),
        ("signs", "/duration_seconds", json!(-1)),
        ("signs", "/record_event_id", json!(0)),
        ("signs", "/conversation_id", long(257)),
        ("signs", "/conversation_id", json!("  ")),
        ("signs", "/conversation_id", json!("a\0b")),
        ("signs", "/conversation_id", json!(5)),
        ("signs", "/call_end_time", json!("2020-01-01T00:00:00.000000Z")),
        ("signs", "/call_start_time", json!(null)),
        ("signs", "/updated_at", json!("2026-09-28T12:00:05.000000z")),
        ("signs", "/title", long(65_537)),
        ("signs", "/title", json!("a\0b")),
        ("signs", "/title", json!(5)),
        ("signs", "/cost", json!("5")),
        ("recorded", "/history/claims", json!("5")),
        ("recorded", "/history/claims", json!(5)),
        ("recorded", "/history/entries", json!("[]")),
        ("recorded", "/history/entries", json!("{\"-1\":{}}")),
        ("recorded", "/history/conversation_id", json!("conv_signs")),
        ("driver", "/name", json!(" ")),
        ("driver", "/name", long(201)),
        ("driver", "/phone_number", json!("+1")),
        ("driver", "/phone_number", json!("+1 555 010 0042")),
        ("driver", "/created_at", json!("2026-09-28T12:00:05.00000Zx")),
        ("dispatch", "/conversation_id", json!(" ")),
        ("dispatch", "/batch_id", long(257)),
        ("dispatch", "/phone_number", json!("5")),
        ("dispatch", "/dispatched_at", json!("2026-09-31T12:00:05.000000Z")),
        ("record", "/attempts", json!(0)),
        ("record", "/digest", json!({"base64": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})),
        ("record", "/body", json!(5)),
        ("record", "/record", json!("{}")),
        ("record", "/record", json!("5")),
        ("record", "/record", json!(null)),
        ("record", "/outcome", json!("lost")),
        ("record", "/conversation_id", json!("conv_signs")),
        ("record", "/event_time", json!("2026-09-28T24:00:05.000000Z")),
    ]
    .into_iter()
    .map(|(line, pointer, value)| {
        let field = match (line, pointer) {
            // It is the record that does not fit the event any more.
            ("record", "/conversation_id") => "record".to_owned(),
            (_, pointer) => pointer[1..].replace('/', "."),
        };
        set(line, pointer, value, field.leak())
    })
    .collect()
}

#[test]
fn a_value_that_the_service_would_not_store_is_refused_by_its_field_and_nothing_of_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    rich(&database);
    let text = exported(&database, &["--format", "jsonl"]);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |what: &str| -> Value {
        let is = |line: &&Value| match what {
            "signs" => line["type"] == "call" && line["conversation_id"] == "conv_signs",
            "recorded" => line["type"] == "call" && line["conversation_id"] == CALL,
            "record" => line["type"] == "event" && line["outcome"] == "applied",
            kind => line["type"] == kind,
        };
        lines.iter().find(is).unwrap_or_else(|| panic!("no {what}")).clone()
    };
    let other = store(&folder.path().join("other.db"));
    let restore = |line: &Value| {
        let archived = archived(line.to_string().as_bytes()).unwrap();
        other.apply(Timestamp::now(), &[Write::Restore(Box::new(archived))]).unwrap().remove(0)
    };
    for driver in lines.iter().filter(|line| line["type"] == "driver") {
        assert_eq!(restore(driver), Ok(Written::Restored(true)));
    }
    let cases: Vec<Case> = numbers().into_iter().chain(of_turns()).chain(of_other_rows()).collect();
    let rows = || -> i64 {
        let connection = open(&folder.path().join("other.db"));
        let tables = ["calls", "call_transcriptions", "call_histories", "webhook_events", "call_dispatches", "drivers"];
        let count =
            |table| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
        tables.iter().map(|table| count(table).unwrap()).sum()
    };
    let before = rows();
    for (line, change, field) in &cases {
        let mut changed = find(line);
        change(&mut changed);
        match restore(&changed) {
            Err(Rejection::Unfit(problem)) => assert_eq!(&problem.field, field, "{line}: {problem}"),
            other => panic!("{line}, {field}: {other:?}"),
        }
        assert_eq!(rows(), before, "{line}, {field}");
    }
    // The greatest numbers that may be are taken, and leave room.
    let mut greatest = find("signs");
    greatest["transcriptions"][8]["id"] = json!(GREATEST);
    assert_eq!(restore(&greatest), Ok(Written::Restored(true)));
    let next = turn("conv_next", 1).to_string();
    let next = Write::AppendTurn(transcribe_hook::elevenlabs::turn::parse_turn(next.as_bytes(), None).unwrap());
    let outcome = other.apply(Timestamp::now(), &[next]).unwrap().remove(0);
    assert!(matches!(outcome, Ok(Written::Turn(turn)) if turn.transcription_id == GREATEST + 1), "{outcome:?}");
    drop(other);
    let out = binary().args(["check", "--database"]).arg(folder.path().join("other.db")).output().unwrap();
    assert!(out.status.success(), "what follows them is no problem: {out:?}");
}

#[test]
fn a_turn_that_a_trigger_of_somebody_else_drops_without_a_word_is_not_acknowledged() {
    let service = Service::start();
    let change = |sql: &str| rusqlite::Connection::open(service.database()).unwrap().execute_batch(sql).unwrap();
    service.deliver(&turn("conv_a", 1)).expect(201);
    for table in ["call_transcriptions", "calls"] {
        change(&format!("CREATE TRIGGER theirs BEFORE INSERT ON {table} BEGIN SELECT raise(IGNORE); END"));
        service.deliver(&turn("conv_b", 1)).expect_error(500);
        wait_for("it to show", || (service.get("/readyz").status == 503).then_some(()));
        change("DROP TRIGGER theirs");
    }
    service.deliver(&turn("conv_a", 2)).expect(201);
    service.deliver(&turn("conv_b", 1)).expect(201);
    // What deletes rows again shows, too, before long.
    change(
        "CREATE TRIGGER theirs AFTER INSERT ON call_transcriptions BEGIN DELETE FROM call_transcriptions WHERE \
         id = new.id; END",
    );
    wait_for("it to show", || (service.get("/readyz").status == 503).then_some(()));
    change("DROP TRIGGER theirs");
    wait_for("it to be over", || (service.get("/readyz").status == 200).then_some(()));
}

#[test]
fn a_service_that_can_store_no_turn_is_not_ready_and_an_exhausted_number_is_told_of_and_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let change = |sql: &str| rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    let status = |wanted: u16| {
        // What was stored in the last five seconds still counts.
        wait_for("it to show", || {
            // That other things are stored shows nothing.
            service.put("/api/v1/drivers/7", &json!({"name": format!("{:?}", Instant::now())}));
            (service.get("/readyz").status == wanted).then_some(())
        });
    };
    // A trigger of somebody else's.
    change("CREATE TRIGGER theirs BEFORE INSERT ON call_transcriptions BEGIN SELECT raise(ABORT, 'no'); END");
    status(503);
    service.deliver(&turn("conv_a", 2)).expect_error(500);
    change("DROP TRIGGER theirs");
    status(200);
    // What an import of an earlier version could do.
    change("UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'call_transcriptions'");
    status(503);
    service.deliver(&turn("conv_a", 2)).expect_error(500);
    let calls: i64 = open(&database).query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(calls, 1, "what is tried leaves nothing");
    drop(service);
    let check = || -> Value {
        let out = binary().args(["check", "--json", "--database"]).arg(&database).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    assert_eq!(check()["problems"][0]["check"], "numbers");
    let service = Service::start_on(&database, &[]);
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["transcription_id"], 2);
    service.get("/readyz").expect(200);
    wait_for("the new turn to be found", || {
        let found = service.get("/api/v1/search?q=number").expect(200).json();
        (found["data"].as_array().unwrap().len() == 2).then_some(())
    });
    drop(service);
    assert_eq!(check()["ok"], true);
    // With a row of such a number, it is named what to do, and that helps.
    let change = |sql: &str| rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    change("UPDATE call_transcriptions SET id = 9223372036854775807 WHERE id = 2");
    change("UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'call_transcriptions'");
    let problem = check()["problems"][0]["problem"].clone();
    assert!(problem.as_str().unwrap().contains("conv_a"), "{problem}");
    let erased =
        binary().args(["erase", "--conversation", "conv_a", "--yes", "--database"]).arg(&database).output().unwrap();
    assert!(erased.status.success(), "{erased:?}");
    let service = Service::start_on(&database, &[]);
    service.deliver(&turn("conv_b", 1)).expect(201);
    service.get("/readyz").expect(200);
    drop(service);
    assert_eq!(check()["ok"], true);
}

fn import(database: &Path, file: &Path) -> Command {
    let mut command = binary();
    command.args(["import", "calls", "--json"]).arg(file).arg("--database").arg(database);
    command
}

fn counts(out: &Output) -> Value {
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_call_of_any_length_is_restored_whole_or_not_at_all_while_others_hardly_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (database, file) = (folder.path().join("calls.db"), folder.path().join("calls.jsonl"));
    with_long_call(&database, "conv_long", 20_000, "words");
    std::fs::write(&file, exported(&database, &["--format", "jsonl"])).unwrap();
    let other = folder.path().join("other.db");
    let service = Service::start_on(&other, &["--log-level", "info,http=off"]);
    let turns = || -> i64 {
        let sql = "SELECT count(*) FROM call_transcriptions WHERE conversation_id = 'conv_long'";
        open(&other).query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let unfinished =
        || -> i64 { open(&other).query_row("SELECT count(*) FROM unfinished_calls", [], |row| row.get(0)).unwrap() };
    // Killed in its midst: the next import begins again, as a start of the service does.
    for by_start in [false, true] {
        let mut child = import(&other, &file).stdout(Stdio::null()).spawn().unwrap();
        wait_for("some turns", || (turns() > 0).then_some(()));
        service.deliver(&turn("conv_long", 1)).expect_error(503);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(unfinished(), 1, "it is killed in its midst");
        if by_start {
            break;
        }
        let check = binary().args(["check", "--database"]).arg(&other).output().unwrap();
        assert!(check.status.success(), "{check:?}");
        assert!(exported(&other, &["--format", "jsonl"]).is_empty(), "no half call leaves");
        // As the next round's import does first.
        let out = import(&other, Path::new("/dev/null")).output().unwrap();
        assert_eq!(counts(&out)["stored"], 0);
        assert_eq!((turns(), unfinished()), (0, 0));
    }
    drop(service);
    let service = Service::start_on(&other, &["--log-level", "info,http=off"]);
    wait_for("the half call to be gone", || (unfinished() == 0 && turns() == 0).then_some(()));
    // While turns come.
    let mut child = import(&other, &file).stdout(Stdio::piped()).spawn().unwrap();
    let (mut waits, mut n) = (Vec::new(), 0);
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let start = Instant::now();
        service.deliver(&turn("conv_a", n)).expect(201);
        waits.push(start.elapsed());
        n += 1;
    }
    let out = child.wait_with_output().unwrap();
    assert_eq!(counts(&out), json!({"stored": 1, "unchanged": 0, "bad": 0}));
    let took = began.elapsed();
    waits.sort();
    let longest = waits[waits.len() - 1];
    println!("{} turns beside the import, the slowest {longest:?}", waits.len());
    let median = waits[waits.len() / 2];
    assert!(waits.len() > 10 && longest * 3 < took, "{} turns, the slowest {longest:?} of {took:?}", waits.len());
    assert!(median < Duration::from_millis(100), "{median:?}");
    assert_eq!(turns(), 20_000);
    // It is equal, is found again, and goes on.
    let again = exported(&other, &["--format", "jsonl", "--conversation-id", "conv_long"]);
    assert!(again == std::fs::read_to_string(&file).unwrap(), "the same rows");
    assert_eq!(counts(&import(&other, &file).output().unwrap())["unchanged"], 1);
    assert_eq!(service.deliver(&turn("conv_long", 1)).expect(201).json()["sequence_number"], 20_001);
    // A slice that cannot be stored takes the others with it.
    service.delete("/api/v1/calls/conv_a").expect(204);
    drop(service);
    let third = folder.path().join("third.db");
    let mut line: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let service = Service::start_on(&third, &[]);
    service.deliver(&turn("conv_first", 1)).expect(201);
    drop(service);
    let turns_of_file = line["transcriptions"].as_array_mut().unwrap();
    for (n, turn) in (2_i64..).zip(turns_of_file.iter_mut()) {
        turn["id"] = json!(n);
        turn["repeat_key"] = json!((9_i64 << 32) | n);
    }
    turns_of_file[15_000]["id"] = json!(1);
    line["id"] = json!(9);
    std::fs::write(&file, line.to_string()).unwrap();
    let out = import(&third, &file).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("line 1: transcriptions[15000].id"), "{said}");
    let left: i64 = open(&third).query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1, "nothing of it is stored");
    let check = binary().args(["check", "--database"]).arg(&third).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}
