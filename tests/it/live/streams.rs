//! Live streams: their events, order, resumption and cost.

use crate::support::sample_calls::load_sample_calls;
use crate::support::service::{Service, binary, peak, wait_for};
use crate::support::sse::{Event, Events, names};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, FIRST, SECRET, deliver, post_signed};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ALL: &str = "/api/v1/events";

fn of(conversation: &str) -> String {
    format!("/api/v1/calls/{conversation}/events")
}

fn call(service: &Service, conversation: &str) -> Value {
    let call = service.get(&format!("/api/v1/calls/{conversation}")).expect(200).json();
    without_audio(call)
}

/// A stream does not tell what is read for a single call only: its recording and its conversations.
fn without_audio(mut call: Value) -> Value {
    call.as_object_mut().unwrap().remove("child_conversations");
    assert_eq!(call.as_object_mut().unwrap().remove("has_audio"), Some(json!(false)));
    call
}

/// All turns of a call, page by page.
fn turns(service: &Service, conversation: &str) -> Vec<Value> {
    let mut turns: Vec<Value> = Vec::new();
    loop {
        let after = turns.len();
        let path = format!("/api/v1/calls/{conversation}/transcriptions?limit=1000&after_sequence={after}");
        let page = service.get(&path).expect(200).json();
        turns.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return turns;
        }
    }
}

fn complete(service: &Service, conversation: &str) -> Value {
    let call = service.patch(&format!("/api/v1/calls/{conversation}"), &json!({"status": "completed"})).expect(200);
    without_audio(call.json())
}

fn data(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| event.data.clone()).collect()
}

#[test]
fn a_call_is_told_from_its_first_turn_to_its_end_and_erasure() {
    let service = Service::start();
    for n in 1..=3 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    service.deliver(&turn("conv_b", 1)).expect(201);
    let mut stream = Events::open(service.address(), &of("conv_a"), None);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-store");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    let first = stream.take(4);
    assert_eq!(names(&first), ["transcription", "transcription", "transcription", "call_started"]);
    assert_eq!(data(&first[..3]), turns(&service, "conv_a"));
    assert_eq!(first[3].data, call(&service, "conv_a"));
    service.deliver(&turn("conv_b", 2)).expect(201);
    service.deliver(&turn("conv_a", 4)).expect(201);
    assert_eq!(stream.next().unwrap().data, turns(&service, "conv_a")[3]);
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 7})).expect(201);
    let updated = stream.next().unwrap();
    assert_eq!((updated.event.as_str(), &updated.data), ("call_updated", &call(&service, "conv_a")));
    let over = complete(&service, "conv_a");
    let ended = stream.next().unwrap();
    assert_eq!((ended.event.as_str(), &ended.data), ("call_ended", &over));
    service.delete("/api/v1/calls/conv_a").expect(204);
    let erased = stream.next().unwrap();
    assert_eq!((erased.event.as_str(), &erased.data), ("call_erased", &json!({"id": over["id"]})));
    assert_eq!(stream.next(), None, "nothing can follow");
    assert_eq!(Events::try_open(service.address(), &of("conv_a"), Some(&erased.id)).err(), Some(Some(404)));
}

#[test]
fn a_call_that_is_over_is_told_as_ended_and_one_that_is_not_there_is_404() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    complete(&service, "conv_a");
    let all = Events::open(service.address(), &format!("{}?follow=false", of("conv_a")), None).rest();
    assert_eq!(names(&all), ["transcription", "call_ended"]);
    service.get(&of("conv_b")).expect_error(404);
    for (path, name) in [(ALL.to_owned(), "last_event_id"), (of("conv_a"), "last_event_id")] {
        for bad in ["x", "1", "1-2-3-4", "-1-2"] {
            let error = service.get(&format!("{path}?last_event_id={bad}")).expect_error(400);
            assert!(error["details"].as_str().unwrap().starts_with(name), "{error}");
        }
        assert_eq!(Events::try_open(service.address(), &path, Some("twelve")).err(), Some(Some(400)));
    }
}

#[test]
fn all_calls_are_told_from_those_that_run_on() {
    let service = Service::start();
    for conversation in ["conv_a", "conv_b", "conv_c"] {
        service.deliver(&turn(conversation, 1)).expect(201);
    }
    complete(&service, "conv_b");
    let mut stream = Events::open(service.address(), ALL, None);
    let first = stream.take(2);
    assert_eq!(names(&first), ["call_started", "call_started"]);
    assert_eq!(data(&first), [call(&service, "conv_a"), call(&service, "conv_c")]);
    service.deliver(&turn("conv_d", 1)).expect(201);
    complete(&service, "conv_a");
    let then = stream.take(3);
    assert_eq!(names(&then), ["call_started", "transcription", "call_ended"]);
    let (told, now) = (&then[0].data, call(&service, "conv_d"));
    assert_eq!((&told["id"], &told["conversation_id"]), (&now["id"], &now["conversation_id"]));
    assert_eq!(then[1].data, turns(&service, "conv_d")[0]);
    assert_eq!(then[2].data, call(&service, "conv_a"));
    // Wherever it is cut, what follows is what would have followed.
    let all: Vec<Event> = first.into_iter().chain(then).collect();
    for (n, event) in all.iter().enumerate() {
        let rest = Events::open(service.address(), &format!("{ALL}?follow=false"), Some(&event.id)).rest();
        let ids = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        // A call that ended since is no longer among those that run.
        let expected: Vec<_> = ids(&all[n + 1..]);
        assert_eq!(ids(&rest), expected, "behind event {n}");
    }
    // The header is newer than the address, which a browser keeps.
    let last = &all.last().unwrap().id;
    let none = Events::open(service.address(), &format!("{ALL}?follow=false&last_event_id=0-0"), Some(last)).rest();
    assert_eq!(none, []);
}

/// The conversations that a stream tells of from the beginning, without those that were erased.
fn told(service: &Service, filter: &str) -> BTreeSet<String> {
    let path = format!("{ALL}?follow=false&last_event_id=0-0&{filter}");
    let events = Events::open(service.address(), &path, None).rest();
    let id = |event: Event| event.data["conversation_id"].as_str().unwrap().to_owned();
    events.into_iter().filter(|event| event.event != "call_erased").map(id).collect()
}

#[test]
fn a_stream_takes_the_filters_of_the_list_and_leaves_out_sub_agents_by_default() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    let expected = load_sample_calls(&service, 60);
    let call = |kind: &str| {
        let call = expected["calls"].as_array().unwrap().iter().find(|call| call["kind"] == kind).unwrap();
        call["conversation_id"].as_str().unwrap().to_owned()
    };
    let child = call("subagent_child");
    assert!(!told(&service, "").contains(&child));
    assert!(told(&service, "include_children=true").contains(&child));
    let mut sizes = BTreeSet::new();
    for filter in [
        "",
        "include_children=true",
        "status=in_progress",
        "status=failed",
        "driver_id=1001",
        "has_driver=false",
        "answered_by=voicemail",
        "answered_by=unknown",
        "outcome=failure",
        "direction=inbound",
        "channel=sms",
        "environment=staging",
        "language=es&language=ar",
        "tool=end_call",
        "tool_error=true",
        "min_seconds=60&max_seconds=120",
        "has_audio=true",
        "reconciled=false",
        "started_after=2026-09-20",
        "started_before=2026-09-20&answered_by=human",
        "tag=no_such_tag",
    ] {
        let list = service.get(&format!("/api/v1/calls?limit=1000&{filter}")).expect(200).json();
        let listed: BTreeSet<_> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["conversation_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(told(&service, filter), listed, "{filter}");
        sizes.insert(listed.len());
    }
    assert!(sizes.len() > 8, "the filters select different calls: {sizes:?}");
    // Without a position, a stream begins with the running calls that match.
    let running = |filter: &str| Events::open(service.address(), &format!("{ALL}?follow=false&{filter}"), None).rest();
    assert_eq!(running("").len(), 3);
    let driver = running("")[0].data["driver_id"].clone();
    let of_driver = running(&format!("driver_id={driver}"));
    assert!(!of_driver.is_empty() && of_driver.iter().all(|event| event.data["driver_id"] == driver), "{of_driver:?}");
    assert_eq!(running("status=completed"), []);
    // A stream that is cut goes on behind any event, also behind those that it left out.
    let path = format!("{ALL}?follow=false&answered_by=voicemail");
    let all = Events::open(service.address(), &format!("{path}&last_event_id=0-0"), None).rest();
    for (n, event) in all.iter().enumerate() {
        let rest = Events::open(service.address(), &path, Some(&event.id)).rest();
        assert!(rest == all[n + 1..], "behind event {n}");
    }
    // Erasures are told to everybody, because nothing is left that could match.
    service.delete(&format!("/api/v1/calls/{child}")).expect(204);
    let erased =
        Events::open(service.address(), &format!("{path}&last_event_id={}", all.last().unwrap().id), None).rest();
    assert_eq!(names(&erased).last(), Some(&"call_erased"));
    assert_eq!(Events::try_open(service.address(), &format!("{ALL}?chanel=sms"), None).err(), Some(Some(400)));
    assert_eq!(Events::try_open(service.address(), &format!("{ALL}?channel=fax"), None).err(), Some(Some(400)));
}

#[test]
fn the_call_of_a_stream_is_that_of_the_list_with_its_analysis() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    load_sample_calls(&service, 60);
    let list = service.get("/api/v1/calls?limit=1000&include=transfers&include_children=true").expect(200).json();
    let (mut transferred, mut analysed) = (0, 0);
    for listed in list["data"].as_array().unwrap() {
        let path = format!("{}?follow=false", of(listed["conversation_id"].as_str().unwrap()));
        let mut told = Events::open(service.address(), &path, None).rest().pop().unwrap().data;
        transferred += usize::from(told["transferred"] == true);
        analysed += usize::from(told.as_object_mut().unwrap().remove("analysis").is_some());
        assert_eq!(&told, listed);
    }
    assert!(transferred > 1 && analysed > 10, "{transferred} calls were transferred, {analysed} analysed");
}

#[test]
fn a_stream_with_a_filter_follows_calls_that_begin_and_cease_to_match() {
    let service = Service::start();
    let drive = |driver: i64, name: &str| {
        service.put(&format!("/api/v1/drivers/{driver}"), &json!({ "name": name })).expect(201);
    };
    drive(7, "Jo Brandt");
    drive(8, "Ana Ruiz");
    let mut stream = Events::open(service.address(), &format!("{ALL}?driver_id=7"), None);
    let mut everything = Events::open(service.address(), ALL, None);
    service.deliver(&turn("conv_other", 1)).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(names(&everything.take(4)), ["call_started", "transcription", "call_started", "transcription"]);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 7})).expect(201);
    service.deliver(&turn("conv_a", 2)).expect(201);
    service.deliver(&turn("conv_other", 2)).expect(201);
    assert_eq!(names(&everything.take(3)), ["call_updated", "transcription", "transcription"]);
    let seen = stream.take(2);
    assert_eq!(names(&seen), ["call_updated", "transcription"]);
    assert_eq!(seen.iter().map(|event| &event.data["conversation_id"]).collect::<Vec<_>>(), ["conv_a", "conv_a"]);
    // The dispatch of another driver takes the call out of the stream.
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 8})).expect(200);
    service.deliver(&turn("conv_a", 3)).expect(201);
    assert_eq!(names(&everything.take(2)), ["call_updated", "transcription"]);
    service.delete("/api/v1/calls/conv_a").expect(204);
    assert_eq!(names(&stream.take(1)), ["call_erased"]);
}

#[test]
fn a_report_of_elevenlabs_is_one_change_behind_the_turns_that_it_brings() {
    let service = Service::start_with(&["--elevenlabs-secret", SECRET]);
    deliver(&service, "agent", FIRST, "2026-09-28T12:00:02Z");
    deliver(&service, "user", "Something that the record lacks.", "2026-09-28T12:00:03Z");
    let mut stream = Events::open(service.address(), &of(CALL), None);
    assert_eq!(names(&stream.take(3)), ["transcription", "transcription", "call_started"]);
    let sample = crate::support::samples::SAMPLES[0].1;
    post_signed(&service, sample).expect(200);
    let added = call(&service, CALL)["added"].as_u64().unwrap();
    assert!(added > 0);
    let told = stream.take(usize::try_from(added).unwrap() + 1);
    let (ended, turns_told) = told.split_last().unwrap();
    assert!(turns_told.iter().all(|event| event.event == "transcription"), "{:?}", names(&told));
    assert_eq!((ended.event.as_str(), &ended.data), ("call_ended", &call(&service, CALL)));
    // The same report again changes nothing, so nothing is told; a late turn is, and what it moves.
    post_signed(&service, sample).expect(200);
    deliver(&service, "user", "It says thirty four. I'll bump the set point.", "2026-09-28T12:00:41Z");
    let late = stream.take(2);
    assert_eq!(names(&late), ["transcription", "call_updated"]);
    assert_eq!(late[1].data, call(&service, CALL));
}

#[test]
fn an_id_that_this_database_has_not_come_to_begins_anew() {
    let service = Service::start();
    service.deliver(&turn("conv_a", 1)).expect(201);
    for path in [ALL.to_owned(), of("conv_a")] {
        let path = format!("{path}?follow=false");
        let fresh = Events::open(service.address(), &path, None).rest();
        assert!(!fresh.is_empty());
        for id in ["99-2", "0-99"] {
            assert_eq!(Events::open(service.address(), &path, Some(id)).rest(), fresh, "{path} after {id}");
        }
    }
}

#[test]
fn what_another_process_writes_is_told_too() {
    let service = Service::start();
    service.put("/api/v1/drivers/7", &json!({"name": "Jo Brandt"})).expect(201);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let mut all = Events::open(service.address(), ALL, None);
    let mut one = Events::open(service.address(), &of("conv_a"), None);
    all.take(1);
    one.take(2);
    let file = service.database().with_file_name("dispatches.csv");
    std::fs::write(&file, "conversation_id,driver_id\nconv_a,7\n").unwrap();
    let import = binary().args(["import", "dispatches"]).arg(&file).arg("--database").arg(service.database()).output();
    assert!(import.unwrap().status.success());
    for stream in [&mut all, &mut one] {
        let event = stream.next().unwrap();
        assert_eq!((event.event.as_str(), &event.data["driver_id"]), ("call_updated", &json!(7)));
    }
}

#[test]
fn a_quiet_stream_says_that_it_is_there_and_all_streams_end_when_the_service_stops() {
    let service = Service::start_with(&["--stream-heartbeat", "100ms"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let quiet: Vec<_> = [ALL.to_owned(), of("conv_a")]
        .into_iter()
        .map(|path| Events::open(service.address(), &path, None))
        .map(|mut stream| {
            std::thread::spawn(move || {
                let events = stream.rest();
                (events, stream.comments)
            })
        })
        .collect();
    let many: Vec<_> = (0..50).map(|_| Events::open(service.address(), ALL, None)).collect();
    // Long enough for some heartbeats: each is seen on the wire of one that is read by hand.
    let mut seen = Events::open(service.address(), ALL, None);
    let mut connection = TcpStream::connect(service.address()).unwrap();
    write!(connection, "GET {ALL} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
    let mut read = String::new();
    let mut buffer = [0; 4096];
    wait_for("three heartbeats", || {
        let n = std::io::Read::read(&mut connection, &mut buffer).unwrap();
        read.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        (read.matches("\n:\n\n").count() >= 3).then_some(())
    });
    service.signal("TERM");
    let (status, taken) = service.wait();
    assert!(status.success());
    assert!(taken < Duration::from_secs(4), "streams are not waited for: {taken:?}");
    for stream in quiet {
        let (events, comments) = stream.join().unwrap();
        assert!(events.iter().any(|event| event.event == "call_started"), "{events:?}");
        assert!(comments > 0);
    }
    assert_eq!(names(&seen.rest()), ["call_started"]);
    drop(many);
}

#[test]
fn streams_are_bounded_and_a_place_is_free_again_when_its_client_goes() {
    let service = Service::start_with(&["--max-streams", "2", "--stream-heartbeat", "100ms"]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let first = Events::open(service.address(), ALL, None);
    let _second = Events::open(service.address(), &of("conv_a"), None);
    let refused = service.get(ALL).expect(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_error(503);
    service.get(&of("conv_a")).expect_error(503);
    drop(first);
    wait_for("the place to be free", || Events::try_open(service.address(), ALL, None).ok());
    // Asking about a stream takes none.
    let head = crate::support::openapi::send(&service, "HEAD", ALL, &[], b"");
    assert!([200, 503].contains(&head.status) && head.text.is_empty());
}

/// A connection that asks for a stream and then reads nothing.
fn stuck(service: &Service, path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(service.address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&connection, 4096).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
    connection
}

#[test]
fn a_stuck_reader_costs_little_memory_and_is_cut_off() {
    let flags = ["--max-streams", "20", "--body-timeout", "1s", "--stream-heartbeat", "100ms"];
    let service = Service::start_with(&[&flags[..], &["--log-level", "info,http=off"]].concat());
    service.deliver(&turn("conv_a", 0)).expect(201);
    let long = |n: usize| {
        let mut turn = turn("conv_a", n);
        turn["message"] = json!(format!("{n} {}", "long ".repeat(12_000)));
        turn
    };
    // A slow machine may take as long for a turn as a body may take here.
    let deliver_long = |n: usize| {
        let stored = || service.try_deliver(&long(n)).is_ok_and(|answer| answer.status == 201);
        wait_for("the turn to be stored", || stored().then_some(()));
    };
    // Once without streams, so that what ingest takes is known.
    (1..50).for_each(deliver_long);
    let before = peak(service.pid());
    let another = |n: usize| stuck(&service, if n.is_multiple_of(2) { ALL } else { "/api/v1/calls/conv_a/events" });
    let mut stuck: Vec<_> = (0..20).map(another).collect();
    wait_for("all places to be taken", || {
        let taken = Events::try_open(service.address(), ALL, None).err() == Some(Some(503));
        // On a busy machine the first may be cut off by the time that the last is there.
        stuck.extend((!taken).then(|| another(stuck.len())));
        taken.then_some(())
    });
    (50..400).for_each(deliver_long);
    // 21 MB were told to each of them, 420 MB in all.
    let grown = peak(service.pid()).saturating_sub(before);
    println!("{grown} KiB more");
    assert!(grown < 40 * 1024, "{grown} KiB more");
    wait_for("the stuck ones to be cut off", || Events::try_open(service.address(), ALL, None).ok());
    drop(stuck);
    assert_eq!(turns(&service, "conv_a").len(), 400);
}

#[test]
fn a_thousand_streams_get_every_event() {
    const STREAMS: usize = 1000;
    const TURNS: usize = 20;
    let service = Service::start_with(&["--log-level", "info,http=off"]);
    for n in 0..10 {
        service.deliver(&turn(&format!("conv_{n}"), 0)).expect(201);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = service.address();
    let begun = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = begun.clone();
    let readers = std::thread::spawn(move || {
        runtime.block_on(async {
            let streams: Vec<_> = (0..STREAMS)
                .map(|n| {
                    let counted = counted.clone();
                    let path = if n % 2 == 0 { ALL.to_owned() } else { of(&format!("conv_{}", n % 10)) };
                    // Each call gets TURNS turns; all calls are told to every second stream.
                    let wanted = if n % 2 == 0 { 10 + 10 * TURNS } else { 2 + TURNS };
                    tokio::spawn(async move { read_events(address, path, wanted, &counted).await })
                })
                .collect();
            for stream in streams {
                stream.await.unwrap();
            }
        });
    });
    wait_for("all streams to begin", || (begun.load(std::sync::atomic::Ordering::SeqCst) == STREAMS).then_some(()));
    for n in 1..=TURNS {
        for conversation in 0..10 {
            service.deliver(&turn(&format!("conv_{conversation}"), n)).expect(201);
        }
    }
    let start = Instant::now();
    readers.join().unwrap();
    println!("the last stream had all {:?} after the last turn", start.elapsed());
}

/// Reads a stream until it had as many events.
async fn read_events(
    address: std::net::SocketAddr,
    path: String,
    wanted: usize,
    begun: &std::sync::atomic::AtomicUsize,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await.unwrap();
    let (mut seen, mut kept, mut buffer) = (0, String::new(), vec![0; 8192]);
    let mut counted = false;
    while seen < wanted {
        let n = tokio::time::timeout(Duration::from_mins(2), connection.read(&mut buffer)).await;
        let n = n.unwrap_or_else(|_| panic!("{path} waits after {seen} of {wanted}")).unwrap();
        assert!(n > 0, "{path} ended after {seen}");
        kept.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if !counted && kept.contains("retry: 3000") {
            counted = true;
            begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        // Only what is whole is counted; the last line may be cut.
        let whole = kept.rfind('\n').map_or(0, |at| at + 1);
        seen += kept[..whole].matches("event: ").count();
        kept.drain(..whole);
    }
    assert_eq!(seen, wanted, "{path}");
}
