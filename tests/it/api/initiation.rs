//! The initiation webhook: who is calling, before the first word.

use crate::support::metrics::Scrape;
use crate::support::openapi::send;
use crate::support::service::{Answer, Service, binary, sdk_python, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{SECRET, post_history, post_signed, record};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Headers and body of a delivery.
type Delivery<'a> = (&'a [(&'a str, &'a str)], Vec<u8>);

const INITIATION: &str = "/webhooks/elevenlabs/initiation";
const MARIA: &str = "+15550100042";
const INGEST: &str = "ingest_0123456789abcdef";

/// Longest time that a telephone call may wait for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);

fn question(caller: &str, call_sid: &str) -> Value {
    json!({
        "caller_id": caller, "agent_id": "agent_1", "called_number": "+15550100001", "call_sid": call_sid,
        "a_new_field": {"of": ["ElevenLabs"]},
    })
}

fn ask(service: &Service, caller: &str, call_sid: &str) -> Value {
    service.post(INITIATION, &question(caller, call_sid)).expect(200).json()
}

/// Asks about a call of Maria's until an answer comes in time, as only a slow machine makes it late now and then;
/// returns the answer, and how often it asked.
fn ask_in_time(service: &Service) -> (Value, u64) {
    let mut asked = 0;
    let answer = wait_for("an answer in time", || {
        asked += 1;
        let began = Instant::now();
        let answer = ask(service, MARIA, "CA1");
        (began.elapsed() < LONGEST_ANSWER).then_some(answer)
    });
    (answer, asked)
}

/// A service that knows Maria, and starts with more flags.
fn with_maria(flags: &[&str]) -> Service {
    let service = Service::start_with(flags);
    service.put("/api/v1/drivers/1042", &json!({"name": "Maria", "phone_number": MARIA})).expect(201);
    service
}

fn count(service: &Service, outcome: &str) -> u64 {
    Scrape::take(service).get(&format!("initiations_total{{outcome=\"{outcome}\"}}"))
}

fn initiations(service: &Service) -> usize {
    service.sqlite().query_row("SELECT count(*) FROM call_initiations", [], |row| row.get(0)).unwrap()
}

/// Asks for a call of Maria's, and waits until the link is stored.
fn initiate(service: &Service, call_sid: &str) {
    let before = initiations(service);
    assert_eq!(ask(service, MARIA, call_sid)["user_id"], "driver_1042");
    wait_for("the link", || (initiations(service) > before).then_some(()));
}

/// The driver of a call, and how it became known.
fn driver(service: &Service, id: &str) -> (Value, Value) {
    let call = service.get(&format!("/api/v1/calls/{id}")).expect(200).json();
    (call["driver_id"].clone(), call["driver_source"].clone())
}

/// A turn that carries the telephone provider's id of its call.
fn turn_of(id: &str, call_sid: &str) -> Value {
    let mut turn = turn(id, 1);
    turn["call_sid"] = json!(call_sid);
    turn
}

/// A record that names its driver by nothing but the telephone provider's id.
fn anonymous_record(id: &str, call_sid: &str) -> String {
    let mut event = record(id, "Words");
    let data = &mut event["data"];
    data["user_id"] = Value::Null;
    data["conversation_initiation_client_data"] = json!({});
    data["metadata"]["batch_call"] = Value::Null;
    data["metadata"]["phone_call"]["call_sid"] = json!(call_sid);
    data["metadata"]["phone_call"]["external_number"] = json!("anonymous");
    event.to_string()
}

#[test]
fn a_known_caller_is_answered_with_the_driver_and_the_variables() {
    let service = with_maria(&[]);
    for caller in [MARIA, "15550100042", "sip:+15550100042@provider.example;transport=tcp", "+1 (555) 010-0042"] {
        let answer = ask(&service, caller, "CA1");
        assert_eq!(
            answer,
            json!({
                "type": "conversation_initiation_client_data", "user_id": "driver_1042",
                "dynamic_variables": {"driver_id": "1042", "driver_name": "Maria"},
            }),
            "{caller}"
        );
    }
    assert_eq!((count(&service, "known"), count(&service, "unknown")), (4, 0));
    // Neither numbers nor names are logged.
    assert!(!service.log().iter().any(|line| line.contains("5550100042") || line.contains("Maria")));
}

#[test]
fn whatever_is_asked_every_variable_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variables.json");
    let variables = json!({
        "driver_id": {"value": "{driver.id}", "default": 0},
        "greeting": {"value": "Hello {driver.name}!", "default": "Hello!"},
        "last_talk": {"value": "{last_call.at}, {last_call.outcome}: {last_call.summary}", "default": "none"},
        "number": "{driver.phone_number}",
        "company": "Acme",
        "depots": 3,
    });
    std::fs::write(&file, variables.to_string()).unwrap();
    let service = with_maria(&["--initiation-variables", file.to_str().unwrap(), "--elevenlabs-secret", SECRET]);
    // The log of the start names the address.
    wait_for("the address", || {
        service.events().iter().any(|line| line["initiation"] == service.url(INITIATION)).then_some(())
    });
    let nobody = json!({"driver_id": 0, "greeting": "Hello!", "last_talk": "none", "number": "", "company": "Acme",
        "depots": 3});
    let json_type = ("content-type", "application/json");
    let bodies: [Delivery<'_>; 11] = [
        (&[json_type], question("+15550199999", "CA1").to_string().into_bytes()),
        (&[json_type], question("anonymous", "CA1").to_string().into_bytes()),
        (&[json_type], json!({"caller_id": null, "call_sid": 7}).to_string().into_bytes()),
        (&[json_type], b"{}".to_vec()),
        (&[json_type], b"[]".to_vec()),
        (&[json_type], b"".to_vec()),
        (&[json_type], b"\xff\xfe{".to_vec()),
        (&[json_type], vec![b' '; 200_000]),
        (&[("content-type", "text/plain")], b"who is it?".to_vec()),
        (&[json_type, ("content-encoding", "br")], b"{}".to_vec()),
        (&[json_type, ("content-encoding", "gzip")], b"{}".to_vec()),
    ];
    for (headers, body) in bodies {
        let answer = service.post_raw(INITIATION, headers, &body).expect(200).json();
        assert_eq!(answer["dynamic_variables"], nobody, "{headers:?}");
        assert_eq!(answer.get("user_id"), None, "{headers:?}");
    }
    assert_eq!((count(&service, "unknown"), count(&service, "unreadable")), (4, 7));
    let greeted = ask(&service, MARIA, "CA2");
    let mut known = nobody;
    for (name, value) in [("driver_id", "1042"), ("greeting", "Hello Maria!"), ("number", MARIA)] {
        known[name] = json!(value);
    }
    assert_eq!(greeted["dynamic_variables"], known, "there is no last call yet");
    let mut event = record("conv_1", "Words");
    event["data"]["user_id"] = json!("driver_1042");
    event["data"]["analysis"]["call_successful"] = json!("success");
    post_signed(&service, &event.to_string()).expect(200);
    wait_for("the record to be understood", || (driver(&service, "conv_1").0 == 1042).then_some(()));
    let last = ask(&service, MARIA, "CA3")["dynamic_variables"]["last_talk"].clone();
    let call = service.get("/api/v1/calls/conv_1").expect(200).json();
    let of_call = ["call_start_time", "outcome", "summary"].map(|field| call[field].as_str().unwrap());
    assert_eq!(last, format!("{}, {}: {}", of_call[0], of_call[1], of_call[2]));
}

#[test]
fn an_answer_is_as_elevenlabs_schema_wants_it() {
    const JUDGE: &str = r"
import json, sys
from elevenlabs.types.conversation_initiation_client_data_request_input import ConversationInitiationClientDataRequestInput
from elevenlabs.types.conversation_initiation_client_data_webhook import ConversationInitiationClientDataWebhook
def unknown(model, value):
    try:
        return sorted(model.model_validate(value).__pydantic_extra__ or {})
    except Exception as error:
        return [str(error)]
given = json.load(sys.stdin)
print(json.dumps([unknown(ConversationInitiationClientDataRequestInput, answer) for answer in given['answers']]
    + [unknown(ConversationInitiationClientDataWebhook, setting) for setting in given['settings']]))
";
    let service = with_maria(&[]);
    let generated = |flags: &[&str]| {
        let command = ["generate", "elevenlabs-tool", "--kind", "initiation", "--url", "https://calls.example.com/"];
        let out = binary().args(command).args(flags).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let settings: Value = serde_json::from_slice(&out.stdout).unwrap();
        settings["conversation_initiation_client_data_webhook"].clone()
    };
    let (open, guarded) = (generated(&[]), generated(&["--secret-id", "sec_1"]));
    assert_eq!(open["url"], format!("https://calls.example.com{INITIATION}"));
    assert_eq!(guarded["request_headers"], json!({"X-Webhook-Token": {"secret_id": "sec_1"}}));
    let given = json!({
        "answers": [ask(&service, MARIA, "CA1"), ask(&service, "+15550199999", "CA2"), {"dynamic_variables": []}],
        "settings": [open, guarded, {}],
    });
    let judged: Vec<Vec<String>> = serde_json::from_value(sdk_python(JUDGE, &given)).unwrap();
    assert_eq!(judged[..2], [vec!["type"], vec!["type"]], "the type is that of the webhook's answer, not of the data");
    assert_eq!(judged[3..5], [vec![""; 0], vec![]], "{judged:?}");
    assert!(!judged[2].is_empty() && !judged[5].is_empty(), "what is wrong is found: {judged:?}");
}

#[test]
fn a_call_is_linked_by_its_first_turn_its_history_or_its_record() {
    let service = with_maria(&["--elevenlabs-secret", SECRET]);
    let initiation = (json!(1042), json!("initiation"));
    initiate(&service, "CA_turn");
    service.deliver(&turn_of("conv_turn", "CA_turn")).expect(201);
    assert_eq!(driver(&service, "conv_turn"), initiation);
    initiate(&service, "CA_envelope");
    let mut parameters = turn("conv_envelope", 1);
    parameters.as_object_mut().unwrap().remove("conversation_id");
    let envelope = json!({"conversation_id": "conv_envelope", "call_sid": "CA_envelope", "parameters": parameters});
    service.deliver(&envelope).expect(201);
    assert_eq!(driver(&service, "conv_envelope"), initiation);
    initiate(&service, "CA_history");
    let history = json!({
        "conversation_id": "conv_history", "timestamp": "2026-09-28T12:00:08Z", "call_sid": "CA_history",
        "history": {"entries": [{"role": "user", "message": "Hello"}]},
    });
    post_history(&service, &history).expect(200);
    assert_eq!(driver(&service, "conv_history"), initiation);
    initiate(&service, "CA_record");
    service.deliver(&turn("conv_record", 1)).expect(201);
    assert_eq!(driver(&service, "conv_record"), (Value::Null, Value::Null));
    post_signed(&service, &anonymous_record("conv_record", "CA_record")).expect(200);
    wait_for("the record's link", || (driver(&service, "conv_record") == initiation).then_some(()));
    // A record that says the same keeps the link of a turn.
    post_signed(&service, &anonymous_record("conv_turn", "CA_turn")).expect(200);
    let reconciled = || service.get("/api/v1/calls/conv_turn").expect(200).json()["matched"].is_number();
    wait_for("the record of the call", || reconciled().then_some(()));
    assert_eq!(driver(&service, "conv_turn"), initiation);
    // A conversation that ElevenLabs names in its question needs no more.
    let mut named = question(MARIA, "CA_named");
    named["conversation_id"] = json!("conv_named");
    service.post(INITIATION, &named).expect(200);
    wait_for("the link", || (initiations(&service) == 5).then_some(()));
    service.deliver(&turn("conv_named", 1)).expect(201);
    assert_eq!(driver(&service, "conv_named"), initiation);
    // The link comes after the call.
    service.deliver(&turn("conv_late", 1)).expect(201);
    let mut late = question(MARIA, "CA_late");
    late["conversation_id"] = json!("conv_late");
    service.post(INITIATION, &late).expect(200);
    wait_for("the late link", || (driver(&service, "conv_late") == initiation).then_some(()));
}

#[test]
fn a_claimed_link_gives_way_to_what_the_record_says() {
    let service = with_maria(&["--elevenlabs-secret", SECRET]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo", "phone_number": "+15550100007"})).expect(201);
    initiate(&service, "CA_marias");
    // Somebody claims Maria's call for another conversation.
    service.deliver(&turn_of("conv_other", "CA_marias")).expect(201);
    assert_eq!(driver(&service, "conv_other").0, 1042);
    post_signed(&service, &anonymous_record("conv_other", "CA_another")).expect(200);
    wait_for("the claim to be dropped", || (driver(&service, "conv_other").0.is_null()).then_some(()));
    post_signed(&service, &anonymous_record("conv_marias", "CA_marias")).expect(200);
    wait_for("the right link", || (driver(&service, "conv_marias").0 == 1042).then_some(()));
    // A dispatch is surer than the number that called, and the conflict is shown.
    service.put("/api/v1/dispatches/conv_marias", &json!({"driver_id": 7})).expect(201);
    let call = service.get("/api/v1/calls/conv_marias").expect(200).json();
    assert_eq!((&call["driver_id"], &call["driver_source"]), (&json!(7), &json!("dispatch")));
    assert!(call["driver_conflict"].as_str().unwrap().contains("initiation: 1042"), "{call}");
}

#[test]
fn a_repeated_question_is_one_link_which_goes_with_its_call_or_its_driver() {
    let service = with_maria(&[]);
    initiate(&service, "CA_1");
    for _ in 0..3 {
        assert_eq!(ask(&service, MARIA, "CA_1")["user_id"], "driver_1042");
    }
    initiate(&service, "CA_2");
    assert_eq!(initiations(&service), 2);
    // Without an id of the call, and for an unknown caller, nothing is stored.
    service.post(INITIATION, &json!({"caller_id": MARIA})).expect(200);
    ask(&service, "+15550199999", "CA_3");
    service.deliver(&turn_of("conv_1", "CA_1")).expect(201);
    assert_eq!(initiations(&service), 2);
    service.delete("/api/v1/calls/conv_1").expect(204);
    assert_eq!(initiations(&service), 1);
    service.delete("/api/v1/drivers/1042").expect(204);
    assert_eq!(initiations(&service), 0);
}

#[test]
fn a_call_that_only_the_initiation_links_is_erased_with_its_driver() {
    let service = with_maria(&[]);
    initiate(&service, "CA_1");
    service.deliver(&turn_of("conv_1", "CA_1")).expect(201);
    assert_eq!(driver(&service, "conv_1"), (json!(1042), json!("initiation")));
    service.deliver(&turn("conv_2", 1)).expect(201);
    service.delete("/api/v1/drivers/1042?erase_calls=true").expect(204);
    service.get("/api/v1/calls/conv_1").expect_error(404);
    service.get("/api/v1/calls/conv_2").expect(200);
}

#[test]
fn a_caller_is_told_only_to_who_has_the_ingest_token() {
    let service = with_maria(&["--ingest-token", INGEST]);
    service.post(INITIATION, &question(MARIA, "CA1")).expect_error(401);
    let body = question(MARIA, "CA1").to_string();
    let sent = |header: (&str, &str)| service.post_raw(INITIATION, &[header], body.as_bytes());
    sent(("x-webhook-token", "another_0123456789abcdef")).expect_error(401);
    let known = |answer: Answer| answer.expect(200).json()["user_id"] == "driver_1042";
    assert!(known(sent(("x-webhook-token", INGEST))));
    assert!(known(sent(("authorization", &format!("Bearer {INGEST}")))));
    let webhooks = service.get("/api/v1/setup").expect(200).json()["webhooks"].clone();
    let shown = webhooks.as_array().unwrap().iter().find(|hook| hook["path"] == INITIATION).unwrap().clone();
    assert_eq!((&shown["authentication"], &shown["accepted"]), (&json!("ingest_token"), &json!(2)));
    assert_eq!((&shown["refused"], &shown["last_refused"]["status"]), (&json!(2), &json!(401)));
}

#[test]
fn without_an_ingest_token_a_caller_is_told_only_to_who_may_read_words() {
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    let tokens = ["list", "read", "manage"].map(|role| format!("anna:{role}:{role}_0123456789abcdef"));
    let flags: Vec<_> = tokens.iter().flat_map(|token| ["--api-token", token]).collect();
    let service = Service::start_with(&flags);
    let sent = |role: &str, method: &str, path: &str, body: &Value| {
        let token = format!("Bearer {role}_0123456789abcdef");
        send(&service, method, path, &[JSON, ("Authorization", &token)], body.to_string().as_bytes())
    };
    let maria = json!({"name": "Maria", "phone_number": MARIA});
    assert_eq!(sent("manage", "PUT", "/api/v1/drivers/1042", &maria).status, 201);
    // The answer may have the summary of the last call.
    for (role, is_told) in [("list", false), ("read", true), ("manage", true)] {
        let answer = sent(role, "POST", INITIATION, &question(MARIA, "CA1"));
        assert_eq!(answer.status, 200, "{role}: {}", answer.text);
        assert_eq!(answer.text.contains("driver_1042"), is_told, "{role}: {}", answer.text);
    }
    assert!(!service.post(INITIATION, &question(MARIA, "CA1")).expect(200).text.contains("driver_1042"));
}

#[test]
fn many_questions_of_one_number_are_few_links_of_which_the_newest_stays() {
    let service = with_maria(&[]);
    for n in 0..130 {
        assert_eq!(ask(&service, MARIA, &format!("CA_{n}"))["user_id"], "driver_1042");
    }
    wait_for("the last link", || {
        let found = "SELECT count(*) FROM call_initiations WHERE call_sid = 'CA_129'";
        let found: i64 = service.sqlite().query_row(found, [], |row| row.get(0)).unwrap();
        (found == 1 && initiations(&service) == 100).then_some(())
    });
    service.deliver(&turn_of("conv_1", "CA_129")).expect(201);
    assert_eq!(driver(&service, "conv_1"), (json!(1042), json!("initiation")));
}

#[test]
fn the_answer_does_not_wait_for_the_writer() {
    let service = with_maria(&[]);
    let other = rusqlite::Connection::open(service.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(ask_in_time(&service).0["user_id"], "driver_1042");
    assert_eq!(initiations(&service), 0);
    other.execute_batch("COMMIT").unwrap();
    wait_for("the link", || (initiations(&service) == 1).then_some(()));
    assert_eq!(Scrape::take(&service).get::<u64>("initiation_links_lost_total"), 0);
}

#[test]
fn the_answer_is_in_time_when_the_sender_is_slow_or_the_file_is_gone() {
    let service = with_maria(&[]);
    service.get(INITIATION).expect_error(405);
    let head = format!("POST {INITIATION} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n");
    let answer = wait_for("an answer in time", || {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let began = Instant::now();
        write!(stream, "{head}content-length: 100\r\n\r\n{{\"caller_id\": ").unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        (began.elapsed() < LONGEST_ANSWER).then_some(answer)
    });
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"driver_name\":\"\""), "{answer}");

    std::fs::rename(service.database(), service.database().with_extension("moved")).unwrap();
    let (answer, asked) = ask_in_time(&service);
    assert_eq!(answer["dynamic_variables"], json!({"driver_id": "", "driver_name": ""}));
    assert_eq!(count(&service, "failed"), asked);
}

#[test]
fn a_file_of_variables_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variables.json");
    let refused = || {
        let database = folder.path().join("calls.db");
        let flags = ["serve", "--no-token", "--listen", "127.0.0.1:0", "--initiation-variables"];
        let out = binary().args(flags).arg(&file).arg("--database").arg(database).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(said.contains("variables.json"), "{said}");
        said
    };
    refused();
    for (text, named) in
        [("[]", "object"), ("{\"greeting\": \"Hello {driver.nmae}\"}", "{driver.nmae}"), ("{\"x\": null}", "x")]
    {
        std::fs::write(&file, text).unwrap();
        let said = refused();
        assert!(said.contains(named), "{said}");
    }
}
