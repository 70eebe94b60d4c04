//! Former names of environment variables, of flags that were renamed. The flags' former names are hidden aliases.

use clap::Command;
use std::env;

/// Command, flag and former variable of each renamed flag.
const RENAMED: [(&str, &str, &str); 4] = [
    ("erase", "conversation_id", "TRANSCRIBE_HOOK_CONVERSATION"),
    ("erase", "driver_id", "TRANSCRIBE_HOOK_DRIVER"),
    ("search", "speaker_type", "TRANSCRIBE_HOOK_SPEAKER"),
    ("backfill", "batch_id", "TRANSCRIBE_HOOK_BATCH"),
];

/// Makes a renamed flag read its former variable, if only that one is set.
pub(super) fn accept(command: Command) -> Command {
    RENAMED.into_iter().fold(command, |command, (name, flag, former)| {
        command.mut_subcommand(name, |command| {
            command.mut_arg(flag, |arg| {
                let is_set = arg.get_env().and_then(env::var_os).is_some_and(|value| !value.is_empty());
                if !is_set && env::var_os(former).is_some() { arg.env(former) } else { arg }
            })
        })
    })
}
