//! `export` and `GET /api/v1/export`: what leaves is all there, in order, and read by others as it was meant.

use crate::support::database::names_in;
use crate::support::export::{SIGNS, export, exported, rich};
use crate::support::search::indexed;
use crate::support::service::{Service, peak};
use crate::support::turns::turn;
use crate::support::whole_call::{CALL, CUT_OFF, FIRST, IN_FULL, LAST, PARKED};
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Words of a live turn that the record corrects.
const HEARD: &str = "Yeah I am parked in Gary";

/// A database of this, for one test.
fn made() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    rich(&database);
    (folder, database)
}

/// Runs a program of Python's that may use the readers that `tests/run` installs, over an input.
fn python(program: &str, input: &str) -> Value {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/copies/bin/python");
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/run has installed the readers");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{input}");
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The words without the blanks and breaks that forms do not keep.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn transcripts_have_the_order_and_the_words_of_the_record() {
    let (_folder, database) = made();
    let text = exported(&database, &["--format", "text", "--conversation-id", CALL]);
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is not in {text}"));
    assert!(
        text.starts_with(&format!("Call {CALL}\nDriver: Maria Kowalski (1042)\nStart: 2026-09-28T12:00:0")),
        "{text}"
    );
    assert!(at(FIRST) < at(PARKED) && at(PARKED) < at(LAST), "{text}");
    assert!(!text.contains(HEARD), "the record's words count: {text}");
    assert!(text.contains(CUT_OFF) || text.contains(IN_FULL), "{text}");
    assert_eq!(text.matches(LAST).count(), 1, "what another one stands for is left out: {text}");
    let all = exported(&database, &["--format", "text"]);
    assert_eq!(all.matches("\nDriver: ").count(), 2, "both calls");
    assert!(all.contains("\n[00:00:04] Driver: 00:00:01.000 --> "), "{all}");
    for line in all.lines().filter(|line| !line.is_empty()) {
        let layout = ["Call ", "Driver: ", "Start: ", "End: ", "Status: ", "[", "    "];
        assert!(layout.iter().any(|start| line.starts_with(start)), "{line:?} could be taken for layout");
    }
}

#[test]
fn a_reader_of_webvtt_finds_every_word_at_its_time() {
    let (_folder, database) = made();
    let file = exported(&database, &["--format", "vtt", "--conversation-id", "conv_signs"]);
    let program = "import sys, io, json, html, webvtt\n\
                   captions = webvtt.from_buffer(io.StringIO(sys.stdin.read()))\n\
                   print(json.dumps([[c.start, c.end, c.voice, html.unescape(c.text)] for c in captions]))";
    let cues = python(program, &file);
    let cues = cues.as_array().unwrap();
    // The order is by time, as no record says another one.
    let order = [0, 1, 2, 4, 3, 5, 6, 7, 8];
    assert_eq!(cues.len(), SIGNS.len(), "{file}");
    let mut last = String::new();
    for (cue, at) in cues.iter().zip(order) {
        let [start, end, voice, text] = [0, 1, 2, 3].map(|n| cue[n].as_str().unwrap_or_default());
        assert_eq!(plain(text), plain(SIGNS[at]), "{file}");
        assert_eq!(voice, if at % 2 == 0 { "Agent" } else { "Driver" });
        assert!(start < end && start >= last.as_str(), "{start} {end} after {last}");
        last = start.to_owned();
    }
    assert_eq!(cues[1][0], "00:00:04.000");
    assert!(file.starts_with("WEBVTT\n\n1\n00:00:00.000 --> 00:00:04.000\n<v Agent>a &lt; b &amp;&amp; "), "{file}");
    assert_eq!(file.matches("-->").count(), SIGNS.len(), "no words are taken for times");
}

#[test]
fn a_reader_of_subrip_finds_every_word_at_its_time() {
    let (_folder, database) = made();
    let file = exported(&database, &["--format", "srt", "--conversation-id", "conv_signs"]);
    let program = "import sys, json, srt\n\
                   print(json.dumps([[s.index, s.start.total_seconds(), s.end.total_seconds(), s.content] \
                   for s in srt.parse(sys.stdin.read())]))";
    let cues = python(program, &file);
    let cues = cues.as_array().unwrap();
    assert_eq!(cues.len(), SIGNS.len(), "{file}");
    for (n, (cue, at)) in cues.iter().zip([0, 1, 2, 4, 3, 5, 6, 7, 8]).enumerate() {
        assert_eq!(cue[0], n + 1);
        assert!(cue[1].as_f64().unwrap() < cue[2].as_f64().unwrap(), "{cue}");
        let speaker = if at % 2 == 0 { "Agent" } else { "Driver" };
        let words = plain(&SIGNS[at].replace("-->", "→"));
        assert_eq!(plain(cue[3].as_str().unwrap()), format!("{speaker}: {words}"), "{file}");
    }
}

#[test]
fn a_reader_of_markdown_finds_words_and_no_layout_in_them() {
    let (_folder, database) = made();
    let file = exported(&database, &["--format", "markdown", "--conversation-id", "conv_signs"]);
    let program = "import sys, json\n\
                   from markdown_it import MarkdownIt\n\
                   html = MarkdownIt('commonmark').enable(['table', 'strikethrough']).render(sys.stdin.read())\n\
                   from html.parser import HTMLParser\n\
                   class P(HTMLParser):\n\
                   \x20def __init__(self): super().__init__(); self.tags = []; self.texts = []\n\
                   \x20def handle_starttag(self, tag, attrs): self.tags.append(tag); self.texts += [''] if tag == 'p' \
                   else []\n\
                   \x20def handle_data(self, data):\n\
                   \x20\x20if self.texts: self.texts[-1] += data\n\
                   p = P(); p.feed(html); print(json.dumps({'tags': p.tags, 'texts': p.texts}))";
    let read = python(program, &file);
    let mut tags: Vec<_> = read["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags, ["br", "h2", "li", "p", "strong", "ul"], "{file}");
    let texts: Vec<_> = read["texts"].as_array().unwrap().iter().map(|text| plain(text.as_str().unwrap())).collect();
    assert_eq!(texts.len(), SIGNS.len(), "{file}");
    for (text, at) in texts.iter().zip([0, 1, 2, 4, 3, 5, 6, 7, 8]) {
        assert!(text.ends_with(&plain(SIGNS[at])), "{text:?} for {:?}", SIGNS[at]);
    }
}

#[test]
fn a_reader_of_csv_finds_each_turn_as_it_is_stored() {
    let (_folder, database) = made();
    let file = exported(&database, &["--format", "csv"]);
    let program = "import sys, io, csv, json\n\
                   sys.stdin.reconfigure(newline='')\n\
                   print(json.dumps(list(csv.DictReader(io.StringIO(sys.stdin.read(), newline='')))))";
    let rows = python(program, &file);
    let rows = rows.as_array().unwrap();
    let count: usize = crate::support::service::open(&database)
        .query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows.len(), count);
    let signs: Vec<_> = rows.iter().filter(|row| row["conversation_id"] == "conv_signs").collect();
    for (row, text) in signs.iter().zip(SIGNS) {
        assert_eq!(row["message_text"], text, "nothing is rewritten");
        assert_eq!(row["driver_name"], "=Jo \"J\" <Brandt>, Sr.");
    }
    assert_eq!(signs.len(), SIGNS.len());
    let corrected: Vec<_> = rows.iter().filter(|row| row["final_text"] != "").collect();
    assert!(corrected.iter().any(|row| row["final_text"] == PARKED), "{corrected:?}");
}

#[test]
fn a_byte_order_mark_begins_a_csv_file_for_who_asks_for_it() {
    let (folder, database) = made();
    let without = exported(&database, &["--format", "csv"]);
    assert_eq!(exported(&database, &["--format", "csv", "--bom"]), format!("\u{feff}{without}"));
    let file = folder.path().join("calls.csv");
    assert!(export(&database, &["--bom", file.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("\u{feff}{without}"));
    assert!(!export(&database, &["--format", "jsonl", "--bom"]).status.success());
}

#[test]
fn filters_are_those_of_the_list_of_calls_and_the_api_exports_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    rich(&database);
    let service = Service::start_on(&database, &[]);
    for (flags, query, calls) in [
        (&["--status", "completed"][..], "status=completed", 1),
        (&["--driver-id", "7"], "driver_id=7", 1),
        (&["--started-after", "2026-09-28T12:30:00Z"], "started_after=2026-09-28T12:30:00Z", 1),
        (&["--started-before", "2026-09-28T12:30:00Z"], "started_before=2026-09-28T12:30:00Z", 1),
        (&["--q", "no heading"], "q=no%20heading", 1),
        (&["--conversation-id", CALL], "conversation_id=conv_1901kaj4pr1penza6bbkscg6hgkc", 1),
        (&["--q", "nobody said that"], "q=nobody%20said%20that", 0),
        (&[], "", 2),
    ] {
        for format in ["jsonl", "csv", "text", "markdown"] {
            let by_command = exported(&database, &[&["--format", format][..], flags].concat());
            let answer =
                service.get(format!("/api/v1/export?format={format}&{query}").trim_end_matches('&')).expect(200);
            assert_eq!(answer.text, by_command, "{query} {format}");
            if format == "text" {
                assert_eq!(by_command.matches("\nStatus: ").count(), calls, "{query}");
            }
        }
    }
    let answer = service.get(&format!("/api/v1/export?format=vtt&conversation_id={CALL}")).expect(200);
    assert_eq!(answer.header("content-type"), Some("text/vtt; charset=utf-8"));
    assert_eq!(answer.header("content-disposition"), Some(&*format!("attachment; filename=\"{CALL}.vtt\"")));
    service.get("/api/v1/export?format=srt&conversation_id=conv_9").expect_error(404);
    let mut errors = Wording::default();
    for (query, field) in [
        ("format=vtt", "conversation_id"),
        ("format=pdf", "format"),
        ("format=csv&limit=5", "limit"),
        ("format=csv&driver_id=0", "driver_id"),
    ] {
        let error = service.get(&format!("/api/v1/export?{query}")).expect_error(400);
        let details = error["details"].as_str().unwrap();
        assert!(details.starts_with(&format!("{field}: ")), "{query}: {error}");
        errors.add(query, details);
    }
    assert_snapshot!("errors", errors);
}

#[test]
fn a_file_is_whole_or_not_there_and_none_is_overwritten() {
    let (folder, database) = made();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let file = out.join("calls.jsonl");
    let name = file.to_str().unwrap();
    let done = export(&database, &[name]);
    assert!(done.status.success(), "{done:?}");
    let mut said = Wording::default();
    said.hide(out.display(), "[folder]");
    said.hide(database.display(), "[database]");
    said.add_without_numbers("whole", &String::from_utf8_lossy(&done.stdout));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported(&database, &["--format", "jsonl"]));
    assert_eq!(names_in(&out), ["calls.jsonl"]);
    let again = export(&database, &[name]);
    assert_eq!(again.status.code(), Some(1));
    said.add("its file exists", &String::from_utf8_lossy(&again.stderr));
    assert_snapshot!("command", said);
    let full = Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_transcribe-hook"), "export"])
        .arg(out.join("other.csv"))
        .arg("--database")
        .arg(&database)
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    assert_eq!(names_in(&out), ["calls.jsonl"]);
    for (args, code, said) in [
        (&["--format", "srt"][..], 2, "--conversation-id"),
        (&["-"], 2, "--format"),
        (&["--format", "text", "--conversation-id", "conv_9"], 1, "conv_9"),
    ] {
        let out = export(&database, args);
        assert_eq!(out.status.code(), Some(code), "{args:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(said), "{args:?}: {out:?}");
    }
    let missing = export(&folder.path().join("missing.db"), &["--format", "csv"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(!folder.path().join("missing.db").exists(), "nothing is made");
}

#[test]
fn an_export_takes_no_more_memory_for_a_long_database_and_holds_nobody_up() {
    let service = Service::start();
    for n in 0..20 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    let ask = |format: &str| service.get(&format!("/api/v1/export?format={format}")).expect(200).text.len();
    for format in ["jsonl", "csv", "text"] {
        ask(format);
    }
    // One call of many turns, and many calls of one; as if their words were indexed, which takes memory of its own.
    indexed(&service);
    let index = rusqlite::Connection::open(format!("{}.search", service.database().display())).unwrap();
    index.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    let connection = rusqlite::Connection::open(service.database()).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = OFF; BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO calls (conversation_id, call_start_time, turn_count, created_at, updated_at)
             SELECT 'conv_' || i, '2026-09-28T12:00:00.000000Z', iif(i = 1, 10000, 1), '2026-09-28T12:00:00.000000Z',
                '2026-09-28T12:00:00.000000Z' FROM n;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11999)
             INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number,
                created_at, repeat_key)
             SELECT 'conv_' || max(1, i - 9999), 'agent', hex(randomblob(900)), '2026-09-28T12:00:00.000000Z',
                iif(i <= 10000, i, 1), '2026-09-28T12:00:00.000000Z', 0 FROM n;
             COMMIT;",
        )
        .unwrap();
    let last = "UPDATE turn_search_state SET to_id = 12019, to_created_at = '2026-09-28T12:00:00.000000Z'; COMMIT";
    index.execute_batch(last).unwrap();
    let before = peak(service.pid());
    for format in ["jsonl", "csv", "text"] {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(format));
            // Only some, since they take memory of their own, and an export takes long on a busy machine.
            for n in 100..150 {
                service.deliver(&turn("conv_a", n)).expect(201);
            }
            assert!(asking.join().unwrap() > 21_000_000, "{format}");
        });
    }
    let grown = peak(service.pid()) - before;
    println!("{grown} KiB more");
    assert!(grown < 20 * 1024, "{grown} KiB more, which is as much as is exported");
}
