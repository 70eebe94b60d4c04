//! Reads drivers and dispatches from a file: CSV with a header, or JSON Lines. Each error names its line.

use crate::domain::Invalid;
use crate::domain::validation::{FieldError, FieldReader};
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use thiserror::Error;

/// The layout of an imported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
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
pub struct RowError {
    /// Line in the file, from 1.
    pub line: u64,
    /// The invalid fields, or the error of the line as a whole.
    pub reason: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// The rows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedRows<T> {
    /// The valid rows.
    pub rows: Vec<Row<T>>,
    /// The errors of the invalid rows.
    pub errors: Vec<RowError>,
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
#[derive(Debug, Error)]
pub enum ReadError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not valid CSV.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// The file is not valid UTF-16, although it begins like it.
    #[error("not valid UTF-16")]
    Utf16,
    /// The header has this column twice.
    #[error("line 1: duplicate column {0:?}")]
    DuplicateColumn(String),
    /// The header lacks columns.
    #[error(
        "line 1: missing column {}; found: {}; required: {}; optional: {}",
        missing.join(", "), found.join(", "), columns.required.join(", "), columns.optional.join(", ")
    )]
    MissingColumns {
        /// The required columns that are not there.
        missing: Vec<&'static str>,
        /// The columns that are there, shortened.
        found: Vec<String>,
        /// The columns that a file may have.
        columns: Columns,
    },
    /// A line could not be read.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Reads all rows with `read`, and returns the valid and the invalid ones.
///
/// # Errors
/// The file cannot be read, or the header of a CSV file repeats a column or lacks a required one.
pub fn read_rows<T>(
    input: impl Read,
    format: ImportFormat,
    columns: Columns,
    read: impl Fn(FieldReader) -> Result<T, Vec<FieldError>>,
) -> Result<ParsedRows<T>, ReadError> {
    let mut rows = Vec::new();
    let mut errors = Vec::new();
    let mut take = |line, fields: Result<FieldReader, Invalid>| match fields.map(&read) {
        Ok(Ok(value)) => rows.push(Row { line, value }),
        Ok(Err(problems)) => errors.push(RowError { line, reason: crate::domain::validation::join_errors(&problems) }),
        Err(rule) => errors.push(RowError { line, reason: rule.to_string() }),
    };
    match format {
        ImportFormat::Csv => for_each_csv_row(input, columns, &mut take)?,
        ImportFormat::JsonLines => for_each_json_line(input, &mut take)?,
    }
    Ok(ParsedRows { rows, errors })
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

/// Decodes UTF-16 with a byte order mark, in which spreadsheets save "Unicode text". Returns `None` without the mark.
fn decode_utf16(content: &[u8]) -> Option<Result<String, ReadError>> {
    let (unit, rest): (fn([u8; 2]) -> u16, _) = match content {
        [0xFF, 0xFE, rest @ ..] => (u16::from_le_bytes, rest),
        [0xFE, 0xFF, rest @ ..] => (u16::from_be_bytes, rest),
        _ => return None,
    };
    let (pairs, odd) = rest.as_chunks();
    let units: Vec<_> = pairs.iter().map(|pair| unit(*pair)).collect();
    let text = String::from_utf16(&units).ok().filter(|_| odd.is_empty());
    Some(text.ok_or(ReadError::Utf16))
}

/// Returns the separator that a first line such as `sep=;` names for spreadsheets, and the length of this line in
/// bytes.
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
    take: &mut impl FnMut(u64, Result<FieldReader, Invalid>),
) -> Result<(), ReadError> {
    let mut content = Vec::new();
    input.read_to_end(&mut content)?;
    if let Some(text) = decode_utf16(&content) {
        content = text?.into_bytes();
    }
    let told = named_delimiter(&content);
    let skipped = told.map_or(0, |(_, length)| length);
    let first_line = 1 + u64::from(told.is_some());
    let content = &content[skipped..];
    let mut lines = LineReader { content, offset: 0, line: first_line };
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
        return Err(ReadError::DuplicateColumn((*twice).clone()));
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
                    lines.line_at(start),
                    Err(Invalid(format!("got {} cells for {} columns", record.len(), names.len()).into())),
                );
            }
            Ok(true) => {
                take(
                    lines.line_at(start),
                    Ok(FieldReader::from_row(names.iter().map(String::as_str).zip(record.iter()))),
                );
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                take(lines.line_at(start), Err(Invalid("not valid UTF-8; save the file as \"CSV UTF-8\"".into())));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Counts lines, because the CSV reader's own count is wrong where it skips empty lines.
struct LineReader<'a> {
    content: &'a [u8],
    offset: usize,
    line: u64,
}

impl LineReader<'_> {
    /// Returns the line of the first row at or after the byte `start`. `start` must not decrease between calls.
    fn line_at(&mut self, start: u64) -> u64 {
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

fn for_each_json_line(
    input: impl Read,
    take: &mut impl FnMut(u64, Result<FieldReader, Invalid>),
) -> Result<(), ReadError> {
    let mut lines = JsonLines::new(input, MAX_LINE_BYTES);
    while let Some((line, text)) = lines.next_line()? {
        take(line, FieldReader::from_json(text));
    }
    Ok(())
}

/// Byte order mark of UTF-8, which some Windows programs write.
const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// A reader of JSON Lines that bounds the length of a line.
#[derive(Debug)]
pub struct JsonLines<R> {
    input: BufReader<R>,
    max_line_bytes: u64,
    line: u64,
    text: Vec<u8>,
}

/// A line that could not be read.
#[derive(Debug, Error)]
pub enum LineError {
    /// The line exceeds the maximum length, in bytes.
    #[error("line {0}: longer than {1} bytes")]
    TooLong(u64, u64),
    /// The operating system refused.
    #[error("line {0}: cannot be read: {1}")]
    Io(u64, io::Error),
}

impl<R: Read> JsonLines<R> {
    /// Creates a reader of lines up to this length.
    pub fn new(input: R, max_line_bytes: u64) -> Self {
        Self { input: BufReader::new(input), max_line_bytes, line: 0, text: Vec::new() }
    }

    /// Reads the next line that is not blank, and returns its number and its text. Returns `None` at the end.
    ///
    /// A byte order mark is removed from any line, because files may have been concatenated.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, LineError> {
        let start = loop {
            self.line += 1;
            self.text.clear();
            let mut line = self.input.by_ref().take(self.max_line_bytes + 1);
            let read = line.read_until(b'\n', &mut self.text).map_err(|error| LineError::Io(self.line, error))?;
            if read == 0 {
                return Ok(None);
            }
            if u64::try_from(read).is_ok_and(|length| length > self.max_line_bytes) {
                return Err(LineError::TooLong(self.line, self.max_line_bytes));
            }
            let start = if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            if !self.text[start..].trim_ascii().is_empty() {
                break start;
            }
        };
        Ok(Some((self.line, &self.text[start..])))
    }
}

impl<T> ParsedRows<T> {
    /// Rejects every row that repeats the key of an earlier line, because the intended one cannot be known.
    pub fn reject_repeated<K: std::hash::Hash + Eq>(&mut self, key_field: &str, key: impl Fn(&T) -> K) {
        let mut lines = std::collections::HashMap::new();
        for row in std::mem::take(&mut self.rows) {
            match lines.entry(key(&row.value)) {
                Entry::Occupied(first) => {
                    let reason = format!("{key_field}: duplicate of line {}", first.get());
                    self.errors.push(RowError { line: row.line, reason });
                }
                Entry::Vacant(entry) => {
                    entry.insert(row.line);
                    self.rows.push(row);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_numbers_without_marks_and_blank_lines() {
        let text = "\u{FEFF}\n{\"a\":1}\r\n \t\n\u{FEFF}{\"b\":2}\n\n{\"c\":3}";
        let mut lines = JsonLines::new(text.as_bytes(), 20);
        let mut read = Vec::new();
        while let Some((line, text)) = lines.next_line().unwrap() {
            read.push((line, String::from_utf8(text.trim_ascii().to_vec()).unwrap()));
        }
        let expected = [(2, "{\"a\":1}"), (4, "{\"b\":2}"), (6, "{\"c\":3}")];
        assert_eq!(read, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn a_line_beyond_the_maximum_is_an_error_by_its_number() {
        let mut lines = JsonLines::new("{}\n{\"long\":1}\n".as_bytes(), 5);
        assert_eq!(lines.next_line().unwrap(), Some((1, &b"{}\n"[..])));
        assert!(matches!(lines.next_line(), Err(LineError::TooLong(2, 5))));
    }
}
