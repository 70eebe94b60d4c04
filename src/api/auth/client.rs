//! The client of a request: its address, and whether a page of this service sent the request.
//!
//! `X-Forwarded-For` counts only as far as trusted proxies added it.

use crate::domain::{Invalid, UserName};
use ipnet::IpNet;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header, uri};
use poem::{Addr, Request};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The client of a request; the server's outermost layer adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Address of the client; if it is behind trusted proxies, the address that they report.
    pub address: IpAddr,
    /// True if a trusted proxy sent the request to this service.
    pub by_proxy: bool,
}

/// The name of the header that names the user whom a proxy signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserHeader(HeaderName);

impl UserHeader {
    /// Returns the user whom a trusted proxy names. The proxy may have added its header to one of the client, so nobody
    /// is named if there are two.
    pub(super) fn user(&self, request: &Request) -> Option<UserName> {
        request.data::<Client>().filter(|client| client.by_proxy)?;
        let mut values = request.headers().get_all(&self.0).iter();
        let name = UserName::new(std::str::from_utf8(values.next()?.as_bytes()).ok()?).ok()?;
        values.next().is_none().then_some(name)
    }
}

impl FromStr for UserHeader {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| Invalid("must be the name of a header, such as X-Forwarded-User".into()))
    }
}

/// Proxies that are trusted to report a client's address.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Trusts the proxies in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Returns the client of a request, or `None` if the connection has no IP address.
    pub fn client(&self, request: &Request) -> Option<Client> {
        let peer = peer(request)?;
        let by_proxy = self.trusts(peer);
        let address = if by_proxy { self.forwarded_for(peer, request.headers()) } else { peer };
        Some(Client { address, by_proxy })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the last address in `X-Forwarded-For` that is not a trusted proxy.
    fn forwarded_for(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut known = peer;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                // Addresses before an invalid one were not added by a trusted proxy.
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

/// Parses an address as proxies write it: bare, with a port, or in brackets.
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

/// The scheme of a service's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTPS.
    Https,
}

impl Scheme {
    /// Returns the scheme as it is in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Returns the scheme that the client uses, with this service or with a proxy in front of it.
pub(super) fn scheme_of(request: &Request) -> Scheme {
    // With several proxies, the first value is that of the client. A false value only costs its sender the cookie.
    let forwarded = request.header("x-forwarded-proto").and_then(|schemes| schemes.split(',').next());
    let by_https = request.scheme() == &uri::Scheme::HTTPS
        || forwarded.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
    if by_https { Scheme::Https } else { Scheme::Http }
}

/// The origin of the page that sent a request, as browsers report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOrigin {
    /// A page of this service.
    Own,
    /// A page of another origin.
    Foreign,
    /// Unknown: most clients that are not browsers do not report it.
    Unknown,
}

impl RequestOrigin {
    pub(super) fn from_request(request: &Request) -> Self {
        let headers = request.headers();
        if let Some(site) = headers.get("sec-fetch-site") {
            return match site.as_bytes() {
                b"same-origin" => Self::Own,
                b"none" => Self::Unknown,
                _ => Self::Foreign,
            };
        }
        // Browsers omit `Sec-Fetch-Site` on pages that were loaded by plain HTTP.
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
    fn a_client_behind_proxies_is_the_last_that_they_vouch_for() {
        let proxies = Proxies::new(vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        let behind = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            proxies.forwarded_for("127.0.0.1".parse().unwrap(), &headers).to_string()
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
