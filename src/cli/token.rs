//! The `token` command: prints the generated API token, or the URL that signs a browser in with it.

use super::args::database::DatabaseArgs;
use super::args::token_file;
use super::args::values::service_url;
use super::output::print_line;
use crate::api::auth::client::Scheme;
use anyhow::{Context as _, Result};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the sign-in URL instead of the token
    #[arg(long, env = "TRANSCRIBE_HOOK_LINK")]
    link: bool,
    /// Use this address of the service in the sign-in URL
    #[arg(
        long, env = "TRANSCRIBE_HOOK_URL", value_name = "URL", default_value = "http://127.0.0.1:8080",
        value_parser = service_url,
    )]
    url: String,
}

/// Returns the sign-in URL. The token is in the fragment, which no server and no log receives.
pub(super) fn link(url: &str, token: &str) -> String {
    // Characters of URL-safe base64 are not escaped.
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    format!("{}/#token={}", url.trim_end_matches('/'), utf8_percent_encode(token, PLAIN))
}

/// Returns the URL at which a browser on this machine reaches the service.
pub(super) fn url(listen: SocketAddr, scheme: Scheme, domain: Option<&str>) -> String {
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

pub(super) fn run(args: &TokenArgs) -> Result<()> {
    let path = token_file::path(&args.database.database);
    let tokens = token_file::read(&path)?.with_context(|| {
        format!("there is no {}: `serve` creates it when started without --api-token", path.display())
    })?;
    let token = tokens.first().context("the token file is empty")?.expose();
    if args.link { print_line(link(&args.url, token)) } else { print_line(token) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(link("https://h/below/", "th_A-z+/"), "https://h/below/#token=th_A-z%2B%2F");
    }
}
