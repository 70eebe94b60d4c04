//! Who sends a request: from which address, whether from this machine, and whether for a page of this service.
//!
//! What a client says of itself in `X-Forwarded-For` counts only as far as configured proxies vouch for it.

use ipnet::IpNet;
use poem::http::{HeaderMap, HeaderValue, header, uri::Authority};
use poem::{Addr, Request};
use std::net::{IpAddr, SocketAddr};

/// Who sends a request; the server's outermost layer puts it with each one.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The address, behind those proxies that are trusted.
    pub address: IpAddr,
}

/// Proxies whose word for a client's address is taken.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Who sends a request; nobody if that is no internet address.
    pub fn client(&self, request: &Request) -> Option<Client> {
        let peer = peer(request)?;
        let address = if self.trusts(peer) { self.behind(peer, request.headers()) } else { peer };
        Some(Client { address })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The last address in `X-Forwarded-For` that no trusted proxy has.
    fn behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut known = peer;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                // Whatever stands before something unreadable was not vouched for.
                let Some(hop) = hop_address(hop.trim()) else { return known };
                known = hop;
                if !self.trusts(hop) {
                    return known;
                }
            }
        }
        known
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn peer(request: &Request) -> Option<IpAddr> {
    match &request.remote_addr().0 {
        Addr::SocketAddr(address) => Some(address.ip().to_canonical()),
        _ => None,
    }
}

/// Whether a request comes from a program on this machine and from nowhere else. Not so what a proxy on this machine forwards,
/// nor what a browser on this machine sends because a name of a foreign page leads here (DNS rebinding).
pub(super) fn is_on_this_machine(request: &Request) -> bool {
    peer(request).is_some_and(|address| address.is_loopback()) && !is_forwarded(request) && names_this_machine(request)
}

/// Whether a proxy shows itself. nginx, if it is not told otherwise, does so by nothing but speaking HTTP/1.0.
fn is_forwarded(request: &Request) -> bool {
    request.version() < poem::http::Version::HTTP_11
        || request.headers().keys().any(|name| {
            let name = name.as_str();
            name.starts_with("x-forwarded") || ["forwarded", "via", "x-real-ip"].contains(&name)
        })
}

fn names_this_machine(request: &Request) -> bool {
    let mut named = false;
    let target = request.uri().host().map(str::as_bytes);
    for host in request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes).chain(target) {
        named = true;
        if !std::str::from_utf8(host).is_ok_and(is_loopback_name) {
            return false;
        }
    }
    named
}

/// Whether a host, perhaps with a port, can lead nowhere but to the machine itself.
pub fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

/// The page behind a request, as far as browsers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// One of this service's own.
    Own,
    /// One of another origin.
    Foreign,
    /// None, as far as one can see: most programs tell nothing.
    Unknown,
}

impl Page {
    pub(super) fn behind(request: &Request) -> Self {
        let headers = request.headers();
        if let Some(site) = headers.get("sec-fetch-site") {
            return match site.as_bytes() {
                b"same-origin" => Self::Own,
                b"none" => Self::Unknown,
                _ => Self::Foreign,
            };
        }
        // Browsers leave the former out where a page came by plain HTTP.
        let Some(origin) = headers.get(header::ORIGIN) else { return Self::Unknown };
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        match (origin, host) {
            (Some((_, origin)), Some(host)) if origin.as_bytes().eq_ignore_ascii_case(host) => Self::Own,
            _ => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_lead_elsewhere_are_this_machines() {
        for name in
            ["localhost", "LOCALHOST:8080", "calls.localhost", "127.0.0.1", "127.8.9.1:80", "[::1]:8080", "[::1]"]
        {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "example.com",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "10.0.0.1",
            "[::2]",
            "me@localhost",
            "notlocalhost",
            "localhost.",
            "0.0.0.0",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn a_client_behind_proxies_is_the_last_that_they_vouch_for() {
        let proxies = Proxies::new(vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        let behind = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            proxies.behind("127.0.0.1".parse().unwrap(), &headers).to_string()
        };
        assert_eq!(behind(&["203.0.113.9"]), "203.0.113.9");
        assert_eq!(behind(&["198.51.100.1, 203.0.113.9, 10.1.1.1"]), "203.0.113.9");
        assert_eq!(behind(&["198.51.100.1", "203.0.113.9:4711,10.1.1.1"]), "203.0.113.9");
        assert_eq!(behind(&["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(behind(&["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(behind(&["127.0.0.1, nonsense, 10.1.1.1"]), "10.1.1.1");
        assert_eq!(behind(&[]), "127.0.0.1");
    }
}
