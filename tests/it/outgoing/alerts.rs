//! Alerts: whole words, once a call, over restarts and kill -9, outward and in live streams.

use crate::support::mcp;
use crate::support::metrics::Scrape;
use crate::support::receiver::{Receiver, WEBHOOK_SECRET};
use crate::support::service::{Service, binary, run, wait_for};
use crate::support::sse::Events;
use serde_json::{Value, json};
use std::path::Path;

fn say(service: &Service, call: &str, n: usize, message: &str) {
    let turn = json!({"conversation_id": call, "speaker": "user", "message": message,
        "timestamp": format!("2026-09-28T12:00:{n:02}Z")});
    service.deliver(&turn).expect(201);
}

fn on(database: &Path, receiver: &Receiver, more: &[&str]) -> Service {
    let url = receiver.url();
    let flags = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET, "--webhook-events", "alert.matched"];
    Service::start_on(database, &[&flags, more].concat())
}

/// The calls and alerts of the notices that were received.
fn matched(receiver: &Receiver) -> Vec<(String, String)> {
    let alert = |data: Value| data["data"]["alert"].as_str().unwrap().to_owned();
    receiver.accepted().into_iter().map(|request| (request.call(), alert(request.json()))).collect()
}

/// Waits until the turns of a call were compared: those of a later call that matches are.
fn wait_compared(service: &Service, receiver: &Receiver, call: &str) {
    say(service, call, 1, "There is a fire.");
    wait_for("the alert of the last call", || {
        matched(receiver).contains(&(call.to_owned(), "fire".to_owned())).then_some(())
    });
}

#[test]
fn an_alert_matches_whole_words_once_a_call_and_is_told() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = on(&database, &receiver, &[]);
    say(&service, "conv_before", 1, "A fire before there were alerts.");
    service.stop();
    let file = folder.path().join("alerts");
    std::fs::write(&file, "# Accidents\n\ncrash = accident OR crash*\n").unwrap();
    let alerts = ["--alert", "fire=fire NOT drill", "--alerts", file.to_str().unwrap()];
    let service = on(&database, &receiver, &alerts);
    let mut live = Events::open(service.address(), "/api/v1/events", None);
    say(&service, "conv_a", 1, "The firewall is down, and this is a fire drill.");
    say(&service, "conv_a", 2, "There is a FIRE, and we crashed.");
    say(&service, "conv_a", 3, "The fire again.");
    wait_compared(&service, &receiver, "conv_z");
    let call = |name: &str| ("conv_a".to_owned(), name.to_owned());
    assert_eq!(matched(&receiver), [call("fire"), call("crash"), ("conv_z".to_owned(), "fire".to_owned())]);
    let rows: Vec<(String, String, i64)> = service
        .sqlite()
        .prepare("SELECT conversation_id, name, transcription_id FROM call_alerts ORDER BY conversation_id, name")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let row = |call: &str, name: &str, id| (call.to_owned(), name.to_owned(), id);
    assert_eq!(rows, [row("conv_a", "crash", 3), row("conv_a", "fire", 3), row("conv_z", "fire", 5)]);
    wait_for("the metric", || (Scrape::take(&service).whole("alerts_matched_total") == 3).then_some(()));
    let mut alerted = Vec::new();
    while alerted.len() < 3 {
        let event = live.next().unwrap();
        if event.event == "call_alert" {
            alerted.push((event.data["conversation_id"].as_str().unwrap().to_owned(), event.data["alerts"].clone()));
        }
    }
    let both = json!([{"name": "crash", "sequence_number": 2}, {"name": "fire", "sequence_number": 2}]);
    let one = json!([{"name": "fire", "sequence_number": 1}]);
    let told = |call: &str, alerts: &Value| (call.to_owned(), alerts.clone());
    assert_eq!(alerted, [told("conv_a", &both), told("conv_a", &both), told("conv_z", &one)]);
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["alerts"], both);
    for order in ["desc", "longest"] {
        service.patch("/api/v1/calls/conv_a", &json!({"status": "completed"})).expect(200);
        let list = service.get(&format!("/api/v1/calls?order={order}")).expect(200).json();
        let listed = list["data"].as_array().unwrap().iter();
        let listed: Vec<_> =
            listed.map(|call| told(call["conversation_id"].as_str().unwrap(), &call["alerts"])).collect();
        assert!(listed.contains(&told("conv_a", &both)), "{order}: {listed:?}");
        assert_eq!(listed.contains(&told("conv_before", &json!([]))), order == "desc", "{listed:?}");
    }
    // Erased with its call.
    service.delete("/api/v1/calls/conv_a").expect(204);
    let left: i64 = service.sqlite().query_row("SELECT count(*) FROM call_alerts", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}

#[test]
fn whatever_selects_calls_selects_them_by_alert() {
    let service = Service::start_with(&["--alert", "fire=fire", "--alert", "Tired driver=tired"]);
    let mut live = Events::open(service.address(), "/api/v1/events?alert=fire", None);
    for (call, message) in [("conv_a", "A quiet day."), ("conv_b", "A fire."), ("conv_c", "A fire; I am tired.")] {
        say(&service, call, 1, message);
    }
    let ids = |rows: &Value| {
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["conversation_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let list = |query: &str| ids(&service.get(&format!("/api/v1/calls?order=asc&{query}")).expect(200).json()["data"]);
    wait_for("the alerts", || (list("alert=Tired%20driver") == ["conv_c"]).then_some(()));
    assert_eq!(list("alert=fire"), ["conv_b", "conv_c"]);
    assert_eq!(list("alert=Tired%20driver&alert=fire"), ["conv_b", "conv_c"]);
    assert_eq!(list("has_alert=true"), ["conv_b", "conv_c"]);
    assert_eq!(list("has_alert=false"), ["conv_a"]);
    assert_eq!(list("alert=Fire"), [""; 0]);
    // The filter follows the call's status.
    service.patch("/api/v1/calls/conv_c", &json!({"status": "completed"})).expect(200);
    assert_eq!(list("alert=fire&status=completed"), ["conv_c"]);
    assert_eq!(list("has_alert=true&status=in_progress"), ["conv_b"]);
    let longest = service.get("/api/v1/calls?order=longest&alert=fire").expect(200).json();
    assert_eq!(ids(&longest["data"]), ["conv_c"]);
    let found = service.get("/api/v1/search?q=a&order=desc&alert=fire").expect(200).json();
    assert_eq!(ids(&found["data"]), ["conv_c", "conv_b"]);
    let stats = service.get("/api/v1/stats?has_alert=true&zone=UTC").expect(200).json();
    assert_eq!(stats["all"]["calls"], 2);
    let exported = service.get("/api/v1/export?format=calls-csv&alert=Tired%20driver").expect(200).text;
    assert_eq!((exported.lines().count(), exported.contains("conv_c")), (2, true), "{exported}");
    assert_eq!(
        ids(&mcp::found(&service, "list_calls", json!({"alert": ["fire"], "order": "asc"}))["calls"]),
        ["conv_b", "conv_c"]
    );
    // The stream has the changes from the match on.
    let mut told = Vec::new();
    while told.last() != Some(&("call_ended".to_owned(), "conv_c".to_owned())) {
        let event = live.next().unwrap();
        assert_ne!(event.data["conversation_id"], "conv_a", "{event:?}");
        told.push((event.event, event.data["conversation_id"].as_str().unwrap().to_owned()));
    }
    assert!(told.contains(&("call_alert".to_owned(), "conv_b".to_owned())), "{told:?}");
    let database = service.database().to_str().unwrap();
    let export = |more: &[&str], variable: Option<(&str, &str)>| {
        let mut command = binary();
        command.args(["export", "--format", "calls-csv", "--database", database]).args(more);
        let out = command.envs(variable).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().lines().count() - 1
    };
    assert_eq!(export(&["--alert-name", "fire"], None), 2);
    assert_eq!(export(&["--alert-name", "fire", "--alert-name", "Tired driver", "--has-alert", "true"], None), 2);
    assert_eq!(export(&["--has-alert", "false"], None), 1);
    assert_eq!(export(&[], Some(("TRANSCRIBE_HOOK_ALERT_NAME", "Tired driver"))), 1);
    // The variable that configures alerts selects nothing.
    assert_eq!(export(&[], Some(("TRANSCRIBE_HOOK_ALERT", "fire=fire"))), 3);
    // An alert that is no longer configured is still found.
    let database = service.database().to_owned();
    let _folder = service.stop();
    let service = Service::start_on(&database, &[]);
    let left = service.get("/api/v1/calls?alert=fire&include_total=true").expect(200).json();
    assert_eq!(left["total"], 2);
    service.delete("/api/v1/calls/conv_c").expect(204);
    assert_eq!(ids(&service.get("/api/v1/calls?has_alert=true").expect(200).json()["data"]), ["conv_b"]);
}

#[test]
fn kill_9_loses_no_alert_and_doubles_none() {
    let receiver = Receiver::start();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let alerts = ["--alert", "fire=fire"];
    let mut wanted = Vec::new();
    for round in 0..4 {
        let service = on(&database, &receiver, &alerts);
        for n in 0..10 {
            let call = format!("conv_{round}_{n}");
            say(&service, &call, 1, "There is a fire.");
            say(&service, &call, 2, "A fire, I said.");
            wanted.push((call, "fire".to_owned()));
        }
        service.signal("KILL");
        service.wait();
    }
    let _service = on(&database, &receiver, &alerts);
    wait_for("all alerts", || (matched(&receiver).len() >= wanted.len()).then_some(()));
    let mut found = matched(&receiver);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

#[test]
fn what_cannot_be_an_alert_is_refused_at_the_start() {
    for alerts in [&["fire"][..], &["=fire"], &["fire="], &["fire=(smoke"], &["fire=smoke", "fire=fire"]] {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("calls.db");
        let mut command = vec!["serve", "--listen", "127.0.0.1:0", "--database", database.to_str().unwrap()];
        command.extend(alerts.iter().flat_map(|alert| ["--alert", alert]));
        assert_eq!(run(&command).status.code(), Some(2), "{alerts:?}");
    }
}
