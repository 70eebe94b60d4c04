//! House rules that no compiler keeps: which layer may know what, and how files are written.

use super::imports::{Tree, circles};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source files by their path below `src/`, with their text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let files = files_below(&src, "rs");
    assert!(files.len() > 20, "the sources are found");
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), text)
        })
        .collect()
}

/// The code of a file: without what stands in comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Returns true if a line names a crate or module `name` at the start of a path.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).any(|(at, _)| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') || line[..at].ends_with("crate::")
    }) || line.contains(&format!("use {name};"))
}

#[test]
fn each_crate_is_known_only_to_its_layer() {
    let rules: [(&str, &[&str]); 10] = [
        ("poem", &["server/", "api/", "viewer/"]),
        ("poem_openapi", &["server/", "api/", "viewer/"]),
        ("rusqlite", &["store/sqlite/"]),
        ("r2d2", &["store/sqlite/"]),
        ("r2d2_sqlite", &["store/sqlite/"]),
        ("refinery", &["store/sqlite/"]),
        ("clap", &["main.rs", "cli/"]),
        ("prometheus", &["telemetry/metrics/"]),
        ("anyhow", &["main.rs", "cli/"]),
        (
            "ureq",
            &[
                "elevenlabs/client",
                "outgoing/",
                "server/tls/acme",
                "cli/service_client",
                "cli/healthcheck",
                "cli/doctor",
            ],
        ),
    ];
    for (path, text) in sources() {
        for (name, homes) in rules {
            if homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            for line in code(&text) {
                assert!(!names(line, name), "src/{path} knows {name}: {line}");
            }
        }
    }
}

/// The modules at the crate's root from the top down, each with those that it may use.
const LAYERS: [(&str, &[&str]); 18] = [
    (
        "cli",
        &[
            "server",
            "api",
            "viewer",
            "jobs",
            "live",
            "outgoing",
            "export",
            "import",
            "ingest",
            "redaction",
            "recordings",
            "store",
            "elevenlabs",
            "telemetry",
            "secret",
            "domain",
            "sys",
        ],
    ),
    (
        "server",
        &[
            "api",
            "viewer",
            "jobs",
            "live",
            "outgoing",
            "ingest",
            "redaction",
            "recordings",
            "store",
            "elevenlabs",
            "telemetry",
            "domain",
            "sys",
        ],
    ),
    (
        "api",
        &[
            "jobs",
            "live",
            "outgoing",
            "export",
            "ingest",
            "redaction",
            "recordings",
            "store",
            "elevenlabs",
            "telemetry",
            "secret",
            "domain",
            "sys",
        ],
    ),
    ("viewer", &["elevenlabs", "sys"]),
    ("jobs", &["ingest", "redaction", "recordings", "store", "elevenlabs", "telemetry", "domain", "sys"]),
    ("live", &["store", "telemetry", "domain"]),
    ("outgoing", &["ingest", "store", "elevenlabs", "telemetry", "secret", "domain"]),
    ("export", &["store", "domain"]),
    ("import", &["store", "domain"]),
    ("ingest", &["redaction", "recordings", "store", "elevenlabs", "telemetry", "domain", "sys"]),
    ("redaction", &["telemetry", "domain"]),
    ("recordings", &["domain", "sys"]),
    ("store", &["telemetry", "domain", "sys"]),
    ("elevenlabs", &["secret", "domain"]),
    ("telemetry", &["domain", "sys"]),
    ("secret", &["domain"]),
    ("domain", &[]),
    ("sys", &[]),
];

#[test]
fn data_flows_down_only() {
    for (at, (name, may_use)) in LAYERS.iter().enumerate() {
        for used in *may_use {
            assert!(LAYERS[at + 1..].iter().any(|(below, _)| below == used), "{used} is not below {name}");
        }
    }
    let sources = sources();
    for (path, _) in &sources {
        let module = path.split(['/', '.']).next().unwrap();
        let is_known = ["lib", "main"].contains(&module) || LAYERS.iter().any(|(name, _)| *name == module);
        assert!(is_known, "src/{path}: LAYERS does not say what {module} may use");
    }
    for (module, uses) in Tree::new(&sources).uses() {
        let Some((name, may_use)) = LAYERS.iter().find(|(name, _)| module.first().is_some_and(|root| root == name))
        else {
            continue;
        };
        for (used, thing) in uses {
            let Some(root) = used.first() else { continue };
            let is_allowed = root == name || may_use.contains(&root.as_str());
            assert!(is_allowed, "{} may not use {}::{thing}", module.join("::"), used.join("::"));
        }
    }
}

#[test]
fn no_two_files_need_each_other() {
    let circles = circles(&Tree::new(&sources()).uses());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn sql_stands_only_in_the_store() {
    for (path, text) in sources() {
        if path.starts_with("store/") {
            continue;
        }
        for line in code(&text) {
            for word in ["SELECT ", "INSERT INTO", "UPDATE calls", "DELETE FROM", "PRAGMA "] {
                assert!(!line.contains(word), "src/{path} speaks SQL: {line}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "src/{path} does not begin by saying what it is for");
        let lines = text.lines().count();
        // Not to shape modules, but to notice one that has become two. Clippy bounds functions.
        assert!(lines <= 700, "src/{path} has {lines} lines");
        let name = path.trim_end_matches(".rs").rsplit('/').next().unwrap();
        for vague in ["util", "utils", "common", "helpers", "manager", "types", "misc"] {
            assert_ne!(name, vague, "src/{path} is named for nothing");
        }
    }
    for path in files_below(&root().join("tests/it"), "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin by saying what it is for", path.display());
    }
}

/// The items at the top of a file, each in one line: without comments, and with what spans lines drawn together.
fn items(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for line in code(text).map(str::trim).filter(|line| !line.is_empty()) {
        let item = items.last_mut().unwrap();
        item.push_str(line);
        for c in line.chars() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
        }
        if depth == 0 && line.ends_with([';', '}', ']']) {
            items.push(String::new());
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// Returns whether an item declares or re-exports: an attribute, a module without a body, or a `use`.
fn only_declares(item: &str) -> bool {
    let bare = item.strip_prefix("pub").map_or(item, |rest| match rest.strip_prefix('(') {
        Some(path) => path.split_once(')').map_or("", |(_, rest)| rest).trim_start(),
        None => rest.trim_start(),
    });
    let declares = bare.starts_with("mod ") || bare.starts_with("use ");
    item.starts_with('#') || (declares && item.ends_with(';'))
}

#[test]
fn a_mod_rs_only_declares_and_re_exports() {
    for item in ["mod a;", "pub mod a;", "pub(super) use a::{B, C};", "pub(in crate::api) use a::B;", "#[cfg(x)]"] {
        assert!(only_declares(item), "{item}");
    }
    for item in ["fn a() {}", "pub fn a() {}", "mod a { }", "const A: u8 = 1;", "impl A for B {}", "pub struct A;"] {
        assert!(!only_declares(item), "{item}");
    }
    let mut count = 0;
    for (path, text) in sources().into_iter().filter(|(path, _)| path.ends_with("/mod.rs")) {
        count += 1;
        for item in items(&text) {
            assert!(only_declares(&item), "src/{path} holds more than declarations: {item}");
        }
    }
    assert!(count > 10, "the files are found");
}

/// Batches of writes and their effects belong to the store and to the writer; others execute typed commands.
#[test]
fn writes_are_made_by_store_and_ingest_only() {
    for (path, text) in sources() {
        if path.starts_with("store/") || path.starts_with("ingest/") {
            continue;
        }
        for line in code(&text) {
            assert!(!line.contains("Write::") && !line.contains("Written::"), "src/{path} makes writes: {line}");
        }
    }
}

#[test]
fn a_migration_says_its_number() {
    let mut count = 0;
    for path in files_below(&root().join("migrations/sqlite"), "sql") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let number = name.strip_prefix('V').and_then(|rest| rest.split_once("__")).unwrap().0;
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("PRAGMA user_version = {number};")), "{name} does not set its number");
        count += 1;
    }
    assert!(count > 0);
}

/// `tests/fuzz` does not build with a lock file that is out of date.
#[test]
fn the_lock_file_of_the_fuzz_targets_names_each_dependency() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let manifest = read("Cargo.toml");
    let part = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
    let named = part.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(" = ").next());
    let named: BTreeSet<_> = named.filter(|name| !name.is_empty()).collect();
    let lock = read("fuzz/Cargo.lock");
    let package = lock.split("[[package]]\n").find(|part| part.starts_with("name = \"transcribe-hook\"\n")).unwrap();
    let locked = package.lines().filter_map(|line| line.trim().strip_prefix('"')?.split(['"', ' ']).next());
    assert_eq!(locked.collect::<BTreeSet<_>>(), named, "`cargo metadata --manifest-path fuzz/Cargo.toml` renews it");
}

#[test]
fn unsafe_code_stands_where_c_is_called() {
    const CALLS_C: [&str; 2] = ["server/malloc_trim.rs", "store/sqlite/connection/vfs.rs"];
    for (path, text) in sources() {
        let is_unsafe = code(&text).any(|line| line.contains("unsafe ") || line.contains("allow(unsafe"));
        assert_eq!(is_unsafe, CALLS_C.contains(&&*path), "src/{path}");
    }
}

/// Methods that search a text for another one.
const SEARCHES: [&str; 10] = [
    ".contains(",
    ".starts_with(",
    ".ends_with(",
    ".find(",
    ".split(",
    ".split_once(",
    ".matches(",
    ".strip_prefix(",
    ".strip_suffix(",
    ".trim_start_matches(",
];

/// Texts of several words that tests search for and that are no messages of this program, by file.
const NOT_OURS: [(&str, &str); 2] = [
    ("docs/readme.rs", "| table or view |"),   // the head of a table in a document
    ("store/contract/reads.rs", "pub trait "), // Rust
];

/// Returns the string literals of a line, each with the code before it.
fn literals(line: &str) -> Vec<(&str, &str)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(begin) = line[at..].find('"').map(|quote| at + quote + 1) {
        // A quote as a character is no literal.
        if line[..begin - 1].ends_with('\'') {
            at = begin;
            continue;
        }
        let mut escaped = false;
        let end = line[begin..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.map_or(line.len(), |length| begin + length);
        found.push((&line[..begin - 1], &line[begin..end]));
        at = (end + 1).min(line.len());
    }
    found
}

/// Returns true if a text has two words in a row that are not both names.
fn is_prose(text: &str) -> bool {
    let is_small = |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
    let is_word =
        |word: &str| is_small(word) || word.strip_prefix(|c: char| c.is_ascii_uppercase()).is_some_and(is_small);
    let words: Vec<_> = text.split(' ').map(|word| word.trim_matches(|c| "()[]\"'`,.;!?".contains(c))).collect();
    words.windows(2).any(|pair| pair.iter().all(|word| is_word(word)) && pair.iter().any(|word| is_small(word)))
}

/// Texts of the program that a test compares, each with what follows it.
const MESSAGES: [&str; 5] = ["[\"message\"], ", "[\"details\"], ", "[\"error\"], ", ".stdout), ", ".stderr), "];

/// Fails if a test searches for the words of a message, which only snapshots assert. A test asserts statuses, fields,
/// flags and values. Data of a test that looks like a message, such as the words of a call, is a constant.
#[test]
fn wording_is_asserted_only_by_snapshots() {
    let folder = root().join("tests/it");
    for path in files_below(&folder, "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let mut line_before = "";
        for line in code(&text) {
            for (before, literal) in literals(line) {
                let before = if before.trim().is_empty() { line_before } else { before };
                let before = before.trim_end_matches("format!(").trim_end_matches('&');
                let is_asserted = [&SEARCHES[..], &MESSAGES].concat().iter().any(|how| before.ends_with(how));
                let is_allowed = NOT_OURS.contains(&(&*path, literal)) || !is_prose(literal);
                assert!(!is_asserted || is_allowed, "tests/it/{path} asserts words: {literal:?}");
            }
            line_before = line;
        }
    }
}

#[test]
fn tests_share_only_what_stands_in_support() {
    let folder = root().join("tests/it");
    let mut support = Vec::new();
    for path in files_below(&folder, "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        assert!(path.contains('/') || path == "main.rs", "tests/it/{path} stands in no folder");
        // What the test of imports reads is not its own.
        if path == "source/imports.rs" || path == "source/tidy.rs" {
            continue;
        }
        for line in code(&text) {
            let shared = line.split("crate::").skip(1).all(|used| used.starts_with("support::"));
            assert!(shared, "tests/it/{path} uses what does not stand in support: {line}");
        }
        if path.starts_with("support/") {
            support.push((path, text));
        }
    }
    assert!(support.len() > 10, "the support is found");
    let circles = circles(&Tree::new(&support).uses());
    assert!(circles.is_empty(), "{circles:#?}");
}
