//! Alerts on the page: a call that matched one is marked in the list, in its header and at the turn, as it matches.

use super::page::{ago, say, some_calls};
use crate::support::browser::Page;
use crate::support::service::{Service, wait_for};
use crate::support::understood::change;
use crate::support::whole_call::CALL;
use serde_json::json;

#[test]
fn an_alert_marks_its_call_and_its_turn_as_soon_as_it_matches() {
    let service = Service::start_with(&["--alert", "fire=fire NOT drill", "--alert", "Tired driver=tired OR asleep"]);
    say(&service, "conv_other", "agent", "This is a fire drill.", &ago(6));
    say(&service, "conv_1", "agent", "How is the trailer?", &ago(5));
    let page = Page::open(&service.url("/?call=conv_1"), json!({}));
    page.step("live", json!({}));
    page.step("heard", json!({"words": ["How is the trailer?"]}));
    page.step("alerted", json!({"conversation": "conv_1", "alerts": [], "turns": {}}));
    say(&service, "conv_1", "user", "There is smoke, I think a fire.", &ago(4));
    let fire = "Alert: fire";
    page.step("alerted", json!({"conversation": "conv_1", "alerts": [fire], "turns": {"turn-2": [fire]}}));
    page.step("announced", json!({"says": "Alert in the call with Unknown driver conv_1: fire"}));
    say(&service, "conv_1", "user", "And I am so tired. The fire is out.", &ago(3));
    let both = [fire, "Alert: Tired driver"];
    let turns = json!({"turn-2": [fire], "turn-3": [both[1]]});
    page.step("alerted", json!({"conversation": "conv_1", "alerts": both, "turns": turns}));
    page.step("alerted", json!({"conversation": "conv_1", "alerts": both, "turns": turns}));
    page.step("openAlert", json!({"name": "Alert: Tired driver", "turn": 3}));
    service.patch("/api/v1/calls/conv_1", &json!({"status": "completed"})).expect(200);
    page.step("ended", json!({"says": "The call ended."}));
    page.step("alerted", json!({"conversation": "conv_1", "alerts": both, "turns": turns}));
    // The marks stay for whoever comes later.
    let later = Page::open(&service.url("/?call=conv_1"), json!({"dark": true}));
    later.step("live", json!({}));
    later.step("alerted", json!({"conversation": "conv_1", "alerts": both, "turns": turns}));
    let other = Page::open(&service.url("/?call=conv_other"), json!({}));
    other.step("live", json!({}));
    other.step("alerted", json!({"conversation": "conv_other", "alerts": [], "turns": {}}));
}

#[test]
fn the_mark_stands_at_the_turn_that_is_shown_in_place_of_the_one_that_matched() {
    let service = some_calls(&["--alert", "dispatch=dispatch"]);
    let call = format!("/api/v1/calls/{CALL}");
    let first = || service.get(&call).expect(200).json()["alerts"][0]["sequence_number"].clone();
    wait_for("the alert", || first().is_i64().then_some(()));
    let superseded = wait_for("the record", || {
        let turns = service.get(&format!("{call}/transcriptions?order=sequence")).expect(200).json();
        turns["data"].as_array().unwrap().iter().find(|turn| turn["superseded_by"].is_i64()).cloned()
    });
    // As if the repeat had been the first turn that matched.
    change(&service, &format!("UPDATE call_alerts SET transcription_id = {}", superseded["id"]));
    assert_eq!(first(), superseded["superseded_by"]);
    let shown = format!("turn-{}", superseded["superseded_by"]);
    let page = Page::open(&service.url(&format!("/?call={CALL}")), json!({}));
    page.step("live", json!({}));
    let alert = ["Alert: dispatch"];
    page.step("alerted", json!({"conversation": CALL, "alerts": alert, "turns": {shown: alert}}));
}

#[test]
fn calls_are_filtered_by_alert_once_there_is_one() {
    let service = Service::start_with(&["--alert", "fire=fire", "--alert", "Tired driver=tired"]);
    for call in ["conv_1", "conv_2", "conv_3"] {
        say(&service, call, "agent", "How is the trailer?", &ago(2));
    }
    let frequent = ["Voicemail", "No answer", "Goal not met", "Tool error"];
    let page = Page::open(&service.url("/"), json!({}));
    page.step("live", json!({}));
    page.step("chips", json!({"names": frequent}));
    say(&service, "conv_1", "user", "There is a fire.", &ago(1));
    let and_alerts = [&frequent[..], &["Has an alert"]].concat();
    page.step("chips", json!({"names": and_alerts}));
    say(&service, "conv_2", "user", "I am tired.", &ago(1));
    let both = ["Unknown driver conv_2", "Unknown driver conv_1"];
    let either = Page::open(&service.url("/"), json!({"phone": true}));
    either.step("chip", json!({"name": "Has an alert", "rows": both, "sum": "Has an alert: 2 calls"}));
    let fire = json!({"label": "Alert", "value": "fire", "chip": "Alert: fire", "rows": [both[1]],
        "sum": "Alert: fire: 1 call"});
    either.step("moreFilters", fire);
    // A call that matches later joins the filtered list.
    let shared = Page::open(&service.url("/?alert=fire"), json!({}));
    shared.step("names", json!({"names": [both[1]]}));
    say(&service, "conv_3", "user", "The fire is here, too.", &ago(1));
    shared.step("names", json!({"names": ["Unknown driver conv_3", both[1]]}));
}
