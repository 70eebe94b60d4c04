//! Many events of the greatest length at once: some are taken, the others asked to come again, in memory that is bounded.

use crate::harness::{Service, peak, resident, wait_for};
use crate::whole_call::{POST_CALL, SECRET, post_signed};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use transcribe_hook::model::Timestamp;
use transcribe_hook::secret::Secret;
use transcribe_hook::signature::sign;

/// How much more memory may be held afterwards, in KiB: half of what would be if none were given back.
const KEPT: u64 = 64 * 1024;

/// An event of 15 MiB: a call of some ten thousand turns.
fn long_event() -> String {
    let words = "Your reefer is reading forty five degrees. ".repeat(34);
    let turns: Vec<_> = (0..9800)
        .map(|n| json!({"role": "agent", "time_in_call_secs": n, "message": format!("{n} {words}")}))
        .collect();
    let data = json!({"conversation_id": "conv_long", "status": "done", "transcript": turns,
        "metadata": {"start_time_unix_secs": 1_790_596_800}});
    json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": data}).to_string()
}

#[test]
fn long_events_at_once_are_bounded_in_memory_and_the_others_are_asked_to_come_again() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let body = long_event();
    assert!((14 << 20..16 << 20).contains(&body.len()), "{}", body.len());
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, body.as_bytes());
    let (before, resident_before) = (peak(service.pid()), resident(service.pid()));
    let head = format!(
        "POST {POST_CALL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nElevenLabs-Signature: {signature}\r\n\r\n",
        body.len()
    );
    // All but the last byte of as many as are taken at once.
    let mut unfinished: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut connection = TcpStream::connect(service.address()).unwrap();
            connection.write_all(head.as_bytes()).unwrap();
            connection.write_all(&body.as_bytes()[..body.len() - 1]).unwrap();
            connection
        })
        .collect();
    let headers = [("content-type", "application/json"), ("elevenlabs-signature", &*signature)];
    for _ in 0..6 {
        let answer = service.post_raw(POST_CALL, &headers, body.as_bytes());
        assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.text);
        answer.expect_error(503);
    }
    // Short ones are taken all the while.
    let short = json!({"type": "call_initiation_failure", "data": {"conversation_id": "conv_short"}});
    post_signed(&service, &short.to_string()).expect(200);
    for connection in &mut unfinished {
        connection.write_all(&body.as_bytes()[body.len() - 1..]).unwrap();
    }
    let answered = |connection: &mut TcpStream| {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    let statuses: Vec<_> = unfinished.iter_mut().map(answered).collect();
    assert!(statuses.iter().all(|status| status == "200" || status == "503"), "{statuses:?}");
    assert!(statuses.iter().any(|status| status == "200"), "{statuses:?}");
    let grown = peak(service.pid()) - before;
    println!("{grown} KiB more");
    assert!(grown < 256 * 1024, "{grown} KiB more for 4 times 15 MiB");
    // What was asked to come again is taken when it does.
    wait_for("an event to be taken again", || {
        (service.post_raw(POST_CALL, &headers, body.as_bytes()).status == 200).then_some(())
    });
    // So long a call may take longer to be reconciled than its event's answer waits.
    wait_for("the call to be whole", || {
        let call = service.get("/api/v1/calls/conv_long").expect(200).json();
        (call["turn_count"] == 9800).then_some(())
    });
    wait_for("the memory to be given back", || (resident(service.pid()) < resident_before + KEPT).then_some(()));
}
