//! Nobody reads or manages without a token, from wherever the request comes: the token that the service makes, where it
//! stands, who finds it, and that no private answer stays in a cache.

use crate::support::openapi::{Sent, filled, operations, send};
use crate::support::service::{Answer, Service, TURNS, binary, run, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, POST_CALL, SECRET, post_signed};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CALLS: &str = "/api/v1/calls";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Sent {
    send(service, "GET", path, headers, b"")
}

fn status_with(service: &Service, token: &str) -> u16 {
    get(service, CALLS, &[("Authorization", &format!("Bearer {token}"))]).status
}

#[test]
fn a_service_without_a_configured_token_makes_one_that_is_needed_everywhere() {
    let service = Service::start_guarded(&[]);
    let here = format!("localhost:{}", service.address().port());
    for headers in [
        &[][..],
        &[("Host", here.as_str())],
        &[("Host", "127.0.0.1"), ("X-Forwarded-For", "127.0.0.1")],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Authorization", "Bearer ")],
        &[("Cookie", "transcribe_hook_session=")],
    ] {
        let sent = get(&service, CALLS, headers);
        assert_eq!(sent.status, 401, "{headers:?}");
        assert!(sent.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{headers:?}");
    }
    for version in ["1.0", "1.1"] {
        let ask = |more: &str| {
            let mut stream = TcpStream::connect(service.address()).unwrap();
            write!(stream, "GET {CALLS} HTTP/{version}\r\nHost: 127.0.0.1\r\n{more}Connection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        let anonymous = ask("");
        assert!(anonymous.starts_with(&format!("HTTP/{version} 401")), "{anonymous}");
        let with_token = ask(&format!("Authorization: Bearer {}\r\n", service.token()));
        assert!(with_token.starts_with(&format!("HTTP/{version} 200")), "{with_token}");
    }
    // The webhooks stay open, and what is public stays so.
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.get("/healthz").expect(200);
    assert_eq!(get(&service, "/v1/convai/conversations", &[("xi-api-key", &service.token())]).status, 200);
    assert_eq!(get(&service, "/metrics", &[]).status, 401);
}

#[test]
fn the_made_token_is_its_owners_only_in_no_log_and_stays_over_restarts_until_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let file = database.with_added_extension("token");
    let service = Service::start_guarded_on(&database, &["--listen", "0.0.0.0:0"]);
    let token = service.token();
    assert!(token.len() >= 46 && token.starts_with("th_"), "{token}");
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 1));
    let told = wait_for("the log to name the file", || {
        let log = service.log();
        log.iter().find(|line| line.contains(file.to_str().unwrap())).cloned()
    });
    let command = format!("transcribe-hook token --database {} --link", database.display());
    let url = format!("http://127.0.0.1:{}", service.address().port());
    assert!(told.contains(&command) && told.contains(&url), "{told}");
    assert_eq!(status_with(&service, &token), 200);
    assert!(!service.log().join("\n").contains(&token));
    service.stop();
    // One that others could read is closed, with a warning; a second line is a second token.
    std::fs::write(&file, format!("{token}\nanother_token_to_come\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let service = Service::start_guarded_on(&database, &[]);
    assert_eq!((status_with(&service, &token), status_with(&service, "another_token_to_come")), (200, 200));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert!(
        service.log().iter().any(|line| line.contains("\"level\":\"warn\"") && line.contains("644")),
        "{:?}",
        service.log()
    );
    service.stop();
    std::fs::remove_file(&file).unwrap();
    let service = Service::start_guarded_on(&database, &[]);
    assert_ne!(service.token(), token);
    assert_eq!((status_with(&service, &token), status_with(&service, &service.token())), (401, 200));
    service.stop();
    // With a token of the operator's own no file is made, and one that is there opens nothing.
    let service = Service::start_on(&database, &["--api-token", "api_of_the_operator"]);
    let old = std::fs::read_to_string(&file).unwrap();
    assert_eq!((status_with(&service, old.trim()), status_with(&service, "api_of_the_operator")), (401, 200));
    service.stop();
    std::fs::remove_file(&file).unwrap();
    Service::start_on(&database, &["--api-token", "api_of_the_operator"]).stop();
    assert!(!file.exists());
}

#[test]
fn a_token_file_that_somebody_else_may_have_put_there_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let file = database.with_added_extension("token");
    let secret = folder.path().join("somebody_elses");
    std::fs::write(&secret, "a_token_of_somebody_else\n").unwrap();
    let serve = || -> Output {
        binary().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database).output().unwrap()
    };
    let refused = |how: &str| {
        let out = serve();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && said.contains("calls.db.token"), "{how}: {said}");
        assert!(!said.contains("somebody_else\n") && !said.contains("panic"), "{how}: {said}");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "a_token_of_somebody_else\n", "{how}");
        std::fs::remove_file(&file).unwrap();
    };
    std::os::unix::fs::symlink(&secret, &file).unwrap();
    refused("a symbolic link");
    std::os::unix::fs::symlink(folder.path().join("nothing"), &file).unwrap();
    refused("a dangling link");
    assert!(!folder.path().join("nothing").exists());
    std::fs::hard_link(&secret, &file).unwrap();
    refused("a hard link");
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    refused("a pipe");
    std::fs::write(&file, "short\n").unwrap();
    refused("no token");
    // Only root can give a file to another user.
    std::fs::write(&file, "a_token_of_somebody_else\n").unwrap();
    if std::os::unix::fs::chown(&file, Some(65_534), None).is_ok() {
        refused("another user's");
    }
}

/// Runs `token`.
fn token(flags: &[&str], database: &Path) -> Output {
    binary().args(["token", "--database"]).arg(database).args(flags).output().unwrap()
}

#[test]
fn the_command_line_prints_the_token_and_the_address_that_signs_in() {
    let service = Service::start_guarded(&[]);
    let printed = |flags: &[&str]| {
        let out = token(flags, service.database());
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(printed(&[]), format!("{}\n", service.token()));
    assert_eq!(printed(&["--link"]), format!("http://127.0.0.1:8080/#token={}\n", service.token()));
    let url = ["--link", "--url", "https://calls.example.com/"];
    assert_eq!(printed(&url), format!("https://calls.example.com/#token={}\n", service.token()));
    let out = token(&[], Path::new("/nowhere/calls.db"));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(1) && said.contains("/nowhere/calls.db.token"), "{said}");
}

#[test]
fn on_a_terminal_the_service_prints_the_address_that_signs_in() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let program = env!("CARGO_BIN_EXE_transcribe-hook");
    let serve = format!("exec {program} serve --listen 127.0.0.1:0 --database {}", database.display());
    let mut script = Command::new("script")
        .args(["-qefc", &serve, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Debian has it");
    let mut said = String::new();
    let mut output = script.stdout.take().unwrap();
    let mut piece = [0; 1024];
    while !said.contains("#token=") || !said.ends_with('\n') {
        let length = output.read(&mut piece).unwrap();
        assert!(length > 0, "{said}");
        said += &String::from_utf8_lossy(&piece[..length]);
    }
    let link = said.split_whitespace().find(|word| word.contains("#token=")).unwrap();
    let (url, token) = link.split_once("/#token=").unwrap();
    let read = ureq::get(format!("{url}{CALLS}")).header("Authorization", format!("Bearer {token}")).call();
    // Its terminal goes, and the service with it.
    script.kill().unwrap();
    script.wait().unwrap();
    assert_eq!(read.unwrap().status(), 200, "{link}");
}

#[test]
fn commands_beside_the_service_find_its_token_and_say_what_they_lack() {
    let flags = ["--elevenlabs-secret", SECRET, "--ingest-token", "ingest_0123456789abcdef"];
    let service = Service::start_guarded(&flags);
    let simulate = |more: &[&str]| {
        let out = binary()
            .args(["simulate", "--url", &service.url(""), "--elevenlabs-secret", SECRET])
            .args(more)
            .current_dir("/")
            .output()
            .unwrap();
        (out.status.success(), String::from_utf8(out.stderr).unwrap())
    };
    let database = ["--database", service.database().to_str().unwrap()];
    let ingest = ["--ingest-token", "ingest_0123456789abcdef"];
    let (done, said) = simulate(&ingest);
    assert!(!done && said.contains("--api-token") && said.contains("--database"), "{said}");
    let (done, said) = simulate(&database);
    assert!(!done && said.contains("--ingest-token"), "{said}");
    let none: i64 = service.sqlite().query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap();
    assert_eq!(none, 0, "nothing was stored before that was known");
    let (done, said) = simulate(&[&database[..], &ingest].concat());
    assert!(done, "{said}");
    let (done, said) = simulate(&[&ingest[..], &["--api-token", &service.token()]].concat());
    assert!(done, "{said}");
    // It is asked whether it lives without any.
    let healthy = run(&["healthcheck", "--url", &service.url("")]);
    assert!(healthy.status.success(), "{healthy:?}");
}

#[test]
fn a_token_that_nobody_named_is_not_sent_over_a_network_in_the_clear() {
    let service = Service::start_guarded(&[]);
    let out = binary()
        .args(["simulate", "--elevenlabs-secret", SECRET, "--url"])
        // Leads here, and might not.
        .arg(format!("http://0.0.0.0:{}", service.address().port()))
        .arg("--database")
        .arg(service.database())
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success() && said.contains("--api-token"), "{said}");
}

#[test]
fn it_is_said_that_turns_can_be_forged_where_events_are_signed_and_turns_are_not() {
    let warns = |flags: &[&str]| {
        Service::start_with(flags)
            .log()
            .iter()
            .any(|line| line.contains("\"level\":\"warn\"") && line.contains("--ingest-token"))
    };
    assert!(warns(&["--elevenlabs-secret", SECRET]));
    assert!(!warns(&["--elevenlabs-secret", SECRET, "--ingest-token", "ingest_0123456789abcdef"]));
    assert!(!warns(&[]));
}

#[test]
fn nothing_below_the_webhooks_asks_for_the_api_token_and_addresses_work_as_people_save_them() {
    let audio = tempfile::tempdir().unwrap();
    let flags = ["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap()];
    let service = Service::start_guarded(&flags);
    let endings = ["", "/", "//", "%20", "%20/", "/%20", "%20%20", "%09", "%0A", "%0d%0a", "?from=tool", "/?from=tool"];
    for (n, ending) in endings.iter().enumerate() {
        let sent =
            send(&service, "POST", &format!("{TURNS}{ending}"), &[JSON], turn("conv_a", n + 1).to_string().as_bytes());
        assert_eq!(sent.status, 201, "{ending}: {}", sent.text);
        let history = json!({"conversation_id": "conv_b", "timestamp": "2026-09-28T12:00:08Z",
            "history": {"entries": [{"role": "user", "message": "Yes."}]}});
        let path = format!("/webhooks/elevenlabs/history{ending}");
        let sent = send(&service, "POST", &path, &[JSON], history.to_string().as_bytes());
        assert_eq!(sent.status, 200, "{ending}: {}", sent.text);
        let unsigned = send(&service, "POST", &format!("{POST_CALL}{ending}"), &[JSON], b"{}");
        assert_eq!(
            (unsigned.status, unsigned.header("www-authenticate")),
            (401, Some("elevenlabs-signature")),
            "{ending}"
        );
        let wrong = send(&service, "GET", &format!("{POST_CALL}{ending}"), &[], b"");
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")), "{ending}");
    }
    for path in [
        "//webhooks/elevenlabs/transcription",
        "/webhooks//elevenlabs/transcription/",
        "/Webhooks/ElevenLabs/Transcription",
    ] {
        let sent = send(&service, "POST", path, &[JSON], turn("conv_c", 1).to_string().as_bytes());
        assert_eq!(sent.status, 201, "{path}: {}", sent.text);
    }
    for path in [
        "/webhooks",
        "/webhooks/",
        "/webhooks/x",
        "/webhooks/elevenlabs",
        "/webhooks/../api/v1/calls",
        "/webhooks/%2e%2e/api/v1/calls",
        "/webhooks//api/v1/calls",
        "/webhooks/elevenlabs/post-call/x",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let sent = send(&service, method, path, &[JSON], b"");
            assert_eq!(sent.status, 404, "{method} {path}: {}", sent.text);
        }
    }
    assert_eq!(service.turns_stored(), endings.len() + 2);
    // In the log and the metrics they are the one route.
    let log = service.log().join("\n");
    assert!(!log.contains("post-call/") && !log.contains("%20"), "{log}");
}

/// Every operation of the document with a token and without: the private ones must not be stored by whoever passes them
/// on.
#[test]
fn no_answer_that_is_not_public_may_be_cached() {
    let audio = tempfile::tempdir().unwrap();
    let flags =
        ["--elevenlabs-secret", SECRET, "--audio-dir", audio.path().to_str().unwrap(), "--refusals-per-minute", "0"];
    let service = Service::start_guarded(&flags);
    service.deliver(&turn(CALL, 1)).expect(201);
    std::fs::write(audio.path().join(format!("{CALL}.mp3")), "0123456789").unwrap();
    let bearer = format!("Bearer {}", service.token());
    let token = ("Authorization", bearer.as_str());
    let check =
        |at: &str, sent: &Sent| assert_eq!(sent.header("cache-control"), Some("no-store"), "{at}: {}", sent.status);
    let mut operations = operations();
    // What erases goes last.
    operations.sort_by_key(|operation| operation.method == "DELETE");
    let mut whole = 0;
    for operation in &operations {
        let mut path = filled(&operation.path);
        if path.ends_with("/events") {
            path += "?follow=false";
        } else if path.ends_with("/search") {
            path += "?q=words";
        }
        let at = format!("{} {path}", operation.method);
        for headers in [&[JSON, token][..], &[JSON]] {
            let sent = send(&service, &operation.method, &path, headers, b"");
            check(&at, &sent);
            whole += usize::from(sent.status < 300);
        }
    }
    assert!(whole > 20, "{whole}");
    for path in ["/metrics", "/none", "/assets/none/none.js", "/api/v1/calls?limit=0", "/api/v1/calls/conv_none"] {
        for headers in [&[token][..], &[]] {
            check(path, &get(&service, path, headers));
        }
    }
    let recording = format!("{CALLS}/{CALL}/audio");
    std::fs::write(audio.path().join(format!("{CALL}.mp3")), "0123456789").unwrap();
    service.deliver(&turn(CALL, 2)).expect(201);
    for (range, status) in [("bytes=2-4", 206), ("bytes=99-", 416)] {
        let sent = get(&service, &recording, &[token, ("Range", range)]);
        assert_eq!(sent.status, status);
        check(range, &sent);
    }
    check("an event", &answered(&post_signed(&service, "{}")));
    // What is public may be kept by browsers.
    let page = get(&service, "/", &[]);
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    for path in ["/docs", "/openapi.json"] {
        assert_eq!(get(&service, path, &[]).header("cache-control"), Some("no-cache"), "{path}");
    }
}

fn answered(answer: &Answer) -> Sent {
    Sent { status: answer.status, headers: answer.headers.clone(), text: answer.text.clone() }
}

#[test]
fn a_page_of_another_origin_reads_with_a_token_only_where_its_origin_is_allowed_and_changes_nothing() {
    const PORTAL: (&str, &str) = ("Origin", "https://portal.example.com");
    let service = Service::start_guarded(&["--allow-origin", PORTAL.1, "--allow-origin", "http://localhost:5173"]);
    let bearer = format!("Bearer {}", service.token());
    let token = ("Authorization", bearer.as_str());
    let allowed = |sent: &Sent| sent.header("access-control-allow-origin").map(str::to_owned);
    for (headers, status) in [(&[PORTAL, token][..], 200), (&[PORTAL], 401)] {
        let sent = get(&service, CALLS, headers);
        assert_eq!((sent.status, allowed(&sent).as_deref()), (status, Some(PORTAL.1)), "errors are read too");
        assert!(sent.headers.get_all("vary").iter().any(|value| value == "Origin"));
        assert!(sent.header("access-control-allow-credentials").is_none());
    }
    let preflight = |origin: &str, method: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", method)];
        send(&service, "OPTIONS", CALLS, &headers, b"")
    };
    let asked = preflight(PORTAL.1, "GET");
    assert_eq!((asked.status, allowed(&asked).as_deref()), (204, Some(PORTAL.1)));
    let headers = asked.header("access-control-allow-headers").unwrap();
    // ElevenLabs' SDK in a page has its own.
    for name in ["Authorization", "Xi-Api-Key", "X-Fern-Language", "X-Fern-Runtime-Version"] {
        assert!(headers.split(", ").any(|header| header == name), "{headers}");
    }
    assert_eq!(preflight(PORTAL.1, "DELETE").header("access-control-allow-methods"), Some("GET, HEAD"));
    for other in
        ["https://portal.example.com.evil.example", "https://evil.example", "null", "http://portal.example.com"]
    {
        assert_eq!(allowed(&get(&service, CALLS, &[("Origin", other), token])), None, "{other}");
        let asked = preflight(other, "GET");
        assert_eq!((asked.status, allowed(&asked)), (401, None), "{other}");
    }
    // A session of the page's own does not serve another origin.
    let closed = Service::start_guarded(&[]);
    let sent = get(&closed, CALLS, &[PORTAL, ("Authorization", &format!("Bearer {}", closed.token()))]);
    assert_eq!((sent.status, allowed(&sent), sent.header("vary")), (200, None, Some("Accept-Encoding")));
    let out = run(&["serve", "--allow-origin", "*"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
}
