//! A receiver of outgoing webhooks on loopback: a real HTTP server that keeps a ledger, and answers as it is told.

use serde_json::Value;
use standardwebhooks::Webhook;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The secret of receivers.
pub const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This status, with more lines of the header, each with its line break.
    Status(u16, String),
    /// The connection is closed without a word.
    Close,
    /// Nothing comes for as long as the other side waits.
    Silence,
    /// 200 with a body without an end.
    Endless,
    /// 200 with a header without an end.
    EndlessHeader,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

/// A request that was received.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// True if it was answered 2xx.
    pub accepted: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The type of the notice.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// The call of the notice.
    pub fn call(&self) -> String {
        self.json()["data"]["conversation_id"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless the specification's library accepts the signature of this secret.
    #[track_caller]
    pub fn verify(&self, secret: &str) {
        let mut headers = ureq::http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.header(name).parse().unwrap());
        }
        Webhook::new(secret).unwrap().verify(&self.body, &headers).unwrap();
    }
}

type Answering = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The running receiver; it serves until the test ends.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    ledger: Arc<Mutex<Vec<Request>>>,
    answer: Arc<Mutex<Arc<Answering>>>,
}

impl Receiver {
    /// Answers 204 to everything.
    pub fn start() -> Self {
        Self::answering(|_, _| Reply::status(204))
    }

    /// Answers as the function says, which gets each request and the number of earlier ones with the same id.
    pub fn answering(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver =
            Self { address, ledger: Arc::default(), answer: Arc::new(Mutex::new(Arc::new(answer) as Arc<Answering>)) };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let receiver = serving.clone();
                std::thread::spawn(move || receiver.serve(&stream));
            }
        });
        receiver
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    pub fn url(&self) -> String {
        format!("http://{}/notices?key=hidden_word", self.address)
    }

    /// All requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.ledger.lock().unwrap().clone()
    }

    /// The requests that were answered 2xx so far, each id once.
    pub fn accepted(&self) -> Vec<Request> {
        let mut accepted: Vec<Request> = Vec::new();
        for request in self.requests().into_iter().filter(|request| request.accepted) {
            if !accepted.iter().any(|earlier| earlier.id == request.id) {
                accepted.push(request);
            }
        }
        accepted
    }

    /// The types of the accepted notices of a call, in order.
    pub fn kinds(&self, call: &str) -> Vec<String> {
        self.accepted().iter().filter(|request| request.call() == call).map(Request::kind).collect()
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut out = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                headers.push((name.to_ascii_lowercase(), value.to_owned()));
            }
            let mut request =
                Request { id: String::new(), headers, body: Vec::new(), at: Instant::now(), accepted: false };
            let id = request.header("webhook-id").to_owned();
            request.id = id;
            request.body = vec![0; request.header("content-length").parse().ok()?];
            reader.read_exact(&mut request.body).ok()?;
            let earlier = self.requests().iter().filter(|earlier| earlier.id == request.id).count();
            let answer = self.answer.lock().unwrap().clone();
            let reply = answer(&request, earlier);
            request.accepted = matches!(&reply, Reply::Status(200..=299, _) | Reply::Endless);
            self.ledger.lock().unwrap().push(request);
            match reply {
                Reply::Status(status, more) => {
                    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n{more}\r\n");
                    out.write_all(head.as_bytes()).ok()?;
                }
                Reply::Close => return None,
                Reply::Silence => {
                    std::io::copy(&mut reader, &mut std::io::sink()).ok()?;
                    return None;
                }
                Reply::EndlessHeader => {
                    out.write_all(b"HTTP/1.1 200 x\r\n").ok()?;
                    while out.write_all(b"X-More: and more and more and more\r\n").is_ok() {}
                    return None;
                }
                Reply::Endless => {
                    out.write_all(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
                    let chunk = [&b"1000\r\n"[..], &[b'x'; 0x1000], b"\r\n"].concat();
                    while out.write_all(&chunk).is_ok() {}
                    return None;
                }
            }
        }
    }
}
