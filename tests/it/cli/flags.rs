//! The command line: defaults, variables, and what is said when something is wrong.

use crate::support::service::{Service, binary, run};
use crate::support::wording::Wording;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Output;

fn serve(flags: &[&str], database: &Path) -> Output {
    binary().args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(database).args(flags).output().unwrap()
}

/// The one line that says why, without a panic in it.
fn why(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!text.contains("panic"), "{text}");
    text.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("no reason in {text}")).to_owned()
}

#[test]
fn serve_without_a_flag_listens_on_8080_of_loopback_and_keeps_its_file_here() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
    assert!(help.contains("[default: ./transcribe-hook.db]"), "{help}");
}

#[test]
fn a_variable_sets_what_a_flag_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("by-variable.db");
    let mut command = binary();
    command.env("TRANSCRIBE_HOOK_MAX_BODY", "1KiB").env("TRANSCRIBE_HOOK_DATABASE", &other);
    let service = Service::start_command(command, &folder.path().join("by-flag.db"), &[]);
    assert!(service.database().exists() && !other.exists(), "a flag goes before a variable");
    service.deliver(&json!({"message": "m".repeat(2000)})).expect_error(413);
}

#[test]
fn wrong_usage_exits_with_2_and_names_the_flag() {
    let cases: [(&[&str], &str); 10] = [
        (&["serve", "--listen", "9090"], "127.0.0.1:9090"),
        (&["serve", "--metrics-listen", "localhost:9100"], "127.0.0.1:9100"),
        (&["serve", "--listen", "x"], "--listen"),
        (&["serve", "--listen", "localhost"], "--listen"),
        (&["serve", "--queue-capacity", "0"], "--queue-capacity"),
        (&["serve", "--write-timeout", "soon"], "--write-timeout"),
        (&["serve", "--max-body", "12 parsecs"], "--max-body"),
        (&["serve", "--log-format", "xml"], "--log-format"),
        (&["serve", "--log-level", "loud"], "--log-level"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (args, named) in cases {
        let out = run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(named), "{args:?}: {out:?}");
    }
}

#[test]
fn renamed_flags_values_and_variables_have_their_former_names_too() {
    let service = Service::start();
    service.put("/api/v1/drivers/7", &json!({"name": "Jo"})).expect(201);
    service.put("/api/v1/dispatches/conv_a", &json!({"driver_id": 7})).expect(201);
    for (speaker, n) in [("agent", 1), ("user", 2), ("user", 3)] {
        let mut turn = crate::support::turns::turn("conv_a", n);
        turn["speaker"] = json!(speaker);
        turn["message"] = json!(format!("reefer {n}"));
        service.deliver(&turn).expect(201);
    }
    let output = |args: &[&str], variable: Option<(&str, &str)>| -> Value {
        let mut command = binary();
        command.args(args).arg("--json").arg("--database").arg(service.database()).envs(variable);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{args:?} {variable:?}: {out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let search = |more: &[&str], variable| {
        let found = output(&[&["search", "reefer"], more].concat(), variable);
        let rows = found["data"].as_array().unwrap().iter();
        rows.map(|row| row["sequence_number"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(search(&["--order", "desc"], None), [3, 2, 1]);
    assert_eq!(search(&["--order", "newest"], None), [3, 2, 1]);
    assert_eq!(search(&["--order", "desc", "--speaker-type", "driver"], None), [3, 2]);
    assert_eq!(search(&["--order", "desc", "--speaker", "driver"], None), [3, 2]);
    for variable in ["TRANSCRIBE_HOOK_SPEAKER_TYPE", "TRANSCRIBE_HOOK_SPEAKER"] {
        assert_eq!(search(&[], Some((variable, "agent"))), [1], "{variable}");
    }
    assert_eq!(search(&["--order", "desc", "--has-driver", "true"], None), [3, 2, 1]);
    assert_eq!(search(&["--has-driver", "false"], None), [0; 0]);
    // A date is a time of flags as of queries.
    assert_eq!(search(&["--started-before", "2000-01-01"], None), [0; 0]);
    for (name, value, calls, drivers) in [("CONVERSATION", "conv_a", 1, 0), ("DRIVER", "7", 1, 1)] {
        let flag = format!("--{}", name.to_lowercase());
        for flag in [flag.clone(), format!("{flag}-id")] {
            let counts = output(&["erase", "--dry-run", &flag, value], None);
            assert_eq!((&counts["calls"], &counts["drivers"]), (&json!(calls), &json!(drivers)), "{flag}");
        }
        for variable in [format!("TRANSCRIBE_HOOK_{name}"), format!("TRANSCRIBE_HOOK_{name}_ID")] {
            let counts = output(&["erase", "--dry-run"], Some((&variable, value)));
            assert_eq!((&counts["calls"], &counts["drivers"]), (&json!(calls), &json!(drivers)), "{variable}");
        }
    }
    // The help shows one name.
    for (command, name) in
        [("erase", "--conversation "), ("erase", "--driver "), ("search", "--speaker "), ("backfill", "--batch ")]
    {
        let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
        assert!(!help.contains(name), "{help}");
    }
}

#[test]
fn a_taken_port_is_said_and_the_database_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let out = binary().args(["serve", "--listen", &address, "--database"]).arg(&database).output().unwrap();
    let why = why(&out);
    assert!(why.contains(&address), "{why}");
    assert!(!database.exists());
}

#[test]
fn a_missing_folder_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let why = why(&serve(&[], &folder.path().join("nowhere/calls.db")));
    assert!(why.contains("nowhere/calls.db"), "{why}");
}

#[test]
fn a_file_that_is_no_database_is_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("notes.db");
    for content in [b"short".to_vec(), b"not a database ".repeat(400), vec![0; 8192]] {
        std::fs::write(&database, &content).unwrap();
        let why = why(&serve(&[], &database));
        assert!(why.contains("notes.db"), "{why}");
        assert_eq!(std::fs::read(&database).unwrap(), content);
    }
}

#[test]
fn another_programs_database_is_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("tables.db", "CREATE TABLE recipes (id INTEGER PRIMARY KEY)"),
        ("marked.db", "PRAGMA application_id = 7; CREATE TABLE recipes (id INTEGER PRIMARY KEY)"),
        ("ours.db", "CREATE TABLE calls (id INTEGER PRIMARY KEY)"),
    ] {
        let database = folder.path().join(name);
        rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
        let before = std::fs::read(&database).unwrap();
        let why = why(&serve(&[], &database));
        assert!(why.contains(name), "{why}");
        assert_eq!(std::fs::read(&database).unwrap(), before);
        assert!(!database.with_extension("db-wal").exists());
    }
}

#[test]
fn a_log_without_its_database_is_not_taken_for_a_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let service = Service::start_on(&database, &[]);
    service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    service.signal("KILL");
    service.wait();
    let elsewhere = folder.path().join("elsewhere.db");
    std::fs::rename(&database, &elsewhere).unwrap();
    let log = database.with_extension("db-wal");
    let before = std::fs::read(&log).unwrap();
    assert!(!before.is_empty());
    let why = why(&serve(&[], &database));
    assert!(why.contains("calls.db-wal"), "{why}");
    assert!(!database.exists());
    assert_eq!(std::fs::read(&log).unwrap(), before);
    // Put back, it is whole.
    std::fs::rename(&elsewhere, &database).unwrap();
    let service = Service::start_on(&database, &[]);
    let again = service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[test]
fn a_database_newer_than_the_program_is_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).status().unwrap().success());
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let before = std::fs::read(&database).unwrap();
    let why = why(&serve(&[], &database));
    assert!(why.contains("calls.db") && why.contains("999"), "{why}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

/// The number of the user `nobody`, who may write nothing here.
const NOBODY: u32 = 65_534;

#[test]
fn a_read_only_file_or_folder_is_said_and_left_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).status().unwrap().success());
    let before = std::fs::read(&database).unwrap();
    let serve_as_nobody = || {
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database"]).arg(&database);
        // Root may write everything, so a test that runs as root steps down.
        if nobody_is_needed() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().unwrap()
    };
    // The lock file may be written, the database not.
    if nobody_is_needed() {
        std::os::unix::fs::chown(folder.path().join("calls.db.lock"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o444)).unwrap();
    let said = why(&serve_as_nobody());
    assert!(said.contains("calls.db"), "{said}");
    // Nothing in the folder may be written.
    std::fs::remove_file(folder.path().join("calls.db.lock")).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    let said = why(&serve_as_nobody());
    assert!(said.contains("calls.db"), "{said}");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

/// Returns true if this process may write regardless of the file mode, as root may.
fn nobody_is_needed() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(probe.path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::File::options().write(true).open(probe.path()).is_ok()
}

#[test]
fn an_export_to_standard_output_or_to_another_extension_asks_for_the_format() {
    for out in [&[][..], &["-"], &["calls.pdf"], &["calls"]] {
        let told = binary().arg("export").args(out).output().unwrap();
        assert_eq!(told.status.code(), Some(2), "{told:?}");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("--format") && told.contains("calls-csv"), "{told}");
        // A dash is no file name.
        assert!(!told.contains(" - "), "{told}");
    }
}

#[test]
fn a_second_service_on_the_same_file_is_refused_by_any_of_its_names() {
    let service = Service::start();
    service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    let link = service.database().with_file_name("link.db");
    std::os::unix::fs::symlink(service.database(), &link).unwrap();
    for name in [service.database(), &link] {
        let why = why(&serve(&[], name));
        assert!(why.contains(&service.pid().to_string()), "{why}");
    }
    service.deliver(&crate::support::turns::turn("conv_a", 2)).expect(201);
}

#[test]
fn each_reason_not_to_start_names_the_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let service = Service::start_on(&at("calls.db"), &[]);
    std::fs::write(at("notes.db"), "short").unwrap();
    rusqlite::Connection::open(at("recipes.db")).unwrap().execute_batch("CREATE TABLE recipes (id)").unwrap();
    std::fs::write(at("lost.db-wal"), "turns").unwrap();
    assert!(binary().args(["migrate", "--create", "--database"]).arg(at("newer.db")).status().unwrap().success());
    let newer = "PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE)";
    rusqlite::Connection::open(at("newer.db")).unwrap().execute_batch(newer).unwrap();
    std::fs::create_dir(at("folder.db")).unwrap();
    let mut reasons = Wording::default();
    reasons.hide(folder.path().display(), "[folder]");
    for name in ["nowhere/calls.db", "notes.db", "recipes.db", "lost.db", "newer.db", "folder.db", "calls.db"] {
        reasons.add_without_numbers(name, &why(&serve(&[], &at(name))));
    }
    let address = service.address().to_string();
    reasons.hide(&address, "[address]");
    let taken = binary().args(["serve", "--listen", &address, "--database"]).arg(at("new.db")).output().unwrap();
    reasons.add_without_numbers("an address that is taken", &why(&taken));
    assert_snapshot!("reasons", reasons);
}

/// Returns the commands that a command's help lists.
fn commands_below(path: &[String]) -> Vec<Vec<String>> {
    let args: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = String::from_utf8(run(&args).stdout).unwrap();
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let below = names.filter(|name| !name.is_empty() && *name != "help");
    below.map(|name| [path, &[name.to_owned()]].concat()).collect()
}

#[test]
fn the_help_of_each_command_is_as_recorded() {
    let mut help = Wording::default();
    let mut commands = vec![vec![]];
    while let Some(path) = commands.pop() {
        commands.extend(commands_below(&path));
        // What `serve -h` says of flags is in the reference, where another test compares it.
        if path != ["serve"] {
            let args: Vec<_> = path.iter().map(String::as_str).chain(["-h"]).collect();
            help.add(args.join(" "), &String::from_utf8(run(&args).stdout).unwrap());
        }
    }
    assert_snapshot!("help", help);
}

#[test]
fn migrate_makes_a_database_and_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    for _ in 0..2 {
        let out = binary().args(["migrate", "--create", "--database"]).arg(&database).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    assert!(database.exists() && !database.with_extension("db-wal").exists());
}

#[test]
fn a_misspelled_path_makes_no_database_unless_a_command_says_that_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("misspelled.db");
    let commands: [&[&str]; 9] = [
        &["migrate"],
        &["search", "words"],
        &["check"],
        &["replay"],
        &["backup", "copy.db"],
        &["export", "--format", "csv"],
        &["erase", "--driver", "7", "--yes"],
        &["prune", "--older-than", "9d", "--yes"],
        &["restore", "copy.db", "--yes"],
    ];
    for args in commands {
        let out = binary().args(args).arg("--database").arg(&missing).current_dir(&folder).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {out:?}");
        assert!(!missing.exists(), "{args:?}");
    }
    let csv = folder.path().join("drivers.csv");
    std::fs::write(&csv, "id,name\n7,Jo Brandt\n").unwrap();
    let import = || binary().args(["import", "drivers"]).arg(&csv).arg("--database").arg(&missing).output().unwrap();
    let said = |out: &Output| String::from_utf8_lossy(&out.stderr).contains("misspelled.db");
    let (first, second) = (import(), import());
    assert!(first.status.success() && said(&first), "{first:?}");
    assert!(second.status.success() && !said(&second), "{second:?}");
}
