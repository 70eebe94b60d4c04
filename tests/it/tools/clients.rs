//! Clients that others' generators make of the document do real work: a turn, a call, a list page by page, a search, an
//! error. And the linters and the fuzzer that people hold such documents against find nothing.

use crate::support::service::{Service, wait_for};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own for what a generator makes.
fn folder(name: &str) -> PathBuf {
    let folder = root().join("target/clients").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A tool for Node that `tests/run` installs.
fn node_tool(name: &str) -> Command {
    Command::new(root().join("target/document-tools/node_modules/.bin").join(name))
}

/// A tool for Python that `tests/run` installs.
fn python_tool(name: &str) -> Command {
    Command::new(root().join("target/document-tools/python/bin").join(name))
}

/// Runs a command that must succeed, and gives what it prints.
#[track_caller]
fn output(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}:\n{text}\n{errors}");
    text.into_owned()
}

fn document() -> PathBuf {
    root().join("openapi/transcribe-hook.json")
}

/// Runs a client's program, and checks its output.
#[track_caller]
fn does_its_work(name: &str, program: &mut Command) {
    let service = Service::start_with(&["--api-token", TOKEN]);
    let did: Value = serde_json::from_str(&output(program.arg(service.url("")).arg(TOKEN))).unwrap();
    let call = |n: u8| format!("conv_{name}_{n}");
    assert_eq!(
        did,
        json!({
            "sequence_numbers": [1, 1, 1, 2, 2, 2],
            "calls": [call(0), call(1), call(2)],
            "status": "in_progress",
            "driver_id": null,
            "turns": ["The reefer reads 0 degrees.", "The reefer reads 3 degrees."],
            "hits": 2,
            "error": "error",
        })
    );
}

#[test]
fn a_client_of_openapi_python_client_does_its_work() {
    let client = folder("python");
    let mut generate = python_tool("openapi-python-client");
    generate.args(["generate", "--meta", "none", "--overwrite", "--path"]).arg(document());
    let said = output(generate.arg("--output-path").arg(client.join("transcribe_hook_client")));
    // Recordings and copies of the database are no JSON; nothing else may be left out.
    for warning in said.split("WARNING").skip(1) {
        assert!(
            ["audio/mpeg", "application/vnd.sqlite3"].iter().any(|kind| warning.contains(kind)),
            "left out of the client: {warning}"
        );
    }
    let mut program = python_tool("python");
    does_its_work("python", program.env("PYTHONPATH", &client).arg(root().join("tests/clients/python/work.py")));
}

#[test]
fn a_client_of_openapi_typescript_and_openapi_fetch_does_its_work() {
    let client = folder("typescript");
    for file in ["work.ts", "tsconfig.json"] {
        std::fs::copy(root().join("tests/clients/typescript").join(file), client.join(file)).unwrap();
    }
    std::fs::write(client.join("package.json"), "{\"type\":\"module\"}").unwrap();
    let modules = client.join("node_modules");
    if modules.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(root().join("target/document-tools/node_modules"), modules).unwrap();
    }
    output(node_tool("openapi-typescript").arg(document()).arg("--output").arg(client.join("schema.d.ts")));
    output(node_tool("tsc").arg("--project").arg(&client));
    does_its_work("typescript", Command::new("node").arg(client.join("work.js")));
}

#[test]
fn a_client_of_progenitor_does_its_work() {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--manifest-path"]).arg(root().join("tests/clients/rust/Cargo.toml"));
    output(build.env("CARGO_TARGET_DIR", folder("rust")));
    does_its_work("rust", &mut Command::new(folder("rust").join("debug/progenitor-client-test")));
}

#[test]
fn linters_find_no_error_in_the_document() {
    output(node_tool("redocly").args(["lint", "--extends", "recommended"]).arg(document()));
    let rules = folder("spectral").join("rules.json");
    std::fs::write(&rules, r#"{"extends": ["spectral:oas"]}"#).unwrap();
    output(node_tool("spectral").args(["lint", "--ruleset"]).arg(rules).arg(document()));
}

/// Holds the service to its document by requests made of it: those that keep to it, those that do not, with and without
/// credentials, in sequences that create, read, delete and read again. `SCHEMATHESIS_EXAMPLES` asks for more of each.
#[test]
fn the_service_is_as_its_document_says() {
    let service = Service::start_with(&["--api-token", TOKEN, "--refusals-per-minute", "0"]);
    wait_for("the service to be ready", || (service.get("/readyz").status == 200).then_some(()));
    let examples = std::env::var("SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "5".to_owned());
    let hooks = root().join("tests/schemathesis");
    let mut run = python_tool("schemathesis");
    run.current_dir(folder("schemathesis")).env("PYTHONPATH", &hooks).env("TOKEN", TOKEN);
    run.arg("--config-file").arg(hooks.join("schemathesis.toml")).arg("run").arg(service.url("/openapi.json"));
    run.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--checks", "all", "--continue-on-failure"]);
    output(run.args(["--max-examples", &examples, "--request-timeout", "30", "--seed", "1", "--no-color"]));
}
