//! A client of server-sent events, as a browser is one, that can be cut anywhere.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: String,
    pub event: String,
    pub data: Value,
}

impl Event {
    /// The place that its id names: turn and change.
    pub fn place(&self) -> (i64, i64) {
        let mut numbers = self.id.split('-').map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

/// The next item of a stream.
#[derive(Debug)]
pub enum Step {
    Event(Event),
    /// The stream says that it is there.
    Heartbeat,
    /// The stream ended or broke off.
    End,
}

/// An open stream. Dropping it cuts the connection.
pub struct Events {
    lines: std::io::Lines<BufReader<ureq::BodyReader<'static>>>,
    pub headers: ureq::http::HeaderMap,
    /// Number of received comments.
    pub comments: usize,
}

impl Events {
    /// Opens a stream, which must begin.
    pub fn open(address: SocketAddr, path: &str, last_event_id: Option<&str>) -> Self {
        Self::try_open(address, path, last_event_id).unwrap_or_else(|status| panic!("{path} answers {status:?}"))
    }

    /// Opens a stream, or gives the status that is answered instead; none when nobody answers.
    pub fn try_open(address: SocketAddr, path: &str, last_event_id: Option<&str>) -> Result<Self, Option<u16>> {
        let headers: Vec<_> = last_event_id.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        Self::open_with(address, path, &headers)
    }

    /// Opens a stream with these headers, or returns the status that is answered instead; none when nobody answers.
    pub fn open_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, Option<u16>> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(3)))
            .build()
            .into();
        let mut request = agent.get(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.call().map_err(|_| None)?;
        if answer.status().as_u16() != 200 {
            return Err(Some(answer.status().as_u16()));
        }
        let headers = answer.headers().clone();
        let lines = BufReader::with_capacity(256, answer.into_body().into_reader()).lines();
        Ok(Self { lines, headers, comments: 0 })
    }

    /// The next event; `None` when the stream ends or breaks off.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            match self.step() {
                Step::Event(event) => return Some(event),
                Step::Heartbeat => {}
                Step::End => return None,
            }
        }
    }

    /// Reads up to whatever comes next.
    pub fn step(&mut self) -> Step {
        let mut event = Event { id: String::new(), event: String::new(), data: Value::Null };
        loop {
            let Some(Ok(line)) = self.lines.next() else { return Step::End };
            match line.split_once(": ") {
                Some(("id", id)) => id.clone_into(&mut event.id),
                Some(("event", name)) => name.clone_into(&mut event.event),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("the data is JSON"),
                Some(("retry", time)) => assert_eq!(time, "3000"),
                _ if line == ":" => {
                    self.comments += 1;
                    return Step::Heartbeat;
                }
                _ if line.is_empty() && !event.event.is_empty() => return Step::Event(event),
                _ => assert_eq!(line, "", "is no line of an event"),
            }
        }
    }

    /// The next so many events.
    pub fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|n| self.next().unwrap_or_else(|| panic!("the stream ended after {n} events"))).collect()
    }

    /// All events up to the end of the stream.
    pub fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Returns short names of some events.
pub fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}
