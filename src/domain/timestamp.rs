//! Timestamps: UTC, in whole microseconds, in the years 0000 to 9999.

use super::iso8601::{MAX_TEXT_BYTES, has_offset, normalized};
use super::placeholder::{not_filled_in, placeholder};
use super::{Invalid, spelling};
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use time::format_description::well_known::Iso8601;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// A point in time, in UTC and whole microseconds.
///
/// The text form has a fixed width, `YYYY-MM-DDTHH:MM:SS.ffffffZ`, so texts sort like times. The database and the API
/// both use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Length of the text form in bytes.
    pub const TEXT_LEN: usize = 27;

    /// Returns the present time of the system clock.
    pub fn now() -> Self {
        Self::truncated(OffsetDateTime::now_utc())
    }

    /// Parses an ISO 8601 date and time.
    ///
    /// Accepted are extended and basic forms, `T` or a blank between date and time (RFC 3339 permits the blank),
    /// optional minutes and seconds, any number of fraction digits (truncated to six), and any offset. Without an
    /// offset the time is UTC. Other unambiguous forms are accepted too, such as `2026-09-28 12:00:05 +0000 UTC` and
    /// `2026-09-28T07:00:05-05:00[America/Chicago]`.
    ///
    /// # Errors
    /// Anything else, including a date without a time.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(instant) = strict(text) {
            return Ok(instant);
        }
        let refused = |reason: &str| {
            let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            Invalid(
                format!(
                    "must be an ISO 8601 date and time between the years 0000 and 9999, for example \
                     2026-09-28T12:00:05.25Z, got {shown:?}{more}: {reason}"
                )
                .into(),
            )
        };
        if text.len() > MAX_TEXT_BYTES {
            return Err(refused("too long"));
        }
        if let Some(variable) = placeholder(text) {
            return Err(not_filled_in(variable));
        }
        let utc = spelling::read(text).map_err(refused)?;
        let utc = utc.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()));
        utc.map(Self::truncated).ok_or_else(|| refused("outside of the years 0000 to 9999"))
    }

    /// Parses an ISO 8601 date and time, or a date, which stands for the start of that day in UTC.
    ///
    /// # Errors
    /// See [`Timestamp::parse`].
    pub fn parse_bound(text: &str) -> Result<Self, Invalid> {
        let digits = |at: Range<usize>| text.as_bytes()[at].iter().all(u8::is_ascii_digit);
        let is_date = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| (at == 4 || at == 7) == (byte == b'-'))
            && digits(0..4)
            && digits(5..7)
            && digits(8..10);
        if is_date { Self::parse(&format!("{text}T00:00:00Z")) } else { Self::parse(text) }
    }

    /// Parses a bound from a query, where a `+` that was not written as `%2B` has become a blank.
    ///
    /// # Errors
    /// See [`Timestamp::parse_bound`].
    pub fn parse_query_bound(text: &str) -> Result<Self, Invalid> {
        match text.rsplit_once(' ') {
            // A blank between date and time is followed by a time, but there is no time before it.
            Some((time, offset)) if time.contains(':') && is_offset(offset) => {
                Self::parse(&format!("{}+{offset}", time.trim_end()))
            }
            _ => Self::parse_bound(text),
        }
    }

    /// Parses the text form of the database.
    ///
    /// # Errors
    /// Any other form.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        parse_fixed_width(text)
            .ok_or(Invalid::rule("must be an ISO 8601 time in UTC of the form YYYY-MM-DDTHH:MM:SS.ffffffZ"))
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z; negative before.
    pub fn unix_micros(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1000).expect("the years 0000 to 9999 fit 64 bits")
    }

    /// Returns the time this many microseconds after 1970-01-01T00:00:00Z, if it is in the years 0000 to 9999.
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()?;
        (0..=9999).contains(&instant.year()).then(|| Self::truncated(instant))
    }

    /// Returns the time this many seconds later, if it is in the years 0000 to 9999.
    pub fn plus_seconds(self, seconds: i64) -> Option<Self> {
        Self::from_unix_micros(self.unix_micros().checked_add(seconds.checked_mul(1_000_000)?)?)
    }

    /// Returns the time at the end of a pause that begins now, if it is in the years 0000 to 9999.
    pub fn after(pause: Duration) -> Option<Self> {
        let micros = i64::try_from(pause.as_micros()).ok()?;
        Self::from_unix_micros(Self::now().unix_micros().checked_add(micros)?)
    }

    fn truncated(instant: OffsetDateTime) -> Self {
        let micros = instant.microsecond();
        Self(instant.replace_microsecond(micros).expect("taken from a valid instant"))
    }
}

/// Maximum length of a refused text in an error, in characters.
const MAX_SHOWN_CHARS: usize = 40;

/// Returns whether a text is an offset without its sign: `02:00`, `0200` or `02`.
fn is_offset(text: &str) -> bool {
    let digits = text.replacen(':', "", 1);
    let colon_fits = text.len() == digits.len() || (text.len() == 5 && text.as_bytes()[2] == b':');
    colon_fits && matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses the form `YYYY-MM-DDTHH:MM:SS.ffffffZ`. A page of calls has hundreds of them, and `time`'s parser of ISO 8601
/// would take most of its time.
fn parse_fixed_width(text: &str) -> Option<Timestamp> {
    let form = b"0000-00-00T00:00:00.000000Z";
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    if text.len() != form.len() || !text.bytes().zip(form).all(fits) {
        return None;
    }
    let number = |range: Range<usize>| text[range].parse::<u32>().ok();
    let part = |range: Range<usize>| u8::try_from(number(range)?).ok();
    let month = Month::try_from(part(5..7)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(number(0..4)?).ok()?, month, part(8..10)?).ok()?;
    let time = Time::from_hms_micro(part(11..13)?, part(14..16)?, part(17..19)?, number(20..26)?).ok()?;
    Some(Timestamp(PrimitiveDateTime::new(date, time).assume_utc()))
}

/// Parses ISO 8601 only.
fn strict(text: &str) -> Option<Timestamp> {
    let text = normalized(text)?;
    // `PrimitiveDateTime` would ignore an offset that it cannot use, so it only receives texts without one.
    let instant = if has_offset(&text) {
        OffsetDateTime::parse(&text, &Iso8601::PARSING).ok()?
    } else {
        PrimitiveDateTime::parse(&text, &Iso8601::PARSING).ok()?.assume_utc()
    };
    // ISO 8601 has no hours above 23 in an offset, but the parser accepts them.
    if instant.offset().whole_hours().abs() > 23 {
        return None;
    }
    let utc = instant.checked_to_offset(UtcOffset::UTC)?;
    (0..=9999).contains(&utc.year()).then(|| Timestamp::truncated(utc))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (t, mut text) = (self.0, *b"0000-00-00T00:00:00.000000Z");
        let mut put = |end: usize, mut value: u32| {
            let mut at = end;
            while value > 0 {
                at -= 1;
                text[at] = b'0' + u8::try_from(value % 10).expect("a digit");
                value /= 10;
            }
        };
        put(4, t.year().unsigned_abs());
        put(7, u8::from(t.month()).into());
        put(10, t.day().into());
        put(13, t.hour().into());
        put(16, t.minute().into());
        put(19, t.second().into());
        put(26, t.microsecond());
        f.write_str(std::str::from_utf8(&text).expect("ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: &str) -> String {
        Timestamp::parse(input).map_or_else(|e| e.to_string(), |t| t.to_string())
    }

    #[test]
    fn every_documented_form_is_read_as_the_same_instant() {
        for form in [
            "2026-09-28T12:00:05Z",
            "2026-09-28T12:00:05.000Z",
            "2026-09-28t12:00:05z",
            "2026-09-28 12:00:05Z",
            "2026-09-28T12:00:05",
            "20260928T120005Z",
            "20260928T120005",
            "2026-09-28T14:30:05+02:30",
            "2026-09-28T07:00:05-0500",
            "2026-09-28T14:00:05+02",
            "2026-09-28T12:00:05,0+00:00",
            "2026-271T12:00:05Z",
        ] {
            assert_eq!(text(form), "2026-09-28T12:00:05.000000Z", "{form}");
        }
        assert_eq!(text("2026-09-28T12:00Z"), "2026-09-28T12:00:00.000000Z");
        assert_eq!(text("2026-09-28T12:00+02:00"), "2026-09-28T10:00:00.000000Z");
        assert_eq!(text("20260928T1200"), "2026-09-28T12:00:00.000000Z");
    }

    #[test]
    fn fraction_digits_past_the_sixth_are_cut_off() {
        assert_eq!(text("2026-09-28T12:00:08.123456789Z"), "2026-09-28T12:00:08.123456Z");
        assert_eq!(text("2026-09-28T12:00:08.99999999999999999999+00:00"), "2026-09-28T12:00:08.999999Z");
        assert_eq!(text("2026-09-28T12:00:08.1"), "2026-09-28T12:00:08.100000Z");
    }

    #[test]
    fn a_bound_may_be_a_date_and_have_lost_its_plus() {
        let bound = |input: &str| Timestamp::parse_query_bound(input).map_or_else(|e| e.to_string(), |t| t.to_string());
        for (input, instant) in [
            ("2026-09-28", "2026-09-28T00:00:00.000000Z"),
            ("2026-09-28T12:00:00 02:00", "2026-09-28T10:00:00.000000Z"),
            ("2026-09-28T12:00:00+02:00", "2026-09-28T10:00:00.000000Z"),
            ("2026-09-28T12:00:00.5 0530", "2026-09-28T06:30:00.500000Z"),
            ("2026-09-28T12:00 02", "2026-09-28T10:00:00.000000Z"),
            ("2026-09-28 12:00:00 02:00", "2026-09-28T10:00:00.000000Z"),
            ("2026-09-28 12:00", "2026-09-28T12:00:00.000000Z"),
            ("2026-09-28 12:00:05", "2026-09-28T12:00:05.000000Z"),
            ("2026-09-28T12:00:00-05:00", "2026-09-28T17:00:00.000000Z"),
        ] {
            assert_eq!(bound(input), instant, "{input}");
        }
        for bad in
            ["2026-02-30", "2026-9-28", "20260928", "2026-09", "2026-09-28T12:00:00 2:00", "today", "", "٢٠٢٦-09-28"]
        {
            assert!(Timestamp::parse_query_bound(bad).is_err(), "{bad:?} was read as {}", bound(bad));
        }
        assert!(Timestamp::parse("2026-09-28").is_err(), "elsewhere a date without a time is refused");
    }

    #[test]
    fn what_is_no_date_and_time_is_refused() {
        for bad in [
            "",
            " ",
            "now",
            "2026-09-28",
            "12:00:05",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-09-28T25:00:00Z",
            "2026-09-28T12:61:00Z",
            "2026-09-28T12:00:05+25:00",
            "2026-09-28T12:00:05+02:99",
            "2026-09-28T12:00:05Zx",
            "1790596805",
            "-000001-01-01T00:00:00Z",
            "+010000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
            "２０２６-09-28T12:00:05Z",
            "2026-09-28T12:00:05.Z",
            "2026-09-28TT12:00:05Z",
            "2026-09-28T12:00:05+",
            "2026-09-28T12:00:05-",
        ] {
            assert!(Timestamp::parse(bad).is_err(), "{bad:?} was read as {}", text(bad));
        }
    }

    #[test]
    fn the_text_form_reads_back_as_itself_at_both_ends() {
        for edge in ["0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.000001Z"] {
            assert_eq!(text(edge), edge);
            assert_eq!(Timestamp::from_stored(edge).unwrap().to_string(), edge);
        }
    }

    #[test]
    fn only_the_text_form_of_the_database_is_read_as_stored() {
        for bad in [
            "2026-09-28T12:00:05Z",
            "2026-09-28 12:00:05.000000Z",
            "2026-09-28T12:00:05.000000z",
            "2026-09-28T12:00:05.00000+Z",
            "2026-02-29T12:00:05.000000Z",
            "2026-13-28T12:00:05.000000Z",
            "2026-00-28T12:00:05.000000Z",
            "2026-09-28T24:00:05.000000Z",
            "2026-09-28T12:60:05.000000Z",
            "2026-09-28T12:00:60.000000Z",
            "+026-09-28T12:00:05.000000Z",
            "2026-09-28T12:00:05.0000é0Z",
            "",
        ] {
            assert!(Timestamp::from_stored(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Timestamp::from_stored("2024-02-29T23:59:59.999999Z"),
            Timestamp::parse("2024-02-29T23:59:59.999999Z")
        );
    }
}
