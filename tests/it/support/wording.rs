//! Texts for people, which only snapshots assert.

use std::fmt::{self, Display, Write as _};

/// Messages by what brings each of them about, for one snapshot.
#[derive(Default)]
pub struct Wording {
    text: String,
    hidden: Vec<(String, &'static str)>,
}

impl Wording {
    /// Replaces a value that differs from run to run in all that is added later.
    pub fn hide(&mut self, value: impl Display, placeholder: &'static str) {
        self.hidden.push((value.to_string(), placeholder));
    }

    /// Adds a message.
    pub fn add(&mut self, case: impl Display, message: &str) {
        let message = self.without_hidden(message);
        self.write(case, &message);
    }

    /// Adds an error by the input that it refuses, which is shortened.
    pub fn add_error(&mut self, input: impl Display, error: &str) {
        let input = input.to_string();
        let shown: String = input.chars().take(100).collect();
        let more = if input.len() > shown.len() { "…" } else { "" };
        if shown.trim().len() < shown.len() || shown.is_empty() {
            self.add(format!("{shown:?}{more}"), error);
        } else {
            self.add(format!("{shown}{more}"), error);
        }
    }

    /// Adds a message with an N for each number that is a word of its own.
    pub fn add_without_numbers(&mut self, case: impl Display, message: &str) {
        let (mut text, mut before) = (String::new(), ' ');
        for c in self.without_hidden(message).chars() {
            if !c.is_ascii_digit() || before.is_alphabetic() {
                text.push(c);
            } else if !before.is_ascii_digit() {
                text.push('N');
            }
            before = c;
        }
        self.write(case, &text);
    }

    fn without_hidden(&self, message: &str) -> String {
        self.hidden.iter().fold(message.to_owned(), |text, (value, placeholder)| text.replace(value, placeholder))
    }

    fn write(&mut self, case: impl Display, message: &str) {
        writeln!(self.text, "{case}").unwrap();
        for line in message.trim_end().lines() {
            writeln!(self.text, "{}", format!("    {line}").trim_end()).unwrap();
        }
    }
}

impl Display for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
