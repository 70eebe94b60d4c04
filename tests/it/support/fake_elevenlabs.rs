//! A fake of ElevenLabs' API on loopback: a real HTTP server that pages, refuses, fails and cuts off as it is told.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Secret of each webhook that is created.
pub const CREATED_SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";

pub const KEY: &str = "xi-key-0123456789abcdef";

/// A webhook as ElevenLabs lists it.
fn webhook(id: &str, url: &str) -> Value {
    json!({
        "webhook_id": id, "name": "calls", "webhook_url": url, "is_disabled": false, "is_auto_disabled": false,
        "created_at_unix": 1_790_000_000, "auth_type": "hmac", "usage": [{"usage_type": "ConvAI Settings"}],
        "most_recent_failure_error_code": null, "most_recent_failure_timestamp": null, "retry_enabled": true,
    })
}

/// A workspace as it should be, for a service at this address.
pub fn workspace(public: &str) -> Value {
    json!({
        "webhooks": [webhook("wh_1", &format!("{public}/webhooks/elevenlabs/post-call"))],
        "settings": {
            "webhooks": {
                "post_call_webhook_id": "wh_1", "events": ["transcript", "call_initiation_failure"],
                "transcript_format": "json", "exclude_transcript": false, "send_audio": null,
            },
            "conversation_initiation_client_data_webhook": null, "can_use_mcp_servers": true,
        },
        "agents": [
            {"agent_id": "agent_1", "name": "Dispatch",
                "platform_settings": {"workspace_overrides": {"webhooks": null}}},
            {"agent_id": "agent_2", "name": "Old", "archived": true},
        ],
    })
}

/// A failure of a request in place of its response.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// This status, with `Retry-After` if there is a text for it.
    Status(u16, Option<&'static str>),
    /// The connection is closed without a word.
    Close,
    /// Nothing comes for as long as the other side waits.
    Silence,
    /// The answer is cut off in its middle.
    Cut,
    /// 200 with something else than JSON.
    Garbage,
}

#[derive(Default)]
struct State {
    /// In the order of the list: the newest first.
    conversations: Vec<Value>,
    batches: Vec<Value>,
    page_size: usize,
    /// For the requests whose path contains the text, the next ones first.
    faults: Vec<(String, VecDeque<Fault>)>,
    requests: Vec<String>,
    /// Webhooks, settings and agents, as lists and objects of ElevenLabs.
    workspace: Value,
    /// Requests that change something: method, path and body.
    changes: Vec<(String, String, Value)>,
    /// The header `Date` of each response.
    date: Option<String>,
    /// The secret of webhooks that are created, in place of [`CREATED_SECRET`].
    secret: Option<Value>,
}

/// The running stand-in; it stops serving when the test ends.
#[derive(Clone)]
pub struct FakeElevenLabs {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl FakeElevenLabs {
    /// Serves these conversations, the newest first, in pages of `page_size`.
    pub fn start(conversations: Vec<Value>, page_size: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { conversations, page_size, ..State::default() }));
        let elevenlabs = Self { address, state };
        let serving = elevenlabs.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let elevenlabs = serving.clone();
                std::thread::spawn(move || elevenlabs.serve(&stream.unwrap()));
            }
        });
        elevenlabs
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the next requests whose path contains `path` meet these faults.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.push((path.to_owned(), faults.into_iter().collect()));
    }

    /// Puts a conversation in place of the one of its id, or before all others.
    pub fn put(&self, conversation: Value) {
        let mut state = self.state.lock().unwrap();
        let id = conversation["conversation_id"].clone();
        match state.conversations.iter_mut().find(|there| there["conversation_id"] == id) {
            Some(there) => *there = conversation,
            None => state.conversations.insert(0, conversation),
        }
    }

    pub fn put_batch(&self, batch: Value) {
        self.state.lock().unwrap().batches.push(batch);
    }

    /// Serves these `webhooks`, `settings` and `agents`.
    pub fn put_workspace(&self, workspace: Value) {
        self.state.lock().unwrap().workspace = workspace;
    }

    /// Returns the webhooks, settings and agents as they are now.
    pub fn workspace(&self) -> Value {
        self.state.lock().unwrap().workspace.clone()
    }

    /// Returns the requests that changed something: method, path and body.
    pub fn changes(&self) -> Vec<(String, String, Value)> {
        self.state.lock().unwrap().changes.clone()
    }

    /// Sets the time of each response.
    pub fn set_date(&self, date: &str) {
        self.state.lock().unwrap().date = Some(date.to_owned());
    }

    /// Gives webhooks that are created this secret.
    pub fn set_secret(&self, secret: Value) {
        self.state.lock().unwrap().secret = Some(secret);
    }

    /// The paths that were asked for since this was last called.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Returns the number of requests of a path.
    pub fn seen(&self, path: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|asked| *asked == path).count()
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut lines = reader.by_ref().lines().map_while(Result::ok);
        let request = lines.next()?;
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let (method, path) = request.strip_suffix(" HTTP/1.1")?.split_once(' ')?;
        let (method, path) = (method.to_owned(), path.to_owned());
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut sent = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut sent).ok()?;
        let key = head.iter().find_map(|line| line.strip_prefix("xi-api-key: "));
        let (fault, (status, body)) = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(path.clone());
            let mut waiting = state.faults.iter_mut().filter(|(part, _)| path.contains(&**part));
            let fault = waiting.find_map(|(_, faults)| faults.pop_front());
            let answer = match &*method {
                _ if key != Some(KEY) => (401, json!({"detail": "no"})),
                "GET" => state.answer(&path),
                _ => state.change(&method, &path, &serde_json::from_slice(&sent).unwrap()),
            };
            (fault, answer)
        };
        let date = self.state.lock().unwrap().date.clone();
        let mut body = body.to_string();
        let (mut status, mut more) = (status, String::new());
        match fault {
            Some(Fault::Status(other, wait)) => {
                status = other;
                more = wait.map_or(String::new(), |wait| format!("Retry-After: {wait}\r\n"));
                body = String::from("{}");
            }
            Some(Fault::Garbage) => body = String::from("<html>"),
            Some(Fault::Close) => return None,
            Some(Fault::Silence) => {
                // Ends when the connection does.
                let mut waiting = stream;
                std::io::copy(&mut waiting, &mut std::io::sink()).ok()?;
                return None;
            }
            Some(Fault::Cut) | None => {}
        }
        let length = body.len();
        more.extend(date.map(|date| format!("Date: {date}\r\n")));
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n");
        let sent = if matches!(fault, Some(Fault::Cut)) { &body[..length / 2] } else { &body };
        let mut out = stream;
        out.write_all(head.as_bytes()).ok()?;
        out.write_all(sent.as_bytes()).ok()
    }
}

impl State {
    /// Changes the workspace, as ElevenLabs' API does.
    fn change(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.changes.push((method.to_owned(), path.to_owned(), body.clone()));
        let webhooks = self.workspace["webhooks"].as_array_mut().unwrap();
        match (method, path.strip_prefix("/v1/workspace/webhooks")) {
            ("POST", Some("")) => {
                let id = format!("wh_{}", webhooks.len() + 1);
                let settings = &body["settings"];
                webhooks.push(json!({
                    "webhook_id": id, "name": settings["name"], "webhook_url": settings["webhook_url"],
                    "is_disabled": false, "is_auto_disabled": false, "created_at_unix": 0, "auth_type": "hmac",
                }));
                let secret = self.secret.clone().unwrap_or_else(|| json!(CREATED_SECRET));
                (200, json!({"webhook_id": id, "webhook_secret": secret}))
            }
            ("PATCH", Some(id)) => {
                let found = webhooks.iter_mut().find(|webhook| webhook["webhook_id"] == id[1..]);
                let Some(webhook) = found else { return (404, json!({})) };
                webhook["is_disabled"] = body["is_disabled"].clone();
                webhook["is_auto_disabled"] = json!(false);
                webhook["retry_enabled"] = body["retry_enabled"].clone();
                (200, json!({"status": "ok"}))
            }
            ("PATCH", None) if path == "/v1/convai/settings" => {
                self.workspace["settings"]["webhooks"] = body["webhooks"].clone();
                (200, self.workspace["settings"].clone())
            }
            _ => (404, json!({})),
        }
    }

    fn answer(&self, path: &str) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let found = |found: Option<&Value>| found.map_or((404, json!({"detail": "?"})), |found| (200, found.clone()));
        if path == "/v1/convai/conversations" {
            let since: i64 = parameter("call_start_after_unix").map_or(0, |since| since.parse().unwrap());
            let start = |c: &Value| c["metadata"]["start_time_unix_secs"].as_i64().unwrap_or(i64::MAX);
            let from: usize =
                parameter("cursor").map_or(0, |cursor| cursor.strip_prefix("at%2F").unwrap().parse().unwrap());
            let matching: Vec<_> = self.conversations.iter().filter(|c| start(c) >= since).collect();
            let end = (from + self.page_size).min(matching.len());
            let listed: Vec<_> = matching[from..end]
                .iter()
                .map(|c| {
                    json!({"conversation_id": c["conversation_id"], "status": c["status"],
                    "message_count": c["message_count"]})
                })
                .collect();
            let more = end < matching.len();
            let next = more.then(|| format!("at/{end}"));
            return (200, json!({"conversations": listed, "next_cursor": next, "has_more": more}));
        }
        if let Some(id) = path.strip_prefix("/v1/convai/conversations/") {
            return found(self.conversations.iter().find(|c| c["conversation_id"] == id));
        }
        if let Some(id) = path.strip_prefix("/v1/convai/batch-calling/") {
            return found(self.batches.iter().find(|batch| batch["id"] == id));
        }
        let agents = self.workspace["agents"].as_array().map_or(&[][..], Vec::as_slice);
        if path == "/v1/workspace/webhooks" {
            return (200, json!({"webhooks": self.workspace["webhooks"]}));
        }
        if path == "/v1/convai/settings" {
            return (200, self.workspace["settings"].clone());
        }
        if path == "/v1/convai/agents" {
            let listed = |agent: &Value| {
                json!({"agent_id": agent["agent_id"], "name": agent["name"],
                "archived": agent["archived"]})
            };
            let from: usize = parameter("cursor").map_or(0, |cursor| cursor.parse().unwrap());
            let page: Vec<_> = agents.iter().skip(from).take(1).map(listed).collect();
            let next = (from + 1 < agents.len()).then(|| (from + 1).to_string());
            return (200, json!({"agents": page, "has_more": next.is_some(), "next_cursor": next}));
        }
        if let Some(id) = path.strip_prefix("/v1/convai/agents/") {
            return found(agents.iter().find(|agent| agent["agent_id"] == id));
        }
        (404, json!({}))
    }
}
