//! Validity of a certificate, which the TLS library does not expose: two times near the beginning of its DER.

use crate::domain::Timestamp;
use tokio_rustls::rustls::sign::CertifiedKey;

/// The validity period of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Validity {
    /// Returns the time at which a third of the period is left, in microseconds since 1970.
    pub(super) fn renewal_due(self) -> i64 {
        let (from, until) = (self.from.unix_micros(), self.until.unix_micros());
        until - (until - from) / 3
    }
}

/// Returns the validity of the certificate itself, not of the chain behind it.
pub(super) fn parse_validity(certificate: &CertifiedKey) -> Option<Validity> {
    parse_der(certificate.cert.first()?)
}

pub(super) fn warn_if_expired(certificate: &CertifiedKey) {
    if let Some(dates) = parse_validity(certificate).filter(|dates| dates.until < Timestamp::now()) {
        tracing::warn!(until = %dates.until, "certificate expired; clients will reject it");
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns the validity of a certificate in DER as microseconds since 1970, for the fuzz target in `fuzz/`.
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub fn fuzz_validity(der: &[u8]) -> Option<(i64, i64)> {
    parse_der(der).map(|dates| (dates.from.unix_micros(), dates.until.unix_micros()))
}

fn parse_der(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, after)) = expect(VERSION, rest) {
        rest = after;
    }
    // Skips the serial number, the algorithm and the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = expect(tag, rest)?.1;
    }
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (from, rest) = instant(validity)?;
    Some(Validity { from, until: instant(rest)?.0 })
}

/// Returns the content of the first element, if it has this tag, and the rest.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(length).filter(|(bytes, _)| bytes.len() <= 4)?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = after;
    }
    rest.split_at_checked(length).filter(|_| found == tag)
}

fn instant(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, year_digits) = match expect(UTC_TIME, der) {
        Some((text, rest)) => (text, rest, 2),
        None => expect(GENERALIZED_TIME, der).map(|(text, rest)| (text, rest, 4))?,
    };
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == year_digits + 11 && text.is_ascii())?;
    let (year, rest_of_it) = text.split_at(year_digits);
    let year = match year_digits {
        2 if year < "50" => format!("20{year}"),
        2 => format!("19{year}"),
        _ => year.to_owned(),
    };
    let part = |at: usize| &rest_of_it[at..at + 2];
    let text = format!("{year}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8));
    Some((Timestamp::parse(&text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn the_dates_of_a_certificate_are_read_and_of_anything_else_are_not() {
        let mut params = CertificateParams::new(["calls.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 9, 28);
        params.not_after = date_time_ymd(2051, 2, 3);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der();
        let at = |text| Timestamp::parse(text).unwrap();
        let dates = Validity { from: at("2026-09-28T00:00:00Z"), until: at("2051-02-03T00:00:00Z") };
        assert_eq!(parse_der(der), Some(dates));
        for end in 0..80 {
            assert_eq!(parse_der(&der[..end]), None);
        }
        assert_eq!(parse_der(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30]), None);
    }
}
