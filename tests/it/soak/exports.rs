//! Exports while everything else goes on: by the command and by the service, in the two forms that have all turns.

use super::Run;
use crate::support::service::run as run_command;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Exports all calls again and again. Each is whole, and has all that was acknowledged when it was begun.
pub fn export(run: &Run, _: usize) {
    let pause = (run.length / 20).clamp(Duration::from_secs(1), Duration::from_mins(1));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let download = |form: &str| {
        let path = format!("/api/v1/export?format={form}");
        let answer = agent.get(run.service.url(&path)).call().expect("exports are answered");
        assert_eq!(answer.status(), 200, "{path}");
        answer.into_body().into_reader()
    };
    for round in 0.. {
        let before = {
            let ledger = run.ledger.lock().unwrap();
            (ledger.newest, ledger.acknowledged)
        };
        let mut seen = Seen::default();
        match round % 3 {
            0 => {
                let file = run.folder.path().join("calls.jsonl");
                let database = run.service.database().to_str().unwrap();
                let out = run_command(&["export", "--database", database, file.to_str().unwrap()]);
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
                seen.lines(File::open(&file).unwrap());
                std::fs::remove_file(file).unwrap();
            }
            1 => seen.table(download("csv")),
            _ => seen.lines(download("jsonl")),
        }
        assert!(
            seen.newest >= before.0,
            "the export ends at {}, but {} was acknowledged before",
            seen.newest,
            before.0
        );
        assert!(seen.turns >= before.1, "{} of {} turns are in the export", seen.turns, before.1);
        run.tally.exports.fetch_add(1, SeqCst);
        run.pause(pause);
        if !run.goes_on() {
            return;
        }
    }
}

/// The content of an export.
#[derive(Default)]
struct Seen {
    turns: u64,
    newest: i64,
    /// The call that is being read, and its last turn's place.
    call: String,
    place: i64,
}

impl Seen {
    fn lines(&mut self, export: impl Read) {
        for line in BufReader::new(export).lines() {
            let thing: Value = serde_json::from_str(&line.expect("it comes to its end")).expect("each line is whole");
            if thing["type"] != "call" {
                continue;
            }
            let turns = thing["transcriptions"].as_array().expect("a call has turns");
            for turn in turns {
                let number = |field: &str| turn[field].as_i64().expect("a number");
                self.turn(thing["conversation_id"].as_str().unwrap(), number("sequence_number"), number("id"));
            }
            assert_eq!(thing["turn_count"], turns.len());
        }
    }

    fn table(&mut self, export: impl Read) {
        for row in csv::Reader::from_reader(export).into_deserialize() {
            let row: Row = row.expect("each row is whole");
            self.turn(&row.conversation_id, row.sequence_number, row.transcription_id);
        }
    }

    /// Takes the next turn, which is the next one of its call or the first of another.
    fn turn(&mut self, call: &str, sequence_number: i64, id: i64) {
        if self.call != call {
            call.clone_into(&mut self.call);
            self.place = 0;
        }
        self.place += 1;
        assert_eq!(sequence_number, self.place, "a gap in {call}");
        self.turns += 1;
        self.newest = self.newest.max(id);
    }
}

/// The columns of a row that identify its turn.
#[derive(serde::Deserialize)]
struct Row {
    conversation_id: String,
    sequence_number: i64,
    transcription_id: i64,
}
