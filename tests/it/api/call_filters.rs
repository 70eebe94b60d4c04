//! The filters of calls: lists, exports, searches and statistics select the same calls as a plain model of the filters.

use crate::support::export::store;
use crate::support::random::Random;
use crate::support::service::{Service, open, run, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Calls in the database: more than a list checks one by one before it reads an index.
const CALLS: usize = 900;

/// A stored call, by the names of its columns, with the names of its tools under `tools`, those of its alerts under
/// `alerts`, and its only turn under `message`.
type Facts = Value;

/// Draws one of these values. `null` is a value, too.
fn one_of(random: &mut Random, values: &[Value]) -> Value {
    values[random.below(values.len())].clone()
}

fn draw(random: &mut Random, n: usize) -> Facts {
    let day = 1 + random.below(28);
    // Some calls start at the same time.
    let start = format!("2026-09-{day:02}T{:02}:00:00.000000Z", random.below(24));
    let seconds = [0, 7, 59, 60, 61, 300, 599, 600, 601, 3599, 4000][random.below(11)];
    let end = format!("2026-09-{day:02}T{:02}:59:59.000000Z", 23);
    let has_end = random.coin();
    json!({
        "id": n + 1,
        "conversation_id": format!("conv_{n}"),
        "call_start_time": start,
        "call_end_time": if has_end { json!(end) } else { json!(null) },
        "duration_seconds": if random.below(4) > 0 { json!(seconds) } else { json!(null) },
        "status": one_of(random, &[json!("completed"), json!("completed"), json!("failed"), json!("in_progress")]),
        "driver_id": one_of(random, &[json!(null), json!(1), json!(2)]),
        "answered_by": one_of(random, &[json!(null), json!("human"), json!("human"), json!("voicemail"), json!("fax"),
            json!("unknown")]),
        "outcome": one_of(random, &[json!(null), json!("success"), json!("failure"), json!("unknown")]),
        "direction": one_of(random, &[json!(null), json!("inbound"), json!("outbound")]),
        "channel": one_of(random, &[json!(null), json!("phone"), json!("web"), json!("unknown")]),
        "agent_id": one_of(random, &[json!(null), json!("agent_a"), json!("agent_b")]),
        "main_language": one_of(random, &[json!(null), json!("en"), json!("es"), json!("pl")]),
        "environment": one_of(random, &[json!(null), json!("production"), json!("staging")]),
        "external_number": one_of(random, &[json!(null), json!("+15550100042"), json!("+1 (555) 010-0043"),
            json!("+49 171.1230042")]),
        "tags": one_of(random, &[json!(null), json!("[\"vip\"]"), json!("[\"vip\",\"night\"]"), json!("[\"night\"]")]),
        "matched": one_of(random, &[json!(null), json!(3)]),
        "parent_conversation_id": if random.below(8) == 0 { json!("conv_parent") } else { json!(null) },
        "initiation_source": one_of(random, &[json!(null), json!("twilio"), json!("twilio"), json!("subagent_tool")]),
        "has_audio": random.below(2),
        "tools": (0..random.below(3)).map(|_| one_of(random, &[json!("end_call"), json!("lookup")])).collect::<Value>(),
        "tool_error": 0,
        "message": one_of(random, &[json!("The zebra is here."), json!("The zebra is here: dock 4711?!"),
            json!("A zebra, Señor; 码头在这里."), json!("THE ZEBRA IS conv_7, not here.")]),
        "alerts": one_of(random, &[json!([]), json!([]), json!(["fire"]), json!(["fire", "Tired driver"])]),
    })
}

/// Stores calls with one turn each, first as they begin, then with their facts, as the service does.
fn fill(database: &Path, calls: &mut [Facts], random: &mut Random) {
    drop(store(database));
    let connection = rusqlite::Connection::open(database).unwrap();
    let now = "2026-10-01T00:00:00.000000Z";
    for (id, name) in [(1, "Maria"), (2, "Jo")] {
        let sql = "INSERT INTO drivers (id, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)";
        connection.execute(sql, rusqlite::params![id, name, now]).unwrap();
    }
    connection.execute_batch("BEGIN").unwrap();
    for call in calls {
        let id = call["conversation_id"].as_str().unwrap().to_owned();
        let sql = "INSERT INTO calls (id, conversation_id, call_start_time, created_at, updated_at, turn_count, \
                   first_turn_time, last_turn_time) VALUES (?1, ?2, '2026-08-01T00:00:00.000000Z', ?3, ?3, 1, ?4, ?4)";
        let turn_time = &call["call_start_time"].as_str().unwrap();
        connection.execute(sql, rusqlite::params![call["id"].as_i64(), id, now, turn_time]).unwrap();
        let sql = "INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, \
                   sequence_number, created_at, source, repeat_key, kind) \
                   VALUES (?1, 'driver', ?5, ?2, 1, ?3, 'live', 7, ?4)";
        let kind = ["speech", "silence"][random.below(2)];
        let message = call["message"].as_str();
        connection.execute(sql, rusqlite::params![id, turn_time, now, kind, message]).unwrap();
        call["kind"] = json!(kind);
        // They match while the call runs, before its facts are known.
        for alert in call["alerts"].as_array().unwrap().iter().chain([&json!("mistaken")]) {
            let sql = "INSERT INTO call_alerts (conversation_id, name, transcription_id, at) \
                       VALUES (?1, ?2, last_insert_rowid(), ?3)";
            connection.execute(sql, rusqlite::params![id, alert.as_str(), now]).unwrap();
        }
        let sql = "DELETE FROM call_alerts WHERE conversation_id = ?1 AND name = 'mistaken'";
        connection.execute(sql, [&id]).unwrap();
        for (name, value) in call.clone().as_object().unwrap() {
            let derived = ["id", "conversation_id", "tools", "tool_error", "kind", "message", "alerts"];
            if !derived.contains(&name.as_str()) {
                let value: Box<dyn rusqlite::ToSql> = match value {
                    Value::Null => Box::new(rusqlite::types::Null),
                    Value::String(text) => Box::new(text.clone()),
                    number => Box::new(number.as_i64()),
                };
                let sql = format!("UPDATE calls SET {name} = ?2 WHERE conversation_id = ?1");
                connection.execute(&sql, rusqlite::params![id, value]).unwrap();
            }
        }
        let sql = "UPDATE calls SET live_only = 0, added = 0, corrected = 0, repeated = 0 WHERE conversation_id = ?1 \
                   AND matched IS NOT NULL";
        connection.execute(sql, [&id]).unwrap();
        // A record that is stored anew replaces the calls of tools; the last of them failed in some calls.
        let failed = random.below(3) == 0;
        for round in 0..2 {
            connection.execute("DELETE FROM tool_calls WHERE conversation_id = ?1", [&id]).unwrap();
            let tools = call["tools"].as_array().unwrap().clone();
            for (n, tool) in tools.iter().enumerate() {
                let tool = if round == 0 { "other_tool" } else { tool.as_str().unwrap() };
                let is_error = failed && n + 1 == tools.len() && round == 1;
                let sql = "INSERT INTO tool_calls (conversation_id, position, after_place, name, purpose, is_error) \
                           VALUES (?1, ?2, 0, ?3, 'tool', ?4)";
                connection.execute(sql, rusqlite::params![id, n + 1, tool, is_error]).unwrap();
                call["tool_error"] = json!(i64::from(is_error || call["tool_error"] == 1));
            }
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// One parameter of a query with its value.
type Param = (&'static str, String);

fn draw_param(random: &mut Random) -> Param {
    let params: &[(&str, &[&str])] = &[
        ("status", &["in_progress", "completed", "failed"]),
        ("driver_id", &["1", "2", "3"]),
        ("has_driver", &["true", "false"]),
        ("answered_by", &["human", "voicemail", "fax", "busy", "unknown"]),
        ("outcome", &["success", "failure", "unknown"]),
        ("direction", &["inbound", "outbound"]),
        ("channel", &["phone", "web", "sms", "unknown"]),
        ("agent_id", &["agent_a", "agent_b", "agent_c"]),
        ("number", &["0042", "15550100042", "(555) 010-0043", "0171 1230042", "999999"]),
        ("language", &["en", "pl", "xx"]),
        ("environment", &["production", "staging", "none"]),
        ("tag", &["vip", "night", "none"]),
        ("tool", &["end_call", "lookup", "other_tool"]),
        ("tool_error", &["true", "false"]),
        ("alert", &["fire", "Tired driver", "mistaken"]),
        ("has_alert", &["true", "false"]),
        ("min_seconds", &["0", "60", "600", "601", "5000"]),
        ("max_seconds", &["0", "59", "600", "3599", "10000"]),
        ("has_audio", &["true", "false"]),
        ("reconciled", &["true", "false"]),
        ("include_children", &["true", "false"]),
        ("started_after", &["2026-09-05T00:00:00Z", "2026-09-20T12:00:00Z", "2026-12-01T00:00:00Z"]),
        ("started_before", &["2026-09-05T00:00:00Z", "2026-09-20T12:00:00Z", "2026-01-01T00:00:00Z"]),
    ];
    let (name, values) = params[random.below(params.len())];
    (name, values[random.below(values.len())].to_owned())
}

/// Draws up to four parameters. Only some may be repeated.
fn draw_query(random: &mut Random) -> Vec<Param> {
    let mut query: Vec<Param> = Vec::new();
    for _ in 0..random.below(5) {
        let param = draw_param(random);
        let is_repeat = query.iter().any(|(name, _)| *name == param.0);
        if !is_repeat || ["language", "tag", "tool", "alert"].contains(&param.0) {
            query.push(param);
        }
    }
    query
}

fn seconds(call: &Facts) -> i64 {
    let start = call["call_start_time"].as_str().unwrap();
    let end = call["call_end_time"].as_str().unwrap_or(start);
    let unix = |time: &str| transcribe_hook::domain::Timestamp::parse(time).unwrap().unix_micros() / 1_000_000;
    call["duration_seconds"].as_i64().unwrap_or_else(|| unix(end) - unix(start))
}

fn matches(call: &Facts, query: &[Param], include_children: bool) -> bool {
    let values = |name: &str| query.iter().filter(|param| param.0 == name).map(|param| &*param.1).collect::<Vec<_>>();
    let or_unknown = |name: &str| call[name].as_str().unwrap_or("unknown").to_owned();
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let include = values("include_children").first().map_or(include_children, |value| *value == "true");
    let is_child = !call["parent_conversation_id"].is_null() || call["initiation_source"] == "subagent_tool";
    let one = |(name, value): &Param| match *name {
        "status" | "direction" | "agent_id" | "environment" => call[*name] == **value,
        "driver_id" => call["driver_id"] == json!(value.parse::<i64>().unwrap()),
        "has_driver" => call["driver_id"].is_null() != (value == "true"),
        "answered_by" | "outcome" | "channel" => or_unknown(name) == *value,
        "number" => {
            let wanted = digits(value).trim_start_matches(if value.len() > 4 { '0' } else { 'x' }).to_owned();
            digits(call["external_number"].as_str().unwrap_or_default()).ends_with(&wanted)
        }
        "language" => values(name).iter().any(|value| call["main_language"] == **value),
        "tag" => values(name).iter().any(|tag| call["tags"].as_str().unwrap_or_default().contains(tag)),
        "tool" => values(name).iter().any(|tool| call["tools"].as_array().unwrap().contains(&json!(tool))),
        "alert" => values(name).iter().any(|alert| call["alerts"].as_array().unwrap().contains(&json!(alert))),
        "has_alert" => call["alerts"].as_array().unwrap().is_empty() != (value == "true"),
        "tool_error" | "has_audio" => (call[*name] == 1) == (value == "true"),
        "reconciled" => call["matched"].is_null() != (value == "true"),
        "min_seconds" => seconds(call) >= value.parse().unwrap(),
        "max_seconds" => seconds(call) <= value.parse().unwrap(),
        "include_children" => true,
        "started_after" => call["call_start_time"].as_str().unwrap() >= &value[..19],
        "started_before" => call["call_start_time"].as_str().unwrap() < &value[..19],
        other => panic!("{other}"),
    };
    (include || !is_child) && query.iter().all(one)
}

/// Returns the ids of the calls that match, in the order of their start.
fn expected(calls: &[Facts], query: &[Param], include_children: bool) -> Vec<String> {
    let mut found: Vec<_> = calls.iter().filter(|call| matches(call, query, include_children)).collect();
    found.sort_by_key(|call| (call["call_start_time"].as_str().unwrap(), call["id"].as_i64().unwrap()));
    found.iter().map(|call| call["conversation_id"].as_str().unwrap().to_owned()).collect()
}

fn encoded(query: &[Param]) -> String {
    let escape =
        |value: &str| percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    query.iter().flat_map(|(name, value)| ["&".to_owned(), (*name).to_owned(), "=".to_owned(), escape(value)]).collect()
}

fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|row| row["conversation_id"].as_str().unwrap().to_owned()).collect()
}

/// Reads all pages of a list or search.
fn all_pages(service: &Service, path: &str, total: usize) -> Vec<String> {
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = service.get(&format!("{path}{cursor}")).expect(200).json();
        assert_eq!(page["total"], total, "{path}");
        seen.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[test]
fn lists_exports_searches_and_statistics_select_the_calls_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mut random = Random::new(20);
    let mut calls: Vec<_> = (0..CALLS).map(|n| draw(&mut random, n)).collect();
    fill(&database, &mut calls, &mut random);
    let service = Service::start_on(&database, &["--stale-after", "0s"]);
    wait_for("the turns to be indexed", || {
        let page = service.get("/api/v1/search?q=zebra&limit=1").expect(200).json();
        (page["unindexed"] == 0).then_some(())
    });
    for round in 0..60 {
        let query = draw_query(&mut random);
        let (filters, limit) = (encoded(&query), 1 + random.below(200));
        let mut wanted = expected(&calls, &query, false);
        let path = format!("/api/v1/calls?order=asc&include_total=true&limit={limit}{filters}");
        assert_eq!(all_pages(&service, &path, wanted.len()), wanted, "{path}");
        wanted.reverse();
        let path = format!("/api/v1/calls?include_total=true&limit={limit}{filters}");
        assert_eq!(all_pages(&service, &path, wanted.len()), wanted, "{path}");

        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        let path = format!("/api/v1/search?q=zebra&include_total=true&limit=1000{filters}");
        assert_eq!(all_pages(&service, &path, wanted.len()).into_iter().collect::<BTreeSet<_>>(), wanted, "{path}");
        let of_drivers = |call: &&Facts| !["voicemail", "fax"].map(|by| json!(by)).contains(&call["answered_by"]);
        let spoken: BTreeSet<_> = calls
            .iter()
            .filter(|call| matches(call, &query, false) && call["kind"] == "speech")
            .filter(of_drivers)
            .map(|call| call["conversation_id"].as_str().unwrap().to_owned())
            .collect();
        let path =
            format!("/api/v1/search?q=zebra&include_total=true&limit=1000&speaker_type=driver&kind=speech{filters}");
        assert_eq!(all_pages(&service, &path, spoken.len()).into_iter().collect::<BTreeSet<_>>(), spoken, "{path}");

        let of_production = |call: &&Facts| {
            let named = query.iter().any(|(name, _)| *name == "environment");
            named || call["environment"].is_null() || call["environment"] == "production"
        };
        let counted = calls.iter().filter(|call| matches(call, &query, false)).filter(of_production).count();
        let stats = service.get(&format!("/api/v1/stats?zone=UTC{filters}")).expect(200).json();
        assert_eq!(stats["all"]["calls"], counted, "{filters}");

        let exported = service.get(&format!("/api/v1/export?format=jsonl{filters}")).expect(200).text;
        let wanted: BTreeSet<_> = expected(&calls, &query, true).into_iter().collect();
        assert_eq!(exported_calls(&exported), wanted, "{filters}");
        if round % 15 == 0 {
            let flags: Vec<_> = query.iter().flat_map(|(name, value)| [flag_of(name), value.clone()]).collect();
            let database = database.to_str().unwrap();
            let args = ["export", "--format", "jsonl", "--database", database];
            let args: Vec<_> = args.into_iter().chain(flags.iter().map(String::as_str)).collect();
            let exported = run(&args);
            assert!(exported.status.success(), "{args:?}: {}", String::from_utf8_lossy(&exported.stderr));
            assert_eq!(exported_calls(&String::from_utf8(exported.stdout).unwrap()), wanted, "{args:?}");
        }
    }
}

/// Returns the flag of a parameter.
fn flag_of(parameter: &str) -> String {
    let name = if parameter == "alert" { "alert-name" } else { parameter };
    format!("--{}", name.replace('_', "-"))
}

/// Returns the ids of the calls in an export as JSON lines.
fn exported_calls(lines: &str) -> BTreeSet<String> {
    let ids = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    ids.filter(|line| line["type"] == "call").map(|line| line["conversation_id"].as_str().unwrap().to_owned()).collect()
}

/// Returns whether a call has a text, as the parameter `q` finds it.
fn has_text(call: &Facts, text: &str) -> bool {
    let lower = |text: &str| text.to_ascii_lowercase();
    let part = text.strip_prefix('*').filter(|part| !part.is_empty());
    let text = part.unwrap_or(text);
    let name = call["driver_id"].as_i64().map_or("", |id| if id == 1 { "Maria" } else { "Jo" });
    let message = lower(call["message"].as_str().unwrap());
    let begins_at_word = text.starts_with(|c: char| c.is_alphanumeric() && c < '\u{E00}');
    let is_said = message
        .match_indices(&lower(text))
        .any(|(at, _)| part.is_some() || !begins_at_word || !message[..at].ends_with(char::is_alphanumeric));
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_number = digits.len() >= 4 && text.chars().all(|c| c.is_ascii_digit() || "+-() ".contains(c));
    let number = call["external_number"].as_str().unwrap_or_default();
    let number: String = number.chars().filter(char::is_ascii_digit).collect();
    lower(call["conversation_id"].as_str().unwrap()).contains(&lower(text))
        || lower(name).contains(&lower(text).replace('í', "i"))
        || is_said
        || is_number && number.ends_with(&digits)
}

#[test]
fn a_text_is_found_in_ids_names_numbers_and_words_with_the_search_index_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mut random = Random::new(3);
    let mut calls: Vec<_> = (0..CALLS).map(|n| draw(&mut random, n)).collect();
    fill(&database, &mut calls, &mut random);
    let texts = [
        "conv_12",
        "v_7",
        "CONV",
        "maría",
        "JO",
        "0042",
        "(555) 010-0043",
        "15550100042",
        "4711",
        "zebra",
        "ZEBRA IS",
        "is here.",
        "zeb",
        "ebra",
        "dock 4711?!",
        "711",
        "Señor",
        "码头",
        "在这",
        "?!",
        "not he",
        "nowhere",
        "*ebra",
        "*711",
        "*0042",
        "*v_7",
        "*",
        "%",
        "_",
        "h",
    ];
    let filters = ["", "&status=completed", "&outcome=failure&answered_by=human", "&alert=fire", "&driver_id=1"];
    for has_index in [true, false] {
        let index = folder.path().join("calls.db.search");
        if !has_index {
            std::fs::remove_file(&index).unwrap();
            std::fs::create_dir(&index).unwrap();
        }
        let service = Service::start_on(&database, &["--stale-after", "0s"]);
        if has_index {
            wait_for("the turns to be indexed", || {
                let page = service.get("/api/v1/search?q=zebra&limit=1").expect(200).json();
                (page["unindexed"] == 0).then_some(())
            });
        }
        for (n, text) in texts.into_iter().enumerate() {
            for filter in [filters[0], filters[1 + n % 4]] {
                let query: Vec<Param> = filter
                    .split('&')
                    .filter_map(|param| param.split_once('='))
                    .map(|(name, value)| (name, value.to_owned()))
                    .collect();
                let of_filter: BTreeSet<_> = expected(&calls, &query, false).into_iter().collect();
                let has = |call: &&Facts| {
                    has_text(call, text) && of_filter.contains(call["conversation_id"].as_str().unwrap())
                };
                let mut wanted: Vec<_> = calls.iter().filter(has).collect();
                wanted.sort_by_key(|call| (call["call_start_time"].as_str().unwrap(), call["id"].as_i64().unwrap()));
                let mut wanted: Vec<_> =
                    wanted.iter().map(|call| call["conversation_id"].as_str().unwrap().to_owned()).collect();
                let q = encoded(&[("q", text.to_owned())]);
                let path = format!("/api/v1/calls?order=asc&include_total=true&limit=100{q}{filter}");
                assert_eq!(all_pages(&service, &path, wanted.len()), wanted, "{path}, index: {has_index}");
                wanted.reverse();
                let path = format!("/api/v1/calls?include_total=true&limit=333{q}{filter}");
                assert_eq!(all_pages(&service, &path, wanted.len()), wanted, "{path}, index: {has_index}");
                if filter == "&status=completed" {
                    let path = format!("/api/v1/calls?order=longest&include_total=true&limit=200{q}{filter}");
                    let ranked = all_pages(&service, &path, wanted.len());
                    assert_eq!(BTreeSet::from_iter(ranked), BTreeSet::from_iter(wanted), "{path}, index: {has_index}");
                }
            }
            let exported = service.get(&format!("/api/v1/export?{}", &encoded(&[("q", text.to_owned())])[1..]));
            let wanted = calls.iter().filter(|call| has_text(call, text));
            let wanted: BTreeSet<_> = wanted.map(|call| call["conversation_id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(exported_calls(&exported.expect(200).text), wanted, "{text}");
        }
        // What the index lacks is found, too.
        if has_index {
            let late = json!({"conversation_id": "conv_late", "speaker": "user", "message": "An okapi, at last.",
                "timestamp": "2026-10-01T00:00:00Z"});
            service.deliver(&late).expect(201);
            assert_eq!(ids(&service.get("/api/v1/calls?q=okapi").expect(200).json()), ["conv_late"]);
            service.delete("/api/v1/calls/conv_late").expect(204);
            assert_eq!(ids(&service.get("/api/v1/calls?q=okapi").expect(200).json()), [""; 0]);
        }
    }
}

#[test]
fn a_page_ends_early_when_many_calls_lack_a_text_that_no_index_has() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    drop(store(&database));
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "BEGIN; \
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
             INSERT INTO calls (conversation_id, call_start_time, status, turn_count, created_at, updated_at) \
             SELECT 'conv_' || i, strftime('%Y-%m-%dT%H:%M:%S.000000Z', 1790000000 + i, 'unixepoch'), 'completed', 1, \
                '2026-10-01T00:00:00.000000Z', '2026-10-01T00:00:00.000000Z' FROM n; \
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, \
                sequence_number, created_at, source, repeat_key) \
             SELECT conversation_id, 'driver', iif(conversation_id IN ('conv_1', 'conv_9000'), 'What?!', 'Words.'), \
                call_start_time, 1, created_at, 'live', id FROM calls; \
             COMMIT",
        )
        .unwrap();
    drop(connection);
    let service = Service::start_on(&database, &[]);
    let (mut cursor, mut pages) = (String::new(), Vec::new());
    loop {
        let page = service.get(&format!("/api/v1/calls?q=%3F%21{cursor}")).expect(200).json();
        pages.push(ids(&page));
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(pages.len() > 1, "{pages:?}");
    assert_eq!(pages.concat(), ["conv_9000", "conv_1"]);
}

#[test]
fn values_that_no_filter_has_are_refused_with_the_allowed_ones() {
    let service = Service::start();
    for (query, named) in [
        ("status=done", "in_progress, completed, failed"),
        ("answered_by=robot", "human, voicemail, fax, busy, no_answer, failed, unknown"),
        ("outcome=good", "success, failure, unknown"),
        ("direction=up", "inbound, outbound"),
        ("channel=fax", "phone, web, sms, whatsapp, text, unknown"),
        ("has_audio=1", "true or false"),
        ("reconciled=maybe", "true or false"),
        ("min_seconds=-1", "min_seconds"),
        ("max_seconds=long", "max_seconds"),
        ("number=12", "number"),
        ("number=anonymous", "number"),
        ("agent_id=", "agent_id"),
        ("tag=a%00b", "tag"),
        ("alert=", "alert"),
        ("has_alert=fire", "true or false"),
        ("driver_id=0", "driver_id"),
        ("status=failed&status=completed", "status"),
        ("environment=a&environment=b", "environment"),
        ("answered=human", "answered_by"),
    ] {
        for path in ["calls?", "search?q=a&", "stats?", "export?"] {
            let error = service.get(&format!("/api/v1/{path}{query}")).expect_error(400);
            let details = error["details"].as_str().unwrap();
            assert!(details.contains(named), "{path}{query}: {details}");
        }
    }
    let many = "&language=en".repeat(21);
    service.get(&format!("/api/v1/calls?{}", &many[1..])).expect_error(400);
    service.get("/api/v1/calls?language=en&language=es&tool=a&tool=b&tag=a&tag=b").expect(200);
}

#[test]
fn each_combination_of_facets_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let mut random = Random::new(7);
    let mut calls: Vec<_> = (0..CALLS).map(|n| draw(&mut random, n)).collect();
    fill(&database, &mut calls, &mut random);
    let listed = "SELECT count(*), count(DISTINCT quote(status) || quote(answered_by) || quote(outcome) || \
                  quote(direction) || quote(channel) || quote(agent_id) || quote(main_language) || quote(environment) \
                  || quote(has_audio) || quote(tool_error) || quote(has_driver) || quote(reconciled) || \
                  quote(is_child)) FROM call_facets";
    let (rows, distinct): (i64, i64) =
        open(&database).query_row(listed, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(rows, distinct);
}
