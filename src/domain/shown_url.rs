//! The part of a URL that may be shown.

/// Returns a URL as errors, logs and findings may show it: scheme, host and port, and `…` in place of the rest.
///
/// User, password, path and query may be secrets, also in a text that is no valid URL. A text whose host is uncertain
/// is hidden completely.
pub fn shown_url(url: &str) -> String {
    const HIDDEN: &str = "…";
    let Some((scheme, rest)) = url.trim().split_once("://") else { return HIDDEN.to_owned() };
    let (authority, below) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // Part of a password with a slash would be taken for the host.
    let is_certain = !below.contains('@') && is_host(host) && is_scheme(scheme);
    if !is_certain {
        HIDDEN.to_owned()
    } else if host == authority && matches!(below, "" | "/") {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}/{HIDDEN}")
    }
}

/// Maximum length of a host that is shown, in bytes, with its port.
const MAX_HOST_BYTES: usize = 260;

fn is_scheme(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns true if a text is the name or the address of a host, with or without a port.
fn is_host(text: &str) -> bool {
    if text.len() > MAX_HOST_BYTES {
        return false;
    }
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => text,
    };
    let is_address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).is_some_and(|address| {
        !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
    });
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    is_address || (!name.is_empty() && name.bytes().all(in_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        for (url, shown) in [
            ("https://h.example", "https://h.example"),
            ("https://h.example/", "https://h.example"),
            (" http://127.0.0.1:8080 ", "http://127.0.0.1:8080"),
            ("https://[2001:db8::1]:444/word", "https://[2001:db8::1]:444/…"),
            ("https://h.example/word?key=word#word", "https://h.example/…"),
            ("https://h.example?word", "https://h.example/…"),
            ("https://h.example\\word", "https://h.example/…"),
            ("https://anna:word@h.example:444", "https://h.example:444/…"),
            ("https://anna:wo@rd@h.example/", "https://h.example/…"),
            ("ftp://h.example", "ftp://h.example"),
            // The host is uncertain.
            ("https://anna:wo/rd@h.example", "…"),
            ("https://anna:w@o/rd@h.example", "…"),
            ("https://anna:word", "…"),
            ("https://wo rd/", "…"),
            ("https://wörd", "…"),
            ("anna:word@h.example", "…"),
            ("wo rd://h.example", "…"),
            ("://word", "…"),
            ("mailto:word", "…"),
            ("https://h.example\u{1b}]0;word\u{7}/", "…"),
            (&format!("https://{}", "h".repeat(10_000)), "…"),
            ("https://", "…"),
            ("word", "…"),
            ("", "…"),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
    }
}
