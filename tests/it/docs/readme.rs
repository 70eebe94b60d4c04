//! The README and the reference are true: their commands are run, their links followed, and what is generated in them
//! is compared with the code.
//!
//! `RENEW=1 cargo test --test it renews` rewrites the generated parts.

use super::dictionary::{VIEWS, header_of_calls_csv, unit_and_null};
use crate::support::documents::{block, blocks, document, root};
use crate::support::metrics::promtool;
use crate::support::service::{Service, binary};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The documents that a user reads. Their commands are run in this order.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "migrations/README.md",
    "openapi/configuration.md",
    "openapi/metrics.md",
    "openapi/README.md",
    "openapi/implementation-notes.md",
    "benches/README.md",
    "tests/README.md",
];

/// Compares the generated part of a document, between its two comments, with what it should be, or writes it there.
#[track_caller]
fn assert_current(path: &str, name: &str, wanted: &str) {
    let text = document(path);
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{path} has no part {name}"));
    let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{path}: {name} has no end"));
    let wanted = wanted.trim();
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(root().join(path), format!("{before}{begin}\n{wanted}\n\n{end}{after}")).unwrap();
        return;
    }
    let differs = found.trim().lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(found.trim() == wanted, "{path}: {name} differs in {differs:?}; RENEW=1 rewrites it");
}

#[test]
fn the_reference_lists_every_flag_as_it_is_or_renews_it() {
    assert_current("openapi/configuration.md", "flags", &transcribe_hook::cli::configuration_table());
}

#[test]
fn the_reference_lists_every_metric_as_it_is_or_renews_it() {
    assert_current("openapi/metrics.md", "metrics", &transcribe_hook::telemetry::metrics::table());
}

/// Splits a line of the schema into what it defines and its comment.
fn code_and_comment(line: &str) -> (&str, &str) {
    let line = line.trim();
    let (code, comment) = line.split_once(" -- ").or_else(|| line.split_once(" /* ")).unwrap_or((line, ""));
    (code.trim().trim_end_matches(','), comment.trim_end_matches("*/").trim())
}

/// The values that a rule of the schema allows in a column, if they are words.
fn allowed_values(sql: &str, column: &str) -> String {
    let rule = sql.split(&format!("({column} IN (")).nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
    let words: Vec<_> = rule.split(", ").filter_map(|word| word.strip_prefix('\'')?.strip_suffix('\'')).collect();
    if words.is_empty() { String::new() } else { format!("; one of `{}`", words.join("`, `")) }
}

/// The tables and views of a new file, with the comment of each column, as Markdown.
fn column_dictionary(service: &Service) -> String {
    const FIRST: [&str; 6] =
        ["calls", "call_transcriptions", "drivers", "call_dispatches", "call_overview", "transcript"];
    let connection = service.sqlite();
    let mut select = connection
        .prepare(
            "SELECT name, type, sql FROM sqlite_schema \
             WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*' ORDER BY name",
        )
        .unwrap();
    let mut all: Vec<(String, String, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect();
    all.sort_by_key(|(name, ..)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    let mut text = String::new();
    let mut meanings = BTreeMap::new();
    for (name, kind, sql) in all {
        let described = VIEWS.contains(&&*name);
        let head = if described {
            "| column | type | unit | meaning | NULL |\n| --- | --- | --- | --- | --- |"
        } else {
            "| column | type | meaning |\n| --- | --- | --- |"
        };
        writeln!(text, "### `{name}`\n\n{head}").unwrap();
        let mut columns = connection.prepare(&format!("SELECT name, type FROM pragma_table_info('{name}')")).unwrap();
        let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        for (column, of) in columns.map(|column: rusqlite::Result<(String, String)>| column.unwrap()) {
            // The line on which a column's definition ends: a view's ends with its name, a table's begins with it.
            let comment = sql.lines().map(code_and_comment).find_map(|(code, comment)| {
                let named = if kind == "view" { code.rsplit([' ', '.']).next() } else { code.split([' ', '(']).next() };
                (named == Some(&*column)).then_some(comment)
            });
            let comment = comment.unwrap_or_else(|| panic!("{name}.{column} has no line of its own: {sql}"));
            assert_ne!(comment, "", "{name}.{column} has no comment");
            let meaning = format!("{}{}", comment.replace('|', "\\|"), allowed_values(&sql, &column));
            if described {
                let (unit, null) = unit_and_null(&column);
                writeln!(text, "| `{column}` | {of} | {unit} | {meaning} | {null} |").unwrap();
            } else {
                writeln!(text, "| `{column}` | {of} | {meaning} |").unwrap();
            }
            // The view's words count before the table's.
            meanings.insert((name != "call_overview", name == "calls", column), meaning);
        }
        text.push('\n');
        if name == "transcript" {
            text += &dictionary_of_calls_csv(service, &meanings);
        }
    }
    text
}

/// The columns of the table of calls, with the meanings of the view's columns, or else of the table's.
fn dictionary_of_calls_csv(service: &Service, meanings: &BTreeMap<(bool, bool, String), String>) -> String {
    let mut text =
        "### `calls-csv`\n\nThe columns of `export --format calls-csv`. A value that is missing is an empty field, \
        so pandas reads whole numbers as\nfloats, and phone numbers as numbers, unless it is told their types: see \
        [Analysis](#analysis).\n\n\
        | column | unit | meaning | empty |\n| --- | --- | --- | --- |\n"
            .to_owned();
    for column in header_of_calls_csv(service) {
        let meaning = [(false, false), (true, true)]
            .into_iter()
            .find_map(|(view, table)| meanings.get(&(view, table, column.clone())))
            .unwrap_or_else(|| panic!("{column} is a column of neither call_overview nor calls"));
        let (unit, null) = unit_and_null(&column);
        // A spreadsheet gets words for 0 and 1.
        let (unit, meaning) = match unit {
            "0 or 1" => ("true or false", meaning.replace("1 if", "true if").replace("0 if", "false if")),
            unit => (unit, meaning.clone()),
        };
        let meaning = meaning.replace("NULL", "empty");
        writeln!(text, "| `{column}` | {unit} | {meaning} | {null} |").unwrap();
    }
    text.push('\n');
    text
}

#[test]
fn the_reference_lists_every_column_with_the_comment_of_the_schema_or_renews_it() {
    assert_current("migrations/README.md", "columns", &column_dictionary(&Service::start()));
}

#[test]
fn the_tables_and_views_that_are_listed_are_those_of_the_file() {
    let service = Service::start();
    let connection = service.sqlite();
    let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*'";
    let mut select = connection.prepare(sql).unwrap();
    let there: BTreeSet<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let text = document("migrations/README.md");
    let rows =
        text.split("| table or view |").nth(1).unwrap().lines().skip(2).map_while(|line| line.strip_prefix("| "));
    let listed: BTreeSet<String> = rows
        .flat_map(|row| row.split(" | ").next().unwrap().split(", "))
        .map(|name| name.trim_matches('`').to_owned())
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn prometheus_takes_the_configuration_that_gives_it_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "th_0123456789\n").unwrap();
    let block = block("openapi/metrics.md", "yaml");
    assert!(block.contains("credentials_file: "), "{block}");
    let file = folder.path().join("prometheus.yml");
    let place = block.split("credentials_file: ").nth(1).unwrap().split_whitespace().next().unwrap();
    std::fs::write(&file, block.replace(place, token.to_str().unwrap())).unwrap();
    let out = promtool().args(["check", "config"]).arg(&file).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Runs a block in the folder of the database, with the document's address and program replaced by those of this test.
fn run(path: &str, block: &str, service: &Service) -> String {
    let folder = service.database().parent().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_transcribe-hook")).parent().unwrap();
    let search_path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let commands = block.replace("http://127.0.0.1:8080", &service.url(""));
    let simulate = |url: &str| format!("transcribe-hook simulate --url {url}");
    let commands = commands.replace(&simulate("https://calls.example.com"), &simulate(&service.url("")));
    let mut shell = Command::new("sh");
    let out = shell.args(["-euc", &commands]).current_dir(folder).env("PATH", search_path).output().unwrap();
    assert!(out.status.success(), "{path}: {block}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_commands_of_the_documents_work_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("wsec.txt");
    std::fs::write(&secret, "wsec_0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(folder.path().join("ingest-token.txt"), "ingest_0123456789abcdef\n").unwrap();
    let flags = ["--elevenlabs-secret-file", secret.to_str().unwrap()];
    let service = Service::start_guarded_on(&folder.path().join("transcribe-hook.db"), &flags);
    std::fs::write(folder.path().join("drivers.csv"), "id,name,phone_number\n7,Jo Brandt,\n").unwrap();
    std::fs::write(folder.path().join("dispatches.csv"), "conversation_id,driver_id\nconv_2,7\n").unwrap();
    let (mut outputs, mut count) = (String::new(), 0);
    for path in &DOCUMENTS[..4] {
        for (_, block) in blocks(&document(path)).iter().filter(|(language, _)| language == "sh") {
            if !block.contains("cargo ") && !block.starts_with("tests/run") {
                outputs += &run(path, block, &service);
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count} blocks are found");
    let answer = block("README.md", "http");
    for line in answer.lines().filter(|line| !line.is_empty()) {
        assert!(outputs.contains(line), "{line:?} is not in {outputs}");
    }
    let connection = service.sqlite();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM calls WHERE conversation_id LIKE 'conv_simulated_%'"), 1);
    assert_eq!(count("SELECT count(*) FROM call_dispatches WHERE driver_id = 7"), 1);
    let driver_of_the_first_turn = "SELECT driver_id FROM calls WHERE conversation_id NOT LIKE 'conv_simulated_%'";
    assert_eq!(count(driver_of_the_first_turn), 1042);
    // Once as the transcript, once as JSON, and as the sentence of a text export.
    let words = "Yeah, I am parked at the Joliet terminal.";
    assert!(outputs.matches(words).count() >= 4, "{outputs}");
    assert!(outputs.contains(&format!("1|driver|{words}")), "{outputs}");
    for copy in ["backup.db", "copy.db", "download.db", "another.db"] {
        assert_eq!(crate::support::database::whole(&folder.path().join(copy)), service.turns_stored(), "{copy}");
    }
    let tool = std::fs::read(folder.path().join("tool.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&tool).unwrap()["name"], "log_turn");
}

/// The words of each command of the program in a block, as a shell would split them.
fn commands(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        for part in line.split(['|', ';', '>', '(', ')']).flat_map(|part| part.split("&&")) {
            let words: Vec<_> = part.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
            if let Some(at) = words.iter().position(|word| word == "transcribe-hook") {
                let command: Vec<_> =
                    words[at + 1..].iter().take_while(|word| !word.starts_with('#')).cloned().collect();
                // In a chart, or as the name of something else, it is no command.
                if command.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
                    found.push(command);
                }
            }
        }
    }
    found
}

#[test]
fn every_command_of_the_documents_is_one_of_the_program_with_flags_that_it_has() {
    let mut count = 0;
    for path in DOCUMENTS {
        for (_, block) in blocks(&document(path)).iter().filter(|(of, _)| matches!(&**of, "sh" | "text")) {
            for words in commands(block) {
                // Flags and values are read up to the one that asks for help.
                let out = binary().args(&words).arg("--help").output().unwrap();
                assert!(out.status.success(), "{path}: {words:?}: {}", String::from_utf8_lossy(&out.stderr));
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} commands are found");
}

/// The anchors of a document, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if let (false, Some(heading)) = (fenced, line.strip_prefix('#')) {
            let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
            let heading: String =
                heading.trim_start_matches('#').trim().to_lowercase().chars().filter(|c| kept(*c)).collect();
            found.insert(heading.replace(' ', "-"));
        }
    }
    found
}

/// Returns the targets of a document's links, in text and in pictures.
fn links(text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pictures =
        text.split("src=\"").skip(1).chain(text.split("srcset=\"").skip(1)).filter_map(|rest| rest.split('"').next());
    inline.chain(pictures).map(str::to_owned).collect()
}

#[test]
fn every_source_file_that_the_readme_of_the_tests_names_exists() {
    let text = document("tests/README.md");
    let is_source = |name: &&str| {
        name.contains('/') && Path::new(name).extension().is_some_and(|ending| ending == "rs" || ending == "js")
    };
    let names: Vec<_> = text.split('`').filter(is_source).collect();
    assert!(names.len() > 20, "the names are found");
    for name in names {
        let exists = ["", "tests"].iter().any(|folder| root().join(folder).join(name).is_file());
        assert!(exists, "tests/README.md names {name}");
    }
}

#[test]
fn every_link_of_the_documents_leads_to_something_that_is_there() {
    let mut count = 0;
    for path in DOCUMENTS {
        let text = document(path);
        for link in links(&text).iter().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(path).parent().unwrap();
            let to: PathBuf = if file.is_empty() { path.into() } else { folder.join(file) };
            assert!(root().join(&to).exists(), "{path} links to {link}, which is not there");
            if !anchor.is_empty() {
                let anchors = anchors(&document(to.to_str().unwrap()));
                assert!(anchors.contains(anchor), "{path} links to {link}; there are {anchors:?}");
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count} links are found");
}

#[test]
fn the_readme_is_one_reading_long() {
    let lines = document("README.md").lines().count();
    assert!(lines <= 330, "the README has {lines} lines: move reference to what it describes");
}
