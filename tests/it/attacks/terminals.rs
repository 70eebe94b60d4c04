//! Words of callers do nothing to a terminal, and reach files and pipes unchanged.

use crate::support::service::run;
use crate::support::turns::turn;
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use transcribe_hook::elevenlabs::turn::parse_turn;
use transcribe_hook::store::Write;

const WORDS: &str =
    "\u{1b}]0;owned\u{7} caf\u{e9} \u{9b}31m \u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{7f}\u{8}\ttab";
const ID: &str = "conv_\u{1b}[2J_\u{202e}id";

/// Runs the built program with a terminal as its three streams, and gives what the terminal got.
fn in_terminal(args: &[&str]) -> String {
    let mut pty = pty(args);
    let out = pty.stderr(Stdio::inherit()).output().unwrap();
    String::from_utf8(out.stdout).unwrap().replace("\r\n", "\n")
}

/// Python's `pty`, which runs a program in a terminal of its own and copies what comes of it.
fn pty(args: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)", env!("CARGO_BIN_EXE_transcribe-hook")])
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn assert_harmless(shown: &str) {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.contains(obeyed), "{shown:?}");
}

fn with_words(folder: &Path) -> PathBuf {
    let database = folder.join("calls.db");
    let store = crate::support::export::store(&database);
    let body = json!({"conversation_id": ID, "speaker": "user", "message": WORDS, "timestamp": "2026-09-28T12:00:00Z"});
    crate::support::whole_call::apply(
        &store,
        &Write::AppendTurn(parse_turn(body.to_string().as_bytes(), None).unwrap()),
    );
    database
}

#[test]
fn what_commands_print_of_calls_is_harmless_to_a_terminal_and_whole_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let database = with_words(folder.path());
    let file = database.to_str().unwrap();
    for format in ["jsonl", "csv", "text", "markdown"] {
        let args = ["export", "--format", format, "--database", file];
        let shown = in_terminal(&args);
        assert!(shown.contains("café") && shown.contains('\u{fffd}'), "{shown:?}");
        assert_harmless(&shown);
        let piped = String::from_utf8(run(&args).stdout).unwrap();
        assert!(piped.contains('\u{202e}') && piped.contains('\u{9b}'), "{piped:?}");
        assert!(piped.contains('\u{1b}') || format == "jsonl", "{piped:?}");
    }
    for json in [&["--json"][..], &[]] {
        let shown = in_terminal(&[&["search", "café", "--database", file], json].concat());
        assert!(shown.contains("café"), "{shown:?}");
        assert_harmless(&shown);
    }
    // Problems, and errors, that name a call.
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute_batch("UPDATE calls SET turn_count = 7").unwrap();
    drop(connection);
    let shown = in_terminal(&["check", "--database", file]);
    assert!(shown.contains("turn_count"), "{shown:?}");
    assert_harmless(&shown);
    let bad = folder.path().join("bad.jsonl");
    std::fs::write(&bad, json!({"type": "driver", "\u{1b}]0;owned\u{7}\u{202e}": 1}).to_string() + "\n").unwrap();
    let shown = in_terminal(&["import", "calls", bad.to_str().unwrap(), "--database", file]);
    assert!(shown.contains("line 1: ") && shown.contains("owned"), "{shown:?}");
    assert_harmless(&shown);
    let drivers = folder.path().join("drivers.csv");
    std::fs::write(&drivers, "id,name,\u{1b}]0;owned\u{7}\u{202e}\n0,x,y\n").unwrap();
    assert_harmless(&in_terminal(&["import", "drivers", drivers.to_str().unwrap(), "--database", file]));
}

#[test]
fn log_lines_in_a_terminal_are_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let args = ["serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--database", database.to_str().unwrap()];
    let mut child = pty(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = |line: String| {
        let at = line.find("http://")? + "http://".len();
        line[at..].split(['/', ',', ' ', '"']).next().map(|address| format!("http://{address}"))
    };
    let url = lines.find_map(address).unwrap();
    let mut said = turn(ID, 1);
    said["message"] = json!(WORDS);
    ureq::post(format!("{url}/webhooks/elevenlabs/transcription")).send_json(&said).unwrap();
    let told = lines.find(|line| line.contains("conv_")).unwrap();
    assert_harmless(told.trim_end_matches('\r'));
    // The terminal goes, and with it the service.
    child.kill().unwrap();
    child.wait().unwrap();
}
