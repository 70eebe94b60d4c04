//! Benchmark of writes beside live streams.

use crate::load::{self, Load, Run};
use crate::server::Server;
use crate::summary::Summary;
use crate::target::Target;
use crate::{machine, progress};
use anyhow::{Context as _, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Number of open streams.
pub(crate) const STREAMS: usize = 1000;

/// Number of turns in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// Measurements with open streams, and without.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    pub(crate) streams: usize,
    /// Bytes per second that all streams received.
    pub(crate) bytes_per_second: f64,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// Measures each round without streams and with them, in alternating order. All streams are of all calls, which is the
/// maximum that the service can have to send.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Streams> {
    let load = Load { in_flight: IN_FLIGHT, long_calls: None, pace: None };
    let mut targets = [Target::Service, Target::BesideStreams];
    let (mut bytes, mut seconds, mut runs) = (0, 0.0, Vec::new());
    for round in 0..rounds {
        for target in targets {
            machine::wait_for_quiet(Duration::from_secs(20));
            let server = Server::start(target, place)?;
            let run = if target == Target::BesideStreams {
                let (run, read, took) = beside_streams(server, load, round, measured)?;
                bytes += read;
                seconds += took.as_secs_f64();
                run
            } else {
                load::run_once(server, load, round, measured)?
            };
            progress(&run.line());
            runs.push(run);
        }
        targets.reverse();
    }
    let bytes_per_second = crate::stats::float(bytes) / seconds.max(f64::EPSILON);
    Ok(Streams { streams: STREAMS, bytes_per_second, summary: Summary::from_runs(&runs), runs })
}

fn beside_streams(server: Server, load: Load, round: usize, measured: Duration) -> Result<(Run, u64, Duration)> {
    let mut streams = Readers::connect(server.address())?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let start = Instant::now();
        let readers = scope.spawn(|| streams.read_until(&stop));
        let run = load::run_once(server, load, round, measured);
        stop.store(true, Ordering::Relaxed);
        let read = readers.join().expect("no panic in it")?;
        Ok((run?, read, start.elapsed()))
    })
}

/// Open streams, whose events are read and dropped.
struct Readers {
    poll: Poll,
    connections: Vec<TcpStream>,
}

impl Readers {
    fn connect(address: SocketAddr) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(STREAMS);
        for n in 0..STREAMS {
            let mut connection = std::net::TcpStream::connect(address)?;
            connection.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
            let mut head = [0; 15];
            connection.read_exact(&mut head).context("a stream is answered")?;
            ensure!(&head == b"HTTP/1.1 200 OK", "stream {n} is answered {:?}", String::from_utf8_lossy(&head));
            connection.set_nonblocking(true)?;
            let mut connection = TcpStream::from_std(connection);
            poll.registry().register(&mut connection, Token(n), Interest::READABLE)?;
            connections.push(connection);
        }
        Ok(Self { poll, connections })
    }

    /// Returns the number of received bytes.
    fn read_until(&mut self, stop: &AtomicBool) -> Result<u64> {
        let (mut bytes, mut buffer) = (0, vec![0; 64 * 1024]);
        let mut events = Events::with_capacity(STREAMS);
        while !stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                loop {
                    match self.connections[event.token().0].read(&mut buffer) {
                        // The service stops when the load is over.
                        Ok(0) => break,
                        Ok(n) => bytes += u64::try_from(n)?,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(bytes)
    }
}
