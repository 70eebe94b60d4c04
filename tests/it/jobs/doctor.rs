//! `doctor` and the hourly check of ElevenLabs' settings, against a stand-in of ElevenLabs' API.

use crate::support::fake_elevenlabs::{CREATED_SECRET, FakeElevenLabs, Fault, KEY, workspace};
use crate::support::metrics::Scrape;
use crate::support::service::{Service, binary, sdk_python, wait_for};
use crate::support::tls::free_port;
use crate::support::turns::turn;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const SECRET: &str = "wsec_of_the_doctors_service";
const PUBLIC: &str = "https://calls.example.com";

/// A run of `doctor`, with what it needs.
struct Doctor {
    elevenlabs: FakeElevenLabs,
    folder: tempfile::TempDir,
    flags: Vec<String>,
}

impl Doctor {
    fn new(workspace: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
        elevenlabs.put_workspace(workspace);
        Self { elevenlabs, folder, flags: Vec::new() }
    }

    /// With more flags.
    fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    fn secret_file(&self) -> PathBuf {
        self.folder.path().join("wsec.txt")
    }

    /// Runs it, and returns the exit code and the report.
    fn run(&self, flags: &[&str]) -> (Option<i32>, Value) {
        let database = self.folder.path().join("calls.db");
        let out = binary()
            .args(["doctor", "--json", "--elevenlabs-api-key", KEY, "--ingest-token", "ingest_0123456789abcdef"])
            .args(["--elevenlabs-base-url", &self.elevenlabs.url(), "--database"])
            .arg(database)
            .args(&self.flags)
            .args(flags)
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(!said.contains(SECRET) && !said.contains(CREATED_SECRET) && !said.contains(KEY), "{said}");
        (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

/// The checks that found something, with their severities.
fn wrong(report: &Value) -> Vec<(String, String)> {
    let findings = report["findings"].as_array().unwrap();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let wrong = findings.iter().filter(|finding| finding["severity"] != "ok");
    let wrong = wrong.inspect(|finding| assert!(finding["remedy"].is_string(), "{finding}"));
    let wrong = wrong.filter(|finding| finding["severity"] != "skipped");
    wrong.map(|finding| (text(finding, "check"), text(finding, "severity"))).collect()
}

fn severity(report: &Value, check: &str) -> Value {
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {report}"))["severity"].clone()
}

/// A database that nobody else may read.
fn create_database(path: &Path) {
    assert!(binary().args(["migrate", "--create", "--database"]).arg(path).status().unwrap().success());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_workspace_that_is_as_it_should_be_has_no_problems() {
    let doctor = Doctor::new(workspace(PUBLIC)).with(&["--elevenlabs-secret", SECRET]);
    create_database(&doctor.folder.path().join("calls.db"));
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
    assert_eq!(wrong(&report), []);
    assert!(doctor.elevenlabs.changes().is_empty());
    let asked = doctor.elevenlabs.requests();
    assert!(asked.iter().any(|path| path == "/v1/workspace/webhooks?include_usages=true"), "{asked:?}");
    assert!(asked.iter().any(|path| path == "/v1/convai/agents/agent_1"), "{asked:?}");
    assert!(!asked.iter().any(|path| path == "/v1/convai/agents/agent_2"), "an archived agent is not asked for");
}

#[test]
fn each_wrong_setting_is_found_with_its_remedy() {
    let cases: [(&str, Value, &str, &str); 9] = [
        ("/settings/webhooks/post_call_webhook_id", Value::Null, "webhook_missing", "problem"),
        ("/settings/webhooks/post_call_webhook_id", json!("wh_9"), "webhook_missing", "problem"),
        ("/webhooks/0/webhook_url", json!("https://h.example/other"), "webhook_address", "problem"),
        ("/webhooks/0/is_disabled", json!(true), "webhook_disabled", "problem"),
        ("/webhooks/0/is_auto_disabled", json!(true), "webhook_auto_disabled", "problem"),
        ("/webhooks/0/retry_enabled", json!(false), "webhook_retries", "problem"),
        ("/settings/webhooks/events", json!(["call_initiation_failure"]), "webhook_events", "problem"),
        ("/settings/webhooks/transcript_format", json!("opentelemetry"), "webhook_format", "warning"),
        ("/settings/webhooks/exclude_transcript", json!(true), "transcript_excluded", "problem"),
    ];
    let doctor = Doctor::new(workspace(PUBLIC)).with(&["--elevenlabs-secret", SECRET]);
    create_database(&doctor.folder.path().join("calls.db"));
    for (place, value, check, severity) in cases {
        let mut changed = workspace(PUBLIC);
        *changed.pointer_mut(place).unwrap() = value;
        doctor.elevenlabs.put_workspace(changed);
        let (code, report) = doctor.run(&[]);
        assert_eq!(wrong(&report), [(check.to_owned(), severity.to_owned())], "{place}");
        assert_eq!(code, Some(i32::from(severity == "problem")), "{place}");
    }
    let mut failed = workspace(PUBLIC);
    failed["webhooks"][0]["most_recent_failure_error_code"] = json!(401);
    failed["webhooks"][0]["most_recent_failure_timestamp"] =
        json!(transcribe_hook::domain::Timestamp::now().unix_micros() / 1_000_000 - 60);
    doctor.elevenlabs.put_workspace(failed);
    assert_eq!(wrong(&doctor.run(&[]).1), [("webhook_failed".to_owned(), "warning".to_owned())]);
    let mut overridden = workspace(PUBLIC);
    overridden["agents"][0]["platform_settings"]["workspace_overrides"]["webhooks"] =
        json!({"post_call_webhook_id": "wh_gone"});
    doctor.elevenlabs.put_workspace(overridden);
    let (code, report) = doctor.run(&[]);
    assert_eq!(code, Some(1));
    let of_agent = report["findings"].as_array().unwrap().iter().find(|finding| finding["agent_id"] == "agent_1");
    assert_eq!(of_agent.unwrap()["check"], "webhook_missing");
}

#[test]
fn agents_are_read_up_to_a_limit_of_pages() {
    let mut many = workspace(PUBLIC);
    // A page has one agent here.
    let archived = |n| json!({"agent_id": format!("agent_{n}"), "name": "Old", "archived": true});
    many["agents"] = (0..51).map(archived).collect();
    let doctor = Doctor::new(many).with(&["--elevenlabs-secret", SECRET]);
    create_database(&doctor.folder.path().join("calls.db"));
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, wrong(&report)), (Some(0), vec![("agents".to_owned(), "warning".to_owned())]));
    assert!(doctor.elevenlabs.requests().len() < 60);
}

#[test]
fn a_key_that_may_not_read_and_a_clock_that_is_wrong_are_found() {
    let doctor = Doctor::new(workspace(PUBLIC)).with(&["--elevenlabs-secret", SECRET]);
    create_database(&doctor.folder.path().join("calls.db"));
    doctor.elevenlabs.set_date("Mon, 28 Sep 2020 12:00:00 GMT");
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, severity(&report, "clock")), (Some(1), json!("problem")));
    doctor.elevenlabs.fail("/v1/convai/settings", [Fault::Status(401, None)]);
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, severity(&report, "api")), (Some(1), json!("problem")));
}

#[test]
fn what_is_wrong_on_this_machine_is_found() {
    let doctor = Doctor::new(workspace(PUBLIC));
    let (code, report) = doctor.run(&[]);
    // A secret that this command was not given may be given to the service.
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(
        (severity(&report, "signing_secret"), severity(&report, "database")),
        (json!("skipped"), json!("warning"))
    );
    let file = doctor.secret_file();
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    create_database(&doctor.folder.path().join("calls.db"));
    let (code, report) = doctor.run(&["--elevenlabs-secret-file", file.to_str().unwrap()]);
    assert_eq!((code, wrong(&report)), (Some(0), vec![("file_mode".to_owned(), "warning".to_owned())]));
}

#[test]
fn a_missing_webhook_is_created_with_its_secret_in_the_file_and_only_after_yes() {
    let mut empty = workspace(PUBLIC);
    empty["webhooks"] = json!([]);
    empty["settings"]["webhooks"] = json!({"post_call_webhook_id": null, "events": ["audio"]});
    let doctor = Doctor::new(empty.clone());
    create_database(&doctor.folder.path().join("calls.db"));
    let out = binary()
        .args(["doctor", "--fix", "--yes", "--elevenlabs-api-key", KEY, "--public-url", PUBLIC])
        .args(["--elevenlabs-base-url", &doctor.elevenlabs.url()])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "without a file for the secret: {out:?}");
    let file = doctor.secret_file();
    let doctor = doctor.with(&["--elevenlabs-secret-file", file.to_str().unwrap(), "--public-url", PUBLIC, "--fix"]);
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, report["would_fix"].as_array().unwrap().len()), (Some(1), 2), "{report}");
    assert!(doctor.elevenlabs.changes().is_empty() && !file.exists());

    let (_, report) = doctor.run(&["--yes"]);
    assert_eq!((&report["fixed"].as_array().unwrap().len(), &report["would_fix"]), (&2, &json!([])), "{report}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{CREATED_SECRET}\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(severity(&report, "webhook"), "ok");
    let changed = doctor.elevenlabs.workspace();
    assert_eq!(changed["webhooks"][0]["webhook_url"], format!("{PUBLIC}/webhooks/elevenlabs/post-call"));
    assert_eq!(changed["webhooks"][0]["retry_enabled"], true);
    let settings = &changed["settings"]["webhooks"];
    assert_eq!(settings["post_call_webhook_id"], "wh_1");
    assert_eq!(settings["events"], json!(["audio", "transcript", "call_initiation_failure"]));
    // A second run has nothing to do.
    let before = doctor.elevenlabs.changes().len();
    let (_, report) = doctor.run(&["--yes"]);
    assert_eq!((&report["fixed"], doctor.elevenlabs.changes().len()), (&json!([]), before));
}

#[test]
fn a_created_secret_that_is_not_one_word_is_refused_and_never_shown_or_stored() {
    for secret in [
        json!(format!("{CREATED_SECRET}\nwsec_of_somebody_else")),
        json!(format!("{CREATED_SECRET} {CREATED_SECRET}")),
        json!(format!("\u{1b}]0;{CREATED_SECRET}\u{7}")),
        json!(format!("{CREATED_SECRET}\u{e4}")),
        json!(""),
        json!(7),
        Value::Null,
    ] {
        let mut empty = workspace(PUBLIC);
        empty["webhooks"] = json!([]);
        empty["settings"]["webhooks"] = json!({"post_call_webhook_id": null});
        let doctor = Doctor::new(empty);
        doctor.elevenlabs.set_secret(secret.clone());
        let file = doctor.secret_file();
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        let out = binary()
            .args(["doctor", "--fix", "--yes", "--elevenlabs-api-key", KEY, "--public-url", PUBLIC])
            .args(["--elevenlabs-base-url", &doctor.elevenlabs.url(), "--elevenlabs-secret-file"])
            .arg(&file)
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(1), "{secret}: {said}");
        assert!(!said.contains(CREATED_SECRET) && !said.contains('\u{1b}'), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{SECRET}\n"), "{secret}");
        let changes = doctor.elevenlabs.changes();
        assert_eq!(changes.len(), 1, "nothing is chosen whose secret is not known: {changes:?}");
    }
}

#[test]
fn addresses_of_other_systems_and_names_are_shown_without_secrets_and_control_characters() {
    const HIDDEN: &str = "hidden_word";
    // Nothing answers there.
    const UNREACHED: &str = "http://127.0.0.1:1";
    let mut hostile = workspace(PUBLIC);
    hostile["webhooks"][0]["webhook_url"] = json!(format!("https://{HIDDEN}:{HIDDEN}@h.example/{HIDDEN}?k={HIDDEN}"));
    hostile["webhooks"][0]["name"] = json!("\u{1b}]0;calls\u{7}");
    hostile["webhooks"][0]["is_disabled"] = json!(true);
    hostile["settings"]["conversation_initiation_client_data_webhook"] =
        json!({"url": format!("{UNREACHED}/{HIDDEN}"), "request_headers": {}});
    hostile["agents"][0]["name"] = json!("\u{1b}[2JDispatch");
    hostile["agents"][0]["platform_settings"]["workspace_overrides"]["webhooks"] =
        json!({"post_call_webhook_id": "wh_\u{7}"});
    let doctor = Doctor::new(hostile.clone()).with(&["--elevenlabs-secret", SECRET]);
    create_database(&doctor.folder.path().join("calls.db"));
    let said = |report: &Value| -> Vec<String> {
        let texts =
            report["findings"].as_array().unwrap().iter().flat_map(|finding| [&finding["text"], &finding["remedy"]]);
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for flags in [&[][..], &["--fix"], &["--public-url", UNREACHED]] {
        let (code, report) = doctor.run(flags);
        let said = said(&report);
        assert_eq!(code, Some(1));
        let is_public = flags.contains(&UNREACHED);
        assert_eq!(wrong(&report).iter().any(|(check, _)| check == "initiation_address"), is_public, "{report}");
        assert!(said.len() > 4 && said.iter().any(|text| text.contains("https://h.example")), "{said:?}");
        assert!(!said.iter().any(|text| text.contains(HIDDEN) || text.contains(char::is_control)), "{said:?}");
    }
    // What the service logs and serves is no different.
    let service = Service::start_with(&[
        "--elevenlabs-api-key",
        KEY,
        "--elevenlabs-base-url",
        &doctor.elevenlabs.url(),
        "--elevenlabs-secret",
        SECRET,
    ]);
    let checked = wait_for("the check", || {
        let setup = service.get("/api/v1/setup").expect(200).json();
        setup["elevenlabs_check"].is_object().then(|| setup["elevenlabs_check"].clone())
    });
    assert!(!checked.to_string().contains(HIDDEN), "{checked}");
    assert!(!service.log().join("\n").contains(HIDDEN), "{:?}", service.log());
}

#[test]
fn what_answers_at_the_public_address_is_shown_in_part_and_without_control_characters() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = json!({"status": "error", "details": format!("\u{1b}]0;bell\u{7}{}", "x".repeat(20_000))});
            let body = body.to_string();
            let length = body.len();
            let head = format!("HTTP/1.1 503 x\r\nX-Request-Id: 1\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let doctor = Doctor::new(workspace(&public)).with(&["--elevenlabs-secret", SECRET, "--public-url", &public]);
    create_database(&doctor.folder.path().join("calls.db"));
    let (code, report) = doctor.run(&[]);
    assert_eq!((code, severity(&report, "public")), (Some(1), json!("problem")));
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "public").unwrap();
    let text = found["text"].as_str().unwrap();
    assert!(text.contains("xxx") && text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
}

#[test]
fn a_webhook_that_was_switched_off_is_switched_on_and_the_secrets_that_are_there_stay() {
    let mut off = workspace(PUBLIC);
    off["webhooks"][0]["is_auto_disabled"] = json!(true);
    off["webhooks"][0].as_object_mut().unwrap().remove("retry_enabled");
    off["settings"]["webhooks"]["exclude_transcript"] = json!(true);
    let doctor = Doctor::new(off);
    create_database(&doctor.folder.path().join("calls.db"));
    let file = doctor.secret_file();
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, report) = doctor.run(&["--elevenlabs-secret-file", file.to_str().unwrap(), "--fix", "--yes"]);
    assert_eq!((code, wrong(&report)), (Some(0), vec![]), "{report}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{SECRET}\n"));
    let bodies: Vec<_> = doctor.elevenlabs.changes().into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(bodies[0], json!({"is_disabled": false, "name": "calls", "retry_enabled": true}));
    assert_eq!(bodies[1]["webhooks"]["exclude_transcript"], false);
}

#[test]
fn the_stand_in_and_the_changes_are_as_elevenlabs_schema_wants_them() {
    const JUDGE: &str = r"
import json, sys
from elevenlabs.types.workspace_webhook_list_response_model import WorkspaceWebhookListResponseModel
from elevenlabs.types.get_conv_ai_settings_response_model import GetConvAiSettingsResponseModel
from elevenlabs.types.agent_workspace_overrides_input import AgentWorkspaceOverridesInput
from elevenlabs.types.workspace_create_webhook_response_model import WorkspaceCreateWebhookResponseModel
from elevenlabs.types.webhook_hmac_settings import WebhookHmacSettings
from elevenlabs.types.conv_ai_webhooks import ConvAiWebhooks
given = json.load(sys.stdin)
def unknown(model, value):
    return sorted(model.model_validate(value).__pydantic_extra__ or {})
print(json.dumps([
    unknown(WorkspaceWebhookListResponseModel, {'webhooks': given['webhooks']}),
    unknown(GetConvAiSettingsResponseModel, given['settings']),
    unknown(AgentWorkspaceOverridesInput, given['agents'][0]['platform_settings']['workspace_overrides']),
    unknown(WorkspaceCreateWebhookResponseModel, {'webhook_id': 'wh_1', 'webhook_secret': 's'}),
    unknown(WebhookHmacSettings, given['created']),
    unknown(ConvAiWebhooks, given['set']),
]))
";
    let mut given = workspace(PUBLIC);
    let doctor = Doctor::new(json!({"webhooks": [], "settings": {}, "agents": []}));
    let file = doctor.secret_file();
    let flags = ["--elevenlabs-secret-file", file.to_str().unwrap(), "--public-url", PUBLIC, "--fix", "--yes"];
    doctor.run(&flags);
    let changes = doctor.elevenlabs.changes();
    let body_of = |path: &str| changes.iter().find(|(_, changed, _)| changed == path).unwrap().2.clone();
    given["created"] = body_of("/v1/workspace/webhooks")["settings"].clone();
    given["set"] = body_of("/v1/convai/settings")["webhooks"].clone();
    assert_eq!(sdk_python(JUDGE, &given), json!([[], [], [], [], [], []]));
}

/// A proxy before a service, which refuses bodies above a limit as nginx does.
fn proxy(to: SocketAddr, max_body: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || pass_on(stream.unwrap(), to, max_body));
        }
    });
    format!("http://{address}")
}

fn pass_on(mut client: TcpStream, to: SocketAddr, max_body: usize) -> std::io::Result<()> {
    let mut received = Vec::new();
    let mut piece = vec![0; 65536];
    let end = loop {
        let length = client.read(&mut piece)?;
        received.extend_from_slice(&piece[..length]);
        match received.windows(4).position(|part| part == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None if length == 0 => return Ok(()),
            None => {}
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while received.len() < end + length {
        let read = client.read(&mut piece)?;
        received.extend_from_slice(&piece[..read]);
    }
    if length > max_body {
        return client.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut service = TcpStream::connect(to)?;
    service.write_all(&received)?;
    std::io::copy(&mut service, &mut client).map(drop)
}

#[test]
fn a_signed_delivery_a_long_one_and_a_live_stream_are_tried_at_the_public_address() {
    let service = Service::start_guarded(&["--elevenlabs-secret", SECRET]);
    let token = service.token();
    let doctor = |public: &str| {
        let flags = ["--public-url", public, "--api-token", &token, "--elevenlabs-secret"];
        let doctor = Doctor::new(workspace(public)).with(&flags);
        create_database(&doctor.folder.path().join("calls.db"));
        doctor
    };
    let (code, report) = doctor(&service.url("")).run(&[SECRET]);
    assert_eq!((code, wrong(&report)), (Some(0), vec![]), "{report}");
    for check in ["public", "delivery", "body_limit", "stream"] {
        assert_eq!(severity(&report, check), "ok", "{check}");
    }
    assert_eq!(service.events_stored(), 0, "a test delivery is not stored");
    let (_, report) = doctor(&proxy(service.address(), 4 << 20)).run(&[SECRET]);
    assert_eq!(wrong(&report), [], "{report}");
    let (code, report) = doctor(&proxy(service.address(), 1 << 20)).run(&[SECRET]);
    assert_eq!((code, severity(&report, "body_limit")), (Some(1), json!("problem")));
    assert_eq!(severity(&report, "delivery"), "ok");
    let (code, report) = doctor(&service.url("")).run(&["wsec_of_another_webhook"]);
    assert_eq!((code, severity(&report, "delivery")), (Some(1), json!("problem")));
    let (code, report) = doctor(&format!("http://127.0.0.1:{}", free_port())).run(&[SECRET]);
    assert_eq!((code, severity(&report, "public")), (Some(1), json!("problem")));
}

#[test]
fn without_an_api_key_the_rest_is_checked_and_the_key_is_one_finding_with_its_remedy() {
    let service = Service::start_guarded(&["--elevenlabs-secret", SECRET]);
    let (token, url) = (service.token(), service.url(""));
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    create_database(&database);
    let run = |flags: &[&str]| {
        let mut doctor = binary();
        doctor.args(["doctor", "--json", "--ingest-token", "ingest_0123456789abcdef", "--database"]).arg(&database);
        let out = doctor.args(flags).output().unwrap();
        (out.status.code(), serde_json::from_slice::<Value>(&out.stdout).unwrap_or_default())
    };
    let skipped = |report: &Value| {
        let findings = report["findings"].as_array().unwrap().iter();
        let skipped = findings.filter(|finding| finding["severity"] == "skipped").inspect(|finding| {
            assert!(finding["remedy"].as_str().unwrap().contains("--"), "{finding}");
        });
        skipped.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let whole = ["--elevenlabs-secret", SECRET, "--public-url", &url, "--api-token", &token];
    let (code, report) = run(&whole);
    assert_eq!((code, wrong(&report)), (Some(0), vec![]), "{report}");
    assert_eq!((skipped(&report), &report["ok"]), (vec!["api".to_owned()], &json!(true)), "{report}");
    for check in ["signing_secret", "disk", "public", "delivery", "body_limit", "stream"] {
        assert_eq!(severity(&report, check), "ok", "{check}");
    }
    let (code, report) = run(&whole[..2]);
    assert_eq!((code, skipped(&report)), (Some(0), vec!["api".to_owned(), "public".to_owned()]));
    // What is wrong is found, and is the exit code.
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(wrong(&run(&whole).1), [("file_mode".to_owned(), "warning".to_owned())]);
    let (code, report) = run(&["--elevenlabs-secret", "wsec_of_another_webhook", "--public-url", &url]);
    assert_eq!((code, severity(&report, "delivery")), (Some(1), json!("problem")));
    let (code, report) = run(&[]);
    assert_eq!((code, severity(&report, "signing_secret")), (Some(0), json!("skipped")), "without a signing secret");
    assert_eq!(run(&[&whole[..], &["--fix"]].concat()).0, Some(2), "nothing can be mended");
}

#[test]
fn a_service_with_an_api_key_says_what_is_wrong_at_elevenlabs() {
    let mut off = workspace(PUBLIC);
    off["webhooks"][0]["is_auto_disabled"] = json!(true);
    let elevenlabs = FakeElevenLabs::start(Vec::new(), 10);
    elevenlabs.put_workspace(off);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    // Calls that ended long ago and have no record.
    let service = Service::start_on(&database, &[]);
    assert_eq!(service.get("/api/v1/setup").expect(200).json()["elevenlabs_check"], Value::Null);
    for n in 0..3 {
        let id = format!("conv_{n}");
        service.deliver(&turn(&id, 1)).expect(201);
        service.patch(&format!("/api/v1/calls/{id}"), &json!({"status": "completed"})).expect(200);
    }
    service.stop();
    let long_ago = transcribe_hook::domain::Timestamp::now().unix_micros() - 3 * 3600 * 1_000_000;
    let long_ago = transcribe_hook::domain::Timestamp::from_unix_micros(long_ago).unwrap().to_string();
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute("UPDATE calls SET call_start_time = ?1, call_end_time = ?1, updated_at = ?1", [long_ago])
        .unwrap();
    let url = elevenlabs.url();
    let service = Service::start_on(&database, &["--elevenlabs-api-key", KEY, "--elevenlabs-base-url", &url]);
    let checked = wait_for("the check", || {
        let setup = service.get("/api/v1/setup").expect(200).json();
        setup["elevenlabs_check"].is_object().then(|| setup["elevenlabs_check"].clone())
    });
    assert_eq!(
        wrong(&checked),
        [("webhook_auto_disabled", "problem"), ("records_missing", "problem")]
            .map(|(check, severity)| (check.to_owned(), severity.to_owned()))
    );
    assert_eq!(Scrape::take(&service).get::<u64>("elevenlabs_findings{severity=\"problem\"}"), 2);
    let logged = wait_for("the lines", || Some(service.logged("warn", "watch")).filter(|lines| lines.len() >= 2));
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert_eq!(logged[0]["check"], "webhook_auto_disabled");
}
