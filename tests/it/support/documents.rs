//! The documents of the repository, and the fenced blocks in them.

use std::fmt::Write as _;
use std::path::Path;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a document by its path in the repository.
pub fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a text: language and content.
pub fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(language)) => {
                let indent = line.len() - line.trim_start().len();
                open = Some((indent, language.to_owned(), String::new()));
            }
            (Some(_), Some("")) => {
                let (_, language, content) = open.take().unwrap();
                blocks.push((language, content));
            }
            (Some((indent, _, content)), _) => {
                writeln!(content, "{}", line.get(*indent..).unwrap_or_default()).unwrap();
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block is closed");
    blocks
}

/// The first block of a language in a document.
pub fn block(path: &str, language: &str) -> String {
    let blocks = blocks(&document(path));
    let found = blocks.into_iter().find(|(of, _)| of == language);
    found.unwrap_or_else(|| panic!("{path} has no block of {language}")).1
}

/// The blocks of a language in one chapter of a document.
pub fn blocks_in_chapter(path: &str, chapter: &str, language: &str) -> Vec<String> {
    let text = document(path);
    let chapter = text.split(&format!("\n## {chapter}\n")).nth(1).unwrap_or_else(|| panic!("{path} has no {chapter}"));
    let chapter = chapter.split("\n## ").next().unwrap();
    blocks(chapter).into_iter().filter(|(of, _)| of == language).map(|(_, content)| content).collect()
}
