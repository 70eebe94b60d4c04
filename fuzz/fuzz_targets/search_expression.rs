//! Search expressions: each text is refused or becomes an expression within its bounds, which FTS5 accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rusqlite::Connection;
use transcribe_hook::domain::SearchExpr;
use transcribe_hook::store::sqlite::fuzz::fts_query;

thread_local! {
    static TURNS: Connection = {
        let turns = Connection::open_in_memory().expect("a database");
        turns.execute_batch(
            "CREATE VIRTUAL TABLE t USING fts5(words); INSERT INTO t VALUES ('reefer alarm at the dock door'), ('AND')",
        ).expect("a table");
        turns
    };
}

/// Returns the number of words and quotations, after checking each part.
fn units(wanted: &SearchExpr) -> usize {
    match wanted {
        SearchExpr::Words { text, .. } => {
            assert!(text.contains(char::is_alphanumeric), "{text:?} is a word");
            assert!(!text.contains(['"', '\0']), "{text:?} can be quoted");
            1
        }
        SearchExpr::All(parts) | SearchExpr::Any(parts) => {
            assert!(parts.len() >= 2, "{parts:?}");
            parts.iter().map(units).sum()
        }
        SearchExpr::AndNot(some, others) => units(some) + units(others),
    }
}

fuzz_target!(|text: &str| {
    let Ok(wanted) = SearchExpr::parse(text) else { return };
    assert!((1..=32).contains(&units(&wanted)));
    TURNS.with(|turns| {
        let count = turns.query_row("SELECT count(*) FROM t WHERE t MATCH ?1", [fts_query(&wanted)], |row| row.get(0));
        let count: i64 = count.unwrap_or_else(|error| panic!("{wanted:?}: {error}"));
        assert!((0..=2).contains(&count));
    });
});
