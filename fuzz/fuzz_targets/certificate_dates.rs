//! The dates of a certificate: no bytes make their reader panic, and what follows the certificate changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcribe_hook::server::tls::fuzz_validity;

fuzz_target!(|der: &[u8]| {
    let Some(dates) = fuzz_validity(der) else { return };
    let followed = [der, b"\x30\x03\x02\x01\x00"].concat();
    assert_eq!(fuzz_validity(&followed), Some(dates));
    // The shortest certificate has a version, a serial number, an algorithm, an issuer and two times.
    assert!(der.len() > 2 * 13, "{} bytes", der.len());
});
