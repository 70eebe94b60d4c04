//! Redaction: what must not be kept is in no file, and everything else is as it was.

use crate::support::fake_elevenlabs::{FakeElevenLabs, KEY};
use crate::support::service::{Service, binary};
use crate::support::whole_call::{SECRET, post_history, post_signed, post_signed_bytes};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::time::{Duration, Instant};
use transcribe_hook::elevenlabs::sample_call;
use transcribe_hook::redaction::{PiiKind, RedactionCounts, Redactor};

const TAKEN: &str = include_str!("../../fixtures/redaction/taken.txt");
const LEFT: &str = include_str!("../../fixtures/redaction/left.txt");

fn all() -> Redactor {
    Redactor::new(&PiiKind::ALL)
}

fn redacted(text: &str) -> String {
    all().text(text, &mut RedactionCounts::default()).into_owned()
}

#[test]
fn what_is_to_be_found_is_found_as_a_whole_and_nothing_around_it() {
    let mut count = 0;
    for line in TAKEN.lines() {
        let (text, wanted) = line.split_once(" => ").expect("each line has both");
        assert_eq!(redacted(text), wanted, "{text}");
        count += 1;
    }
    assert!(count > 50);
}

#[test]
fn loads_mileages_times_and_the_like_are_left_as_they_are() {
    assert!(LEFT.lines().count() > 40);
    for line in LEFT.lines() {
        assert_eq!(redacted(line), line);
    }
}

#[test]
fn only_what_is_asked_for_is_replaced_and_it_is_counted() {
    let text = "Card 4111 1111 1111 1111, phone 312-555-0142 or 312-555-0143, jo@example.org, 123-45-6789.";
    let mut found = RedactionCounts::default();
    let phones = Redactor::new(&[PiiKind::Phone]).text(text, &mut found).into_owned();
    assert_eq!(phones, "Card 4111 1111 1111 1111, phone [phone] or [phone], jo@example.org, 123-45-6789.");
    assert_eq!(PiiKind::ALL.map(|kind| found.count(kind)), [0, 0, 2, 0]);
    let mut found = RedactionCounts::default();
    assert!(matches!(Redactor::new(&[]).text(text, &mut found), Cow::Borrowed(_)));
    all().text(text, &mut found);
    assert_eq!(PiiKind::ALL.map(|kind| found.count(kind)), [1, 1, 2, 1]);
}

/// Texts of what numbers, contexts and addresses are made of, in any order.
fn texts() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        "[0-9]{1,17}",
        prop_oneof![
            Just("4111 1111 1111 1111"),
            Just("one"),
            Just("oh"),
            Just("double"),
            Just("forty"),
            Just("hundred"),
            Just("plus"),
            Just("phone"),
            Just("load"),
            Just("social"),
            Just("number"),
            Just("at"),
            Just("dot"),
            Just("com"),
            Just("gmail"),
            Just("dash"),
            Just("[card]"),
            Just("[phone]"),
            Just("["),
            Just("555-0142"),
            Just("123-45-6789"),
            Just("312"),
            Just("a@b.co"),
            Just("@"),
            Just("email"),
        ]
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    let gaps = prop_oneof![
        Just(" "),
        Just(""),
        Just("-"),
        Just("."),
        Just(", "),
        Just(") "),
        Just("("),
        Just("+"),
        Just("\n")
    ];
    vec((words, gaps), 0..24)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap.to_owned()]).collect())
}

#[test]
fn whatever_the_text_it_is_the_same_the_second_time_and_untouched_where_nothing_is_found() {
    let kinds =
        vec(prop_oneof![Just(PiiKind::Card), Just(PiiKind::Email), Just(PiiKind::Phone), Just(PiiKind::Ssn)], 0..4);
    TestRunner::new(ProptestConfig::with_cases(1500))
        .run(&(texts(), kinds), |(text, kinds)| {
            let redactor = Redactor::new(&kinds);
            let mut found = RedactionCounts::default();
            let once = redactor.text(&text, &mut found);
            let count: u64 = PiiKind::ALL.map(|kind| found.count(kind)).iter().sum();
            assert_eq!(count == 0, matches!(once, Cow::Borrowed(_)));
            if count == 0 {
                assert_eq!(once, text);
            }
            assert!(PiiKind::ALL.iter().all(|kind| found.count(*kind) == 0 || kinds.contains(kind)));
            let twice = redactor.text(&once, &mut RedactionCounts::default());
            assert_eq!(twice, once, "of {text:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn json_stays_json_of_the_same_form_with_every_other_byte_as_it_was() {
    TestRunner::new(ProptestConfig::with_cases(600))
        .run(&(texts(), texts(), any::<f64>()), |(one, two, number)| {
            let whole = json!({
                "a": one, "b": [two, null, number, {"external_number": "+13125550142", "c": one}],
                "params_as_json": json!({"inner": two, "card": 4_111_111_111_111_111_u64}).to_string(),
            });
            let text = format!(" {whole:#}\n");
            let mut found = RedactionCounts::default();
            let out = all().json(&text, &mut found).expect("it is JSON").into_owned();
            let back: Value = serde_json::from_str(&out).expect("it is JSON still");
            assert_eq!(back["a"], redacted(&one));
            assert_eq!(back["b"][3]["external_number"], "+13125550142");
            let inner: Value = serde_json::from_str(back["params_as_json"].as_str().unwrap()).expect("JSON within");
            assert_eq!((&inner["inner"], &inner["card"]), (&json!(redacted(&two)), &json!("[card]")));
            // A text that is itself JSON is read as such, so that only these two may differ.
            assert_eq!(all().json(&out, &mut RedactionCounts::default()).unwrap(), out);
            Ok(())
        })
        .unwrap();
    let text = "{\"n\": 1.10, \"e\":\"\\u0041 4111 1111 1111 1111\\n\", \"k\" : 1e400}";
    let out = all().json(text, &mut RedactionCounts::default()).unwrap();
    assert_eq!(out, "{\"n\": 1.10, \"e\":\"A [card]\\n\", \"k\" : 1e400}");
    assert_eq!(all().json("{\"cut\": \"4111 1111 1111 1111", &mut RedactionCounts::default()), None);
}

#[test]
fn hostile_texts_of_the_greatest_length_take_no_time() {
    for part in [
        "1",
        "1 ",
        "12",
        "one ",
        "oh, ",
        "double ",
        "forty ",
        "4111 ",
        "4111111111111111 ",
        "123-45-6789-",
        "+1 ",
        "plus one ",
        "@",
        "a@",
        "a@b.",
        "at ",
        "a at b dot com ",
        "[card]",
        "[",
        "phone ",
        "phone 555-0142 ",
        "312-555-0142-",
        "-",
        "((",
        "é",
    ] {
        let text = part.repeat(64 * 1024 / part.len());
        let start = Instant::now();
        let out = redacted(&text);
        assert_eq!(redacted(&out), out, "{part:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{part:?} took {:?}", start.elapsed());
    }
}

/// The digits and the address that must be nowhere, in any way of writing them.
const NOWHERE: [&str; 5] = ["4111", "1111 1111", "four one one one", "maria.k@", "312-555-0142"];

/// Drops the fractions of seconds of times, which may be any digits.
fn without_fractions(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut in_fraction = false;
    for c in text.chars() {
        in_fraction = (in_fraction && c.is_ascii_digit())
            || (c == '.'
                && kept.len() >= 3
                && matches!(kept.as_bytes()[kept.len() - 3..], [b':', b'0'..=b'9', b'0'..=b'9']));
        if !in_fraction {
            kept.push(c);
        }
    }
    kept
}

fn assert_nowhere(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // The service that still runs has removed it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let text = without_fractions(&String::from_utf8_lossy(&bytes));
        for secret in NOWHERE {
            assert!(!text.contains(secret), "{secret:?} is in {}", path.display());
        }
    }
}

const CARD: &str = "Sure, it's 4111 1111 1111 1111.";
const SPOKEN: &str = "Sure, it's four one one one, one one one one, one one one one, one one one one.";

/// A record that has the number wherever it can.
fn record(id: &str) -> Value {
    let mut event = sample_call::post_call(id, 1_790_000_000);
    let data = &mut event["data"];
    data["transcript"] = json!([
        {"role": "agent", "message": "May I have the card?", "time_in_call_secs": 1},
        {"role": "user", "message": CARD, "original_message": CARD, "time_in_call_secs": 4},
        {"role": "agent", "message": null, "time_in_call_secs": 5, "tool_calls": [{
            "request_id": "r", "tool_name": "pay", "tool_has_been_called": true,
            "params_as_json": json!({"card": "4111111111111111", "number": 4_111_111_111_111_111_u64}).to_string()
        }]},
    ]);
    data["analysis"]["transcript_summary"] = json!("Paid with 4111 1111 1111 1111, mail to maria.k@example.com.");
    data["analysis"]["call_summary_title"] = json!("Card 4111-1111-1111-1111");
    data["metadata"]["phone_call"]["external_number"] = json!("+15550100042");
    data["conversation_initiation_client_data"] = json!({"dynamic_variables": {"callback": "312-555-0142"}});
    event
}

const FLAGS: [&str; 4] = ["--redact", "card,email,phone,ssn", "--elevenlabs-secret", SECRET];

#[test]
fn nothing_of_it_reaches_the_file_and_repeats_and_records_are_recognised_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &FLAGS);
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria", "phone_number": "+15550100042"})).expect(201);
    let turn =
        json!({"conversation_id": "conv_a", "speaker": "user", "message": SPOKEN, "timestamp": "2026-09-21T14:13:24Z"});
    service.deliver(&turn).expect(201);
    assert_eq!(service.deliver(&turn).expect(201).header("idempotent-replayed"), Some("true"));
    let keyed = |words: &str| {
        let mut keyed = turn.clone();
        keyed["message"] = json!(words);
        let headers = [("content-type", "application/json"), ("Idempotency-Key", "key-1")];
        service.post_raw("/webhooks/elevenlabs/transcription", &headers, keyed.to_string().as_bytes())
    };
    keyed("Write to maria.k@example.com").expect(201);
    assert_eq!(keyed("Write to maria.k@example.com").expect(201).header("idempotent-replayed"), Some("true"));
    let history = json!({"conversation_id": "conv_b", "timestamp": "2026-09-28T12:00:10Z",
        "history": json!({"entries": [{"role": "user", "message": CARD}]}).to_string()});
    post_history(&service, &history).expect(200);
    assert_eq!(post_signed(&service, &record("conv_a").to_string()).status, 200);
    assert_eq!(post_signed(&service, &format!("no JSON: {CARD}")).status, 200);

    // What was said aloud and what the record wrote in digits are one turn.
    let call = service.get("/api/v1/calls/conv_a").expect(200).json();
    assert_eq!((&call["matched"], &call["corrected"], &call["added"]), (&json!(1), &json!(0), &json!(1)), "{call}");
    assert_eq!(call["summary"], "Paid with [card], mail to [email].");
    assert_eq!(call["title"], "Card [card]");
    // The number of the line is no word of the call, and finds the driver.
    assert_eq!((&call["driver_id"], &call["driver_source"]), (&json!(1042), &json!("phone_number")));
    assert_eq!(call["external_number"], "+15550100042");
    let turns = service.get("/api/v1/calls/conv_a/transcriptions?order=time").expect(200).json();
    let words: Vec<_> = turns["data"].as_array().unwrap().iter().map(|turn| turn["message_text"].clone()).collect();
    assert!(words.contains(&json!("Sure, it's [card].")), "{words:?}");
    assert!(words.contains(&json!("Write to [email]")), "{words:?}");
    let kept = service.get("/v1/convai/conversations/conv_a").expect(200).json();
    let params: Value =
        serde_json::from_str(kept["transcript"][2]["tool_calls"][0]["params_as_json"].as_str().unwrap()).unwrap();
    assert_eq!(params, json!({"card": "[card]", "number": "[card]"}));
    let metrics = service.get("/metrics").expect(200).text;
    let counted = |kind: &str| {
        let name = format!("transcribe_hook_redactions_total{{kind=\"{kind}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    assert!(counted("card") >= 9.0 && counted("email") >= 3.0 && counted("phone") >= 1.0, "{metrics}");
    assert_nowhere(folder.path());

    let before = service.events_stored();
    service.stop();
    let service = Service::start_on(&database, &FLAGS);
    assert_eq!(service.deliver(&turn).expect(201).header("idempotent-replayed"), Some("true"), "after a restart, too");
    let again = post_signed(&service, &record("conv_a").to_string());
    assert_eq!((again.status, service.events_stored()), (200, before), "it was stored before");
    // What is read again is read as it is kept.
    let replay = binary().args(["replay", "--json", "--database"]).arg(&database).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&replay.stdout).unwrap()["applied"], 1, "{replay:?}");
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["title"], "Card [card]");
    assert_nowhere(folder.path());
    assert!(!service.log().join("\n").contains("4111"));
}

#[test]
fn what_a_damaged_body_says_is_redacted_as_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_on(&folder.path().join("calls.db"), &FLAGS);
    let body = |id: &str, message: &str, number: &str| {
        format!(
            r#"{{"type": "post_call_transcription", "event_timestamp": 1795752100, "data": {{"conversation_id": "{id}", "status": "done",
            "metadata": {{"cost": {number}}}, "transcript": [{{"role": "user", "message": "{message}"}}]}}}}"#
        )
    };
    let utf16 = |text: &str| [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let bodies: [(&str, Vec<u8>); 5] = [
        ("conv_half", body("conv_half", &format!("{CARD} \\ud83d"), "1").into()),
        ("conv_nan", body("conv_nan", CARD, "NaN").into()),
        ("conv_mark", format!("\u{feff}{}", body("conv_mark", CARD, "1")).into()),
        ("conv_utf16", utf16(&body("conv_utf16", CARD, "1"))),
        (
            "conv_bytes",
            body("conv_bytes", &format!("{CARD} XX"), "1").bytes().map(|b| if b == b'X' { 0xFC } else { b }).collect(),
        ),
    ];
    for (id, body) in bodies {
        post_signed_bytes(&service, &body).expect(200);
        let turns = service.get(&format!("/api/v1/calls/{id}/transcriptions")).expect(200).json();
        let words = turns["data"][0]["message_text"].as_str().unwrap();
        assert!(words.contains("[card]") && !words.contains("4111"), "{id}: {words}");
    }
    assert_nowhere(folder.path());
}

#[test]
fn what_is_fetched_is_redacted_too_and_without_the_flag_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let backfill = |flags: &[&str], id: &str| {
        let elevenlabs = FakeElevenLabs::start(vec![record(id)["data"].clone()], 10);
        let out = binary()
            .args([
                "backfill",
                "--since",
                "2026-01-01T00:00:00Z",
                "--elevenlabs-base-url",
                &elevenlabs.url(),
                "--database",
            ])
            .arg(&database)
            .args(flags)
            .env("TRANSCRIBE_HOOK_ELEVENLABS_API_KEY", KEY)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    backfill(&["--redact", "card,email,phone"], "conv_a");
    assert_nowhere(folder.path());
    backfill(&[], "conv_b");
    let service = Service::start_on(&database, &[]);
    let summary = |id: &str| service.get(&format!("/api/v1/calls/{id}")).expect(200).json()["summary"].clone();
    assert_eq!(summary("conv_a"), "Paid with [card], mail to [email].");
    assert_eq!(summary("conv_b"), "Paid with 4111 1111 1111 1111, mail to maria.k@example.com.");
    let wrong = binary().args(["serve", "--redact", "card,names"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
