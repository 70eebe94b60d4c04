//! The README is true: its table of flags, its first turn, its queries, run as they stand there.

use crate::support::metrics::promtool;
use crate::support::service::Service;
use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The commands of the README's fenced shell blocks, each with its continuation lines.
fn shell_blocks() -> Vec<String> {
    let blocks: Vec<_> =
        README.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(blocks.len() >= 6, "the blocks are found");
    blocks
}

/// Runs a block in a folder, with the README's address and program replaced by those of this test.
fn run(block: &str, service: &Service) -> String {
    let program = env!("CARGO_BIN_EXE_transcribe-hook");
    let commands = block
        .replace("http://127.0.0.1:8080", &service.url(""))
        .replace("transcribe-hook import", &format!("{program} import"))
        .replace("transcribe-hook token", &format!("{program} token"))
        .replace("transcribe-hook generate", &format!("{program} generate"))
        .replace("transcribe-hook search", &format!("{program} search"))
        .replace("transcribe-hook simulate", &format!("{program} simulate"))
        .replace("transcribe-hook prune", &format!("{program} prune"))
        .replace("transcribe-hook replay", &format!("{program} replay"))
        .replace("transcribe-hook backup", &format!("{program} backup"))
        .replace("transcribe-hook check", &format!("{program} check"))
        .replace("transcribe-hook export", &format!("{program} export"));
    let folder = service.database().parent().unwrap();
    let out = Command::new("sh").args(["-euc", &commands]).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{block}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_flag_is_listed_as_it_is() {
    let table = transcribe_hook::cli::configuration_table();
    assert!(README.contains(&table), "the README's table of flags should be:\n\n{table}");
}

#[test]
fn every_metric_is_listed_as_it_is() {
    let table = transcribe_hook::telemetry::metrics::table();
    assert!(README.contains(&table), "the README's table of metrics should be:\n\n{table}");
}

#[test]
fn prometheus_takes_the_configuration_that_gives_it_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "th_0123456789\n").unwrap();
    let block = README.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(block.contains("credentials_file: "), "{block}");
    let file = folder.path().join("prometheus.yml");
    let place = block.split("credentials_file: ").nth(1).unwrap().split_whitespace().next().unwrap();
    std::fs::write(&file, block.replace(place, token.to_str().unwrap())).unwrap();
    let out = promtool().args(["check", "config"]).arg(&file).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn the_first_turn_the_queries_and_the_backup_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("wsec.txt");
    std::fs::write(&secret, "wsec_0123456789abcdef0123456789abcdef\n").unwrap();
    let flags = ["--elevenlabs-secret-file", secret.to_str().unwrap()];
    let service = Service::start_guarded_on(&folder.path().join("transcribe-hook.db"), &flags);
    std::fs::write(folder.path().join("drivers.csv"), "id,name,phone_number\n7,Jo Brandt,\n").unwrap();
    std::fs::write(folder.path().join("dispatches.csv"), "conversation_id,driver_id\nconv_2,7\n").unwrap();
    let outputs: Vec<_> = shell_blocks()
        .iter()
        .filter(|b| !b.contains("cargo") && !b.contains("tests/run"))
        .map(|b| run(b, &service))
        .collect();
    let all = outputs.join("\n");
    let answer = README.split("```http\n").nth(1).unwrap().split("```").next().unwrap();
    for line in answer.lines().filter(|line| !line.is_empty()) {
        assert!(all.contains(line), "{line:?} is not in {all}");
    }
    assert!(all.contains("\"message_text\":\"Yeah, I am parked at the Joliet terminal.\""), "{all}");
    assert!(all.contains("Maria Kowalski|"), "the overview names the driver: {all}");
    assert!(all.contains("1|driver|Yeah, I am parked at the Joliet terminal."), "{all}");
    assert!(all.contains("copied 1 calls with 1 turns"), "{all}");
    assert!(all.contains("1 calls with 1 turns, 0 problems"), "{all}");
    assert!(all.contains("exported 1 calls with 1 turns to calls.jsonl"), "{all}");
    assert!(all.contains("[00:00:00] Driver: Yeah, I am parked at the Joliet terminal."), "{all}");
    for copy in ["copy.db", "download.db", "another.db"] {
        assert_eq!(crate::support::database::whole(&folder.path().join(copy)), 1, "{copy}");
    }
    assert!(all.contains("the call is whole"), "{all}");
    assert!(all.contains("0 applied, 0 of other types, 0 unreadable"), "{all}");
    let tool = std::fs::read(folder.path().join("tool.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&tool).unwrap()["name"], "log_turn");
}

#[test]
fn the_tables_and_views_that_are_listed_exist() {
    let service = Service::start();
    let connection = service.sqlite();
    let listed = README
        .split("| table or view |")
        .nth(1)
        .unwrap()
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| `").and_then(|rest| rest.split('`').next()));
    let mut count = 0;
    for name in listed {
        let there: bool = connection
            .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1)", [name], |row| row.get(0))
            .unwrap();
        assert!(there, "{name}");
        count += 1;
    }
    assert_eq!(count, 9);
}
