//! Values of flags.

use crate::domain::{
    AnsweredBy, CallOutcome, CallStatus, Channel, ConversationId, Direction, DriverId, Invalid, NoticeType, NumberEnd,
    Speaker, Timestamp, TurnKind,
};
use crate::elevenlabs::client::{self, PlainHttp};
use crate::jobs::retention::MIN_AGE;
use humantime::DurationError;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// The reason why the value of a flag is invalid, as a rule that follows the flag's name.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ValueError {
    #[error("{0}")]
    Rule(&'static str),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Duration(#[from] DurationError),
    #[error(transparent)]
    Size(#[from] parse_size::Error),
    #[error("unknown log level {0:?}; levels are off, error, warn, info, debug, trace")]
    LogLevel(String),
    #[error(transparent)]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
}

/// Parses a duration such as `15m`.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, ValueError> {
    humantime::parse_duration(text).map_err(|error| match error {
        // Its own example is in seconds, which would erase everything if it was the age of calls to erase.
        DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
            ValueError::Rule("must have a unit, such as 90d, 24h, 15m or 30s")
        }
        other => ValueError::Duration(other),
    })
}

/// Parses an interval of at least one second, so no periodic work runs without a pause.
pub(in crate::cli) fn interval(text: &str) -> Result<Duration, ValueError> {
    let every = duration(text)?;
    if every >= Duration::from_secs(1) { Ok(every) } else { Err(ValueError::Rule("must be 1s or longer")) }
}

/// Parses a size such as `512KiB` or `2MB`, in bytes.
pub(in crate::cli) fn size(text: &str) -> Result<usize, ValueError> {
    let bytes = parse_size::parse_size(text)?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (1024..=1 << 30).contains(bytes))
        .ok_or(ValueError::Rule("must be from 1KiB to 1GiB"))
}

/// Parses a timeout that no client is too slow for.
pub(in crate::cli) fn patience(text: &str) -> Result<Duration, ValueError> {
    let patience = duration(text)?;
    if patience >= Duration::from_millis(100) { Ok(patience) } else { Err(ValueError::Rule("must be 100ms or longer")) }
}

pub(in crate::cli) fn heartbeat(text: &str) -> Result<Duration, ValueError> {
    let every = duration(text)?;
    if every >= Duration::from_millis(100) { Ok(every) } else { Err(ValueError::Rule("must be 100ms or longer")) }
}

/// Parses a network such as `10.0.0.0/8`, or one address.
pub(in crate::cli) fn network(text: &str) -> Result<IpNet, ValueError> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).ok_or(ValueError::Rule("must be an address or a network such as 10.0.0.0/8"))
}

/// Parses a domain name that an ACME server issues certificates for.
pub(in crate::cli) fn domain(text: &str) -> Result<String, ValueError> {
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    // The TLS-ALPN-01 challenge cannot prove a wildcard.
    if is_name {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ValueError::Rule("must be a name such as calls.example.com"))
    }
}

pub(in crate::cli) fn age(text: &str) -> Result<Duration, ValueError> {
    let age = duration(text)?;
    if age >= MIN_AGE { Ok(age) } else { Err(ValueError::Rule("must be 1d or longer")) }
}

pub(in crate::cli) fn since(text: &str) -> Result<Timestamp, ValueError> {
    if let Ok(instant) = Timestamp::parse_bound(text) {
        return Ok(instant);
    }
    let rule = "must be a date, such as 2026-09-28, a date and time, such as 2026-09-28T12:00:00Z, or a duration, \
                such as 7d";
    let ago = humantime::parse_duration(text).map_err(|_| ValueError::Rule(rule))?;
    let start = i64::try_from(ago.as_secs()).ok().and_then(|seconds| Timestamp::now().plus_seconds(-seconds));
    start.ok_or(ValueError::Rule("too long ago"))
}

/// Parses the URL of a service. Paths are appended to it.
pub(in crate::cli) fn service_url(text: &str) -> Result<String, ValueError> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let begins = |host: &str| host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    if host.is_some_and(|host| begins(host) && !host.contains(['@', '?', '#'])) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::Rule("must be http:// or https:// and a host, without a user or a query"))
    }
}

/// Parses the URL of an ACME server's directory, which is used as it is given.
pub(in crate::cli) fn directory_url(text: &str) -> Result<String, ValueError> {
    base_url(text)?;
    Ok(text.to_owned())
}

pub(in crate::cli) fn base_url(text: &str) -> Result<String, ValueError> {
    Ok(client::parse_base_url(text, PlainHttp::OnLoopback)?)
}

/// Parses a type of notices about calls.
pub(in crate::cli) fn notice_type(text: &str) -> Result<NoticeType, ValueError> {
    NoticeType::ABOUT_CALLS.into_iter().find(|kind| kind.as_str() == text.trim()).ok_or(ValueError::Rule(
        "must be call.started, call.ended, call.reconciled, call.updated, call.erased, recording.stored or \
         alert.matched",
    ))
}

/// Parses the pause before the first retry.
pub(in crate::cli) fn retry_pause(text: &str) -> Result<Duration, ValueError> {
    let pause = duration(text)?;
    let range = Duration::from_micros(100)..=Duration::from_hours(1);
    if range.contains(&pause) { Ok(pause) } else { Err(ValueError::Rule("must be from 100us to 1h")) }
}

pub(in crate::cli) fn speaker(text: &str) -> Result<Speaker, ValueError> {
    Speaker::from_stored(text).ok_or(ValueError::Rule("must be agent or driver"))
}

pub(in crate::cli) fn status(text: &str) -> Result<CallStatus, ValueError> {
    CallStatus::from_stored(text).ok_or(ValueError::Rule("must be in_progress, completed or failed"))
}

pub(in crate::cli) fn answered_by(text: &str) -> Result<AnsweredBy, ValueError> {
    const RULE: &str = "must be human, voicemail, fax, busy, no_answer, failed or unknown";
    AnsweredBy::from_stored(text).ok_or(ValueError::Rule(RULE))
}

pub(in crate::cli) fn outcome(text: &str) -> Result<CallOutcome, ValueError> {
    CallOutcome::from_stored(text).ok_or(ValueError::Rule("must be success, failure or unknown"))
}

pub(in crate::cli) fn direction(text: &str) -> Result<Direction, ValueError> {
    Direction::from_stored(text).ok_or(ValueError::Rule("must be inbound or outbound"))
}

pub(in crate::cli) fn channel(text: &str) -> Result<Channel, ValueError> {
    Channel::from_stored(text).ok_or(ValueError::Rule("must be phone, web, sms, whatsapp, text or unknown"))
}

pub(in crate::cli) fn turn_kind(text: &str) -> Result<TurnKind, ValueError> {
    const RULE: &str = "must be speech, silence, backchannel, keypad, text or context";
    TurnKind::from_stored(text).ok_or(ValueError::Rule(RULE))
}

pub(in crate::cli) fn number(text: &str) -> Result<NumberEnd, ValueError> {
    Ok(NumberEnd::parse(text)?)
}

/// Parses an identifier or name of ElevenLabs.
pub(in crate::cli) fn name(text: &str) -> Result<String, ValueError> {
    if (1..=256).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::Rule("must be 1 to 256 characters"))
    }
}

pub(in crate::cli) fn seconds(text: &str) -> Result<i64, ValueError> {
    text.parse().ok().filter(|seconds| *seconds >= 0).ok_or(ValueError::Rule("must be a number of seconds"))
}

pub(in crate::cli) fn conversation_id(text: &str) -> Result<ConversationId, ValueError> {
    Ok(ConversationId::new(text)?)
}

pub(in crate::cli) fn driver_id(text: &str) -> Result<DriverId, ValueError> {
    let number = text.parse().map_err(|_| ValueError::Rule("must be a whole number"))?;
    Ok(DriverId::new(number)?)
}

pub(in crate::cli) fn time(text: &str) -> Result<Timestamp, ValueError> {
    Ok(Timestamp::parse_bound(text)?)
}
