//! The flags of commands that call a running service. Without `--url`, they follow the flags of `serve`.

use super::listen::listen_address;
use super::values::{domain, service_url};
use crate::api::auth::client::Scheme;
use crate::cli::usage_error::usage;
use anyhow::Result;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The flags that locate a running service.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServiceUrlArgs {
    /// Use the service at this URL; default: by --listen
    #[arg(long, env = "TRANSCRIBE_HOOK_URL", value_name = "URL", value_parser = service_url)]
    url: Option<String>,
    /// Use the service at this address, as given to `serve`
    #[arg(
        long, env = "TRANSCRIBE_HOOK_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080",
        value_parser = listen_address,
    )]
    listen: SocketAddr,
    /// Use HTTPS, as `serve` does with this certificate
    #[arg(long, env = "TRANSCRIBE_HOOK_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Use HTTPS for this domain, as given to `serve`
    #[arg(
        long, env = "TRANSCRIBE_HOOK_ACME_DOMAIN", value_name = "DOMAIN", value_delimiter = ' ', value_parser = domain,
    )]
    acme_domain: Vec<String>,
}

impl ServiceUrlArgs {
    /// Returns the URL of the service, for people and programs on this machine.
    ///
    /// # Errors
    /// The service picks its port by itself, and no URL was given.
    pub(in crate::cli) fn url(&self) -> Result<String> {
        let domain = self.acme_domain.first().map(String::as_str);
        self.url.clone().map_or_else(|| Ok(url(self.known_address()?, self.scheme(), domain)), Ok)
    }

    /// Returns the URL that reaches the service from this machine without a name, unless a URL was given.
    ///
    /// # Errors
    /// The service picks its port by itself.
    pub(in crate::cli) fn own_url(&self) -> Result<Option<String>> {
        if self.url.is_some() {
            return Ok(None);
        }
        let address = self.known_address()?;
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let scheme = self.scheme().as_str();
        Ok(Some(format!("{scheme}://{}", SocketAddr::new(ip, address.port()))))
    }

    fn scheme(&self) -> Scheme {
        if self.tls_cert.is_some() || !self.acme_domain.is_empty() { Scheme::Https } else { Scheme::Http }
    }

    fn known_address(&self) -> Result<SocketAddr> {
        if self.listen.port() == 0 {
            return Err(usage("--listen has port 0, so the service picked a port; pass --url"));
        }
        Ok(self.listen)
    }
}

/// Returns the URL at which a browser on this machine reaches the service.
pub(in crate::cli) fn url(listen: SocketAddr, scheme: Scheme, domain: Option<&str>) -> String {
    let usual_port = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // A listener on all IPv6 addresses commonly accepts IPv4 too.
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    let host = match (domain, ip) {
        (Some(domain), _) => domain.to_owned(),
        // No certificate is issued for a loopback address.
        (None, ip) if scheme == Scheme::Https && ip.is_loopback() => "localhost".to_owned(),
        (None, IpAddr::V4(ip)) => ip.to_string(),
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    let port = listen.port();
    let scheme = scheme.as_str();
    if port == usual_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        service: ServiceUrlArgs,
    }

    #[test]
    fn the_address_to_open_is_one_that_a_browser_on_this_machine_reaches() {
        for (listen, scheme, domain, wanted) in [
            ("127.0.0.1:8080", Scheme::Http, None, "http://127.0.0.1:8080"),
            ("0.0.0.0:80", Scheme::Http, None, "http://127.0.0.1"),
            ("[::]:8080", Scheme::Http, None, "http://127.0.0.1:8080"),
            ("[::1]:8080", Scheme::Http, None, "http://[::1]:8080"),
            ("10.0.0.5:9000", Scheme::Http, None, "http://10.0.0.5:9000"),
            ("0.0.0.0:443", Scheme::Https, None, "https://localhost"),
            ("10.0.0.5:8443", Scheme::Https, None, "https://10.0.0.5:8443"),
            ("0.0.0.0:443", Scheme::Https, Some("calls.example.com"), "https://calls.example.com"),
        ] {
            assert_eq!(url(listen.parse().unwrap(), scheme, domain), wanted, "{listen}");
        }
    }

    #[test]
    fn the_service_is_found_by_the_flags_that_it_was_started_with() {
        for (flags, wanted, own) in [
            (&[][..], "http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            (&["--listen", "0.0.0.0:9000"], "http://127.0.0.1:9000", Some("http://127.0.0.1:9000")),
            (&["--listen", "[::]:9000"], "http://127.0.0.1:9000", Some("http://[::1]:9000")),
            (&["--listen", "10.0.0.5:443", "--tls-cert", "c"], "https://10.0.0.5", Some("https://10.0.0.5:443")),
            (&["--listen", "0.0.0.0:443", "--acme-domain", "h.de"], "https://h.de", Some("https://127.0.0.1:443")),
            (&["--listen", "0.0.0.0:1", "--url", "http://h"], "http://h", None),
        ] {
            let line = Line::try_parse_from([&["x"], flags].concat()).unwrap();
            assert_eq!(line.service.url().unwrap(), wanted, "{flags:?}");
            assert_eq!(line.service.own_url().unwrap().as_deref(), own, "{flags:?}");
        }
        let line = Line::try_parse_from(["x", "--listen", "127.0.0.1:0"]).unwrap();
        assert!(line.service.url().is_err() && line.service.own_url().is_err());
    }
}
