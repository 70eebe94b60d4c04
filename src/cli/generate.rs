//! `generate`: what can be printed from the program itself, without a database.

use crate::api;
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use std::io::{self, Write as _};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The OpenAPI document of the service
    Openapi,
}

pub(super) fn run(args: &GenerateArgs) -> Result<()> {
    let text = match args.what {
        What::Openapi => api::document(),
    };
    writeln!(io::stdout(), "{text}").context("cannot print")
}
