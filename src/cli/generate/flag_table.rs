//! Generates the table of flags in `openapi/configuration.md` from the flags themselves.

use clap::{Arg, Command};
use std::fmt::Write as _;

/// Returns the flags of `serve` with their defaults and help texts, as a Markdown table.
pub(in crate::cli) fn configuration_table(mut command: Command) -> String {
    command.build();
    let serve = command.find_subcommand("serve").expect("there is a command serve");
    let mut table = String::from("| flag | default | meaning |\n| --- | --- | --- |\n");
    for flag in serve.get_arguments().filter(|arg| arg.get_env().is_some()) {
        writeln!(table, "{}", row(flag)).expect("writing to a String cannot fail");
    }
    table
}

fn row(flag: &Arg) -> String {
    let name = flag.get_long().expect("options have long names");
    let value = flag
        .get_value_names()
        .filter(|_| flag.get_action().takes_values())
        .map_or(String::new(), |names| format!(" {}", names.join(" ")));
    let defaults: Vec<_> =
        flag.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if flag.get_action().takes_values() { defaults.join(" ") } else { "off".to_owned() };
    let help = flag.get_long_help().or_else(|| flag.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.replace("\n\n", ". ");
    format!("| `--{name}{value}` | {default} | {help} |")
}

#[cfg(test)]
mod tests {
    use crate::cli::run::Cli;
    use clap::CommandFactory as _;

    /// Returns all commands, at any depth.
    fn commands(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help").flat_map(commands);
        std::iter::once(command).chain(below).collect()
    }

    #[test]
    fn every_flag_of_every_command_has_the_variable_of_its_name() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let mut count = 0;
        for command in commands(&cli) {
            for flag in
                command.get_arguments().filter(|flag| !matches!(flag.get_long(), None | Some("help" | "version")))
            {
                let name = flag.get_long().expect("filtered");
                let wanted = format!("TRANSCRIBE_HOOK_{}", name.to_uppercase().replace('-', "_"));
                assert_eq!(
                    flag.get_env().and_then(|v| v.to_str()),
                    Some(&*wanted),
                    "--{name} of {}",
                    command.get_name()
                );
                count += 1;
            }
        }
        assert!(count > 10);
    }
}
