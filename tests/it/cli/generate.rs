//! Output of `generate` is accepted by its consumers: systemd, Grafana's queries, shells, readers of manuals.

use crate::support::service::{binary, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns the output of `generate` with these arguments.
fn generated(args: &[&str]) -> String {
    let out = run(&[&["generate"], args].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A unit whose program is there, in a folder of its own.
fn unit(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("transcribe-hook.service");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn systemd_analyze(args: &[&str], unit: &Path) -> String {
    let out = Command::new("systemd-analyze").args(args).arg(unit).output().expect("tests/run has installed systemd");
    assert!(out.status.success(), "{}", said(&out));
    said(&out)
}

#[test]
fn systemd_takes_the_unit_and_finds_it_well_locked_up() {
    let text = generated(&["systemd", "--program", env!("CARGO_BIN_EXE_transcribe-hook")]);
    // As it stands, and with all that is prepared in it uncommented.
    let with_secrets = text.replace("#LoadCredential=", "LoadCredential=").replace("#Environment=", "Environment=");
    let uncommented = |line: &str| {
        let rest = line.strip_prefix('#').unwrap_or(line);
        let is_setting = rest.split_once('=').is_some_and(|(name, _)| name.chars().all(char::is_alphanumeric));
        if is_setting { rest.to_owned() } else { line.to_owned() }
    };
    let everything: Vec<_> = text.lines().map(uncommented).collect();
    assert!(everything.len() > 80 && everything.iter().any(|line| line == "DynamicUser=no"), "{everything:?}");
    let (_folder, path) = unit(&everything.join("\n"));
    let remarks = systemd_analyze(&["verify", "--man=no"], &path);
    assert!(remarks.is_empty(), "{remarks}");
    assert!(
        with_secrets.contains("\nLoadCredential=elevenlabs-secret:/etc/transcribe-hook/elevenlabs-secret\n"),
        "{text}"
    );
    for text in [text, with_secrets] {
        let (_folder, path) = unit(&text);
        let remarks = systemd_analyze(&["verify", "--man=no"], &path);
        assert!(remarks.is_empty(), "{remarks}");
        // In tenths: below 2.0.
        let report = systemd_analyze(&["security", "--no-pager", "--offline=true", "--threshold=19"], &path);
        assert!(!report.is_empty());
    }
    assert!(generated(&["systemd"]).contains("\nExecStart=/usr/local/bin/transcribe-hook serve\n"));
    assert_eq!(run(&["generate", "systemd", "--program", "bin/transcribe-hook"]).status.code(), Some(2));
}

#[test]
fn the_unit_hands_over_each_secret_by_a_variable_that_serve_knows() {
    let unit = generated(&["systemd"]);
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    let variables: Vec<_> =
        unit.lines().filter_map(|line| line.strip_prefix("#Environment=")?.split_once('=')).collect();
    let (certificates, variables): (Vec<_>, Vec<_>) =
        variables.into_iter().partition(|(variable, _)| variable.starts_with("TRANSCRIBE_HOOK_TLS_"));
    assert_eq!(certificates.len(), 2, "{certificates:?}");
    let files = help.matches("_FILE=").count();
    assert!(files >= 2, "{help}");
    assert_eq!(variables.len(), files);
    for (variable, file) in variables.into_iter().chain(certificates) {
        assert!(help.contains(&format!("[env: {variable}=")), "{variable}");
        assert!(file.starts_with("%d/"), "{file}");
    }
}

#[test]
fn each_flag_and_variable_that_the_dashboard_and_the_unit_name_is_one_of_serve() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    let known: BTreeSet<_> = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').collect();
    let named = |text: &str, prefix: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        words.map(|word| word.trim_end_matches('-')).filter(|word| word.starts_with(prefix)).map(Into::into).collect()
    };
    let flags = named(&generated(&["grafana-dashboard"]), "--");
    assert!(flags.contains("--stale-after") && flags.contains("--queue-capacity"), "{flags:?}");
    let unit = generated(&["systemd"]);
    let variables = named(&unit, "TRANSCRIBE_HOOK_");
    assert!(variables.contains("TRANSCRIBE_HOOK_LISTEN"), "{variables:?}");
    for name in flags.iter().chain(&variables).chain(&named(&unit, "--")) {
        // The unit's own first lines say how it is enabled.
        assert!(known.contains(name.as_str()) || name == "--now", "serve knows no {name}");
    }
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_there_are_in_queries_that_prometheus_understands() {
    let dashboard: Value = serde_json::from_str(&generated(&["grafana-dashboard"])).unwrap();
    let service = crate::support::service::Service::start();
    service.deliver(&crate::support::turns::turn("conv_a", 1)).expect(201);
    let scraped = service.get("/metrics").expect(200).text;
    let names: BTreeSet<_> = scraped
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 20, "{queries:?}");
    let mut asked = BTreeSet::new();
    for query in &queries {
        for word in query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("transcribe_hook_") || word.starts_with("process_") {
                assert!(names.contains(word), "there is no metric {word}, for which {query} asks");
                asked.insert(word);
            }
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
    for shown in [
        "outgoing_deliveries_total",
        "outgoing_lag_seconds",
        "outgoing_endpoints_off",
        "alerts_matched_total",
        "initiations_total",
        "elevenlabs_findings",
        "mcp_tool_calls_total",
        "access_log_entries_total",
    ] {
        assert!(asked.contains(&*format!("transcribe_hook_{shown}")), "no panel shows {shown}");
    }
    assert!(queries.iter().any(|query| query.contains("quantile") && query.contains("elevenlabs/initiation")));
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");

    // Rules are checked as what they are, queries; Grafana puts times in place of its variables.
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (n, query) in queries.iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace('\'', "''");
        writeln!(rules, "  - record: query:{n}\n    expr: '{query}'").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, rules).unwrap();
    let out = crate::support::metrics::promtool().args(["check", "rules"]).arg(&path).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains(&queries.len().to_string()), "{}", said(&out));
}

/// Runs Prometheus' own test of rules over the generated ones, with these series and expected alerts.
fn alerts(series: &[(&str, &str)], at: &str, expected: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), generated(&["prometheus-rules"])).unwrap();
    let mut test = String::from("rule_files: [rules.yml]\ntests:\n- interval: 1m\n  input_series:\n");
    for (name, values) in series {
        writeln!(test, "  - series: '{name}'\n    values: '{values}'").unwrap();
    }
    test.push_str("  alert_rule_test:\n");
    for name in [
        "NoEventForADay",
        "BackupTooOld",
        "BackupFails",
        "RefusesDeliveries",
        "DiskFull",
        "ElevenLabsSettings",
        "ElevenLabsWarnings",
        "WebhookBehind",
        "WebhookDeliveriesFail",
        "WebhookOff",
        "CallersNotNamed",
        "AccessLogDrops",
    ] {
        writeln!(test, "  - alertname: TranscribeHook{name}\n    eval_time: {at}").unwrap();
        if expected.contains(&name) {
            test.push_str("    exp_alerts: [{exp_labels: {severity: any}}]\n");
        }
    }
    let path = folder.path().join("test.yml");
    std::fs::write(&path, test).unwrap();
    crate::support::metrics::promtool().args(["test", "rules"]).arg(&path).output().unwrap()
}

/// The alerts that fire, as promtool names those that the test did not expect.
fn fire(series: &[(&str, &str)], at: &str) -> BTreeSet<String> {
    let out = alerts(series, at, &[]);
    let text = said(&out);
    assert_eq!(out.status.success(), !text.contains("alertname"), "{text}");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("alertname: ")?.split(',').next());
    names.map(|name| name.strip_prefix("TranscribeHook").unwrap().to_owned()).collect()
}

#[test]
fn the_alert_rules_ask_only_for_metrics_that_there_are_and_prometheus_takes_them() {
    let rules = generated(&["prometheus-rules"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    std::fs::write(&path, &rules).unwrap();
    let out = crate::support::metrics::promtool().args(["check", "rules"]).arg(&path).output().unwrap();
    assert!(out.status.success() && said(&out).contains("SUCCESS"), "{}", said(&out));
    let scraped = crate::support::service::Service::start().get("/metrics").expect(200).text;
    let names: BTreeSet<_> = scraped.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let asked: BTreeSet<_> = words.filter(|word| word.starts_with("transcribe_hook_")).collect();
    assert!(asked.len() >= 8, "{asked:?}");
    assert!(asked.iter().all(|word| names.contains(word)), "{asked:?}");
}

#[test]
fn an_alert_fires_for_an_old_backup_and_for_a_day_without_events_and_not_before() {
    const EVENTS: &str = "transcribe_hook_webhook_requests_total{endpoint=\"post-call\",outcome=\"stored\"}";
    const BUILD: &str = "transcribe_hook_build_info{version=\"1\"}";
    const BACKUP: &str = "transcribe_hook_backup_last_success_timestamp_seconds";
    let up = (BUILD, "1x6000");
    let no_events = fire(&[up, (EVENTS, "7x6000")], "30h");
    assert_eq!(no_events, ["NoEventForADay".to_owned()].into());
    assert_eq!(fire(&[up, (EVENTS, "0+1x6000")], "30h"), BTreeSet::new());
    assert_eq!(fire(&[up, (EVENTS, "7x6000")], "20h"), BTreeSet::new(), "it was not there a day ago");
    // The test's clock begins at 0, so a backup at second 1 is as old as the clock says.
    assert_eq!(fire(&[(BACKUP, "1x6000")], "47h"), BTreeSet::new());
    assert_eq!(fire(&[(BACKUP, "1x6000")], "50h"), ["BackupTooOld".to_owned()].into());
    assert_eq!(fire(&[(BACKUP, "0x6000")], "50h"), BTreeSet::new(), "none is known");
    let failed = "transcribe_hook_webhook_requests_total{endpoint=\"transcription\",outcome=\"failed\"}";
    assert_eq!(fire(&[(failed, "0x20 3x20")], "23m"), ["RefusesDeliveries".to_owned()].into());
}

#[test]
fn an_alert_fires_for_what_receivers_lack_for_findings_and_for_callers_who_are_not_named() {
    const LAG: &str = "transcribe_hook_outgoing_lag_seconds";
    let one = |name: &str| BTreeSet::from([name.to_owned()]);
    let findings = |severity: &str| format!("transcribe_hook_elevenlabs_findings{{severity=\"{severity}\"}}");
    let outcome = |metric: &str, outcome: &str| format!("transcribe_hook_{metric}{{outcome=\"{outcome}\"}}");
    let nothing = BTreeSet::new();
    // A receiver that is away for some minutes, and one that is away for hours.
    assert_eq!(fire(&[(LAG, "0+60x30 0x90")], "2h"), nothing);
    assert_eq!(fire(&[(LAG, "0+60x200")], "65m"), nothing, "not yet for ten minutes");
    assert_eq!(fire(&[(LAG, "0+60x200")], "75m"), one("WebhookBehind"));
    assert_eq!(fire(&[("transcribe_hook_outgoing_endpoints_off", "0x5 1x60")], "20m"), one("WebhookOff"));
    let failed = outcome("outgoing_deliveries_total", "failed");
    assert_eq!(fire(&[(&failed, "0x30 1x200")], "35m"), one("WebhookDeliveriesFail"));
    assert_eq!(fire(&[(&failed, "0x30 1x200")], "100m"), nothing, "it is over");
    assert_eq!(fire(&[(&outcome("outgoing_deliveries_total", "retried"), "0+9x200")], "35m"), nothing);
    let problem = findings("problem");
    assert_eq!(fire(&[(&problem, "1x300")], "1h"), nothing, "the next check may find it mended");
    assert_eq!(fire(&[(&problem, "1x300")], "3h"), one("ElevenLabsSettings"));
    let warning = findings("warning");
    assert_eq!(fire(&[(&warning, "1x3000")], "23h"), nothing);
    assert_eq!(fire(&[(&warning, "1x3000")], "25h"), one("ElevenLabsWarnings"));
    for (kind, fires) in
        [("late", true), ("failed", true), ("unreadable", true), ("no_token", true), ("unknown", false)]
    {
        let fired = fire(&[(&outcome("initiations_total", kind), "0+1x200")], "30m");
        assert_eq!(fired, if fires { one("CallersNotNamed") } else { BTreeSet::new() }, "{kind}");
    }
    let entries = |kind: &str| outcome("access_log_entries_total", kind);
    assert_eq!(fire(&[(&entries("dropped"), "0x10 5x200")], "20m"), one("AccessLogDrops"));
    assert_eq!(fire(&[(&entries("stored"), "0+5x200")], "20m"), nothing);
}

#[test]
fn each_shell_gets_completions_and_bash_completes_by_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = generated(&["completions", shell]);
        assert!(script.contains("metrics-listen"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("completions.bash");
    std::fs::write(&script, generated(&["completions", "bash"])).unwrap();
    let complete = "source \"$1\"; COMP_WORDS=(transcribe-hook serve --metrics-l); COMP_CWORD=2; \
                    _transcribe__hook transcribe-hook --metrics-l serve; echo \"${COMPREPLY[@]}\"";
    let out = Command::new("bash").args(["-c", complete, "bash"]).arg(&script).output().unwrap();
    assert_eq!(said(&out).trim(), "--metrics-listen");
    assert_eq!(run(&["generate", "completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn each_command_has_a_manual_page_without_errors() {
    let folder = tempfile::tempdir().unwrap();
    generated(&["man", "--into", folder.path().to_str().unwrap()]);
    let mut pages: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for page in ["transcribe-hook.1", "transcribe-hook-serve.1", "transcribe-hook-generate-systemd.1"] {
        assert!(names.contains(&page), "{names:?}");
    }
    for page in &pages {
        let first = std::fs::read_to_string(page).unwrap();
        let title =
            first.lines().find(|line| line.starts_with(".TH ")).unwrap_or_else(|| panic!("{page:?} has a title"));
        assert!(title.contains(concat!("transcribe-hook ", env!("CARGO_PKG_VERSION"))), "{title}");
    }
    let out = Command::new("mandoc").args(["-T", "lint", "-W", "error"]).args(&pages).output();
    let out = out.expect("tests/run has installed mandoc");
    assert!(out.status.success(), "{}", said(&out));
    let serve = std::fs::read_to_string(folder.path().join("transcribe-hook-serve.1")).unwrap();
    assert!(serve.contains("TRANSCRIBE_HOOK_METRICS_LISTEN"), "variables stand there too");
    assert_eq!(generated(&["man"]), std::fs::read_to_string(folder.path().join("transcribe-hook.1")).unwrap());
}

#[test]
fn what_is_generated_can_be_piped_into_what_reads_only_its_beginning() {
    let mut child =
        binary().args(["generate", "grafana-dashboard"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "who has seen enough is no failure: {out:?}");
}
