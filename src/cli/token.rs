//! The `token` command: prints the generated API token, or the URL that signs a browser in with it.

use super::args::database::DatabaseArgs;
use super::args::service_url::ServiceUrlArgs;
use super::args::token_file;
use super::output::print_line;
use anyhow::{Context as _, Result};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print the sign-in URL instead of the token
    #[arg(long, env = "TRANSCRIBE_HOOK_LINK")]
    link: bool,
    #[command(flatten)]
    service: ServiceUrlArgs,
}

/// Returns the sign-in URL. The token is in the fragment, which no server and no log receives.
pub(super) fn link(url: &str, token: &str) -> String {
    // Characters of URL-safe base64 are not escaped.
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    format!("{}/#token={}", url.trim_end_matches('/'), utf8_percent_encode(token, PLAIN))
}

pub(super) fn run(args: &TokenArgs) -> Result<()> {
    let path = token_file::path(&args.database.database);
    let tokens = token_file::read(&path)?.with_context(|| {
        format!("there is no {}: `serve` creates it when started without --api-token", path.display())
    })?;
    let token = token_file::manager(&tokens).context("the token file has no token with the role manage")?;
    let token = token.secret.expose();
    if args.link { print_line(link(&args.service.url()?, token)) } else { print_line(token) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_the_fragment_of_the_link() {
        assert_eq!(link("https://h/below/", "th_A-z+/"), "https://h/below/#token=th_A-z%2B%2F");
    }
}
