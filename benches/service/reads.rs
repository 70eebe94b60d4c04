//! Reads, one at a time over one connection.

use crate::client::parse;
use crate::stats::percentile;
use anyhow::{Result, ensure};
use serde::Serialize;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The latency of responses.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Latency {
    pub(crate) fn from_durations(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        Self { p50_us: percentile(&took, 0.5), p99_us: percentile(&took, 0.99) }
    }
}

pub(crate) struct Reader {
    connection: TcpStream,
    answer: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { connection, answer: Vec::new(), buffer: vec![0; 256 * 1024] })
    }

    /// Requests `path`, which must return 200, and returns the latency.
    pub(crate) fn get(&mut self, path: &str) -> Result<Duration> {
        self.send(path, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"))
    }

    /// Posts a JSON body to `path`, which must return 200, and returns the latency.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<Duration> {
        let length = body.len();
        self.send(
            path,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    }

    fn send(&mut self, path: &str, request: &str) -> Result<Duration> {
        self.answer.clear();
        let begun = Instant::now();
        self.connection.write_all(request.as_bytes())?;
        let status = loop {
            let length = self.connection.read(&mut self.buffer)?;
            ensure!(length > 0, "the connection broke at {path}");
            self.answer.extend_from_slice(&self.buffer[..length]);
            if let Some(status) = parse(&self.answer) {
                break status;
            }
        };
        let took = begun.elapsed();
        ensure!(status == 200, "{path} was answered {status}");
        Ok(took)
    }
}
