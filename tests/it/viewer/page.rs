//! The page on which calls are read, in a real browser. What a step does stands in `tests/browser`; each also fails on
//! whatever the browser writes to its console, on a request to another host and on what a check of accessibility finds.

use crate::support::browser::Page;
use crate::support::samples::sample;
use crate::support::service::{Service, TURNS};
use crate::support::tls::free_port;
use crate::support::whole_call::{CALL, FIRST, SECRET, deliver, post_signed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::json;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::agent_tool::{ToolKind, ToolOptions, configuration};

const PARKED: &str = "Yeah, I'm parked at the Pilot in Gary.";
const CUT_OFF: &str = "Great. Your reefer is reading forty five degrees. Could you check the set...";
const LAST: &str = "It says thirty four. I'll bump the set point.";

pub fn say(service: &Service, call: &str, speaker: &str, message: &str, time: &str) {
    let turn = json!({"conversation_id": call, "speaker": speaker, "message": message, "timestamp": time});
    service.deliver(&turn).expect(201);
}

/// Some minutes before now, as the API takes it.
pub fn ago(minutes: i64) -> String {
    Timestamp::from_unix_micros(Timestamp::now().unix_micros() - minutes * 60_000_000).unwrap().to_string()
}

/// A service with drivers, a call that runs, a whole one with record, and one that failed.
pub fn some_calls(flags: &[&str]) -> Service {
    let service = Service::start_with(&[&["--elevenlabs-secret", SECRET], flags].concat());
    for (id, name) in [(1042, "Maria Kowalski"), (7, "Jo Brandt"), (8, "يوسف حداد")] {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name})).expect(201);
    }
    for (call, driver) in [("conv_live", 7), ("conv_failed", 8)] {
        service.put(&format!("/api/v1/dispatches/{call}"), &json!({"driver_id": driver})).expect(201);
    }
    // Heard live: one turn twice, one in other words, and not the last one.
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:02.120Z");
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:02.900Z");
    deliver(&service, "user", "Yeah I'm parked at the pilot and Gary.", "2026-09-28T12:00:08.410Z");
    deliver(&service, "agent", CUT_OFF, "2026-09-28T12:00:11.300Z");
    post_signed(&service, &sample(0).to_string()).expect(200);
    say(&service, "conv_failed", "agent", "Hello?", "2026-09-20T08:00:00Z");
    service.patch("/api/v1/calls/conv_failed", &json!({"status": "failed"})).expect(200);
    say(&service, "conv_live", "agent", "Hi Jo, how far are you from Joliet?", &ago(2));
    say(&service, "conv_live", "user", "Ten miles, the reefer is fine.", &ago(1));
    service
}

#[test]
fn calls_are_listed_the_live_ones_first_and_narrowed_by_status_driver_and_days() {
    let service = some_calls(&[]);
    let page = Page::open(&service.url("/"), json!({}));
    let groups = json!({"Live now": ["Jo Brandt"], "28 Sep": ["Maria Kowalski"], "20 Sep": ["يوسف حداد"]});
    page.step("list", json!({ "groups": groups }));
    page.step("status", json!({"name": "Failed", "rows": ["يوسف حداد"]}));
    page.step("status", json!({"name": "Live", "rows": ["Jo Brandt"]}));
    page.step("status", json!({"name": "All", "rows": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("driver", json!({"typed": "kow", "rows": ["Maria Kowalski"]}));
    page.step("clear", json!({"rows": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("days", json!({"from": "2026-09-19", "to": "2026-09-20", "rows": ["يوسف حداد"]}));
    page.step("clear", json!({"rows": ["Jo Brandt", "Maria Kowalski", "يوسف حداد"]}));
    page.step("keys", json!({"first": "Jo Brandt", "second": "Maria Kowalski"}));
}

#[test]
fn a_call_is_read_as_a_conversation_with_what_the_record_made_of_it() {
    let audio = tempfile::tempdir().unwrap();
    let service = some_calls(&["--audio-dir", audio.path().to_str().unwrap()]);
    // A minute of silence: frames of 26 milliseconds.
    let frame = [&[0xff, 0xfb, 0x90, 0x00][..], &[0; 413]].concat();
    let recording = json!({"type": "post_call_audio", "event_timestamp": 1_790_596_860,
        "data": {"agent_id": "agent_1", "conversation_id": CALL, "full_audio": STANDARD.encode(frame.repeat(2300))}});
    let words = [FIRST, PARKED, CUT_OFF, LAST];

    let page = Page::open(&service.url(&format!("/?call={CALL}&turn=5")), json!({}));
    // The repeat is not shown; what ElevenLabs has in other words is shown in its words.
    page.step("conversation", json!({"words": words, "days": ["Mon 28 Sept"]}));
    page.step("pointed", json!({"number": 5}));
    page.step("turn", json!({"number": 1, "notes": []}));
    let corrected = json!({"number": 3, "notes": ["corrected"], "heard": "Yeah I'm parked at the pilot and Gary."});
    page.step("turn", corrected);
    page.step("turn", json!({"number": 4, "notes": ["interrupted"]}));
    page.step("turn", json!({"number": 5, "notes": ["added after the call"]}));
    page.step("times", json!({"number": 3, "shown": "07:00:08", "utc": "2026-09-28 12:00:08.41 UTC"}));
    let facts = ["Reefer temperature check", "Maria Kowalski", "the call’s variable driver_id", "Goal met"];
    page.step("facts", json!({ "texts": facts }));
    page.step("facts", json!({"texts": ["reefer set point f", "34", "repeated live turns", "English"]}));
    let copied = ["Maria Kowalski", &format!("[0:02] Agent: {FIRST}"), &format!("[0:17] Driver: {LAST}")];
    page.step("copied", json!({ "lines": copied }));
    page.step("printed", json!({ "words": words }));
    for (name, ending, begins) in [
        ("Text", "txt", "Call "),
        ("Markdown", "md", "## "),
        ("Turns as a table", "csv", "conversation_id,"),
        ("JSON lines", "jsonl", "{\""),
        ("Captions", "vtt", "WEBVTT\n"),
        ("Subtitles", "srt", "1\n00:00:"),
    ] {
        let file = format!("{CALL}.{ending}");
        page.step("exported", json!({"name": name, "file": file, "begins": begins, "holds": ["Pilot", "bump"]}));
    }
    let row = json!({"name": "Call as a row", "file": format!("{CALL}.csv"),
        "begins": "conversation_id,call_start_time,",
        "holds": [format!("\n{CALL},2026-09-28T12:00:00.000000Z,"), ",Reefer temperature check,".to_owned()]});
    page.step("exported", row);
    // A recording that comes after the record is there without opening the call again.
    page.step("noRecording", json!({}));
    post_signed(&service, &recording.to_string()).expect(200);
    page.step("seek", json!({"number": 4, "seconds": 11}));

    let absent = Page::open(&service.url("/?call=conv_none"), json!({}));
    absent.step("absent", json!({"says": "Call not found"}));
}

#[test]
fn a_running_call_is_followed_and_the_reader_who_scrolls_up_keeps_the_place() {
    let service = Service::start();
    let first = "Hi, this is dispatch.";
    say(&service, "conv_1", "agent", first, &ago(5));
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt"})).expect(201);
    let page = Page::open(&service.url("/?call=conv_1"), json!({}));
    page.step("live", json!({}));
    page.step("heard", json!({"words": [first]}));
    // Who was called becomes known while the call runs.
    service.put("/api/v1/dispatches/conv_1", &json!({"driver_id": 7})).expect(201);
    let mut words = vec![first.to_owned()];
    for n in 0..30_i64 {
        let said = format!("Turn {n}, in which the driver says where the trailer stands and what the reefer reads.");
        say(&service, "conv_1", if n % 2 == 0 { "user" } else { "agent" }, &said, &ago(4));
        words.push(said);
    }
    page.step("heard", json!({ "words": words }));
    page.step("atEnd", json!({"last": words.last()}));
    page.step("lastWords", json!({"name": "Jo Brandt", "words": words.last()}));
    page.step("readAbove", json!({}));
    for said in ["I have to go.", "Bye."] {
        say(&service, "conv_1", "user", said, &ago(3));
        words.push(said.to_owned());
    }
    page.step("heard", json!({ "words": words }));
    page.step("newer", json!({"says": "2 new turns ↓"}));
    page.step("atEnd", json!({"last": "Bye."}));
    service.patch("/api/v1/calls/conv_1", &json!({"status": "completed"})).expect(200);
    page.step("ended", json!({"says": "The call ended."}));
    service.delete("/api/v1/calls/conv_1").expect(204);
    page.step("erased", json!({}));
}

#[test]
fn after_a_killed_service_is_back_no_turn_is_missing_and_none_is_twice() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // A port that nobody is given by chance before the service is back.
    let address = format!("127.0.0.1:{}", free_port());
    let service = Service::start_on(&database, &["--listen", &address]);
    say(&service, "conv_1", "agent", "One.", &ago(9));
    let page =
        Page::open(&service.url("/?call=conv_1"), json!({"tolerates": "ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY"}));
    page.step("live", json!({}));
    say(&service, "conv_1", "user", "Two.", &ago(8));
    page.step("heard", json!({"words": ["One.", "Two."]}));
    // The last thing before the end may or may not reach the page.
    say(&service, "conv_1", "agent", "Three.", &ago(7));
    service.signal("KILL");
    drop(service);
    page.step("lost", json!({}));
    // What it shows stays, and the reader learns what is the matter. Whether the third turn got through is chance.
    page.step("told", json!({"first": ["One.", "Two."]}));
    let service = Service::start_on(&database, &["--listen", &address]);
    say(&service, "conv_1", "user", "Four.", &ago(6));
    say(&service, "conv_2", "agent", "Another call.", &ago(1));
    page.step("live", json!({}));
    page.step("heard", json!({"words": ["One.", "Two.", "Three.", "Four."]}));
    say(&service, "conv_1", "agent", "Five.", &ago(5));
    page.step("heard", json!({"words": ["One.", "Two.", "Three.", "Four.", "Five."]}));
    page.step("list", json!({"groups": {"Live now": ["Unknown driver conv_2", "Unknown driver conv_1"]}}));
}

#[test]
fn words_are_found_marked_and_lead_to_their_turn() {
    let service = some_calls(&[]);
    let page = Page::open(&service.url("/"), json!({}));
    page.step("live", json!({}));
    let found = ["Driver: Ten miles, the reefer is fine.".to_owned(), format!("Agent: {CUT_OFF}")];
    let step = json!({"words": "reefer", "found": found, "marked": ["reefer", "reefer"]});
    crate::support::service::wait_for("the index", || {
        (service.get("/api/v1/search?q=reefer").json()["data"].as_array()?.len() == 2).then_some(())
    });
    page.step("search", step);
    page.step("search", json!({"words": "reefer degrees", "found": [found[1]], "marked": ["reefer", "degrees"]}));
    page.step("openFound", json!({"number": 4, "marked": ["reefer", "degrees"]}));
    page.step("nothingFound", json!({"words": "zeppelin", "says": "Nothing found"}));
    page.step("refused", json!({"words": "\"reefer", "says": "opens a quotation that is not closed"}));
}

#[test]
fn statistics_are_drawn_and_stand_in_tables() {
    let service = some_calls(&[]);
    let time = "started_after=2026-09-19T05:00:00Z&started_before=2026-10-01T05:00:00Z&zone=America/Chicago";
    let stats = service.get(&format!("/api/v1/stats?{time}")).expect(200).json();
    let share = |side: &str| format!("{:.0}%", stats["all"][side]["share_of_seconds"].as_f64().unwrap() * 100.0);
    let answered = "Who answered: A person 1 call, 50%; No information 1 call, 50%.";
    let talked = format!("Speaking time: agent {}, drivers {}.", share("agent"), share("driver"));
    let page = Page::open(&service.url("/?view=stats&from=2026-09-19&to=2026-09-30"), json!({}));
    let shown = json!({
        "tiles": {"Calls": "2", "Reached": "1", "Failed": "1", "Mean length": "0:47", "Median length": "0:47", "Driver \
         talks": share("driver"),
            "Only in the record": "1", "With different text": "1", "Repeated": "1"},
        "drawings": ["Calls by day: 2 calls on 2 days, maximum 1 on 20 Sept.", answered, talked],
        "tables": [
            [["20 Sept", "1", "0", "1", "0", "0:00"], ["28 Sept", "1", "1", "0", "0", "0:47"]],
            [
                ["A person", "1", "50%", "1", "0", "4", "0:47", "0:47"],
                ["No information", "1", "50%", "0", "1", "1", "–", "0:00"],
            ],
        ],
    });
    page.step("statistics", shown.clone());
    for (name, by, values) in [
        ("Goal", "outcome", ["Goal met", "No analysis"]),
        ("Channel", "channel", ["Phone", "No information"]),
        ("Direction", "direction", ["Outbound", "No information"]),
        ("Who answered", "", ["A person", "No information"]),
    ] {
        page.step("byProperty", json!({"name": name, "by": by, "values": values, "calls": 2}));
    }
    let phone =
        Page::open(&service.url("/?view=stats&from=2026-09-19&to=2026-09-30"), json!({"phone": true, "dark": true}));
    phone.step("statistics", shown);
    Page::open(&service.url("/?view=stats&from=2025-09-19&to=2025-09-30"), json!({})).step("noStatistics", json!({}));
}

#[test]
fn a_call_that_went_on_hours_later_does_not_drown_speaking_time_in_silence() {
    let service = Service::start();
    let second = "e234567890 2345";
    for (speaker, seconds, time) in
        [("agent", 3, "12:00:00"), ("user", 1, "12:00:05"), ("agent", 3, "20:00:00"), ("user", 1, "20:00:05")]
    {
        say(&service, "conv_1", speaker, &second.repeat(seconds), &format!("2026-09-28T{time}Z"));
    }
    let page = Page::open(&service.url("/?view=stats&from=2026-09-28&to=2026-09-28"), json!({}));
    // Three seconds for the agent to one for the driver; between them two of silence, twice.
    page.step("speakingTime", json!({"rows": ["75% agent, 25% driver"], "silence": "0:04"}));
}

#[test]
fn statistics_fill_the_width_of_a_phone_and_of_a_window() {
    let service = some_calls(&[]);
    for phone in [false, true] {
        let url = service.url("/?view=stats&from=2026-09-01&to=2026-09-30");
        let page = Page::open(&url, json!({"phone": phone, "dark": phone}));
        page.step("filledRows", json!({}));
        page.step("labelsInside", json!({}));
    }
}

#[test]
fn statistics_say_which_events_could_not_be_read() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    for n in 0..3 {
        post_signed(&service, &format!("{{no JSON {n}")).expect(200);
    }
    let text = "3 events could not be parsed (1, 2, 3). They are stored; the log has the reasons.";
    Page::open(&service.url("/?view=stats"), json!({})).step("unreadEvents", json!({"text": text}));
}

#[test]
fn whoever_has_the_token_signs_in_and_out() {
    const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let open = Service::start_on(&database, &["--no-token"]);
    say(&open, "conv_1", "agent", "Hello.", &ago(3));
    open.stop();
    let service = Service::start_on(&database, &["--api-token", TOKEN]);
    let page = Page::open(&service.url("/?call=conv_1"), json!({}));
    page.step("signIn", json!({"token": TOKEN, "wrong": "not_the_token_but_long_enough"}));
    page.step("heard", json!({"words": ["Hello."]}));
    page.step("live", json!({}));
    page.step("sessionEnds", json!({"token": TOKEN, "name": "Unknown driver conv_1"}));
    page.step("signOut", json!({}));
}

#[test]
fn an_address_with_the_token_signs_in_and_leaves_no_trace_of_it() {
    let service = Service::start_guarded(&[]);
    say(&service, "conv_1", "agent", "Hello.", &ago(3));
    let token = service.token();
    let page = Page::open(&service.url(&format!("/?call=conv_1#token={token}")), json!({}));
    page.step("arrived", json!({"token": token, "path": "/?call=conv_1"}));
    page.step("heard", json!({"words": ["Hello."]}));
    page.step("live", json!({}));
    // Swagger UI goes by the same cookie.
    page.step("goTo", json!({"path": "/docs"}));
    page.step("tryOut", json!({"id": "list_calls", "status": 200}));
    let tolerates = json!({"tolerates": "status of 401"});
    let wrong = "th_of_another_service";
    let page = Page::open(&service.url(&format!("/#token={wrong}")), tolerates);
    page.step("arrivesLater", json!({"token": token, "wrong": wrong}));
}

#[test]
fn a_link_with_a_token_that_only_stores_turns_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, storing) = (folder.path().join("tokens"), "agent_0123456789abcdef");
    std::fs::write(&tokens, format!("boss:manage:boss_0123456789abcdef\nagent:ingest:{storing}\n")).unwrap();
    std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o600)).unwrap();
    let service = Service::start_guarded(&["--api-token-file", tokens.to_str().unwrap()]);
    let tolerates = json!({"tolerates": "status of 40[13]"});
    let page = Page::open(&service.url(&format!("/#token={storing}")), tolerates);
    page.step("see", json!({"selector": ".wrong", "texts": ["This token only stores turns; it reads nothing."]}));
}

#[test]
fn words_that_are_html_or_run_from_right_to_left_stay_words() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let words = [
        "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>",
        "</p></li><b>bold</b> &amp; &lt;i&gt; <mark>reefer</mark> ${1+1} {{7*7}} javascript:window.hacked=1",
        "أنا متوقف عند المحطة رقم 12, reefer 45°",
        "\u{202e}live ot thgir morf\u{202c} – and on",
        "🚚🚛 e\u{301}\u{301}\u{301} אבג",
    ];
    for (n, text) in words.iter().enumerate() {
        say(&service, "conv_<b>&\"'", "user", text, &ago(9 - i64::try_from(n).unwrap()));
    }
    let name = "<script>window.hacked=1</script> O'Hara";
    service.put("/api/v1/drivers/1042", &json!({ "name": name })).expect(201);
    let mut record = sample(0);
    record["data"]["conversation_id"] = json!("conv_<b>&\"'");
    record["data"]["analysis"]["transcript_summary"] = json!("<img src=x onerror=window.hacked=1> summary");
    record["data"]["analysis"]["call_summary_title"] = json!("<b>title</b>");
    let entry = |n: i64, text: &&str| json!({"role": "user", "message": text, "time_in_call_secs": n});
    record["data"]["transcript"] = (0..).zip(&words).map(|(n, text)| entry(n, text)).collect();
    post_signed(&service, &record.to_string()).expect(200);

    let id = "conv_%3Cb%3E%26%22'";
    let page = Page::open(&service.url(&format!("/?call={id}")), json!({}));
    page.step("live", json!({}));
    page.step("hostile", json!({"words": words, "rightToLeft": "أنا متوقف"}));
    page.step("facts", json!({"texts": [name, "<img src=x onerror=window.hacked=1> summary", "<b>title</b>"]}));
    page.step("foundHostile", json!({"words": "reefer", "marked": ["reefer", "reefer"], "within": "<mark>"}));
    page.step("locked", json!({}));
}

#[test]
fn it_is_dark_where_the_system_is_and_fits_a_phone() {
    let service = some_calls(&[]);
    let dark = Page::open(&service.url("/"), json!({"dark": true}));
    dark.step("choose", json!({"name": "Maria Kowalski"}));
    dark.step("themes", json!({}));
    for dark in [false, true] {
        let phone = Page::open(&service.url("/"), json!({"phone": true, "dark": dark}));
        let groups = json!({"Live now": ["Jo Brandt"], "28 Sep": ["Maria Kowalski"], "20 Sep": ["يوسف حداد"]});
        phone.step("list", json!({ "groups": groups }));
        phone.step("phone", json!({"name": "Maria Kowalski"}));
    }
}

#[test]
fn the_first_run_shows_a_command_that_works_and_the_tool_that_is_generated() {
    let service = Service::start();
    let page = Page::open(&service.url("/"), json!({}));
    let shown = page.step("firstRun", json!({}));
    let settings = ToolOptions {
        base_url: "https://YOUR-PUBLIC-ADDRESS",
        secret_id: None,
        driver_variable: None,
        call_sid: false,
    };
    assert_eq!(shown["tool"], configuration(ToolKind::History, settings));
    let command = shown["command"].as_str().unwrap();
    assert!(command.contains(&service.url(TURNS)), "{command}");
    let out = Command::new("sh").args(["-euc", command]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("201 Created"), "{out:?}");
    // The first call opens by itself.
    page.step("heard", json!({"words": ["Yeah, I am parked at the Joliet terminal."]}));
    let empty = Service::start();
    Page::open(&empty.url("/"), json!({"phone": true, "dark": true})).step("firstRun", json!({}));
}

#[test]
fn an_empty_store_says_what_to_do_about_it() {
    let token = "ingest_0123456789abcdef";
    let guarded = Service::start_with(&["--ingest-token", token]);
    let page = Page::open(&guarded.url("/"), json!({}));
    let shown = page.step("firstCommand", json!({"holds": "YOUR-INGEST-TOKEN"}));
    let command = shown.as_str().unwrap().replace("YOUR-INGEST-TOKEN", token);
    let settings = ToolOptions {
        base_url: "https://YOUR-PUBLIC-ADDRESS",
        secret_id: Some("SECRET_ID"),
        driver_variable: None,
        call_sid: false,
    };
    assert_eq!(page.step("firstRun", json!({}))["tool"], configuration(ToolKind::History, settings));
    for path in ["/?view=stats", "/?q=reefer"] {
        let page = Page::open(&guarded.url(path), json!({}));
        page.step("says", json!({"heading": "No calls yet"}));
    }
    let out = Command::new("sh").args(["-euc", &command]).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("201 Created"), "{out:?}");
    for (path, heading) in [
        ("/?view=stats&from=2020-01-01&to=2020-01-02", "No calls in this period"),
        ("/?q=reefer", "Nothing found"),
        ("/?q=joliet&status=failed", "Nothing found"),
        ("/?status=failed", "No matching calls"),
    ] {
        let page = Page::open(&guarded.url(path), json!({}));
        page.step("says", json!({"heading": heading}));
        if path.contains("q=joliet") {
            page.step("press", json!({"button": "Search all calls"}));
            page.step("see", json!({"selector": ".snippet mark", "texts": ["Joliet"]}));
        }
    }
}

#[test]
fn readers_of_an_empty_store_are_not_told_to_choose_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "anna:read:read_0123456789abcdef\n").unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &["--api-token-file", tokens.to_str().unwrap()]);
    let page = Page::open(&service.url("/#token=read_0123456789abcdef"), json!({}));
    page.step("see", json!({"selector": "#main h2", "texts": ["No calls yet"]}));
}

#[test]
fn the_scripts_keep_the_types_that_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = std::fs::read_dir(root.join("src/viewer/assets")).unwrap().map(|entry| entry.unwrap().path());
    let modules: Vec<_> = modules.filter(|path| path.extension().is_some_and(|ending| ending == "js")).collect();
    assert!(modules.len() > 15, "{modules:?}");
    let flags = "--noEmit --allowJs --checkJs --strict --noUnusedLocals --noUnusedParameters --target es2024 --module \
        esnext --moduleResolution bundler --lib es2024,dom,dom.iterable";
    let checker = root.join("target/browser/node_modules/.bin/tsc");
    let out = Command::new(checker).args(flags.split_whitespace()).args(&modules).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Greatest weight of the first page with a full page of calls, in bytes over the wire.
const MAX_WEIGHT: i64 = 100 * 1024;

#[test]
fn the_first_page_is_light_and_the_second_visit_lighter() {
    let service = Service::start();
    for n in 0..60 {
        service
            .put(&format!("/api/v1/drivers/{}", n + 1), &json!({"name": format!("Driver {n} of the fleet")}))
            .expect(201);
        let call = format!("conv_1901kaj4pr1penza6bbkscg6h{n:03}");
        service.put(&format!("/api/v1/dispatches/{call}"), &json!({"driver_id": n + 1})).expect(201);
        say(&service, &call, "agent", FIRST, &ago(600 + n));
        service.patch(&format!("/api/v1/calls/{call}"), &json!({"status": "completed"})).expect(200);
    }
    let page = Page::open(&service.url("/"), json!({}));
    let bytes = page.step("weigh", json!({"url": service.url("/"), "rows": 50})).as_i64().unwrap();
    println!("the first page with fifty calls: {bytes} bytes over the wire");
    assert!(bytes <= MAX_WEIGHT, "{bytes} bytes");
    page.step("cached", json!({}));
}

#[test]
fn the_files_are_packed_kept_for_good_and_bound_to_this_service() {
    let service = Service::start();
    let shell = service.get("/").expect(200);
    let policy = shell.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(shell.header("cache-control"), Some("no-cache"));
    assert!(!shell.text.contains("<style") && !shell.text.contains("style="), "{}", shell.text);
    let tag = shell.header("etag").unwrap();
    let unchanged = service.get_with("/", &[("if-none-match", tag)]).expect(304);
    assert_eq!((unchanged.text.as_str(), unchanged.header("etag")), ("", Some(tag)));

    let files: Vec<_> = shell.text.split('"').filter(|part| part.starts_with("assets/")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let file = &format!("/{file}");
        let plain = service.get(file).expect(200);
        assert_eq!(plain.header("cache-control"), Some("public, max-age=31536000, immutable"), "{file}");
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
        assert!(!plain.text.contains("http://") || file.ends_with("svg") || plain.text.contains("w3.org"), "{file}");
        let mut packed = ureq::get(service.url(file)).header("accept-encoding", "br;q=1.0, gzip;q=0.8").call().unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{file}");
        assert_eq!(packed.headers()["vary"], "Accept-Encoding", "{file}");
        assert_ne!(packed.headers()["etag"].to_str().ok(), plain.header("etag"), "{file}");
        let mut unpacked = String::new();
        GzDecoder::new(packed.body_mut().as_reader()).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.text, "{file}");
        let refused = service.get_with(file, &[("accept-encoding", "gzip;q=0")]).expect(200);
        assert_eq!(refused.header("content-encoding"), None, "{file}");
        service.get(&file.replace("/assets/", "/assets/0")).expect_error(404);
    }
    service.post("/", &json!({})).expect_error(405);
}

#[test]
fn a_recording_is_given_whole_or_in_part() {
    let audio = tempfile::tempdir().unwrap();
    let service = Service::start_with(&["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap()]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:03Z");
    let path = format!("/api/v1/calls/{CALL}");
    assert_eq!(service.get(&path).json()["has_audio"], false);
    service.get(&format!("{path}/audio")).expect_error(404);
    std::fs::write(audio.path().join(format!("{CALL}.mp3")), "0123456789").unwrap();
    assert_eq!(service.get(&path).json()["has_audio"], true);
    assert_eq!(service.get("/api/v1/calls").json()["data"][0].get("has_audio"), None);

    let audio = format!("{path}/audio");
    let whole = service.get(&audio).expect(200);
    assert_eq!((whole.text.as_str(), whole.header("accept-ranges")), ("0123456789", Some("bytes")));
    assert_eq!(whole.header("content-type"), Some("audio/mpeg"));
    for (range, part, told) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=0-99", "0123456789", "bytes 0-9/10"),
    ] {
        let answer = service.get_with(&audio, &[("range", range)]).expect(206);
        assert_eq!((answer.text.as_str(), answer.header("content-range")), (part, Some(told)), "{range}");
        assert_eq!(answer.header("content-length"), Some(part.len().to_string().as_str()), "{range}");
    }
    let beyond = service.get_with(&audio, &[("range", "bytes=10-")]);
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    beyond.expect_error(416);
}

#[test]
fn each_role_sees_on_the_page_what_it_may_do() {
    let service = some_calls(&[]);
    let database = service.database().to_owned();
    let folder = service.stop().unwrap();
    let tokens = folder.path().join("tokens");
    let secret = "0123456789abcdef";
    let lines = ["list", "read", "manage"].map(|role| format!("anna-{role}:{role}:{role}{secret}\n"));
    std::fs::write(&tokens, lines.concat()).unwrap();
    let service = Service::start_on(&database, &["--api-token-file", tokens.to_str().unwrap()]);
    for role in ["list", "read", "manage"] {
        let page = Page::open(&service.url(&format!("/#token={role}{secret}")), json!({}));
        let words = "Ten miles, the reefer is fine.";
        page.step("role", json!({"user": format!("anna-{role}"), "role": role, "call": "conv_live", "words": words}));
    }
}
