//! Every view of the page with none to fifty calls of all kinds, wide and on a phone: nothing sticks out, and checks of
//! accessibility find nothing.
//!
//! `SCREENSHOTS=target/screenshots cargo test --test it screenshots` also writes each view as a picture into that
//! folder, light and dark, with up to ten thousand calls. That takes ten minutes.

use crate::support::browser::Page;
use crate::support::fake_elevenlabs::{FakeElevenLabs, KEY, workspace};
use crate::support::sample_calls::run_loader;
use crate::support::service::{Service, wait_for};
use crate::support::whole_call::SECRET;
use serde_json::json;
use std::path::{Path, PathBuf};
use transcribe_hook::domain::Timestamp;

/// Numbers of calls.
const COUNTS: [u32; 3] = [0, 1, 50];

/// Numbers of calls for pictures.
const PICTURED_COUNTS: [u32; 5] = [0, 1, 50, 300, 10_000];

const MANAGER: &str = "manager_0123456789abcdef";

/// Starts a service with these alerts, whose settings at ElevenLabs are wrong, and loads sample calls into it.
fn with_sample_calls(count: u32, recordings: &Path, elevenlabs: &FakeElevenLabs) -> Service {
    let (token, url) = (format!("anna.kowalczyk@example.com:manage:{MANAGER}"), elevenlabs.url());
    let own = ["--elevenlabs-secret", SECRET, "--audio-dir", recordings.to_str().unwrap(), "--api-token", &token];
    let check = ["--elevenlabs-api-key", KEY, "--elevenlabs-base-url", &url];
    let alerts =
        ["--alert", "Wants a person=person OR human OR shop", "--alert", "Breakdown=blew OR smoke OR breakdown"];
    let service = Service::start_with(&[&own[..], &check, &alerts].concat());
    let (address, calls, now) = (service.url(""), count.to_string(), Timestamp::now().to_string());
    run_loader(&["--url", &address, "--secret", SECRET, "--token", MANAGER, "--calls", &calls, "--now", &now]);
    // As long as there is progress: many calls take minutes.
    let database = service.sqlite();
    let due =
        || database.query_row("SELECT count(*) FROM due_reconciliations", [], |row| row.get::<_, i64>(0)).unwrap();
    let mut before = due();
    while before > 0 {
        before = wait_for("progress", || Some(due()).filter(|now| *now < before));
    }
    if count >= 50 {
        wait_for("an alert", || {
            let matched = database.query_row("SELECT 1 FROM call_alerts WHERE name LIKE 'W%'", [], |_| Ok(()));
            matched.ok()
        });
    }
    service
}

/// The views of a service with calls: name, path, an element of it, and whether it is seen in its whole height.
fn views(service: &Service) -> Vec<(&'static str, String, &'static str, bool)> {
    let database = service.sqlite();
    let call = |condition: &str| {
        let sql = format!("SELECT conversation_id FROM calls WHERE {condition} ORDER BY id LIMIT 1");
        let id = database.query_row(&sql, [], |row| row.get::<_, String>(0)).ok()?;
        Some(format!("/?call={id}"))
    };
    let is_in = |rows: &str| format!("conversation_id IN (SELECT conversation_id FROM {rows})");
    let alerted = [is_in("call_alerts"), is_in("tool_calls WHERE purpose <> 'end_call'")].join(" AND ");
    let calls = [
        ("call", call(&alerted).or_else(|| call("true"))),
        ("call-live", call("status = 'in_progress'")),
        ("call-failed", call("status = 'failed'")),
        ("call-arabic", call("main_language = 'ar'")),
        ("call-child", call("parent_conversation_id IS NOT NULL")),
    ];
    let calls = calls.into_iter().filter_map(|(name, path)| Some((name, path?, ".call-head", false)));
    let list = if calls.clone().next().is_some() { ".row" } else { ".steps" };
    let others = [
        ("list", "/", list, false),
        ("search", "/?q=load", ".snippet, .state", false),
        ("statistics", "/?view=stats", ".tiles, .state", true),
        ("setup", "/?view=setup", "#findings-title", true),
        ("accesses", "/?view=accesses", ".accesses, .state", true),
    ];
    others.into_iter().map(|(name, path, shows, whole)| (name, path.to_owned(), shows, whole)).chain(calls).collect()
}

#[test]
fn every_view_fits_and_is_accessible_with_few_and_many_calls_wide_and_on_a_phone() {
    let folder = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder).unwrap();
    }
    let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
    let mut off = workspace("https://calls.example.com");
    off["webhooks"][0]["is_auto_disabled"] = json!(true);
    elevenlabs.put_workspace(off);
    for count in if folder.is_some() { &PICTURED_COUNTS[..] } else { &COUNTS } {
        let recordings = tempfile::tempdir().unwrap();
        let service = with_sample_calls(*count, recordings.path(), &elevenlabs);
        let views = views(&service);
        for (phone, dark) in [(false, false), (true, true), (false, true), (true, false)] {
            // Without pictures, two of the four are enough.
            if folder.is_none() && phone != dark {
                continue;
            }
            let page = Page::open(&service.url(&format!("/#token={MANAGER}")), json!({"phone": phone, "dark": dark}));
            page.step("live", json!({}));
            for (name, path, shows, whole) in &views {
                let [width, theme] = [if phone { "phone" } else { "wide" }, if dark { "dark" } else { "light" }];
                let file = folder.as_ref().map(|folder| folder.join(format!("{count}-{width}-{theme}-{name}.png")));
                page.step("view", json!({"path": path, "shows": shows, "whole": whole, "file": file}));
            }
        }
    }
}
