//! Recordings that come as one JSON body: decoded whatever way it is cut into pieces, kept whole or not at all.

use crate::support::random::for_any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use proptest::prelude::{Strategy as _, any, prop_oneof};
use proptest::sample::Index as Place;
use serde_json::{Value, json};
use std::io;
use std::io::{Read, Write};
use std::path::Path;
use tempfile::TempDir;
use transcribe_hook::recordings::{
    AudioEvent, RecordingError, RecordingUpload, Recordings, StoredRecording, audio_starts_in, read,
};

const LIMIT: u64 = 1 << 20;
const CALL: &str = "conv_1901kaj4pr1penza6bbkscg6hgkc";

/// A body that comes in pieces of these sizes, over and over.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        let count = self.sizes[self.turn % self.sizes.len()].min(buffer.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.rest = rest;
        Ok(count)
    }
}

fn decode(body: &[u8]) -> (Result<AudioEvent, RecordingError>, Vec<u8>) {
    let mut audio = Vec::new();
    let result = read(body, &mut audio, LIMIT);
    (result, audio)
}

/// An audio event whose fields stand in the order that `order` gives, with others between them.
fn body(audio: &str, order: &[usize]) -> String {
    let shuffled = |mut fields: Vec<String>, order: &[usize]| {
        for (at, index) in order.iter().enumerate() {
            let length = fields.len();
            fields.swap(at % length, index % length);
        }
        format!("{{{}}}", fields.join(" ,\n"))
    };
    let data = shuffled(
        vec![
            format!("\"conversation_id\": \"{CALL}\""),
            format!("\"full_audio\": \"{audio}\""),
            "\"agent_id\":\"agent_1\"".to_owned(),
            r#""new_field":{"full_audio":"AAAA","list":[1,{"conversation_id":"conv_other"}]}"#.to_owned(),
        ],
        order,
    );
    let fields = vec![
        "\"type\":\"post_call_audio\"".to_owned(),
        "\"event_timestamp\" : 1739537319".to_owned(),
        format!("\"data\":{data}"),
        r#""full_audio":"AAAA""#.to_owned(),
    ];
    shuffled(fields, &order[order.len() / 2..])
}

#[test]
fn audio_is_decoded_whatever_the_order_of_fields_and_the_pieces() {
    let audio = proptest::collection::vec(any::<u8>(), 1..5000);
    let orders = proptest::collection::vec(0..100usize, 8);
    let sizes = proptest::collection::vec(1..1500usize, 1..6);
    for_any(400, &(audio, orders, sizes, 0..3u8), |(audio, order, sizes, how)| {
        let text = match how {
            0 => STANDARD.encode(&audio),
            1 => STANDARD_NO_PAD.encode(&audio),
            // As some encoders of JSON write it.
            _ => STANDARD.encode(&audio).replace('/', "\\/").replace('+', "\\u002b"),
        };
        let body = body(&text, &order);
        serde_json::from_str::<Value>(&body).unwrap();
        let mut decoded = Vec::new();
        let pieces = Pieces { rest: body.as_bytes(), sizes, turn: 0 };
        let event = read(pieces, &mut decoded, LIMIT).unwrap();
        assert_eq!(event.conversation_id.as_str(), CALL);
        assert_eq!(event.event_type.as_deref(), Some("post_call_audio"));
        assert_eq!(event.audio_bytes, audio.len() as u64);
        assert_eq!(decoded, audio);
    });
}

#[test]
fn what_is_cut_off_is_never_taken_for_whole() {
    let order = [0; 8];
    let body = body(&STANDARD.encode([7; 300]), &order);
    for length in 0..body.len() {
        let (result, _) = decode(&body.as_bytes()[..length]);
        assert!(matches!(result, Err(RecordingError::Malformed(_))), "{length}: {result:?}");
    }
    let trailing = format!("{body} x");
    assert!(decode(trailing.as_bytes()).0.is_err());
    assert!(decode(format!("{body}\r\n ").as_bytes()).0.is_ok());
}

#[test]
fn no_bytes_make_it_panic() {
    let order = [0; 8];
    let whole = body(&STANDARD.encode([7; 100]), &order).into_bytes();
    let damaged = (any::<Place>(), any::<u8>()).prop_map(move |(place, byte)| {
        let mut body = whole.clone();
        let at = place.index(body.len());
        body[at] = byte;
        body
    });
    let like_json = "(\\{|\\}|\\[|\\]|\"data\":|\"full_audio\":|\"|[A-Za-z0-9+/=]{0,9}|,|:|\\\\|null){0,40}";
    let bodies = prop_oneof![
        damaged,
        like_json.prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
        (1..3000usize).prop_map(|depth| b"[".repeat(depth)),
    ];
    for_any(3000, &bodies, |body| {
        let (result, audio) = decode(&body);
        if let Ok(event) = result {
            assert_eq!(event.audio_bytes, audio.len() as u64);
        }
        audio_starts_in(&body);
    });
}

#[test]
fn what_is_not_as_described_is_refused_and_why_is_said() {
    let with = |data: &Value| json!({"type": "post_call_audio", "event_timestamp": 1, "data": data}).to_string();
    let long = "x".repeat(257);
    for (body, why) in [
        (with(&json!({"conversation_id": CALL})), "full_audio: is required"),
        (with(&json!({"conversation_id": CALL, "full_audio": null})), "full_audio: is required"),
        (with(&json!({"conversation_id": CALL, "full_audio": 5})), "full_audio: is required"),
        (with(&json!({"conversation_id": CALL, "full_audio": ""})), "full_audio: must not be empty"),
        (with(&json!({"conversation_id": CALL, "full_audio": "A"})), "full_audio"),
        (with(&json!({"conversation_id": CALL, "full_audio": "AA\u{e9}A"})), "full_audio"),
        (with(&json!({"conversation_id": CALL, "full_audio": "SUQz...base64 MP3...AAAA=="})), "full_audio"),
        (with(&json!({"full_audio": "AAAA"})), "conversation_id: is required"),
        (with(&json!({"conversation_id": 7, "full_audio": "AAAA"})), "conversation_id: is required"),
        (with(&json!({"conversation_id": " ", "full_audio": "AAAA"})), "conversation_id: must not be blank"),
        (with(&json!({"conversation_id": long, "full_audio": "AAAA"})), "at most 256"),
        (with(&json!([])), "conversation_id: is required"),
        (
            r#"{"data":{"conversation_id":"c","full_audio":"AAAA","full_audio":"AAAA"}}"#.to_owned(),
            "full_audio: duplicate",
        ),
        (r#"{"data":{"conversation_id":"c","full_audio":"AAAA"},"type":"other"}"#.to_owned(), "type: must be"),
        ("[]".to_owned(), "OBJECT"),
        (String::new(), "EOF"),
    ] {
        let error = decode(body.as_bytes()).0.unwrap_err();
        let text = error.to_string();
        let told = text.to_lowercase().contains(&why.to_lowercase()) || body.is_empty() || body == "[]";
        assert!(matches!(error, RecordingError::Malformed(_)) && told, "{body}: {text}");
    }
}

#[test]
fn nothing_is_taken_beyond_its_bound() {
    let order = [0; 8];
    let text = STANDARD.encode(vec![7; 500_000]);
    let whole = body(&text, &order);
    let length = whole.len() as u64;
    assert!(read(whole.as_bytes(), &mut io::sink(), length).is_ok());
    assert!(matches!(read(whole.as_bytes(), &mut io::sink(), length - 1), Err(RecordingError::TooLong)));
    // However long the audio may be, a name, a number or another text may not.
    let much = "1".repeat(3 << 20);
    for body in [
        format!("{{\"{much}\":1}}"),
        format!("{{\"type\":\"{much}\"}}"),
        format!("{{\"data\":{{\"conversation_id\":\"{much}\"}}}}"),
        format!("{{\"x\":{much}}}"),
        " ".repeat(3 << 20),
    ] {
        let result = read(body.as_bytes(), &mut io::sink(), u64::MAX);
        assert!(matches!(result, Err(RecordingError::TooLong)), "{result:?}");
    }
}

#[test]
fn what_hinders_reading_or_writing_is_told_apart_from_a_bad_body() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let body = body(&STANDARD.encode([7; 300]), &[0; 8]);
    for place in [0, 10, body.len() / 2, body.len()] {
        let result = read(body.as_bytes()[..place].chain(Broken), &mut io::sink(), LIMIT);
        assert!(matches!(result, Err(RecordingError::BrokenOff(_))), "{place}: {result:?}");
    }
    assert!(matches!(read(body.as_bytes(), &mut Full, LIMIT), Err(RecordingError::Write(_))));
}

#[test]
fn whether_a_body_is_audio_shows_when_its_audio_begins() {
    let body = body(&STANDARD.encode([7; 300]), &[0; 8]);
    let wanted = body.find(r#""full_audio": ""#).unwrap();
    assert!(!audio_starts_in(&body.as_bytes()[..wanted]));
    assert!(audio_starts_in(&body.as_bytes()[..wanted + 20]));
    assert!(audio_starts_in(body.as_bytes()));
    assert!(!audio_starts_in(br#"{"type":"post_call_transcription","data":{"full_audio":"AAAA"}}"#));
    assert!(audio_starts_in(br#"{"data":{"full_audio":"AAAA"},"type":"unredacted_audio"}"#));
    assert!(!audio_starts_in(br#"{"type":"post_call_transcription","data":{"transcript":[{"full_audio":"AAAA"}]}}"#));
}

/// Sends a body through an intake in pieces of 100 bytes.
async fn send(folder: Option<&Path>, body: &str, finish: bool) -> Option<Result<StoredRecording, RecordingError>> {
    let recordings = folder.map(|folder| Recordings::open(folder).unwrap());
    let intake = RecordingUpload::start(recordings, None, LIMIT, ()).unwrap();
    for piece in body.as_bytes().chunks(100) {
        intake.push(Bytes::copy_from_slice(piece)).await;
    }
    if finish { Some(intake.finish().await) } else { None }
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_recording_is_kept_once_its_sender_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let audio = b"ID3 not really music".repeat(400);
    let event = body(&STANDARD.encode(&audio), &[0; 8]);
    let kept = send(Some(folder.path()), &event, true).await.unwrap().unwrap();
    assert_eq!(kept.path.as_deref(), Some(&*folder.path().join(format!("{CALL}.mp3"))));
    assert_eq!(std::fs::read(kept.path.unwrap()).unwrap(), audio);
    // Again, and with nothing left beside it.
    send(Some(folder.path()), &event, true).await.unwrap().unwrap();
    assert_eq!(names(&folder), [format!("{CALL}.mp3")]);
    // Without a folder it is read all the same.
    let dropped = send(None, &event, true).await.unwrap().unwrap();
    assert_eq!((dropped.path, dropped.event.audio_bytes), (None, 8000));
}

#[tokio::test]
async fn what_is_broken_off_or_unreadable_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let event = body(&STANDARD.encode([7; 3000]), &[0; 8]);
    // Complete as it is, but nobody said that its sender is ElevenLabs.
    assert!(send(Some(folder.path()), &event, false).await.is_none());
    let cut = send(Some(folder.path()), &event[..2000], true).await.unwrap();
    assert!(matches!(cut, Err(RecordingError::Malformed(_))), "{cut:?}");
    let other = send(Some(folder.path()), "{\"data\":{}}", true).await.unwrap();
    assert!(matches!(other, Err(RecordingError::Malformed(_))), "{other:?}");
    crate::support::service::wait_for("the files aside to go", || names(&folder).is_empty().then_some(()));
}

#[test]
fn what_a_killed_service_left_half_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".incoming-Ab3.part", "conv_1.mp3", ".other"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let recordings = Recordings::open(folder.path()).unwrap();
    assert_eq!(names(&folder), [".other", "conv_1.mp3"]);
    let call = transcribe_hook::domain::ConversationId::new("conv_1").unwrap();
    assert!(recordings.remove(&call).unwrap());
    assert!(!recordings.remove(&call).unwrap());
    assert!(Recordings::open(&folder.path().join(".other")).is_err());
}
