//! Pages of much text, and readers that do not read them.

use crate::support::service::{Service, peak, resident, wait_for};
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;

const READERS: usize = 60;

/// Maximum additional memory for these readers, in KiB.
const MAX_ADDITIONAL_KIB: u64 = 224 * 1024;

/// A service with a call of 65 MB.
fn with_a_long_call() -> Service {
    let service = Service::start_with(&["--log-level", "info"]);
    for n in 0..1000 {
        let mut long = turn("conv_long", n);
        long["message"] = json!(format!("{n} {}", "m".repeat(65_000)));
        service.deliver(&long).expect(201);
    }
    service
}

#[test]
fn a_page_ends_at_8_mib_and_its_cursor_goes_on_without_a_gap() {
    let service = with_a_long_call();
    for order in ["sequence", "time"] {
        let (mut numbers, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = service
                .get(&format!("/api/v1/calls/conv_long/transcriptions?limit=1000&order={order}{cursor}"))
                .expect(200);
            assert!(page.text.len() < 9 << 20, "{} bytes", page.text.len());
            let page = page.json();
            let rows = page["data"].as_array().unwrap();
            assert!(!rows.is_empty());
            numbers.extend(rows.iter().map(|row| row["sequence_number"].as_u64().unwrap()));
            pages += 1;
            assert_eq!(page["has_more"], json!(page["next_cursor"].is_string()));
            let Value::String(next) = &page["next_cursor"] else { break };
            cursor = format!("&cursor={next}");
        }
        assert!(pages >= 8, "{pages}");
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=1000).collect::<Vec<u64>>());
    }
}

#[test]
fn readers_that_do_not_read_take_a_bounded_memory_and_small_answers_do_not_wait_for_them() {
    let service = with_a_long_call();
    let before = resident(service.pid());
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut stream = TcpStream::connect(service.address()).unwrap();
            write!(stream, "GET /api/v1/calls/conv_long/transcriptions?limit=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    let answered = |status: &str| {
        let log = service.log();
        log.iter().filter(|line| line.contains("/transcriptions\"") && line.contains(status)).count()
    };
    wait_for("all to be answered", || {
        (answered("\"status\":200") + answered("\"status\":503") == READERS).then_some(())
    });
    assert!(answered("\"status\":200") >= 3, "some are answered");
    service.get("/readyz").expect(200);
    service.get("/api/v1/calls/conv_long").expect(200);
    service.get("/api/v1/calls").expect(200);
    let grown = peak(service.pid()).saturating_sub(before);
    println!("{grown} KiB more; {} answered, {} told 503", answered("\"status\":200"), answered("\"status\":503"));
    assert!(grown < MAX_ADDITIONAL_KIB, "{grown} KiB more for {READERS} readers");
    drop(readers);
    wait_for("long pages to be answered again", || {
        (service.get("/api/v1/calls/conv_long/transcriptions?limit=1000").status == 200).then_some(())
    });
}
