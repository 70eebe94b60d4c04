//! Values of flags.

use crate::domain::{CallStatus, ConversationId, DriverId, Speaker, Timestamp};
use crate::elevenlabs::client;
use crate::jobs::retention::MIN_AGE;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// Parses an interval of at least one second, so no periodic work runs without a pause.
pub(in crate::cli) fn interval(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if every >= Duration::from_secs(1) { Ok(every) } else { Err("must be 1s or longer".to_owned()) }
}

/// Parses a size such as `512KiB` or `2MB`, in bytes.
pub(in crate::cli) fn size(text: &str) -> Result<usize, String> {
    let bytes = parse_size::parse_size(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (1024..=1 << 30).contains(bytes))
        .ok_or("must be from 1KiB to 1GiB".into())
}

/// Parses a timeout that no client is too slow for.
pub(in crate::cli) fn patience(text: &str) -> Result<Duration, String> {
    let patience = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if patience >= Duration::from_millis(100) { Ok(patience) } else { Err("must be 100ms or longer".to_owned()) }
}

pub(in crate::cli) fn heartbeat(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if every >= Duration::from_millis(100) { Ok(every) } else { Err("must be 100ms or longer".to_owned()) }
}

/// Parses a network such as `10.0.0.0/8`, or one address.
pub(in crate::cli) fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(one).ok_or_else(|| "must be an address or a network such as 10.0.0.0/8".to_owned())
}

/// Parses a domain name that an ACME server issues certificates for.
pub(in crate::cli) fn domain(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    // The TLS-ALPN-01 challenge cannot prove a wildcard.
    if is_name { Ok(text.to_ascii_lowercase()) } else { Err("must be a name such as calls.example.com".to_owned()) }
}

pub(in crate::cli) fn age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if age >= MIN_AGE { Ok(age) } else { Err("must be 1d or longer".to_owned()) }
}

pub(in crate::cli) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = Timestamp::parse(text) {
        return Ok(instant);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "must be a date and time, such as 2026-09-28T12:00:00Z, or a duration, such as 7d")?;
    let seconds = i64::try_from(ago.as_secs()).map_err(|_| "too long ago")?;
    Timestamp::now().plus_seconds(-seconds).ok_or_else(|| "too long ago".to_owned())
}

/// Parses the URL of a service.
pub(in crate::cli) fn service_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if host.is_some_and(|host| host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')) {
        Ok(text.to_owned())
    } else {
        Err("must begin with http:// or https:// and name a host".to_owned())
    }
}

pub(in crate::cli) fn base_url(text: &str) -> Result<String, String> {
    client::parse_base_url(text, true).map_err(|rule| rule.to_string())
}

pub(in crate::cli) fn speaker(text: &str) -> Result<Speaker, &'static str> {
    Speaker::from_stored(text).ok_or("must be agent or driver")
}

pub(in crate::cli) fn status(text: &str) -> Result<CallStatus, &'static str> {
    CallStatus::from_stored(text).ok_or("must be in_progress, completed or failed")
}

pub(in crate::cli) fn conversation_id(text: &str) -> Result<ConversationId, String> {
    ConversationId::new(text).map_err(|rule| rule.to_string())
}

pub(in crate::cli) fn driver_id(text: &str) -> Result<DriverId, String> {
    let number = text.parse().map_err(|_| "must be a whole number".to_owned())?;
    DriverId::new(number).map_err(|rule| rule.to_string())
}

pub(in crate::cli) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|rule| rule.to_string())
}
