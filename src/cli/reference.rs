//! The table of flags that the README shows, made from the flags themselves.

use super::Cli;
use clap::{Arg, CommandFactory as _};
use std::fmt::Write as _;

/// The flags of `serve`, with their variables, defaults and meanings, as a Markdown table.
pub fn configuration_table() -> String {
    let mut command = Cli::command();
    command.build();
    let serve = command.find_subcommand("serve").expect("there is a command serve");
    let mut table = String::from("| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for flag in serve.get_arguments().filter(|arg| arg.get_env().is_some()) {
        writeln!(table, "{}", row(flag)).expect("a string takes everything");
    }
    table
}

fn row(flag: &Arg) -> String {
    let name = flag.get_long().expect("options have long names");
    let value = flag
        .get_value_names()
        .filter(|_| flag.get_action().takes_values())
        .map_or(String::new(), |names| format!(" {}", names.join(" ")));
    let variable = flag.get_env().unwrap_or_default().to_string_lossy();
    let defaults: Vec<_> =
        flag.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if flag.get_action().takes_values() { defaults.join(" ") } else { "off".to_owned() };
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `--{name}{value}` | `{variable}` | {default} | {help} |")
}
