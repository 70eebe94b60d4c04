//! The configuration: which mistakes end the program for good, how variables are read, and what a start says.

use crate::support::process::said;
use crate::support::receiver::WEBHOOK_SECRET;
use crate::support::service::{Service, binary, wait_for};
use crate::support::tls::free_port;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";

/// `serve` in a folder of its own, which must end by itself.
fn serve(folder: &tempfile::TempDir) -> Command {
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder);
    command
}

#[test]
fn a_mistake_of_configuration_exits_with_2_so_that_the_unit_does_not_restart_it_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("taken"), "").unwrap();
    let cases: [(&[&str], &str); 12] = [
        (&["--elevenlabs-secret", "sk_0123456789abcdef"], "--elevenlabs-secret"),
        (&["--elevenlabs-secret-file", "nowhere.txt"], "nowhere.txt"),
        (&["--ingest-token", "short"], "--ingest-token"),
        (&["--api-token-file", "taken"], "--api-token-file"),
        (&["--no-token", "--api-token", "api_0123456789abcdef"], "--no-token"),
        (&["--retention", "1d", "--stale-after", "2d"], "--stale-after"),
        (&["--backfill-every", "15m"], "--elevenlabs-api-key"),
        (&["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key"], "nowhere.pem"),
        (&["--audio-dir", "taken/recordings"], "--audio-dir"),
        (&["--backup-every", "24h", "--backup-dir", "taken/backups"], "taken/backups"),
        (&["--metrics-listen", "9100"], "--metrics-listen"),
        (&["--retention", "90"], "90d"),
    ];
    for (flags, named) in cases {
        let out = serve(&folder).args(flags).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{flags:?}: {}", said(&out));
        assert!(said(&out).contains(named), "{flags:?}: {}", said(&out));
        assert!(!said(&out).contains("://"), "it names no address: {flags:?}: {}", said(&out));
    }
    let unit = binary().args(["generate", "systemd"]).output().unwrap();
    assert!(said(&unit).contains("\nRestartPreventExitStatus=2\n"));
    // What may pass by itself is tried again.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut again = binary();
    again.args(["serve", "--listen", &taken.local_addr().unwrap().to_string()]).current_dir(&folder);
    assert_eq!(again.output().unwrap().status.code(), Some(1));
}

#[test]
fn a_bad_secret_is_told_by_the_flag_or_the_variable_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let help = said(&binary().args(["serve", "--help"]).output().unwrap());
    let words = help.split_whitespace().filter(|word| word.starts_with("--") && word.ends_with("-file"));
    let file_flags: BTreeSet<&str> = words.collect();
    assert_eq!(file_flags.len(), 5, "{file_flags:?}");
    let check = |command: &mut Command, name: &str, refused: &str| {
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{name}: {}", said(&out));
        let told = said(&out);
        let line = told.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_else(|| panic!("{told}"));
        let rest = line.strip_prefix(name).unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(rest.starts_with([' ', ':']), "{name}: {line}");
        assert!(!told.contains(refused), "{told}");
    };
    for file_flag in file_flags {
        let bad: &[&str] = match file_flag {
            "--elevenlabs-api-key-file" => &["\"sk_in_quotes\"", "sk_number_one\nsk_number_two"],
            "--elevenlabs-secret-file" => &["sk_an_api_key", "wsec_number_one;"],
            "--webhook-secret-file" => &["whsec_tiny_number", "wsec_number_one"],
            _ => &["tiny_number", "'a_token_in_quotes_0123'"],
        };
        let flag = file_flag.strip_suffix("-file").unwrap();
        let variable = |flag: &str| format!("TRANSCRIBE_HOOK_{}", flag[2..].to_uppercase().replace('-', "_"));
        for text in bad {
            let refused = text.lines().next().unwrap().trim_matches(['"', '\'', ';']);
            std::fs::write(folder.path().join("bad.txt"), text).unwrap();
            check(serve(&folder).args([file_flag, "bad.txt"]), file_flag, refused);
            check(serve(&folder).env(variable(file_flag), "bad.txt"), &variable(file_flag), refused);
            let one_line = text.replace('\n', " ");
            check(serve(&folder).args([flag, &one_line]), flag, refused);
            check(serve(&folder).env(variable(flag), &one_line), &variable(flag), refused);
        }
        check(serve(&folder).args([file_flag, "nowhere.txt"]), &format!("{file_flag} nowhere.txt"), "tiny");
    }
}

#[test]
fn the_secrets_in_a_url_are_in_no_message() {
    const URL: &str = "https://anna:hidden_word@h.example/hidden_word?key=hidden_word";
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("PUBLIC_URL", &[][..]),
        ("ELEVENLABS_BASE_URL", &[]),
        ("ALLOW_ORIGIN", &[]),
        ("ACME_DIRECTORY", &[]),
        ("WEBHOOK_URL", &["--webhook-secret", WEBHOOK_SECRET]),
    ] {
        let out = serve(&folder).args(more).env(format!("TRANSCRIBE_HOOK_{name}"), URL).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{name}: {}", said(&out));
        assert!(!said(&out).contains("hidden_word"), "{name}: {}", said(&out));
        let help = binary().args(["serve", "--help"]).env(format!("TRANSCRIBE_HOOK_{name}"), URL).output().unwrap();
        assert!(help.status.success() && !said(&help).contains("hidden_word"), "{name}");
    }
    // Nobody listens there.
    let url = format!("http://127.0.0.1:{}/hidden_word", free_port());
    for args in [
        &["healthcheck", "--url", &url][..],
        &["simulate", "--elevenlabs-secret", SECRET, "--url", &url],
        &["webhook", "list", "--url", &url],
        &["doctor", "--elevenlabs-secret", SECRET, "--public-url", &url],
        &["doctor", "--elevenlabs-api-key", "sk_0123456789abcdef", "--elevenlabs-base-url", &url],
    ] {
        let out = binary().args(args).current_dir(&folder).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", said(&out));
        assert!(!said(&out).contains("hidden_word"), "{args:?}: {}", said(&out));
    }
    for args in [&["healthcheck"][..], &["simulate", "--elevenlabs-secret", SECRET], &["webhook", "list"], &["token"]] {
        let out = binary().args(args).args(["--url", URL]).current_dir(&folder).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", said(&out));
        assert!(!said(&out).contains("hidden_word"), "{args:?}: {}", said(&out));
    }
}

#[test]
fn an_empty_variable_is_not_set_whatever_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let help = said(&binary().args(["serve", "--help"]).output().unwrap());
    let variables: Vec<_> = help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap()).collect();
    assert!(variables.len() > 40, "{variables:?}");
    let mut command = binary();
    command.envs(variables.iter().map(|name| (name, "")));
    let service = Service::start_command(command, &folder.path().join("calls.db"), &[]);
    service.get("/readyz").expect(200);
}

#[test]
fn a_switch_takes_the_common_words_for_yes_and_no() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let count = |variable: &str, value: &str, flags: &[&str]| {
        let mut command = binary();
        command
            .args(["prune", "--older-than", "9d", "--json", "--database"])
            .arg(&database)
            .args(flags)
            .env(variable, value);
        command.output().unwrap()
    };
    assert!(binary().args(["migrate", "--create", "--database"]).arg(&database).status().unwrap().success());
    for yes in ["1", "true", "yes", "ON"] {
        let out = count("TRANSCRIBE_HOOK_DRY_RUN", yes, &[]);
        assert!(out.status.success(), "{yes}: {}", said(&out));
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(report["dry_run"], true, "{yes}: {report}");
    }
    // A confirmation that says no is none, and contradicts no other flag.
    for no in ["0", "false", "no", "Off", ""] {
        let out = count("TRANSCRIBE_HOOK_YES", no, &[]);
        assert_eq!(out.status.code(), Some(2), "{no:?}: {}", said(&out));
        let out = count("TRANSCRIBE_HOOK_YES", no, &["--dry-run"]);
        assert!(out.status.success(), "{no:?}: {}", said(&out));
    }
    assert_eq!(count("TRANSCRIBE_HOOK_DRY_RUN", "perhaps", &[]).status.code(), Some(2));
}

#[test]
fn a_misspelled_variable_is_a_warning_that_names_the_right_one_and_not_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.env("TRANSCRIBE_HOOK_BACKUPDIR", "/a/value").env("TRANSCRIBE_HOOK_PORT_8080_TCP", "tcp://10.0.0.1:8080");
    command.env("TRANSCRIBE_HOOK_JSON", "1");
    let service = Service::start_command(command, &folder.path().join("calls.db"), &[]);
    let log = service.log();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("\"variable\"")).collect();
    assert_eq!(warnings.len(), 1, "{log:?}");
    let warning: Value = serde_json::from_str(warnings[0]).unwrap();
    assert_eq!(warning["level"], "warn");
    assert_eq!(warning["variable"], "TRANSCRIBE_HOOK_BACKUPDIR");
    assert_eq!(warning["suggestion"], "TRANSCRIBE_HOOK_BACKUP_DIR");
    assert!(!log.join("").contains("/a/value"));
}

/// The flags that the lines of a start name as not set.
fn missing(service: &Service) -> Vec<String> {
    let lines = || service.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    wait_for("the addresses", || lines().find(|line| line["post_call"].is_string()));
    // They were logged before the first request is.
    service.get("/healthz").expect(200);
    wait_for("the request", || lines().find(|line| line["route"] == "/healthz"));
    lines().filter_map(|line| line["flag"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_start_tells_the_addresses_and_what_is_not_set_up() {
    let service = Service::start();
    let all = ["--elevenlabs-secret-file", "--ingest-token-file", "--backup-every", "--audio-dir"];
    assert_eq!(missing(&service), all);
    let lines = service.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let lines: Vec<_> = lines.collect();
    let field = |name: &str| lines.iter().find_map(|line| line[name].as_str().map(str::to_owned)).unwrap();
    assert_eq!(field("page"), service.url(""));
    for name in ["history", "turn", "post_call"] {
        let url = field(name);
        let path = url.strip_prefix(&service.url("")).unwrap();
        // Each is a webhook, which takes POST only.
        assert_eq!(service.get(path).status, 405, "{url}");
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (backups, recordings) = (at("backups"), at("recordings"));
    let complete = Service::start_with(
        &[
            &["--elevenlabs-secret", SECRET, "--ingest-token", "ingest_0123456789abcdef", "--backup-every", "24h"][..],
            &["--backup-dir", &backups, "--audio-dir", &recordings],
        ]
        .concat(),
    );
    assert_eq!(missing(&complete), [""; 0]);
}
