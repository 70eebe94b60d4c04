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
    let files = help.matches("_FILE=").count();
    assert!(files >= 2, "{help}");
    assert_eq!(variables.len(), files);
    for (variable, file) in variables {
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
