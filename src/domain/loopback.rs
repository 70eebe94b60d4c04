//! Addresses of this machine.

use std::net::IpAddr;

/// Returns true if a host, with or without a port, is this machine: `localhost`, or an address such as `127.0.0.1:8080`
/// or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns true if the host of an `http://` or `https://` URL is this machine.
pub fn is_loopback_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")) && is_loopback(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_one_of_its_addresses_or_names() {
        for host in ["localhost", "LOCALHOST:6274", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.example",
            "evil.example:127",
            "127.0.0.1.evil.example",
            "127.0.0.1:8080.evil.example",
            "[::2]",
            "10.0.0.1",
            "x y",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        for url in ["http://127.0.0.1:80/x", "HTTPS://localhost", "http://u:p@[::1]?q", "http://localhost#127"] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in ["127.0.0.1", "ftp://127.0.0.1", "http://127.0.0.1@evil.example/", "http://evil.example/127.0.0.1"] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }
}
