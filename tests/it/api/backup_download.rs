//! `GET /api/v1/backup`: a backup as a download, one at a time, and nothing left behind.

use crate::support::database::{lengthen, names_in, whole};
use crate::support::service::{Service, peak, wait_for};
use crate::support::turns::turn;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const PATH: &str = "/api/v1/backup";

/// Asks for a backup and hears no answer yet.
fn ask(service: &Service) -> TcpStream {
    let mut connection = TcpStream::connect(service.address()).unwrap();
    write!(connection, "GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    connection
}

/// Asks for a backup and reads the beginning of the answer.
fn begin(service: &Service) -> (TcpStream, String) {
    let mut connection = ask(service);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (connection, String::from_utf8(head).unwrap())
}

/// True once an answer to what was asked has begun.
fn is_answered(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).unwrap();
    connection.peek(&mut [0]).is_ok()
}

/// Returns the names of the files beside the database that are not its own.
fn beside(service: &Service) -> Vec<String> {
    let names = names_in(service.database().parent().unwrap());
    names.into_iter().filter(|name| name.contains("download")).collect()
}

#[test]
fn a_download_is_a_whole_copy_and_takes_no_more_memory_for_a_long_database() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start();
    for n in 0..100 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let download = |name: &str| {
        let (mut body, head) = begin(&service);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let head = head.to_ascii_lowercase();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{head}"));
            line.trim().to_owned()
        };
        assert_eq!(field("content-type:"), "application/vnd.sqlite3");
        assert!(field("content-disposition:").starts_with("attachment; filename=\"calls-20"), "{head}");
        let length: u64 = field("content-length:").parse().unwrap();
        let path = folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        assert_eq!(std::io::copy(&mut (&mut body).take(length), &mut file).unwrap(), length);
        assert_eq!(whole(&path), 100);
        length
    };
    download("short.db");
    let before = peak(service.pid());
    lengthen(service.database(), 40);
    assert!(download("long.db") > 40_000_000);
    let grown = peak(service.pid()) - before;
    assert!(grown < 12 * 1024, "{grown} KiB more for 40 MB");
    assert!(beside(&service).is_empty(), "{:?}", beside(&service));
}

#[test]
fn one_at_a_time_and_who_hangs_up_makes_room() {
    let service = Service::start();
    lengthen(service.database(), 40);
    let (connection, head) = begin(&service);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // The copy has no name any more while it is sent, so that nothing is left of it whatever happens.
    assert!(beside(&service).is_empty(), "{:?}", beside(&service));
    let second = service.get(PATH);
    assert_eq!(second.header("retry-after"), Some("1"));
    second.expect_error(503);
    service.deliver(&turn("conv_a", 1)).expect(201);
    drop(connection);
    wait_for("the place to be free", || begin(&service).1.starts_with("HTTP/1.1 200 ").then_some(()));
}

#[test]
fn who_hangs_up_while_the_copy_is_made_ends_it() {
    let service = Service::start();
    lengthen(service.database(), 40);
    let copying = || beside(&service) == ["calls.db.download.partial"];
    let connection = wait_for("a copy under way", || {
        let connection = ask(&service);
        // The copy may be made before it is seen here.
        wait_for("a copy or an answer", || (copying() || is_answered(&connection)).then_some(()));
        copying().then_some(connection)
    });
    drop(connection);
    wait_for("the copy to go", || beside(&service).is_empty().then_some(()));
    let (_, head) = begin(&service);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn what_a_killed_service_left_of_a_download_goes_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    Service::start_on(&database, &[]).stop();
    lengthen(&database, 40);
    let partial = folder.path().join("calls.db.download.partial");
    let some = || partial.metadata().is_ok_and(|file| file.len() > 1_000_000);
    // The copy may be made before the signal comes.
    wait_for("a part of a copy to be left", || {
        let service = Service::start_on(&database, &[]);
        let connection = ask(&service);
        wait_for("some of the copy or an answer", || (some() || is_answered(&connection)).then_some(()));
        service.signal("KILL");
        service.wait();
        partial.exists().then_some(())
    });
    let _service = Service::start_on(&database, &[]);
    wait_for("what was left to go", || (!partial.exists()).then_some(()));
}
