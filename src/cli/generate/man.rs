//! Manual pages, one a command, made of the flags and their help.

use crate::cli::Cli;
use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use std::path::PathBuf;
use std::{fs, io};

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder to write all pages into, one a command, instead of printing the first one
    #[arg(long, env = "TRANSCRIBE_HOOK_INTO", value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.into {
        None => clap_mangen::Man::new(command).render(&mut io::stdout()).context("cannot print"),
        Some(folder) => {
            let failed = || format!("cannot write into {}", folder.display());
            fs::create_dir_all(folder).with_context(failed)?;
            clap_mangen::generate_to(command, folder).with_context(failed)
        }
    }
}
