//! Commands and a proxy that the environment names.

use crate::support::fake_elevenlabs::{FakeElevenLabs, KEY};
use crate::support::receiver::{Receiver, WEBHOOK_SECRET};
use crate::support::service::{Service, binary, wait_for};
use crate::support::turns::turn;
use serde_json::json;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;

/// A proxy that answers nothing, and lets programs use it.
struct SilentProxy(TcpListener);

impl SilentProxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn set(&self, command: &mut Command) {
        let url = format!("http://{}", self.0.local_addr().unwrap());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, &url);
        }
    }

    /// Returns what it was asked for, if it was.
    fn asked(&self) -> Option<String> {
        let (mut stream, _) = self.0.accept().ok()?;
        let mut request = [0; 200];
        let length = stream.read(&mut request).unwrap_or(0);
        Some(String::from_utf8_lossy(&request[..length]).into_owned())
    }
}

#[test]
fn a_service_on_this_machine_is_asked_without_the_proxy_which_would_see_the_token() {
    let service = Service::start_guarded(&[]);
    let proxy = SilentProxy::start();
    let database = service.database().to_str().unwrap();
    for command in [&["healthcheck"][..], &["webhook", "list", "--database", database]] {
        let mut run = binary();
        proxy.set(&mut run);
        let out = run.args(command).args(["--url", &service.url("")]).output().unwrap();
        assert!(out.status.success(), "{command:?}: {out:?}");
        assert_eq!(proxy.asked(), None, "{command:?}");
    }
}

#[test]
fn notices_and_requests_to_elevenlabs_api_on_this_machine_pass_by_the_proxy() {
    let (proxy, receiver) = (SilentProxy::start(), Receiver::start());
    let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
    elevenlabs.put_workspace(json!({"webhooks": [], "settings": {}, "agents": []}));
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    proxy.set(&mut command);
    let (url, base_url) = (receiver.url(), elevenlabs.url());
    let flags = ["--webhook-url", &url, "--webhook-secret", WEBHOOK_SECRET, "--elevenlabs-api-key", KEY];
    let flags = [&flags[..], &["--elevenlabs-base-url", &base_url]].concat();
    let service = Service::start_command(command, &folder.path().join("calls.db"), &flags);
    service.deliver(&turn("conv_a", 1)).expect(201);
    wait_for("the notice", || receiver.accepted().pop());
    let checked = || service.get("/api/v1/setup").expect(200).json()["elevenlabs_check"]["findings"].take();
    let findings = wait_for("the check", || Some(checked()).filter(serde_json::Value::is_array));
    assert_eq!(findings[0]["check"], "webhook_missing", "the settings were read");
    let id = service.get("/api/v1/webhooks").expect(200).json()["data"][0]["id"].as_str().unwrap().to_owned();
    let tested = service.post(&format!("/api/v1/webhooks/{id}/test"), &json!({})).expect(200).json();
    assert_eq!(tested["delivered"], true, "{tested}");
    assert_eq!(proxy.asked(), None);
}
