//! Recordings over HTTP: streamed, verified, kept whole, in little memory.

use crate::support::service::{Service, peak, wait_for};
use crate::support::turns::turn;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const PATH: &str = "/webhooks/elevenlabs/post-call";
const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";
const JSON: (&str, &str) = ("content-type", "application/json");

fn signature(body: &[u8]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    sign(&Secret::new(SECRET).unwrap(), now.cast_signed(), body)
}

fn event(id: &str, audio: &[u8]) -> Vec<u8> {
    json!({
        "type": "post_call_audio",
        "event_timestamp": 1_739_537_319,
        "data": {"agent_id": "agent_1", "conversation_id": id, "full_audio": STANDARD.encode(audio)},
    })
    .to_string()
    .into_bytes()
}

/// A service that keeps recordings in a folder of the test's own.
fn keeping(flags: &[&str]) -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let audio = folder.path().join("recordings");
    let kept = ["--elevenlabs-secret", SECRET, "--audio-dir", audio.to_str().unwrap()];
    (Service::start_with(&[&kept[..], flags].concat()), folder)
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path().join("recordings")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // The mark of an unredacted recording is no recording.
    names.filter(|name| !name.ends_with(".unredacted")).collect()
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 2_654_435_761) >> 13 & 0xff).unwrap()).collect()
}

#[test]
fn a_recording_is_kept_whole_and_costs_no_memory_of_its_size() {
    let (service, folder) = keeping(&[]);
    let audio = noise(48 << 20);
    let body = event("conv_1901kaj4pr1penza6bbkscg6hgkc", &audio);
    let signature = signature(&body);
    let before = peak(service.pid());
    let headers = [JSON, ("ElevenLabs-Signature", &*signature)];
    service.post_chunked(PATH, &headers, Cursor::new(body)).expect(200);
    let file = folder.path().join("recordings/conv_1901kaj4pr1penza6bbkscg6hgkc.mp3");
    assert!(std::fs::read(file).unwrap() == audio);
    let grown = peak(service.pid()) - before;
    assert!(grown < 16 * 1024, "{grown} KiB more for 64 MiB");
    // What was said of it reaches no log.
    assert!(!service.log().join("\n").contains(&STANDARD.encode(&audio[..30])));
}

#[test]
fn a_recording_is_replaced_only_by_one_of_the_documented_type() {
    let of_type = |named: &str, audio: &str| {
        let body = String::from_utf8(event("conv_1", audio.as_bytes())).unwrap();
        body.replace("post_call_audio", named).into_bytes()
    };
    for (case, flags, deliveries, wanted) in [
        ("another type", &[][..], &[("post_call_audio", "one"), ("post_call_audio_v2", "two")][..], Some("one")),
        (
            "another type that came first",
            &[],
            &[("post_call_audio_v2", "two"), ("post_call_audio", "one")],
            Some("one"),
        ),
        ("only another type", &[], &[("post_call_audio_v2", "two")], Some("two")),
        ("a later one", &[], &[("post_call_audio", "one"), ("post_call_audio", "two")], Some("two")),
        ("an unredacted one", &[], &[("post_call_audio", "one"), ("unredacted_audio", "two")], Some("one")),
        ("only an unredacted one", &[], &[("unredacted_audio", "two")], None),
        (
            "a wanted one",
            &["--keep-unredacted"],
            &[("post_call_audio", "one"), ("unredacted_audio", "two")],
            Some("two"),
        ),
        (
            "a wanted one that came first",
            &["--keep-unredacted"],
            &[("unredacted_audio", "two"), ("post_call_audio", "one"), ("post_call_audio_v2", "three")],
            Some("two"),
        ),
        (
            "a wanted one that came in between",
            &["--keep-unredacted"],
            &[("post_call_audio", "one"), ("unredacted_audio", "two"), ("POST_CALL_AUDIO", "three")],
            Some("two"),
        ),
        ("a type in capitals", &[], &[("post_call_audio", "one"), ("POST_CALL_AUDIO", "two")], Some("two")),
    ] {
        let (service, folder) = keeping(flags);
        for (named, audio) in deliveries {
            let body = of_type(named, audio);
            let signature = signature(&body);
            service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
        }
        let kept = std::fs::read_to_string(folder.path().join("recordings/conv_1.mp3")).ok();
        assert_eq!(kept.as_deref(), wanted, "{case}");
        assert_eq!(names(&folder).len(), usize::from(wanted.is_some()), "{case}");
    }
}

#[test]
fn small_recordings_with_any_identifier_are_kept_too_and_again_change_nothing() {
    let (service, folder) = keeping(&[]);
    for id in ["conv_1", "../../conv_1", "CONV_1"] {
        let body = event(id, id.as_bytes());
        for _ in 0..2 {
            let signature = signature(&body);
            service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
        }
    }
    let mut contents: Vec<_> = names(&folder)
        .iter()
        .map(|name| std::fs::read_to_string(folder.path().join("recordings").join(name)).unwrap())
        .collect();
    contents.sort();
    assert_eq!(contents, ["../../conv_1", "CONV_1", "conv_1"]);
    let events = events(&service);
    assert_eq!(events.len(), 3, "each counts once: {events:?}");
    assert!(events[0].1.contains("\"audio_bytes\":6,\"kept\":true"), "{events:?}");
}

#[test]
fn a_recording_without_a_fitting_signature_leaves_nothing() {
    let (service, folder) = keeping(&[]);
    for length in [100, 300_000] {
        let body = event("conv_1", &noise(length));
        let mut other = body.clone();
        other[length / 2 + 100] ^= 1;
        let signature = signature(&body);
        service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &other).expect_error(401);
        service.post_raw(PATH, &[JSON], &body).expect_error(401);
    }
    wait_for("the files aside to go", || names(&folder).is_empty().then_some(()));
}

#[test]
fn a_recording_that_breaks_off_leaves_nothing() {
    let (service, folder) = keeping(&[]);
    let body = event("conv_1", &noise(2_000_000));
    let signature = signature(&body);
    let mut connection = TcpStream::connect(service.address()).unwrap();
    let length = body.len();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         ElevenLabs-Signature: {signature}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&body[..1_500_000]).unwrap();
    wait_for("the file aside", || (names(&folder).len() == 1).then_some(()));
    drop(connection);
    wait_for("the file aside to go", || names(&folder).is_empty().then_some(()));
    // And it comes in whole when it is sent again.
    service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
    assert_eq!(names(&folder), ["conv_1.mp3"]);
}

/// The kept events' types and bodies.
fn events(service: &Service) -> Vec<(String, String)> {
    let connection = service.sqlite();
    let mut select = connection.prepare("SELECT event_type, body FROM webhook_events ORDER BY id").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn what_is_no_recording_after_all_is_kept_as_it_came() {
    let (service, folder) = keeping(&[]);
    let body = r#"{"type":"post_call_audio","data":{"conversation_id":"conv_1","full_audio":"SUQz...base64 MP3..."}}"#;
    let signature = signature(body.as_bytes());
    service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], body.as_bytes()).expect(200);
    wait_for("the file aside to go", || names(&folder).is_empty().then_some(()));
    assert_eq!(events(&service), [("post_call_audio".to_owned(), body.to_owned())]);
}

#[test]
fn of_a_long_recording_that_cannot_be_read_it_is_kept_that_it_came_and_why_not() {
    let (service, folder) = keeping(&[]);
    let mut body = event("conv_1", &noise(300_000));
    let length = body.len();
    body[length - 1000] = b'.';
    let signature = signature(&body);
    for _ in 0..2 {
        service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
    }
    wait_for("the files aside to go", || names(&folder).is_empty().then_some(()));
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let kept = service.sqlite().query_row("SELECT outcome, error FROM webhook_events", [], row).unwrap();
    assert!(kept.0 == "unreadable" && kept.1.contains("full_audio"), "{kept:?}");
}

#[test]
fn recordings_are_bounded_apart_from_events() {
    let (service, folder) = keeping(&["--audio-max-body", "1MiB", "--post-call-max-body", "200KiB"]);
    let post = |body: Vec<u8>| {
        let signature = signature(&body);
        // All of it is read before it turns out to be too long, or else the answer might not be.
        service.post_chunked(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], Cursor::new(body))
    };
    let longer = |mut body: Vec<u8>, length: usize| {
        body.resize(length, b' ');
        body
    };
    post(longer(event("conv_1", &noise(700_000)), 1 << 20)).expect(200);
    post(longer(event("conv_2", &noise(700_000)), (1 << 20) + 1)).expect_error(413);
    let other = json!({"type": "other", "data": {"conversation_id": "conv_3"}}).to_string().into_bytes();
    post(longer(other, 200 * 1024 + 1)).expect_error(413);
    // What announces its length is refused before it is read.
    let mut connection = TcpStream::connect(service.address()).unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\
         ElevenLabs-Signature: {}\r\n\r\n",
        signature(b"")
    );
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    wait_for("the files aside to go", || (names(&folder) == ["conv_1.mp3"]).then_some(()));
}

#[test]
fn without_a_folder_a_recording_is_taken_dropped_and_told_in_the_log() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let body = event("conv_1", &noise(300_000));
    let signature = signature(&body);
    service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
    wait_for("the log", || service.log().iter().any(|line| line.contains("--audio-dir")).then_some(()));
    assert!(events(&service)[0].1.contains("\"kept\":false"));
}

#[test]
fn a_call_is_erased_with_its_recording() {
    let (service, folder) = keeping(&[]);
    service.deliver(&turn("conv_1", 1)).expect(201);
    for id in ["conv_1", "conv_2"] {
        let body = event(id, b"ID3");
        let signature = signature(&body);
        service.post_raw(PATH, &[JSON, ("ElevenLabs-Signature", &signature)], &body).expect(200);
    }
    service.delete("/api/v1/calls/conv_1").expect(204);
    assert_eq!(names(&folder), ["conv_2.mp3"]);
}
