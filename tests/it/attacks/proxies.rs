//! Real proxies before the service: whatever they add or leave out, nobody reads or manages through them without a
//! token, and with the configuration of the documents everything works through them.

use crate::support::browser::Page;
use crate::support::documents::block;
use crate::support::openapi::{Sent, filled, operations, send_to};
use crate::support::service::{Service, TURNS, wait_for};
use crate::support::tls::{Pair, Process, free_port};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, POST_CALL, SECRET};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const CALLS: &str = "/api/v1/calls";
const INITIATION: &str = "/webhooks/elevenlabs/initiation";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const WORDS: &str = "words that only a token gives";

/// A proxy's program: the machine's own, or what `tests/run` has fetched.
fn program(name: &str, own: &str) -> Command {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/proxies").join(name);
    if Path::new(own).exists() { Command::new(own) } else { Command::new(fetched) }
}

/// A proxy of its own configuration, which ends with this value.
struct Proxy {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Proxy {
    fn start(port: u16, folder: TempDir, command: &mut Command) -> Self {
        let process = Process::start(command);
        wait_for("the proxy to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, _process: process, _folder: folder }
    }

    /// Debian's nginx with these servers.
    fn nginx(port: u16, folder: TempDir, servers: &str) -> Self {
        let path = folder.path().display();
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places = places.map(|place| format!("{place}_temp_path {path}/{place};")).join(" ");
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{}}\nhttp {{ access_log off; {places}\n{servers}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let error_log = folder.path().join("error.log");
        let mut command = program("nginx", "/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(file).arg("-e").arg(error_log);
        Self::start(port, folder, &mut command)
    }

    /// nginx with one location that passes all to a service.
    fn nginx_before(service: &Service, location: &str, more: &str) -> Self {
        let port = free_port();
        let to = if location == "/" { service.url("") } else { service.url("/") };
        let server = format!("server {{ listen 127.0.0.1:{port}; location {location} {{ proxy_pass {to}; {more} }} }}");
        Self::nginx(port, tempfile::tempdir().unwrap(), &server)
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Passes bytes on in both directions, as `ssh -R`, tunnels and socat do; gives the address where it listens.
fn forward(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(to) else { return };
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    address
}

/// A service as people start it, with a call, a driver and a dispatch.
fn guarded(flags: &[&str]) -> Service {
    let flags = [&["--refusals-per-minute", "0", "--elevenlabs-secret", SECRET], flags].concat();
    let service = Service::start_guarded(&flags);
    let mut stored = turn(CALL, 1);
    stored["message"] = WORDS.into();
    service.deliver(&stored).expect(201);
    let bearer = format!("Bearer {}", service.token());
    for (path, body) in [
        ("/api/v1/drivers/1042", json!({"name": "Maria", "phone_number": "+15550100042"})),
        (&format!("/api/v1/dispatches/{CALL}"), json!({"driver_id": 1042})),
    ] {
        let headers = [JSON, ("Authorization", bearer.as_str())];
        let sent = send_to(&service.url(""), "PUT", path, &headers, body.to_string().as_bytes());
        assert_eq!(sent.status, 201, "{}", sent.text);
    }
    service
}

/// All that is stored, as text.
fn stored(service: &Service) -> String {
    let mut rows = String::new();
    for sql in [
        "SELECT json_array(conversation_id, driver_id, status, turn_count, updated_at) FROM calls",
        "SELECT json_array(id, message_text) FROM call_transcriptions",
        "SELECT json_array(id, name, updated_at) FROM drivers",
        "SELECT json_array(conversation_id, driver_id) FROM call_dispatches",
    ] {
        let connection = service.sqlite();
        let mut statement = connection.prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        found.for_each(|row| rows += &row.unwrap());
    }
    rows
}

/// Asks everything of the document and some more, with bodies that would be taken, and shows nothing.
fn walk_anonymously(service: &Service, what: &str, ask: impl Fn(&str, &str, &[u8]) -> (u16, String)) {
    let before = stored(service);
    assert!(before.contains(WORDS) && before.contains("Maria"), "{before}");
    let mut asked: Vec<_> = operations().into_iter().map(|operation| (operation.method, operation.path)).collect();
    for path in ["/metrics", "/api/v1/calls/", "//api/v1/calls", "/API/v1/calls", "/webhooks/../api/v1/calls", "/none"]
    {
        asked.push(("GET".to_owned(), path.to_owned()));
    }
    let mut private = 0;
    for (method, template) in asked {
        let (status, text) = match (method.as_str(), template.as_str()) {
            (_, "/healthz" | "/readyz" | "/session" | TURNS | POST_CALL | "/webhooks/elevenlabs/history") => continue,
            ("PATCH", path) => ask("PATCH", &filled(path), br#"{"status": "failed"}"#),
            ("PUT", path) if path.contains("drivers") => ask("PUT", &filled(path), br#"{"name": "Mallory"}"#),
            ("PUT", path) => ask("PUT", &filled(path), br#"{"driver_id": 1042}"#),
            // A call waits for the answer, which tells strangers nothing.
            ("POST", INITIATION) => ask("POST", INITIATION, br#"{"caller_id": "+15550100042", "call_sid": "CA1"}"#),
            ("POST", path) => {
                ask("POST", path, br#"{"dispatches": [{"conversation_id": "conv_x", "driver_id": 1042}]}"#)
            }
            (method, path) => ask(method, &filled(path), b""),
        };
        let refused = match template.as_str() {
            INITIATION => 200,
            path if path.starts_with("/webhooks") => 404,
            _ => 401,
        };
        assert_eq!(status, refused, "{what}: {method} {template}: {text}");
        let tells = ["Maria", "driver_1042", WORDS].iter().any(|known| text.contains(known));
        assert!(!tells, "{what}: {method} {template}: {text}");
        private += 1;
    }
    assert!(private > 25, "{private}");
    assert_eq!(stored(service), before, "{what}: nothing was changed or erased");
}

#[test]
fn no_proxy_and_no_tunnel_opens_the_service_to_those_who_show_no_token() {
    let service = guarded(&[]);
    let plain = Proxy::nginx_before(&service, "/", "");
    // As nginx from 1.29.7 does by itself.
    let modern = Proxy::nginx_before(&service, "/", "proxy_http_version 1.1; proxy_set_header Connection \"\";");
    let local = Proxy::nginx_before(&service, "/", "proxy_http_version 1.1; proxy_set_header Host localhost;");
    let tunnel = format!("http://{}", forward(service.address()));
    let bearer = format!("Bearer {}", service.token());
    for (what, base) in [
        ("no proxy", service.url("")),
        ("nginx", plain.base()),
        ("nginx by HTTP/1.1", modern.base()),
        ("nginx with a local Host", local.base()),
        ("a tunnel", tunnel),
    ] {
        walk_anonymously(&service, what, |method, path, body| {
            let sent = send_to(&base, method, path, &[JSON], body);
            (sent.status, sent.text)
        });
        let sent = send_to(&base, "GET", &format!("{CALLS}/{CALL}/transcriptions"), &[("Authorization", &bearer)], b"");
        assert!(sent.status == 200 && sent.text.contains(WORDS), "{what}: {}", sent.text);
    }
    walk_anonymously(&service, "HTTP/1.0", |method, path, body| {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\n").unwrap();
        write!(stream, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer["HTTP/1.0 ".len()..][..3].parse().unwrap(), answer)
    });
}

/// The recording's size, in bytes.
const RECORDING: usize = 40 << 20;

/// Everything that people do, through a proxy that speaks HTTPS.
fn everything_works_through(base: &str, service: &Service, recordings: &Path) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_mins(2)))
        .tls_config(ureq::tls::TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    // It listens before it has a certificate.
    wait_for("the proxy to answer by HTTPS", || agent.get(format!("{base}/healthz")).call().ok());
    let get = |path: &str, headers: &[(&str, &str)]| send_to(base, "GET", path, headers, b"");
    assert_eq!(get(CALLS, &[]).status, 401);
    assert_eq!(get("/", &[]).status, 200);
    // Signing in by cookie, and a change by the page.
    let credentials = json!({"token": service.token()}).to_string();
    let sent: Sent = send_to(base, "POST", "/session", &[JSON], credentials.as_bytes());
    let cookie = sent.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{cookie}");
    let cookie = ("Cookie", cookie.split(';').next().unwrap());
    assert_eq!(get(CALLS, &[cookie]).status, 200);
    let put = |origin: &str| {
        let headers = [JSON, cookie, ("Origin", origin)];
        send_to(base, "PUT", "/api/v1/drivers/7", &headers, br#"{"name": "Jo Brandt"}"#).status
    };
    assert_eq!((put(base), put("https://evil.example")), (201, 401));

    // A stream is not held back: what is said arrives while the stream is open.
    let stream = agent.get(format!("{base}/api/v1/events")).header(cookie.0, cookie.1).call().unwrap();
    let mut lines = BufReader::new(stream.into_body().into_reader()).lines();
    for n in 0..3 {
        let mut said = turn("conv_proxied", n);
        let words = format!("said through a proxy {n}");
        said["message"] = words.as_str().into();
        assert_eq!(send_to(base, "POST", TURNS, &[JSON], said.to_string().as_bytes()).status, 201);
        let heard = lines.find(|line| line.as_ref().unwrap().contains(&words));
        assert!(heard.is_some(), "the stream ended");
    }

    // A recording as long as those of long calls.
    let frame = [&[0xff, 0xfb, 0x90, 0x00][..], &[0; 1020]].concat();
    let audio = STANDARD.encode(frame.repeat(RECORDING / frame.len()));
    let body = json!({"type": "post_call_audio", "event_timestamp": 1_790_596_860,
        "data": {"agent_id": "agent_1", "conversation_id": CALL, "full_audio": audio}})
    .to_string();
    let at = Timestamp::now().unix_micros().div_euclid(1_000_000);
    let signature = sign(&Secret::new(SECRET).unwrap(), at, body.as_bytes());
    let headers = [JSON, ("ElevenLabs-Signature", signature.as_str())];
    let sent = send_to(base, "POST", POST_CALL, &headers, body.as_bytes());
    assert_eq!(sent.status, 200, "{}", sent.text);
    let recording = std::fs::metadata(recordings.join(format!("{CALL}.mp3"))).unwrap();
    assert_eq!(recording.len(), RECORDING as u64);
    let part = get(&format!("{CALLS}/{CALL}/audio"), &[cookie, ("Range", "bytes=0-3")]);
    assert_eq!((part.status, part.header("cache-control")), (206, Some("no-store")));

    assert_eq!(send_to(base, "DELETE", "/session", &[cookie], b"").status, 200);
    assert_eq!(get(CALLS, &[cookie]).status, 401);
    wait_for("the log to name the client's own address", || {
        service.log().iter().any(|line| line.contains("\"client\":\"127.0.0.1\"")).then_some(())
    });
}

#[test]
fn everything_works_through_the_documented_nginx() {
    let audio = tempfile::tempdir().unwrap();
    let service = guarded(&["--audio-dir", audio.path().to_str().unwrap(), "--trusted-proxy", "127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::make(folder.path(), "calls");
    let port = free_port();
    let server = block("openapi/configuration.md", "nginx")
        .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
        .replace("/etc/nginx/calls.pem", pair.certificate.to_str().unwrap())
        .replace("/etc/nginx/calls.key", pair.key.to_str().unwrap())
        .replace("127.0.0.1:8080", &service.address().to_string());
    let proxy = Proxy::nginx(port, folder, &server);
    everything_works_through(&format!("https://localhost:{}", proxy.port), &service, audio.path());
}

#[test]
fn everything_works_through_the_documented_caddy() {
    let audio = tempfile::tempdir().unwrap();
    let service = guarded(&["--audio-dir", audio.path().to_str().unwrap(), "--trusted-proxy", "127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    // For this name it makes a certificate by itself, which is not to be trusted by the whole machine.
    let server = block("README.md", "caddyfile")
        .replace("calls.example.com", &format!("https://localhost:{port}"))
        .replace("127.0.0.1:8080", &service.address().to_string());
    let file = folder.path().join("Caddyfile");
    let options = format!(
        "{{\n admin off\n skip_install_trust\n http_port {}\n https_port {port}\n auto_https disable_redirects\n}}\n",
        free_port()
    );
    std::fs::write(&file, options + &server).unwrap();
    let mut command = program("caddy", "/usr/bin/caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
    let proxy = Proxy::start(port, folder, &mut command);
    everything_works_through(&format!("https://localhost:{}", proxy.port), &service, audio.path());
}

#[test]
fn the_page_works_under_a_path_that_a_proxy_puts_before_it() {
    let service = guarded(&[]);
    let proxy = Proxy::nginx_before(
        &service,
        "/calls/",
        "proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_buffering off;",
    );
    let page = Page::open(&format!("{}/calls/#token={}", proxy.base(), service.token()), json!({}));
    page.step("arrived", json!({"token": service.token(), "path": "/calls/"}));
    page.step("live", json!({}));
    page.step("choose", json!({"name": "Maria"}));
    page.step("heard", json!({"words": [WORDS]}));
}
