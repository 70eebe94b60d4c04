//! Addresses to listen on.

use crate::domain::Invalid;
use std::net::SocketAddr;

/// Parses an address and a port. The error has an example with the port that was meant.
///
/// # Errors
/// The text is not an IP address with a port.
pub(in crate::cli) fn listen_address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().map_err(|_| {
        let after_colon = text.rsplit(':').next().unwrap_or_default();
        let port: u16 = after_colon.parse().unwrap_or(8080);
        Invalid(
            format!(
                "must be an IP address and a port, such as 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port} \
                 for all its networks"
            )
            .into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_port_and_the_error_shows_one() {
        for good in ["127.0.0.1:8080", "[::]:80", "0.0.0.0:0"] {
            assert_eq!(listen_address(good).unwrap().to_string(), good);
        }
        for (bad, example) in [
            ("9090", "127.0.0.1:9090"),
            (":9090", "0.0.0.0:9090"),
            ("localhost:9090", "127.0.0.1:9090"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("127.0.0.1:99999", "127.0.0.1:8080"),
            ("", "127.0.0.1:8080"),
        ] {
            let error = listen_address(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{example} ")), "{bad:?}: {error}");
        }
    }
}
