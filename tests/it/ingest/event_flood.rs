//! Many events of the greatest length at once: those that come are taken, those that stand still are asked to come
//! again, in memory that is bounded.

use crate::support::service::{Service, peak, resident, wait_for};
use crate::support::whole_call::{POST_CALL, SECRET, post_signed};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

/// Maximum additional memory afterwards, in KiB: half of what would be held if none were freed.
const MAX_ADDITIONAL_KIB: u64 = 64 * 1024;

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
fn long_events_at_once_are_bounded_in_memory_and_those_that_stand_still_give_way() {
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
    // All but the last byte of more than are taken at once.
    let unfinished: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut connection = TcpStream::connect(service.address()).unwrap();
            connection.write_all(head.as_bytes()).unwrap();
            // One that has to give way takes no more.
            let _ = connection.write_all(&body.as_bytes()[..body.len() - 1]);
            connection
        })
        .collect();
    let headers = [("content-type", "application/json"), ("elevenlabs-signature", &*signature)];
    for _ in 0..3 {
        service.post_raw(POST_CALL, &headers, body.as_bytes()).expect(200);
    }
    // Short ones are taken all the while.
    let short = json!({"type": "call_initiation_failure", "data": {"conversation_id": "conv_short"}});
    post_signed(&service, &short.to_string()).expect(200);
    let mut told = 0;
    for mut connection in unfinished {
        let _ = connection.write_all(&body.as_bytes()[body.len() - 1..]);
        let mut answer = String::new();
        // One that was sending when it had to give way may see a broken connection instead.
        if connection.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 503") {
            assert!(answer.to_ascii_lowercase().contains("retry-after: 1"), "{answer}");
            told += 1;
        }
    }
    assert!(told > 0, "what stands still gives way");
    let grown = peak(service.pid()) - before;
    println!("{grown} KiB more");
    assert!(grown < 256 * 1024, "{grown} KiB more for 8 times 15 MiB");
    // What was asked to come again is taken when it does.
    wait_for("an event to be taken again", || {
        (service.post_raw(POST_CALL, &headers, body.as_bytes()).status == 200).then_some(())
    });
    // So long a call may take longer to be reconciled than its event's answer waits.
    wait_for("the call to be whole", || {
        let call = service.get("/api/v1/calls/conv_long").expect(200).json();
        (call["turn_count"] == 9800).then_some(())
    });
    wait_for("the memory to be given back", || {
        (resident(service.pid()) < resident_before + MAX_ADDITIONAL_KIB).then_some(())
    });
}
