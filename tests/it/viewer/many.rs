//! The page with ten thousand calls.

use super::page::{ago, say};
use crate::support::browser::Page;
use crate::support::service::Service;
use crate::support::understood::change;
use serde_json::json;

/// Number of calls that are over.
const CALLS: u32 = 10_000;

/// Adds calls of all kinds: one for every 260 seconds before now.
fn add_calls(service: &Service) {
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria Kowalski"})).expect(201);
    service.put("/api/v1/drivers/7", &json!({"name": "يوسف حداد"})).expect(201);
    let titles = "CASE i % 5 WHEN 0 THEN 'Reefer temperature check' WHEN 1 THEN 'تنبيه حرارة المقطورة' \
        WHEN 2 THEN NULL WHEN 3 THEN printf('%.*c', 300, 'x') \
        ELSE 'A title that is longer than a row of the list is wide, in words' END";
    change(
        service,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {CALLS})
             INSERT INTO calls (conversation_id, call_start_time, status, turn_count, duration_seconds, driver_id,
                external_number, title, answered_by, outcome, channel, direction, agent_id, environment, tool_error,
                termination_reason, created_at, updated_at)
             SELECT printf('conv_%05d', i), at, iif(i % 9 = 0, 'failed', 'completed'), i % 40,
                iif(i % 9 = 0 AND i % 2 = 0, 0, i % 700), CASE i % 4 WHEN 0 THEN 1042 WHEN 1 THEN 7 END,
                iif(i % 4 = 2, '+1312555' || substr(10000 + i, -4), NULL), {titles},
                CASE WHEN i % 9 = 0 THEN iif(i % 2, 'busy', 'no_answer') WHEN i % 7 = 0 THEN 'voicemail' \
                ELSE 'human' END,
                CASE i % 3 WHEN 0 THEN 'failure' WHEN 1 THEN 'success' END,
                CASE i % 11 WHEN 0 THEN 'whatsapp' WHEN 1 THEN 'web' ELSE 'phone' END, \
                iif(i % 5, 'outbound', 'inbound'),
                'agent_' || (i % 3), iif(i % 50 = 0, 'staging', 'production'), i % 13 = 0,
                iif(i % 9 = 0, 'the line broke off', NULL), at, at
             FROM (SELECT i, strftime('%Y-%m-%dT%H:%M:%S', 'now', '-' || (260 * i) || ' seconds') || '.000000Z' AS at
                   FROM n);"
        ),
    );
}

#[test]
fn ten_thousand_calls_are_scrolled_through_and_a_turn_redraws_one_row() {
    let service = Service::start();
    add_calls(&service);
    say(&service, "conv_live", "agent", "Hi, this is dispatch.", &ago(0));
    for phone in [false, true] {
        let page = Page::open(&service.url("/"), json!({"phone": phone, "dark": phone}));
        page.step("live", json!({}));
        page.step("allRows", json!({"rows": CALLS + 1}));
        let turn = json!({"conversation_id": "conv_live", "speaker": "user", "timestamp": ago(0),
            "message": format!("I am at the gate, on the phone: {phone}.")});
        page.step("oneTurn", json!({"turn": turn, "most": 300}));
        page.step("openFarDown", json!({"conversation": "conv_07001", "phone": phone}));
    }
    // One that is opened by its address is shown first, with its day, until another one is opened.
    let page = Page::open(&service.url("/?call=conv_07001"), json!({}));
    page.step("pinned", json!({"conversation": "conv_07001", "other": "conv_00002"}));
    // A list by rank is one group.
    let page = Page::open(&service.url("/?order=longest"), json!({}));
    page.step("orderedRows", json!({"rows": CALLS}));
    let page = Page::open(&service.url("/?view=stats&by=channel&from=2020-01-01"), json!({}));
    page.step(
        "byProperty",
        json!({"name": "Who answered", "by": "", "calls": 9801,
        "values": ["A person", "Voicemail", "Busy", "No answer", "No information"]}),
    );
}
