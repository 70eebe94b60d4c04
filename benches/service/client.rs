//! The load client: one thread, one epoll, and on each of many connections one request at a time.
//!
//! It must cost little, because it shares the cores with the service: requests are ready-made, it reads only the status
//! and the length of a response, and it allocates nothing for a request.

use crate::workload::Script;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An answer, or a connection that broke before there was one.
pub(crate) struct Answer {
    /// 0 when the connection broke.
    pub(crate) status: u16,
    /// Time from before the request was written until after the response was read.
    pub(crate) took: Duration,
    pub(crate) at: Instant,
}

impl Answer {
    /// Returns whether the turn was stored. The service returns 201 then; one of its peers returns 200.
    pub(crate) fn is_stored(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

struct Connection {
    stream: TcpStream,
    sent_at: Instant,
    /// The part of a request that the system has not accepted yet.
    unsent: Vec<u8>,
    /// First part of a response.
    unread: Vec<u8>,
    waiting: bool,
}

pub(crate) struct Client {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    script: Script,
    buffer: Vec<u8>,
}

impl Client {
    /// Opens the connections.
    pub(crate) fn connect(address: SocketAddr, connections: usize, script: Script) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connections =
            (0..connections).map(|n| Connection::open(address, &poll, Token(n))).collect::<io::Result<_>>()?;
        Ok(Self { address, poll, events: Events::with_capacity(1024), connections, script, buffer: vec![0; 16 * 1024] })
    }

    /// Sends the next request on each idle connection.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        for n in 0..self.connections.len() {
            if !self.connections[n].waiting {
                self.connections[n].send(self.script.next(n), Instant::now())?;
            }
        }
        Ok(())
    }

    /// Returns the number of outstanding responses.
    pub(crate) fn waiting(&self) -> usize {
        self.connections.iter().filter(|connection| connection.waiting).count()
    }

    /// Waits up to `timeout` for responses, and receives those that are there. Sends the next request on the connection
    /// of a response if `on_answer` returns true.
    pub(crate) fn receive(&mut self, timeout: Duration, mut on_answer: impl FnMut(&Answer) -> bool) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let Token(n) = event.token();
            let connection = &mut self.connections[n];
            if event.is_writable() {
                connection.send_rest()?;
            }
            if !event.is_readable() || !connection.waiting {
                continue;
            }
            let Some(status) = connection.receive(&mut self.buffer) else { continue };
            let now = Instant::now();
            let answer = Answer { status, took: now - connection.sent_at, at: now };
            connection.waiting = false;
            if status == 0 {
                *connection = Connection::open(self.address, &self.poll, Token(n))?;
            }
            if on_answer(&answer) {
                connection.send(self.script.next(n), now)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn open(address: SocketAddr, poll: &Poll, token: Token) -> io::Result<Self> {
        // The connect blocks, so a refusal is an error here and not an event.
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, sent_at: Instant::now(), unsent: Vec::new(), unread: Vec::new(), waiting: false })
    }

    fn send(&mut self, request: &[u8], now: Instant) -> io::Result<()> {
        self.sent_at = now;
        self.waiting = true;
        let sent = match self.stream.write(request) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // Reading the response will find that the connection is broken.
            Err(error) if is_broken(&error) => request.len(),
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&request[sent..]);
        Ok(())
    }

    fn send_rest(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if is_broken(&error) => self.unsent.clear(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the status once the response is complete, or 0 if the connection broke.
    ///
    /// Events report only changes, so this reads until the response is complete or nothing is left. Nothing follows a
    /// complete response before the next request is sent, so no further read is needed then.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<u16> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Some(0),
                Ok(length) if self.unread.is_empty() => match parse(&buffer[..length]) {
                    Some(status) => return Some(status),
                    None => self.unread.extend_from_slice(&buffer[..length]),
                },
                Ok(length) => {
                    self.unread.extend_from_slice(&buffer[..length]);
                    if let Some(status) = parse(&self.unread) {
                        self.unread.clear();
                        return Some(status);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(0),
            }
        }
    }
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Returns the status of a complete response.
pub(crate) fn parse(answer: &[u8]) -> Option<u16> {
    const LENGTH: &[u8] = b"content-length:";
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    let length: usize = answer[..head]
        .split(|&byte| byte == b'\n')
        .find(|line| line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH))
        .and_then(|line| std::str::from_utf8(&line[LENGTH.len()..]).ok()?.trim().parse().ok())
        .expect("servers under test say how long their answers are");
    (answer.len() >= head + length).then_some(status)
}
