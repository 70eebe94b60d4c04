//! Stopping: in time, in order, whoever is connected.

use crate::support::service::{Service, TURNS, wait_for};
use crate::support::turns::turn;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn sigterm_and_sigint_end_the_service_in_time_although_idle_connections_are_open() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start_on(&folder.path().join("calls.db"), &[]);
        let idle: Vec<_> = (0..50).map(|_| TcpStream::connect(service.address()).unwrap()).collect();
        let mut kept_alive = TcpStream::connect(service.address()).unwrap();
        write!(kept_alive, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut begun = [0; 12];
        kept_alive.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        // A request that never ends is not waited for either.
        let mut unfinished = TcpStream::connect(service.address()).unwrap();
        write!(
            unfinished,
            "POST {TURNS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
        )
        .unwrap();
        service.deliver(&turn("conv_a", 1)).expect(201);
        let database = service.database().to_owned();
        service.signal(signal);
        let (status, taken) = service.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(taken < Duration::from_secs(10), "{signal}: {taken:?}");
        assert!(!database.with_extension("db-wal").exists(), "everything is in the one file");
        drop(idle);
    }
}

#[test]
fn a_service_that_stops_takes_no_more_connections() {
    let service = Service::start();
    let address = service.address();
    let mut unfinished = TcpStream::connect(address).unwrap();
    write!(
        unfinished,
        "POST {TURNS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{"
    )
    .unwrap();
    service.get("/healthz").expect(200);
    service.signal("TERM");
    wait_for("connections to be refused", || TcpStream::connect(address).is_err().then_some(()));
    let (status, _) = service.wait();
    assert!(status.success());
}
