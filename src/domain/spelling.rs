//! Parses dates and times that are unambiguous but not ISO 8601.
//!
//! Used only if the strict parser fails. Python writes `…+00:00Z` (`isoformat() + "Z"`), Go `2026-09-28 12:00:05 +0000
//! UTC`, Java `…-05:00[America/Chicago]`, Ruby and PostgreSQL a blank before the zone, HTTP and e-mail `Mon, 28 Sep
//! 2026 12:00:05 GMT`; language models write anything. Ambiguous texts are refused: a zone that is only a name, two
//! different offsets, or an unclear order of day and month.

use super::iso8601::naive;
use super::month::with_number_of_month;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// The reason why a text has no unambiguous time.
pub(super) type Reason = &'static str;

/// The time zone in a text.
#[derive(Debug, Clone, Copy, Default)]
struct Zone {
    /// Offset, in seconds.
    offset: Option<i64>,
    /// True if there is a zone name without a known offset.
    name: bool,
    meridiem: Option<Meridiem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meridiem {
    Am,
    Pm,
}

impl Zone {
    fn add(&mut self, offset: i64) -> Result<(), Reason> {
        match self.offset.replace(offset) {
            Some(other) if other != offset => Err("the two offsets differ"),
            _ => Ok(()),
        }
    }
}

/// Returns the time that a text stands for.
///
/// # Errors
/// The reason why it is refused, to be printed after `must be …: `.
pub(super) fn read(text: &str) -> Result<OffsetDateTime, Reason> {
    let text: String = text.chars().filter_map(plain).collect();
    let text = text.trim_matches([' ', '"', '\'', '`']);
    if !text.is_ascii() {
        return Err("contains characters that no date has");
    }
    // A single letter may be a military zone, which is easily confused.
    let letter = text.rsplit(' ').next().is_some_and(|last| last.len() == 1 && last != "Z");
    if let Some(instant) = OffsetDateTime::parse(text, &Rfc2822).ok().filter(|_| !letter) {
        return Ok(instant);
    }
    let numbered = with_number_of_month(text);
    let (local, zone) = without_zone(numbered.as_deref().unwrap_or(text))?;
    if zone.offset.is_none() && zone.name {
        return Err("the zone is not certain; write the offset, such as -05:00");
    }
    let (date, time) = split(local)?;
    let instant = moment(&date, time, zone.meridiem)?;
    let utc = instant.checked_sub(Duration::seconds(zone.offset.unwrap_or(0)));
    utc.map(PrimitiveDateTime::assume_utc).ok_or("outside of the years 0000 to 9999")
}

/// Returns the ASCII form of a character, or `None` if it is invisible.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{FEFF}' => None,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' | '\u{FF0D}' => Some('-'),
        '\u{201C}' | '\u{201D}' => Some('"'),
        c if c.is_whitespace() || c.is_control() => Some(' '),
        c => Some(c),
    }
}

/// Removes all zones from the end of a text, and returns the rest.
fn without_zone(mut text: &str) -> Result<(&str, Zone), Reason> {
    let mut zone = Zone::default();
    loop {
        text = text.trim_end();
        let shorter = if let Some((before, name)) = bracketed(text, '[', ']') {
            // RFC 9557: the name of a zone, or a calendar. With an offset it has no effect.
            match offset(name.trim_start_matches('!')) {
                Some(seconds) => zone.add(seconds)?,
                None if is_utc(name) => zone.add(0)?,
                None => zone.name |= !name.contains('='),
            }
            before
        } else if let Some((before, _)) = bracketed(text, '(', ')') {
            before
        } else if let Some((before, name)) = text.rsplit_once(' ').filter(|(_, name)| is_place(name)) {
            if is_utc(name) {
                zone.add(0)?;
            } else {
                zone.name = true;
            }
            before
        } else if let Some((before, _)) = text.split_once(" m=") {
            // Go's monotonic clock.
            before
        } else {
            let word_at = text.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
            let (before, word) = text.split_at(word_at);
            match word {
                "" => match numeric(text) {
                    Some((before, seconds)) => {
                        zone.add(seconds)?;
                        before
                    }
                    None => return Ok((text, zone)),
                },
                _ if is_utc(word) => {
                    zone.add(0)?;
                    before
                }
                _ if word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm") => {
                    let pm = word.eq_ignore_ascii_case("pm");
                    if zone.meridiem.replace(if pm { Meridiem::Pm } else { Meridiem::Am }).is_some() {
                        return Err("AM or PM is repeated");
                    }
                    before
                }
                // `CEST` and similar. A single letter may be a military zone or a mistake.
                _ if before.is_empty() || word.len() < 2 || word.len() > 5 => return Ok((text, zone)),
                _ => {
                    zone.name = true;
                    before
                }
            }
        };
        text = shorter;
    }
}

fn bracketed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    text.strip_suffix(close)?.rsplit_once(open)
}

/// Returns whether a word is a zone name such as `America/Chicago`.
fn is_place(word: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+');
    word.contains('/') && word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(in_name)
}

fn is_utc(name: &str) -> bool {
    ["z", "zz", "utc", "gmt", "ut", "zulu", "etc/utc", "etc/gmt", "utc/zulu"]
        .iter()
        .any(|utc| name.eq_ignore_ascii_case(utc))
}

/// Removes an offset that follows a time of day: `+02:00`, `-0500`, `+02`, `UTC+2`.
fn numeric(text: &str) -> Option<(&str, i64)> {
    let sign = text.rfind(['+', '-'])?;
    let seconds = offset(&text[sign..])?;
    let before = text[..sign].trim_end();
    let unnamed = ["UTC", "GMT", "utc", "gmt"].iter().find_map(|name| before.strip_suffix(name)).unwrap_or(before);
    let unnamed = unnamed.trim_end();
    // Without a time of day before it, it is the end of a date.
    split(unnamed).is_ok().then_some((unnamed, seconds))
}

/// Parses an offset, and returns it in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let parts: Vec<&str> = match digits.split(':').collect::<Vec<_>>()[..] {
        [one] if one.is_ascii() && matches!(one.len(), 4 | 6) => {
            (0..one.len()).step_by(2).map(|at| &one[at..at + 2]).collect()
        }
        ref parts => parts.to_vec(),
    };
    let mut seconds = 0;
    for (place, (part, unit)) in parts.iter().zip([3600, 60, 1]).enumerate() {
        let short = place == 0 && part.len() == 1;
        let limit = if place == 0 { 24 } else { 60 };
        if !(short || part.len() == 2) || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: i64 = part.parse().ok().filter(|number| *number < limit)?;
        seconds += number * unit;
    }
    (1..=3).contains(&parts.len()).then_some(sign * seconds)
}

/// Splits a local date and time, and normalizes the separators of the date to dashes.
fn split(text: &str) -> Result<(String, &str), Reason> {
    const INCOMPLETE: Reason = "needs both a date and a time of day";
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("is a number");
    }
    let is_between = |c: char| matches!(c, 'T' | 't' | ' ' | '_' | ',');
    let at = text.find(is_between).ok_or(INCOMPLETE)?;
    let time = text[at..].trim_start_matches(is_between);
    let between = text[at..text.len() - time.len()].trim_matches(' ');
    if !time.starts_with(|c: char| c.is_ascii_digit()) || between.len() > 1 {
        return Err(INCOMPLETE);
    }
    let date = &text[..at];
    let parts: Vec<_> = date.split(['-', '/', '.']).collect();
    Ok(match parts[..] {
        // A leading year makes the order unambiguous.
        [year, month, day] if year.len() == 4 && month.len() <= 2 && day.len() <= 2 => {
            (format!("{year}-{month:0>2}-{day:0>2}"), time)
        }
        _ => (date.to_owned(), time),
    })
}

/// Combines a date and a time of day.
fn moment(date: &str, time: &str, meridiem: Option<Meridiem>) -> Result<PrimitiveDateTime, Reason> {
    const WRONG: Reason = "no such date or time";
    let later = |date: &str, time: &str, seconds: i64| {
        naive(&format!("{date}T{time}")).and_then(|moment| moment.checked_add(Duration::seconds(seconds))).ok_or(WRONG)
    };
    let time = if time.find(':') == Some(1) { format!("0{time}") } else { time.to_owned() };
    let (Some(hour), Some(rest)) = (time.get(..2), time.get(2..)) else { return Err(WRONG) };
    if let Some(meridiem) = meridiem {
        let hour: u8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour)).ok_or(WRONG)?;
        let hour = hour % 12 + if meridiem == Meridiem::Pm { 12 } else { 0 };
        return later(date, &format!("{hour:02}{rest}"), 0);
    }
    // 24:00 is the start of the next day.
    if hour == "24" && rest.bytes().all(|byte| matches!(byte, b'0' | b':' | b'.' | b',')) {
        return later(date, &format!("00{rest}"), 86_400);
    }
    // A leap second, as in the strict parser.
    if time.starts_with("23:59:60") {
        return later(date, "23:59:59.999999", 0);
    }
    later(date, &time, 0)
}

#[cfg(test)]
mod tests {
    use crate::domain::Timestamp;
    use proptest::prelude::{ProptestConfig, any};
    use proptest::test_runner::TestRunner;

    fn text(input: &str) -> String {
        Timestamp::parse(input).map_or_else(|error| error.to_string(), |time| time.to_string())
    }

    #[test]
    fn spellings_of_a_certain_instant_are_read_as_that_instant() {
        for spelling in [
            "2026-09-28T12:00:05.123456+00:00Z",
            " 2026-09-28T12:00:05.123456Z\n",
            "\"2026-09-28T12:00:05.123456Z\"",
            "2026-09-28T12:00:05.123456Z[UTC]",
            "2026-09-28T07:00:05.123456-05:00[America/Chicago]",
            "2026-09-28T07:00:05.123456-05:00[!America/Chicago][u-ca=gregory]",
            "2026-09-28T07:00:05.123456\u{2212}05:00",
            "2026-09-28T12:00:05.123456 UTC",
            "2026-09-28T12:00:05.123456UTC",
            "2026-09-28 12:00:05,123456 gmt",
            "2026-09-28 12:00:05.123456 Z",
            "2026-09-28 12:00:05.123456 +0000",
            "2026-09-28 12:00:05.123456+00",
            "2026-09-28 12:00:05.123456 +0000 UTC",
            "2026-09-28 12:00:05.123456789 +0000 UTC m=+0.012345678",
            "2026-09-28 14:00:05.123456 +0200 CEST",
            "2026-09-28T14:00:05.123456 GMT+0200 (Central European Summer Time)",
            "2026-09-28T14:00:05.123456 UTC+2",
            "2026-09-28T14:00:05.123456+2:00",
            "2026-09-28T12:00:05.123456+00:00:00",
            "2026-09-28T17:53:33.123456+05:53:28",
            "2026-09-28_12:00:05.123456Z",
            "2026-09-28, 12:00:05.123456Z",
            "2026\u{2010}09\u{2010}28T12:00:05.123456Z",
            "2026/9/28 12:00:05.123456Z",
            "2026-09-28T12:00:05.123456-00:00",
            "20260928T120005.123456 UTC",
            "2026-09-28 12:00:05.123456 PM",
            "2026-09-28\u{A0}12:00:05.123456Z",
        ] {
            assert_eq!(text(spelling), "2026-09-28T12:00:05.123456Z", "{spelling}");
        }
        for (spelling, instant) in [
            ("Mon, 28 Sep 2026 12:00:05 GMT", "2026-09-28T12:00:05.000000Z"),
            ("28 Sep 2026 07:00:05 -0500", "2026-09-28T12:00:05.000000Z"),
            ("Mon Sep 28 2026 07:00:05 GMT-0500 (Central Daylight Time)", "2026-09-28T12:00:05.000000Z"),
            ("Mon Sep 28 12:00:05 UTC 2026", "2026-09-28T12:00:05.000000Z"),
            ("Mon Sep  7 12:00:05 +0000 2026", "2026-09-07T12:00:05.000000Z"),
            ("Mon Sep 28 12:00:05 2026", "2026-09-28T12:00:05.000000Z"),
            ("Mon 28 Sep 2026 12:00:05 PM UTC", "2026-09-28T12:00:05.000000Z"),
            ("Monday, 28-Sep-2026 12:00:05 UTC", "2026-09-28T12:00:05.000000Z"),
            ("28-Sep-2026 12:00:05.25", "2026-09-28T12:00:05.250000Z"),
            ("28 September 2026 12:00:05 UTC", "2026-09-28T12:00:05.000000Z"),
            ("September 28th, 2026 at 7:00:05 AM GMT-5", "2026-09-28T12:00:05.000000Z"),
            ("Sept. 28, 2026, 12:00:05\u{202F}PM", "2026-09-28T12:00:05.000000Z"),
            ("2026-09-28T07:00:05-05:00 America/Chicago", "2026-09-28T12:00:05.000000Z"),
            ("2026-09-28 12:00:05 Etc/UTC", "2026-09-28T12:00:05.000000Z"),
            ("2026-09-28 7:05", "2026-09-28T07:05:00.000000Z"),
            ("2026-09-28 12:05:00 am", "2026-09-28T00:05:00.000000Z"),
            ("2026-12-31T24:00:00Z", "2027-01-01T00:00:00.000000Z"),
            ("2026-12-31T24:00+01:00", "2026-12-31T23:00:00.000000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
            ("2016-12-31 23:59:60.5 UTC", "2016-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(text(spelling), instant, "{spelling}");
        }
    }

    #[test]
    fn what_leaves_the_instant_open_is_refused_with_the_value_and_the_reason() {
        for (spelling, reason) in [
            ("2026-09-28", "both a date and a time"),
            ("12:00:05Z", "both a date and a time"),
            ("1790596805", "is a number"),
            ("2026-09-28T12:00:05+02:00Z", "offsets differ"),
            ("2026-09-28T12:00:05Z[+01:00]", "offsets differ"),
            ("2026-09-28T12:00:05 CEST", "zone is not certain"),
            ("2026-09-28T12:00:05[America/Chicago]", "zone is not certain"),
            ("28/09/2026 12:00:05Z", "no such date"),
            ("09-28-2026 12:00:05Z", "no such date"),
            ("Monday, 28-Sep-26 12:00:05 GMT", "no such date"),
            ("Mon Feb 30 2026 12:00:05 GMT", "no such date"),
            ("Mon Sep 28 2026", "both a date and a time"),
            ("Mon Sep 28 12:00:05 CDT 2026", "zone is not certain"),
            ("2026-09-28 12:00:05 Europe/Berlin", "zone is not certain"),
            ("2026-02-30T12:00:05Z", "no such date"),
            ("2026-09-28T24:00:01Z", "no such date"),
            ("2026-09-28T12:00:60Z", "no such date"),
            ("2026-09-28T14:00:05 PM", "no such date"),
            ("2026-09-28T12:00:05+24:00", "no such date"),
            ("2026-09-28T12:00:05 00:00", "no such date"),
            ("2026-09-28T12:00:05B", "no such date"),
            ("Mon, 28 Sep 2026 12:00:05 B", ""),
            ("２０２６-09-28T12:00:05Z", "characters that no date has"),
        ] {
            let error = Timestamp::parse(spelling).map_or_else(|error| error.to_string(), |time| time.to_string());
            assert!(error.contains("ISO 8601") && error.contains(reason), "{spelling}: {error}");
            assert!(error.contains(spelling), "{error}");
        }
        assert!(text("{{system__time_utc}}").contains("system__time_utc"), "the variable is named");
        assert!(text(&"2026-09-28T12:00:05Z".repeat(1000)).len() < 300, "what is shown is short");
    }

    #[test]
    fn any_instant_in_any_spelling_comes_back_as_that_instant() {
        let separators = ["T", "t", " ", "  ", "_", ", ", "\u{A0}"];
        let zones = ["Z", "z", " Z", " UTC", "GMT", " gmt", "ZZ", " +0000 UTC", "[UTC]"];
        let around = ["", " ", "\n", "\"", "\u{FEFF}"];
        let config = ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() };
        let values = (
            -62_000_000_000_000_000_i64..253_000_000_000_000_000,
            -1439_i64..=1439,
            any::<[proptest::sample::Index; 4]>(),
        );
        let checked = TestRunner::new(config).run(&values, |(micros, minutes, [separator, zone, edge, form])| {
            let instant = Timestamp::from_unix_micros(micros).unwrap();
            let form = form.index(6);
            let minutes = if form == 0 { 0 } else { minutes };
            let local = instant.plus_seconds(minutes * 60).unwrap().to_string();
            let (sign, hours, rest) = (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
            let zone = match form {
                0 => zones[zone.index(zones.len())].to_owned(),
                1 => format!("{sign}{hours:02}:{rest:02}"),
                2 => format!(" {sign}{hours:02}{rest:02} CEST"),
                3 => format!("{}{hours:02}:{rest:02}[Europe/Berlin]", if minutes < 0 { '\u{2212}' } else { '+' }),
                4 => format!(" GMT{sign}{hours}:{rest:02}"),
                _ => format!("{sign}{hours:02}:{rest:02}:00"),
            };
            let (date, time) = local.trim_end_matches('Z').split_once('T').unwrap();
            let edge = around[edge.index(around.len())];
            let spelling = format!("{edge}{date}{}{time}{zone}{edge}", separators[separator.index(separators.len())]);
            assert_eq!(text(&spelling), instant.to_string(), "{spelling}");
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
