//! Generates manual pages, one per command, from the flags and their help texts.

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use std::path::{Path, PathBuf};
use std::{fs, io};

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write all pages into this folder, one per command
    #[arg(long, env = "TRANSCRIBE_HOOK_INTO", value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(super) fn run(args: &ManArgs, command: Command) -> Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    match &args.into {
        None => page(command).render(&mut io::stdout()).context("cannot print"),
        Some(folder) => {
            let failed = || format!("cannot write into {}", folder.display());
            fs::create_dir_all(folder).with_context(failed)?;
            write_all(command, folder).with_context(failed)
        }
    }
}

/// Returns the page of a command, with the program and its version in the footer.
fn page(command: Command) -> clap_mangen::Man {
    clap_mangen::Man::new(command)
        .source(concat!("transcribe-hook ", env!("CARGO_PKG_VERSION")))
        .manual("transcribe-hook manual")
}

fn write_all(command: Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_all(below.clone(), folder)?;
    }
    page(command).generate_to(folder).map(drop)
}
