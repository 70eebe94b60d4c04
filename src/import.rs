//! Reads drivers and dispatches from a file: CSV with a header, or JSON Lines. Each error names its line.

use crate::domain::Invalid;
use crate::domain::validation::{Fields, Problem};
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};

/// The layout of an imported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180), or separated by semicolons or tabs; the first line names the columns.
    Csv,
    /// One JSON object per line.
    JsonLines,
}

/// A row that was read, with its line number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// Line in the file, from 1.
    pub line: u64,
    /// Value of the row.
    pub value: T,
}

/// A row that cannot be stored, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Line in the file, from 1.
    pub line: u64,
    /// The invalid fields, or the error of the line as a whole.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Maximum length of a line of JSON, in bytes. A file of another kind fails early instead of filling the memory.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// The columns of a CSV file.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Columns that must be present.
    pub required: &'static [&'static str],
    /// Columns that may be present.
    pub optional: &'static [&'static str],
}

/// Reason why a file could not be read as a whole.
#[derive(Debug)]
pub enum ReadError {
    /// Reading failed.
    Io(io::Error),
    /// The file is not valid CSV.
    Csv(csv::Error),
    /// The file begins like UTF-16 but is not valid.
    InvalidUtf16,
    /// The header has this column twice.
    DuplicateColumn(String),
    /// The header lacks columns.
    MissingColumns {
        /// The required columns that are not there.
        missing: Vec<&'static str>,
        /// The columns that are there, shortened.
        found: Vec<String>,
        /// The columns that a file may have.
        columns: Columns,
    },
    /// This line is longer than [`MAX_LINE_BYTES`].
    LongLine(u64),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Csv(error) => error.fmt(f),
            Self::InvalidUtf16 => f.write_str("is not valid UTF-16"),
            Self::DuplicateColumn(name) => write!(f, "line 1: duplicate column {name:?}"),
            Self::MissingColumns { missing, found, columns } => write!(
                f,
                "line 1: missing column {}; found: {}; required: {}; optional: {}",
                missing.join(", "),
                found.join(", "),
                columns.required.join(", "),
                columns.optional.join(", ")
            ),
            Self::LongLine(line) => write!(f, "line {line}: longer than {MAX_LINE_BYTES} bytes"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<csv::Error> for ReadError {
    fn from(error: csv::Error) -> Self {
        Self::Csv(error)
    }
}

/// Reads all rows with `read`, and returns the valid and the invalid ones.
///
/// # Errors
/// The file cannot be read, or the header of a CSV file repeats a column or lacks a required one.
pub fn read_rows<T>(
    input: impl Read,
    format: Format,
    columns: Columns,
    read: impl Fn(Fields) -> Result<T, Vec<Problem>>,
) -> Result<(Vec<Row<T>>, Vec<BadRow>), ReadError> {
    let mut rows = Vec::new();
    let mut bad = Vec::new();
    let mut take = |line, fields: Result<Fields, Invalid>| match fields.map(&read) {
        Ok(Ok(value)) => rows.push(Row { line, value }),
        Ok(Err(problems)) => bad.push(BadRow { line, reason: crate::domain::validation::describe(&problems) }),
        Err(rule) => bad.push(BadRow { line, reason: rule.to_string() }),
    };
    match format {
        Format::Csv => for_each_csv_row(input, columns, &mut take)?,
        Format::JsonLines => for_each_json_line(input, &mut take)?,
    }
    Ok((rows, bad))
}

/// Returns the separator of the cells: the candidate that is most frequent in the header.
///
/// Spreadsheets write semicolons in many countries.
fn delimiter(content: &[u8]) -> u8 {
    let header = content.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let header = String::from_utf8_lossy(header);
    let most = [b'\t', b';', b','].into_iter().max_by_key(|wanted| header.matches(char::from(*wanted)).count());
    most.unwrap_or(b',')
}

/// Returns the text of what is in UTF-16, as spreadsheets save "Unicode text".
fn of_utf16(content: &[u8]) -> Option<Result<String, ReadError>> {
    let (unit, rest): (fn([u8; 2]) -> u16, _) = match content {
        [0xFF, 0xFE, rest @ ..] => (u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => (u16::from_be_bytes, rest),
        _ => return None,
    };
    let (pairs, odd) = rest.as_chunks();
    let units: Vec<_> = pairs.iter().map(|pair| unit(*pair)).collect();
    let text = String::from_utf16(&units).ok().filter(|_| odd.is_empty());
    Some(text.ok_or(ReadError::InvalidUtf16))
}

/// Returns the separator that a first line such as `sep=;` names for spreadsheets, and the length of this line in bytes.
fn named_delimiter(content: &[u8]) -> Option<(u8, usize)> {
    let length = content.iter().position(|byte| *byte == b'\n')? + 1;
    let line = content[..length].strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&content[..length]);
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [s, e, p, b'=', delimiter] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") && delimiter.is_ascii() => {
            Some((*delimiter, length))
        }
        _ => None,
    }
}

fn for_each_csv_row(
    mut input: impl Read,
    columns: Columns,
    take: &mut impl FnMut(u64, Result<Fields, Invalid>),
) -> Result<(), ReadError> {
    let mut content = Vec::new();
    input.read_to_end(&mut content)?;
    if let Some(text) = of_utf16(&content) {
        content = text?.into_bytes();
    }
    let told = named_delimiter(&content);
    let skipped = told.map_or(0, |(_, length)| length);
    let first_line = 1 + u64::from(told.is_some());
    let content = &content[skipped..];
    let mut lines = Lines { content, offset: 0, line: first_line };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .delimiter(told.map_or_else(|| delimiter(content), |(delimiter, _)| delimiter))
        .from_reader(content);
    let header = reader.headers()?.clone();
    // Spreadsheets write a byte order mark before the first name. `Phone Number` is `phone_number`.
    let name = |cell: &str| cell.trim_start_matches('\u{FEFF}').trim().to_ascii_lowercase().replace(' ', "_");
    let names: Vec<String> = header.iter().map(name).collect();
    if let Some((_, twice)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
        return Err(ReadError::DuplicateColumn((*twice).to_owned()));
    }
    let missing: Vec<_> =
        columns.required.iter().copied().filter(|name| !names.iter().any(|found| found == name)).collect();
    if !missing.is_empty() {
        let found = header.iter().map(|name| name.escape_debug().take(40).collect()).collect();
        return Err(ReadError::MissingColumns { missing, found, columns });
    }
    let mut record = csv::StringRecord::new();
    loop {
        let start = reader.position().byte();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) if record.len() > names.len() => {
                take(
                    lines.at(start),
                    Err(Invalid(format!("got {} cells for {} columns", record.len(), names.len()).into())),
                );
            }
            Ok(true) => {
                take(lines.at(start), Ok(Fields::from_row(names.iter().map(String::as_str).zip(record.iter()))))
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                take(lines.at(start), Err(Invalid("not valid UTF-8; save the file as \"CSV UTF-8\"".into())));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Counts lines, because the CSV reader's own count is wrong where it skips empty lines.
struct Lines<'a> {
    content: &'a [u8],
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// Returns the line of the first row at or after the byte `start`. `start` must not decrease between calls.
    fn at(&mut self, start: u64) -> u64 {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        while let Some(byte) = self.content.get(self.offset) {
            if self.offset >= start && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.offset += 1;
        }
        self.line
    }
}

fn for_each_json_line(input: impl Read, take: &mut impl FnMut(u64, Result<Fields, Invalid>)) -> Result<(), ReadError> {
    let mut input = BufReader::new(input);
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let read = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_LINE_BYTES) {
            return Err(ReadError::LongLine(line));
        }
        let text = if line == 1 { text.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(&text) } else { &text };
        if !text.trim_ascii().is_empty() {
            take(line, Fields::from_json(text));
        }
    }
    Ok(())
}

/// Rejects every row that repeats the key of an earlier line, because the intended one cannot be known.
pub fn without_doubles<T, K: std::hash::Hash + Eq>(
    rows: Vec<Row<T>>,
    key_field: &str,
    key: impl Fn(&T) -> K,
) -> (Vec<Row<T>>, Vec<BadRow>) {
    let mut lines = std::collections::HashMap::new();
    let mut bad = Vec::new();
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        match lines.entry(key(&row.value)) {
            Entry::Occupied(first) => {
                bad.push(BadRow { line: row.line, reason: format!("{key_field}: duplicate of line {}", first.get()) });
            }
            Entry::Vacant(entry) => {
                entry.insert(row.line);
                kept.push(row);
            }
        }
    }
    (kept, bad)
}
