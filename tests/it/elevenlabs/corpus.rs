//! Readers of what comes from outside, tried with a kept corpus and with changes of it.
//!
//! The corpus, `tests/fixtures/corpus`, holds inputs that readers make different things of. It grows by
//! `FUZZ_KEEP=1 FUZZ_FACTOR=300 cargo test corpus`, which keeps every input that a reader says something new about.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use transcribe_hook::elevenlabs::signature::verify;
use transcribe_hook::elevenlabs::{ParsedEvent, parse_event, parse_history};
use transcribe_hook::secret::Secret;

/// Words that mean something more often than by chance.
const WORDS: [&str; 26] = [
    "null",
    "true",
    "-1",
    "1.5",
    "1e300",
    "9223372036854775808",
    "\"\"",
    "\"  \"",
    "{}",
    "[]",
    "[[",
    "\"x\\u0000y\"",
    "\"\\ud800\"",
    "\"done\"",
    "\"failed\"",
    "\"processing\"",
    "\"+1\"",
    "\"user\"",
    "\"type\":",
    "\"data\":",
    "t=",
    "v0=",
    ",",
    "=",
    "\u{feff}",
    "ü",
];

/// Maximum number of inputs for a reader.
const MAX_INPUTS: usize = 80;

/// Maximum size of an input that is kept, in bytes.
const MAX_INPUT_BYTES: usize = 2000;

/// Numbers that are the same in each run (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound.max(1)
    }
}

/// Changes an input in some places.
fn change(numbers: &mut Numbers, all: &[Vec<u8>], input: &mut Vec<u8>) {
    let mut below = |bound| numbers.below(bound);
    for _ in 0..=below(3) {
        let at = below(input.len() + 1);
        let end = (at + below(24)).min(input.len());
        match below(6) {
            0 if at < input.len() => input[at] ^= 1 << below(8),
            1 => drop(input.drain(at..end)),
            2 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            3 => drop(input.splice(at..end, WORDS[below(WORDS.len())].bytes())),
            4 => value_for_value(input, at, WORDS[below(WORDS.len())]),
            _ => {
                let other = &all[below(all.len())];
                let from = below(other.len());
                input.splice(at.., other[from..].iter().copied());
            }
        }
    }
}

/// Puts a word in place of what stands between the next colon and what ends its value, so that JSON often stays JSON.
fn value_for_value(input: &mut Vec<u8>, at: usize, word: &str) {
    let Some(colon) = input[at..].iter().position(|&byte| byte == b':').map(|n| at + n + 1) else { return };
    let end = input[colon..].iter().position(|byte| b",}]".contains(byte)).map_or(input.len(), |n| colon + n);
    input.splice(colon..end, word.bytes());
}

/// Reads every input of a folder of the corpus, and changes of them. None may make the reader panic.
fn try_all(folder: &str, read: impl Fn(&[u8]) -> String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus").join(folder);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut inputs: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!inputs.is_empty(), "the corpus is there");
    let mut said: HashSet<String> = inputs.iter().map(|input| read(input)).collect();
    let factor = std::env::var("FUZZ_FACTOR").map_or(1, |factor| factor.parse().expect("FUZZ_FACTOR is a number"));
    let keep = std::env::var_os("FUZZ_KEEP").is_some();
    // The same changes each time, and others where the corpus grows.
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ inputs.len() as u64);
    for _ in 0..20_000u32 * factor {
        let mut input = inputs[numbers.below(inputs.len())].clone();
        change(&mut numbers, &inputs, &mut input);
        input.truncate(MAX_INPUT_BYTES);
        let about = read(&input);
        if keep && inputs.len() < MAX_INPUTS && said.insert(about) {
            std::fs::write(folder.join(format!("grown-{:03}", inputs.len())), &input).unwrap();
            inputs.push(input);
        }
    }
}

/// Without what differs between inputs that are treated the same.
fn in_short(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[test]
fn no_change_of_an_event_makes_its_reader_panic() {
    try_all("events", |input| {
        let event = parse_event(input);
        let reading = match &event.reading {
            ParsedEvent::Record(record) => format!("{:?} {:?}", record.kind, record.facts.status),
            ParsedEvent::Other => "another type".to_owned(),
            ParsedEvent::Unreadable(why) => in_short(why),
        };
        let rule = event.remarks.first().and_then(|remark| Some(remark.text.split_once(": ")?.1));
        format!("{reading} {} {}", event.remarks.len().min(3), in_short(rule.unwrap_or_default()))
    });
}

#[test]
fn no_change_of_a_history_makes_its_reader_panic() {
    try_all("histories", |input| match parse_history(input) {
        Ok(report) => format!("{} {:?}", report.history.0.len().min(3), report.agent_id.is_some()),
        Err(error) => in_short(&format!("{error:?}")),
    });
}

#[test]
fn no_change_of_a_signature_makes_its_reader_panic_or_is_taken_for_another_body() {
    let secrets = [Secret::new("wsec_test_secret").unwrap()];
    let tolerance = Duration::from_mins(30);
    try_all("signatures", |input| {
        let refused = verify(Some(input), b"another body", &secrets, 1_739_537_297, tolerance);
        in_short(&refused.expect_err("this body was never signed").to_string())
    });
}
