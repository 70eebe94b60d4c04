//! Statistics over what is understood of calls: who answered, outcomes, agents, results of analyses, measurements.

use crate::support::service::Service;
use crate::support::turns::turn;
use crate::support::understood::change;
use serde_json::{Value, json};

fn stats(service: &Service, query: &str) -> Value {
    service.get(&format!("/api/v1/stats?{query}")).expect(200).json()
}

/// Value and number of calls of each group.
fn groups(service: &Service, by: &str) -> Vec<(Option<String>, u64)> {
    let stats = stats(service, &format!("by={by}"));
    assert_eq!(stats["more_groups"], false);
    let groups = stats["groups"].as_array().unwrap();
    groups.iter().map(|group| (group["value"].as_str().map(str::to_owned), group["calls"].as_u64().unwrap())).collect()
}

/// Adds an ended call; `columns` are assignments.
fn add(service: &Service, id: &str, columns: &str) {
    change(
        service,
        &format!(
            "INSERT INTO calls (conversation_id, call_start_time, status, created_at, updated_at)
             VALUES ('{id}', '2026-09-28T12:00:00.000000Z', 'completed', '2026-09-28T12:00:00.000000Z',
                '2026-09-28T12:00:00.000000Z');
             UPDATE calls SET {columns} WHERE conversation_id = '{id}'"
        ),
    );
}

#[test]
fn totals_are_grouped_by_what_is_understood() {
    let service = Service::start();
    add(
        &service,
        "a",
        "answered_by = 'human', outcome = 'success', channel = 'phone', direction = 'outbound', agent_id = 'agent_1', \
         duration_seconds = 100",
    );
    add(
        &service,
        "b",
        "answered_by = 'human', outcome = 'failure', channel = 'phone', direction = 'inbound', agent_id = 'agent_1', \
         duration_seconds = 50",
    );
    add(&service, "c", "answered_by = 'voicemail', channel = 'phone', agent_id = 'agent_2', duration_seconds = 9");
    add(&service, "d", "termination_reason = 'inactivity', channel = 'web'");
    service.deliver(&turn("running", 1)).expect(201);
    let known = |value: &str, calls| (Some(value.to_owned()), calls);
    assert_eq!(groups(&service, "answered_by"), [(None, 2), known("human", 2), known("voicemail", 1)]);
    assert_eq!(groups(&service, "outcome"), [(None, 3), known("failure", 1), known("success", 1)]);
    assert_eq!(groups(&service, "channel"), [known("phone", 3), (None, 1), known("web", 1)]);
    assert_eq!(groups(&service, "direction"), [(None, 3), known("inbound", 1), known("outbound", 1)]);
    assert_eq!(groups(&service, "agent"), [(None, 2), known("agent_1", 2), known("agent_2", 1)]);
    let all = stats(&service, "")["all"].clone();
    assert_eq!((&all["calls"], &all["reached"], &all["given_up"]), (&json!(5), &json!(2), &json!(1)));
    let agents = stats(&service, "by=agent");
    let first = &agents["groups"][1];
    assert_eq!(
        (&first["reached"], &first["duration_seconds"], &first["mean_seconds"]),
        (&json!(2), &json!(150.0), &json!(75.0))
    );
    let plain = stats(&service, "");
    for name in ["groups", "more_groups", "metrics", "evaluation_criteria_results", "data_collection_results"] {
        assert_eq!(plain.get(name), None, "{name} costs time and is only given if asked for");
    }
    service.get("/api/v1/stats?by=month").expect_error(400);
    service.get("/api/v1/stats?include=words").expect_error(400);
}

#[test]
fn many_agents_are_cut_at_the_ones_with_the_most_calls() {
    let service = Service::start();
    change(
        &service,
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)
         INSERT INTO calls (conversation_id, call_start_time, status, agent_id, created_at, updated_at)
         SELECT 'conv_' || i, '2026-09-28T12:00:00.000000Z', 'completed', 'agent_' || i,
            '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z' FROM n",
    );
    add(&service, "again", "agent_id = 'agent_7'");
    let stats = stats(&service, "by=agent");
    assert_eq!((stats["groups"].as_array().unwrap().len(), &stats["more_groups"]), (100, &json!(true)));
    assert_eq!((&stats["groups"][0]["value"], &stats["groups"][0]["calls"]), (&json!("agent_7"), &json!(2)));
    assert_eq!(stats["all"]["calls"], 1201);
}

#[test]
fn a_call_that_failed_at_once_shortens_no_average() {
    let service = Service::start();
    add(&service, "talk", "duration_seconds = 60");
    add(&service, "busy", "status = 'failed', duration_seconds = 0");
    add(&service, "unanswered", "status = 'failed', call_end_time = call_start_time");
    add(&service, "cut_off", "status = 'failed', duration_seconds = 20");
    add(&service, "short", "duration_seconds = 0");
    let stats = stats(&service, "");
    let all = &stats["all"];
    assert_eq!((&all["calls"], &all["failed"]), (&json!(5), &json!(3)));
    assert_eq!(
        (&all["with_duration"], &all["duration_seconds"], &all["mean_seconds"]),
        (&json!(3), &json!(80.0), &json!(26.667))
    );
    assert_eq!((&stats["median_seconds"], &stats["p90_seconds"]), (&json!(20.0), &json!(60.0)));
}

#[test]
fn a_duration_is_the_same_number_everywhere() {
    let service = Service::start();
    let starts = ["12:00:00.000000", "12:00:00.999999", "12:00:00.500000", "12:59:59.750001"];
    for (n, start) in starts.into_iter().enumerate() {
        for (m, end) in
            ["13:00:00.000000", "13:00:30.499999", "13:00:30.500000", "13:00:59.999999"].into_iter().enumerate()
        {
            add(
                &service,
                &format!("conv_{n}{m}"),
                &format!("call_start_time = '2026-09-28T{start}Z', call_end_time = '2026-09-28T{end}Z'"),
            );
        }
    }
    add(&service, "conv_recorded", "duration_seconds = 77, call_end_time = '2026-09-28T12:00:05.000000Z'");
    let connection = service.sqlite();
    let mut select =
        connection.prepare("SELECT conversation_id, duration_seconds FROM call_overview ORDER BY 1").unwrap();
    let viewed: Vec<(String, i64)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(viewed.len(), 17);
    let file = service.get("/api/v1/export?format=calls-csv").expect(200).text;
    let mut sum = 0;
    for (id, seconds) in viewed {
        let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
        assert_eq!(call["duration_seconds"], seconds, "{id}");
        let row = file.lines().find(|line| line.starts_with(&format!("{id},"))).unwrap();
        assert_eq!(row.split(',').nth(3), Some(&*seconds.to_string()), "{row}");
        sum += seconds;
    }
    let total = stats(&service, "")["all"]["duration_seconds"].as_f64().unwrap();
    assert_eq!(total.to_string(), sum.to_string());
}

#[test]
fn results_of_analyses_are_summed_up_by_name() {
    let service = Service::start();
    let analysis = |goal: &str, degrees: &Value, late: &Value, dock: &Value| {
        let data = |value: &Value| json!({"value": value, "rationale": "It's said."});
        json!({
            "evaluation_criteria_results": {"goal": {"result": goal, "rationale": "no"}, "broken": 7},
            "data_collection_results": {"degrees": data(degrees), "late": data(late), "dock": data(dock)},
        })
        .to_string()
        .replace('\'', "''")
    };
    let set = |id: &str, analysis: &str| add(&service, id, &format!("analysis = '{analysis}', channel = '{id}'"));
    set("phone", &analysis("success", &json!(34), &json!(true), &json!("D1")));
    set("web", &analysis("failure", &json!(40.5), &json!(false), &json!("D1")));
    set("sms", &analysis("perhaps", &json!("warm"), &Value::Null, &json!("D2")));
    set("text", &analysis("success", &Value::Null, &json!(true), &json!("x".repeat(100))));
    // No form of it stops a call from being stored.
    for (n, odd) in [
        "[]",
        "7",
        "{\"evaluation_criteria_results\":[{\"result\":\"success\"}]}",
        "{\"data_collection_results\":\"text\"}",
    ]
    .into_iter()
    .enumerate()
    {
        add(&service, &format!("odd_{n}"), &format!("analysis = '{odd}'"));
    }
    let sums = stats(&service, "include=results");
    assert_eq!(
        sums["evaluation_criteria_results"],
        json!([{"name": "goal", "success": 2, "failure": 1, "unknown": 1}])
    );
    let value = |value: &str, calls: u64| json!({"value": value, "calls": calls});
    let expected = json!([
        {"name": "degrees", "missing": 1, "values": [value("warm", 1)], "other_values": 0,
         "numbers": {"calls": 2, "min": 34.0, "avg": 37.25, "max": 40.5}},
        {"name": "dock", "missing": 0, "values": [value("D1", 2), value("D2", 1), value(&"x".repeat(64), 1)],
         "other_values": 0, "numbers": null},
        {"name": "late", "missing": 1, "values": [value("true", 2), value("false", 1)], "other_values": 0,
         "numbers": null},
    ]);
    assert_eq!((&sums["data_collection_results"], &sums["more_results"]), (&expected, &json!(false)));
    // Another analysis replaces the results, and an erased call has none.
    change(
        &service,
        "UPDATE calls SET analysis = '{\"evaluation_criteria_results\":{\"other\":{\"result\":\"success\"}}}' \
        WHERE conversation_id = 'phone'",
    );
    service.delete("/api/v1/calls/web").expect(204);
    let later = stats(&service, "include=results");
    let rows = json!([{"name": "goal", "success": 1, "failure": 0, "unknown": 1},
        {"name": "other", "success": 1, "failure": 0, "unknown": 0}]);
    assert_eq!(later["evaluation_criteria_results"], rows);
    let before = "started_before=2026-09-28T12:00:00Z&include=results";
    assert_eq!(stats(&service, before)["evaluation_criteria_results"], json!([]));
}

#[test]
fn measurements_of_turns_have_percentiles_by_day_and_agent() {
    let service = Service::start();
    // 100 turns of one agent in two days, and one of another agent.
    for day in [28, 29] {
        for n in 0..50 {
            let mut turn = turn(&format!("conv_{day}"), 2 * n + 1);
            turn["timestamp"] = json!(format!("2026-09-{day}T12:00:{n:02}Z"));
            service.deliver(&turn).expect(201);
        }
    }
    service.deliver(&turn("conv_other", 1)).expect(201);
    change(
        &service,
        "UPDATE call_transcriptions SET metrics = json_object('llm', (sequence_number + iif(timestamp > '2026-09-29', \
            50, 0)) / 10.0, 'tts', 0.05, 'name', 'text', 'wrong', -1) WHERE conversation_id <> 'conv_other';
         UPDATE call_transcriptions SET metrics = '{\"llm\":30}' WHERE conversation_id = 'conv_other';
         UPDATE calls SET agent_id = iif(conversation_id = 'conv_other', 'agent_2', 'agent_1');",
    );
    assert_eq!(stats(&service, "include=metrics")["metrics"], json!([]), "no call is over");
    for id in ["conv_28", "conv_29", "conv_other"] {
        service.patch(&format!("/api/v1/calls/{id}"), &json!({"status": "completed"})).expect(200);
    }
    let read = stats(&service, "include=metrics&by=agent&started_before=2026-09-30T00:00:00Z");
    let near = |of: &Value, name: &str, turns: u64, p50: f64, p95: f64| {
        let found = of.as_array().unwrap().iter().find(|metric| metric["name"] == name).unwrap();
        assert_eq!(found["turns"], turns, "{found}");
        for (percentile, exact) in [("p50_seconds", p50), ("p95_seconds", p95)] {
            let read = found[percentile].as_f64().unwrap();
            assert!((read / exact - 1.0).abs() <= 0.011, "{percentile} of {name}: {read} for {exact}");
        }
    };
    let agent = read["groups"].as_array().unwrap().iter().find(|group| group["value"] == "agent_1").unwrap();
    near(&agent["metrics"], "llm", 100, 5.0, 9.5);
    near(&agent["metrics"], "tts", 100, 0.05, 0.05);
    near(&read["metrics"], "llm", 101, 5.1, 9.6);
    near(&read["days"][1]["metrics"], "llm", 50, 7.5, 9.8);
    assert_eq!(agent["metrics"].as_array().unwrap().len(), 2, "neither a text nor a negative number is a measurement");
    service.delete("/api/v1/calls/conv_other").expect(204);
    near(&stats(&service, "include=metrics")["metrics"], "llm", 100, 5.0, 9.5);
}
