//! `import`: drivers and dispatches from CSV and JSON lines, all or nothing, beside a running service or without one.

use crate::support::service::{Service, binary, open};
use crate::support::turns::turn;
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

fn import(what: &str, database: &Path, file: &Path, flags: &[&str]) -> Output {
    binary().args(["import", what]).arg(file).arg("--database").arg(database).args(flags).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn database(&self) -> std::path::PathBuf {
        self.0.path().join("calls.db")
    }

    /// Returns what a command says, without the path of the database.
    fn said(&self, text: &str) -> String {
        text.replace(&self.database().display().to_string(), "[database]")
    }

    fn count(&self, table: &str) -> i64 {
        open(&self.database()).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

const DRIVERS_CSV: &str =
    "\u{FEFF}id,name,phone_number,depot\r\n1042,\"Kowalski, Maria\",+15550100042,Joliet\r\n7, Jo ,,\r\n";

fn counts(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn csv_and_json_lines_give_the_same_drivers_and_again_nothing_changes() {
    let csv = Folder::new();
    let json_lines = Folder::new();
    let file = csv.file("drivers.csv", DRIVERS_CSV);
    let out = import("drivers", &csv.database(), &file, &[]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_snapshot!("counts", text(&out.stdout));
    let again = import("drivers", &csv.database(), &file, &["--json"]);
    assert_eq!(counts(&again), json!({"created": 0, "updated": 0, "unchanged": 2, "bad": 0}));

    let lines = "{\"id\":1042,\"name\":\"Kowalski, \
        Maria\",\"phone_number\":\"+15550100042\"}\n\n{\"id\":\"7\",\"name\":\"Jo\"}";
    let file = json_lines.file("drivers.jsonl", lines);
    assert!(import("drivers", &json_lines.database(), &file, &[]).status.success());
    let rows = |folder: &Folder| -> Vec<(i64, String, Option<String>)> {
        let connection = open(&folder.database());
        let mut select = connection.prepare("SELECT id, name, phone_number FROM drivers ORDER BY id").unwrap();
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(
        rows(&csv),
        [(7, "Jo".to_owned(), None), (1042, "Kowalski, Maria".to_owned(), Some("+15550100042".to_owned()))]
    );
    assert_eq!(rows(&csv), rows(&json_lines));
}

#[test]
fn tables_are_read_as_spreadsheets_of_all_countries_save_them() {
    let table = |separator: &str| "id,name,phone_number\r\n7,Zo\u{EB} M\u{FC}ller,\r\nx,,\r\n".replace(',', separator);
    let little = |text: &str| -> Vec<u8> {
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    let big = |text: &str| -> Vec<u8> {
        [0xFE, 0xFF].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect()
    };
    for (name, content, bad_line) in [
        ("drivers.tsv", table("\t").into_bytes(), 3),
        ("unicode.csv", little(&table("\t")), 3),
        ("big.csv", big(&table(",")), 3),
        ("named.csv", format!("sep=|\r\n{}", table("|")).into_bytes(), 4),
        ("quoted.csv", format!("\u{FEFF}\"sep=;\"\n{}", table(";")).into_bytes(), 4),
    ] {
        let folder = Folder::new();
        let file = folder.0.path().join(name);
        std::fs::write(&file, content).unwrap();
        let out = import("drivers", &folder.database(), &file, &["--skip-bad", "--json"]);
        assert_eq!(counts(&out)["created"], 1, "{name}: {out:?}");
        assert!(text(&out.stderr).contains(&format!("line {bad_line}:")), "{name}: {}", text(&out.stderr));
        let stored: String =
            open(&folder.database()).query_row("SELECT name FROM drivers", [], |row| row.get(0)).unwrap();
        assert_eq!(stored, "Zo\u{EB} M\u{FC}ller", "{name}");
    }
    let folder = Folder::new();
    let file = folder.0.path().join("cut.csv");
    std::fs::write(&file, &little(&table(","))[..21]).unwrap();
    let out = import("drivers", &folder.database(), &file, &[]);
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("UTF-16"), "{out:?}");
}

#[test]
fn a_bad_row_is_reported_with_line_and_field_and_nothing_is_stored() {
    let folder = Folder::new();
    let file = folder.file(
        "drivers.csv",
        "id,name,phone_number\n1,Ann,+15550100001\n\nx,Ben,\n3,,+1555\n\n1,Cy,\n4,Di,+15550100001\n5,Ed,+15550100005,extra\n",
    );
    let out = import("drivers", &folder.database(), &file, &[]);
    assert_eq!(out.status.code(), Some(1));
    let mut errors = Wording::default();
    errors.add("all or none", &folder.said(text(&out.stderr)));
    for line in ["line 4: id: ", "line 5: name: ", "line 7: id: ", "line 9: "] {
        assert!(text(&out.stderr).lines().any(|error| error.starts_with(line)), "{line:?}: {out:?}");
    }
    assert_eq!(folder.count("drivers"), 0);
    // With the good rows stored, the row whose number is another's is found too.
    let out = import("drivers", &folder.database(), &file, &["--skip-bad", "--json"]);
    assert!(out.status.success());
    assert!(text(&out.stderr).lines().any(|error| error.starts_with("line 8: phone_number: ")), "{out:?}");
    errors.add("--skip-bad", &folder.said(text(&out.stderr)));
    assert_snapshot!("bad_rows", errors);
    assert_eq!(counts(&out), json!({"created": 1, "updated": 0, "unchanged": 0, "bad": 5}));
    assert_eq!(folder.count("drivers"), 1);
}

#[test]
fn bad_lines_of_json_are_reported_with_their_line() {
    let folder = Folder::new();
    let mut content =
        b"{\"id\":1,\"name\":\"Ann\"}\n{\"id\":2\n[]\n{\"id\":true,\"name\":\"B\"}\n{\"id\":5,\"name\":\"\xff\"}\n"
            .to_vec();
    content.extend(b"{\"id\":6,\"name\":null}\n");
    let file = folder.file("drivers.ndjson", content);
    let out = import("drivers", &folder.database(), &file, &[]);
    assert_eq!(out.status.code(), Some(1));
    let errors = text(&out.stderr);
    for line in ["line 2: ", "line 3: ", "line 4: id: ", "line 5: ", "line 6: name: "] {
        assert!(errors.lines().any(|error| error.starts_with(line)), "{line:?} is not in {errors}");
    }
    assert_snapshot!("bad_lines_of_json", folder.said(errors));
    assert_eq!(folder.count("drivers"), 0);
}

#[test]
fn dispatches_need_their_drivers_and_are_stored_all_or_none() {
    let folder = Folder::new();
    let drivers = folder.file("drivers.csv", DRIVERS_CSV);
    let dispatches = folder.file(
        "dispatches.csv",
        "conversation_id,driver_id,phone_number,batch_id,dispatched_at\n\
         conv_a,1042,+15550100042,btcal_1,2026-09-28T11:59:40Z\nconv_b,1043,,,\nconv_c,7,,,2026-09-28 12:00\n",
    );
    assert!(import("drivers", &folder.database(), &drivers, &[]).status.success());
    let out = import("dispatches", &folder.database(), &dispatches, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).lines().any(|error| error.starts_with("line 3: driver_id: ")), "{out:?}");
    assert_eq!(folder.count("call_dispatches"), 0);
    let out = import("dispatches", &folder.database(), &dispatches, &["--skip-bad", "--json"]);
    assert_eq!(counts(&out), json!({"created": 2, "updated": 0, "unchanged": 0, "bad": 1}));
    let service = Service::start_on(&folder.database(), &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["driver_id"], 1042);
    let dispatch = service.get("/api/v1/dispatches/conv_c").expect(200).json();
    assert_eq!(dispatch["dispatched_at"], "2026-09-28T12:00:00.000000Z");
}

#[test]
fn an_import_beside_the_running_service_reaches_its_next_answer() {
    let folder = Folder::new();
    let service = Service::start_on(&folder.database(), &[]);
    service.deliver(&turn("conv_a", 1)).expect(201);
    let drivers = folder.file("drivers.csv", DRIVERS_CSV);
    let dispatches = folder.file("dispatches.csv", "conversation_id,driver_id\nconv_a,1042\nconv_b,7\n");
    assert!(import("drivers", &folder.database(), &drivers, &[]).status.success());
    assert!(import("dispatches", &folder.database(), &dispatches, &[]).status.success());
    assert_eq!(service.get("/api/v1/calls/conv_a").expect(200).json()["driver_id"], 1042);
    service.deliver(&turn("conv_b", 1)).expect(201);
    assert_eq!(service.get("/api/v1/calls/conv_b").expect(200).json()["driver_id"], 7);
    assert_eq!(service.deliver(&turn("conv_a", 2)).expect(201).json()["sequence_number"], 2);
}

#[test]
fn numbers_may_change_hands_within_one_file() {
    let folder = Folder::new();
    let before = folder.file("a.csv", "id,name,phone_number\n1,Ann,+15550100001\n2,Ben,+15550100002\n");
    let after = folder.file("b.csv", "id,name,phone_number\n1,Ann,+15550100002\n2,Ben,+15550100001\n");
    assert!(import("drivers", &folder.database(), &before, &[]).status.success());
    let out = import("drivers", &folder.database(), &after, &["--json"]);
    assert_eq!(counts(&out), json!({"created": 0, "updated": 2, "unchanged": 0, "bad": 0}), "{out:?}");
}

#[test]
fn standard_input_needs_a_format_and_a_missing_file_is_named() {
    let folder = Folder::new();
    let stdin = |flags: &[&str]| {
        let mut child = binary()
            .args(["import", "drivers", "-", "--database"])
            .arg(folder.database())
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command may have ended before it read anything.
        let _ = child.stdin.take().unwrap().write_all(b"id,name\n1,Ann\n");
        child.wait_with_output().unwrap()
    };
    let out = stdin(&[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("--format"), "{}", text(&out.stderr));
    let read = counts(&stdin(&["--format", "csv", "--json"]));
    assert_eq!(read, json!({"created": 1, "updated": 0, "unchanged": 0, "bad": 0}));
    let out = import("drivers", &folder.database(), Path::new("/nowhere/drivers.csv"), &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("/nowhere/drivers.csv"), "{}", text(&out.stderr));
}

#[test]
fn a_column_that_stands_twice_is_refused() {
    let folder = Folder::new();
    let file = folder.file("drivers.csv", "id,name,name\n1,Ann,Anna\n");
    let out = import("drivers", &folder.database(), &file, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("\"name\""), "{}", text(&out.stderr));
}

#[test]
fn files_as_spreadsheets_of_other_countries_write_them_are_read() {
    for separator in [";", "\t", ","] {
        let folder = Folder::new();
        let content =
            format!("\u{feff}id{separator}name{separator}phone_number\r\n7{separator}\"Jo, K; L\"{separator}\r\n");
        let out = import("drivers", &folder.database(), &folder.file("drivers.csv", content), &[]);
        assert!(out.status.success(), "{separator:?}: {}", text(&out.stderr));
        assert_eq!(folder.count("drivers"), 1, "{separator:?}");
    }
}

#[test]
fn names_of_columns_are_read_as_people_write_them() {
    let folder = Folder::new();
    let file = folder.file("drivers.csv", "ID;Name;Phone Number\n7;Jo Brandt;+15550100042\n");
    let out = import("drivers", &folder.database(), &file, &[]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    let driver = connection.query_row("SELECT id, name, phone_number FROM drivers", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    });
    assert_eq!(driver.unwrap(), (7, "Jo Brandt".to_owned(), "+15550100042".to_owned()));
}

#[test]
fn a_file_with_other_columns_is_refused_by_those_found_and_those_wanted() {
    let folder = Folder::new();
    for (kind, content, named) in [
        ("drivers", "Driver No,Full name\n7,Jo\n", ["Driver No", "Full name", "id", "name", "phone_number"].as_slice()),
        ("drivers", "id;Full name\n7;Jo\n", &["id", "Full name", "phone_number"]),
        ("drivers", "", &["id", "name", "phone_number"]),
        ("dispatches", "conversation,driver_id\nconv_a,7\n", &["conversation", "conversation_id", "dispatched_at"]),
    ] {
        let out = import(kind, &folder.database(), &folder.file("file.csv", content), &[]);
        assert_eq!(out.status.code(), Some(1));
        let errors = text(&out.stderr);
        assert!(errors.contains("line 1") && named.iter().all(|name| errors.contains(name)), "{errors}");
    }
}
