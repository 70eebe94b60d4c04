//! The README's pictures of the page, taken of the real one with calls that are always the same.
//!
//! `RENEW=1 cargo test --test it pictures` replaces them.

use crate::support::browser::Page;
use crate::support::samples::sample;
use crate::support::service::Service;
use crate::support::whole_call::{SECRET, post_signed};
use serde_json::{Value, json};
use std::path::Path;
use transcribe_hook::domain::Timestamp;

/// Maximum share of squares that differ between two pictures. Four badges in the list make 0.004.
const MAX_DIFFERENCE: f64 = 0.003;

/// Maximum size of a picture, in bytes.
const MAX_PICTURE_BYTES: u64 = 150_000;

const LAST_WORDS: &str = "OK, dock fourteen, I have it. I'll be there in ten.";

fn say(service: &Service, call: &str, turns: &[(&str, &str, &str)]) {
    for (time, speaker, message) in turns {
        let time = format!("2026-09-28T{time}Z");
        let turn = json!({"conversation_id": call, "speaker": speaker, "message": message, "timestamp": time});
        service.deliver(&turn).expect(201);
    }
}

/// A service with two calls that run and some that are over, all at times of their own.
fn calls() -> Service {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let drivers = [
        (7, "Jo Brandt"),
        (8, "Ana Lúcia Prado"),
        (9, "Samuel Okafor"),
        (10, "Dmitri Volkov"),
        (11, "Lena Hofer"),
        (12, "Tom Adeyemi"),
    ];
    for (id, name) in drivers {
        service.put(&format!("/api/v1/drivers/{id}"), &json!({"name": name})).expect(201);
    }
    let dispatched = |call: &str, driver: i64| {
        service.put(&format!("/api/v1/dispatches/{call}"), &json!({"driver_id": driver})).expect(201);
    };
    for (n, driver, start, seconds, title) in [
        (1, 9, "2026-09-28T16:41:10Z", 112, "Seal intact, on time for Gary"),
        (2, 11, "2026-09-28T14:02:00Z", 191, "Unloading at Hammond, one hour late"),
        (3, 8, "2026-09-28T13:11:44Z", 96, "Reefer temperature check"),
        (4, 12, "2026-09-28T12:30:05Z", 143, "Asks for a later appointment"),
    ] {
        let call = format!("conv_past_{n}");
        // The sample names its driver in several places.
        let mut record: Value =
            serde_json::from_str(&sample(0).to_string().replace("1042", &driver.to_string())).unwrap();
        record["data"]["conversation_id"] = json!(call);
        record["data"]["metadata"]["start_time_unix_secs"] =
            json!(Timestamp::parse(start).unwrap().unix_micros() / 1_000_000);
        record["data"]["metadata"]["call_duration_secs"] = json!(seconds);
        record["data"]["analysis"]["call_summary_title"] = json!(title);
        post_signed(&service, &record.to_string()).expect(200);
    }
    dispatched("conv_failed", 10);
    say(&service, "conv_failed", &[("15:20:31.5", "user", "Hello? Is anybody there?")]);
    let end = json!({"status": "failed", "call_end_time": "2026-09-28T15:20:50Z"});
    service.patch("/api/v1/calls/conv_failed", &end).expect(200);
    dispatched("conv_7801kaj4q0t2fkmb7n5w3v9xsd2e", 7);
    dispatched("conv_4401kaj4q3x8ere6d1h0y2u7zj5p", 8);
    say(
        &service,
        "conv_4401kaj4q3x8ere6d1h0y2u7zj5p",
        &[
            ("17:01:40.3", "agent", "Hi Ana, this is dispatch. Are you still on schedule for Gary?"),
            ("17:01:46.8", "user", "Ten minutes behind, there's traffic on 294."),
        ],
    );
    say(
        &service,
        "conv_7801kaj4q0t2fkmb7n5w3v9xsd2e",
        &[
            ("17:00:02.1", "agent", "Hi Jo, this is dispatch calling about load 5512. How far are you from Joliet?"),
            ("17:00:09.4", "user", "About ten miles out. I just passed the weigh station."),
            ("17:00:14.0", "agent", "Great. What does your reefer read right now?"),
            ("17:00:21.7", "user", "Thirty six degrees, and it's been steady since Davenport."),
            ("17:00:27.2", "agent", "Perfect, that's in range. Is the trailer still sealed?"),
            ("17:00:33.9", "user", "Yes, ma'am. Seal's on, number ends in four four one."),
            (
                "17:00:41.5",
                "agent",
                "Thank you. They moved you to dock fourteen, on the north side. Please check in at the window first.",
            ),
            ("17:00:50.6", "user", LAST_WORDS),
        ],
    );
    service
}

#[test]
fn the_pictures_of_the_readme_show_the_page_as_it_is() {
    let service = calls();
    let folder = tempfile::tempdir().unwrap();
    for theme in ["light", "dark"] {
        let how = json!({
            "dark": theme == "dark", "now": "2026-09-28T17:01:49Z", "size": {"width": 1200, "height": 720},
        });
        let page = Page::open(&service.url("/?call=conv_7801kaj4q0t2fkmb7n5w3v9xsd2e"), how);
        page.step("live", json!({}));
        let groups = json!({
            "Live now": ["Ana Lúcia Prado", "Jo Brandt"],
            "Today": ["Samuel Okafor", "Dmitri Volkov", "Lena Hofer", "Ana Lúcia Prado", "Tom Adeyemi"],
        });
        page.step("list", json!({ "groups": groups }));
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("openapi/page-{theme}.png"));
        if std::env::var_os("RENEW").is_some() {
            page.step("picture", json!({"file": committed, "last": LAST_WORDS}));
        }
        let taken = folder.path().join(format!("{theme}.png"));
        page.step("picture", json!({"file": taken, "last": LAST_WORDS}));
        let difference = page.step("difference", json!({"one": committed, "other": taken})).as_f64().unwrap();
        assert!(
            difference <= MAX_DIFFERENCE,
            "{} differs from the page in {difference:.4} of its squares: RENEW=1 replaces it (with DejaVu fonts)",
            committed.display()
        );
        let size = std::fs::metadata(&committed).unwrap().len();
        assert!(size <= MAX_PICTURE_BYTES, "{} has {size} bytes", committed.display());
    }
}
