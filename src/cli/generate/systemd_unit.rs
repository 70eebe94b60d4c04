//! Generates a systemd unit that runs the service with as few privileges as possible.
//!
//! The configuration is read from an environment file. Secrets are systemd credentials, files that only the service can
//! read. Each secret flag of `serve` has commented-out lines in the unit.

use crate::cli::args::values::ValueError;
use clap::{Args, Command};
use std::path::PathBuf;

/// Template of the unit, with placeholders for the program and the secrets.
const UNIT: &str = include_str!("transcribe-hook.service");

#[derive(Debug, Args)]
pub(super) struct SystemdArgs {
    /// Run the program at this path
    #[arg(
        long, env = "TRANSCRIBE_HOOK_PROGRAM", value_name = "FILE", default_value = "/usr/local/bin/transcribe-hook",
        value_parser = absolute,
    )]
    program: PathBuf,
}

/// Parses a plain absolute path: systemd accepts no other, and would require quotes around special characters.
fn absolute(text: &str) -> Result<PathBuf, ValueError> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if text.starts_with('/') && plain {
        Ok(text.into())
    } else {
        Err(ValueError::Rule("must be a plain absolute path"))
    }
}

pub(super) fn unit(args: &SystemdArgs, command: Command) -> String {
    let unit = UNIT.trim_end().replace("@PROGRAM@", &args.program.display().to_string());
    unit.replace("@SECRETS@", secrets(command).trim_end())
}

/// Returns the two lines that pass each secret of `serve`, commented out.
fn secrets(mut command: Command) -> String {
    command.build();
    let serve = command.find_subcommand("serve").expect("there is a command serve");
    let names = serve.get_arguments().filter_map(|flag| flag.get_long()?.strip_suffix("-file"));
    let lines = names.map(|name| {
        let variable = name.to_uppercase().replace('-', "_");
        format!(
            "#LoadCredential={name}:/etc/transcribe-hook/{name}\n\
             #Environment=TRANSCRIBE_HOOK_{variable}_FILE=%d/{name}\n"
        )
    });
    lines.collect()
}
