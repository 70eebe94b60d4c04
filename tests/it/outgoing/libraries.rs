//! The receivers of the guide, with the specification's own libraries, accept what is signed and nothing else.

use crate::support::documents::{blocks_in_chapter, root};
use crate::support::receiver::WEBHOOK_SECRET;
use crate::support::service::{Service, wait_for};
use crate::support::tls::free_port;
use crate::support::turns::turn;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Stops the receiver with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the guide's receiver of a language, and checks what it prints.
fn receives(language: &str, command: &mut Command) {
    let program = blocks_in_chapter("openapi/README.md", "Outgoing webhooks", language).remove(0);
    let port = free_port();
    command.arg(program).arg(port.to_string()).env("WEBHOOK_SECRET", WEBHOOK_SECRET).stdout(Stdio::piped());
    let mut receiver =
        Running(command.current_dir(root().join("target/webhooks")).spawn().expect("tests/run has installed it"));
    let out = BufReader::new(receiver.0.stdout.take().unwrap());
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = lines.clone();
    std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| told.lock().unwrap().push(line)));
    wait_for("the receiver to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    let url = format!("http://127.0.0.1:{port}/");
    let flags = ["--webhook-url", &url, "--webhook-secret"];
    let tested = |service: &Service| {
        let id = service.get("/api/v1/webhooks").expect(200).json()["data"][0]["id"].as_str().unwrap().to_owned();
        service.post(&format!("/api/v1/webhooks/{id}/test"), &().into()).expect(200).json()["status"].take()
    };
    let wrong = Service::start_with(&[&flags[..], &[OTHER_SECRET]].concat());
    assert_eq!(tested(&wrong), 401);
    let service = Service::start_with(&[&flags[..], &[WEBHOOK_SECRET]].concat());
    assert_eq!(tested(&service), 204);
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the notice", || {
        let lines = lines.lock().unwrap();
        lines.iter().any(|line| line.starts_with("call.started {") && line.contains("conv_a")).then_some(())
    });
}

#[test]
fn the_receiver_in_python_verifies_notices() {
    receives("python", Command::new(root().join("target/webhooks/bin/python")).arg("-c"));
}

#[test]
fn the_receiver_in_javascript_verifies_notices() {
    receives("js", Command::new("node").args(["--input-type=module", "-e"]));
}
