//! Environment variables of flags, as people and service managers set them: an empty one is not set, a switch takes 1
//! and 0, and a misspelled name is reported.

use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, ArgAction, Command};
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;

/// Prefix of all variables.
const PREFIX: &str = "TRANSCRIBE_HOOK_";

/// Maximum number of edits between a misspelled name and the suggested one.
const MAX_EDITS: usize = 3;

/// A variable with the prefix that belongs to no flag.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct UnknownVariable {
    pub(in crate::cli) name: String,
    /// The most similar known name.
    pub(in crate::cli) suggestion: Option<String>,
}

/// Makes every command ignore empty variables, and switches accept all common words for yes and no.
///
/// clap counts a switch as given if its variable says no. That would satisfy or contradict other flags, so the variable
/// is then ignored too.
pub(in crate::cli) fn with_lenient_variables(command: Command) -> Command {
    command.mut_args(lenient).mut_subcommands(with_lenient_variables)
}

fn lenient(arg: Arg) -> Arg {
    let Some(value) = arg.get_env().and_then(env::var_os) else { return arg };
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    if value.is_empty() || is_switch && is_no(&value) {
        arg.env(Resettable::Reset)
    } else if is_switch {
        arg.value_parser(BoolishValueParser::new())
    } else {
        arg
    }
}

/// Returns whether a word means no, as [`BoolishValueParser`] understands it.
fn is_no(value: &OsStr) -> bool {
    const WORDS: [&str; 6] = ["n", "no", "f", "false", "off", "0"];
    WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns the variables of this process that are meant for this program but belong to no flag.
pub(in crate::cli) fn unknown_variables(command: &Command) -> Vec<UnknownVariable> {
    let mut known = BTreeSet::new();
    collect_names(command, &mut known);
    env::vars_os().filter_map(|(name, _)| unknown(&name.to_string_lossy(), &known)).collect()
}

fn collect_names(command: &Command, names: &mut BTreeSet<String>) {
    names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
    command.get_subcommands().for_each(|below| collect_names(below, names));
}

fn unknown(name: &str, known: &BTreeSet<String>) -> Option<UnknownVariable> {
    let upper = name.to_ascii_uppercase();
    let rest = upper.strip_prefix(PREFIX)?;
    if known.contains(name) || is_injected(rest) {
        return None;
    }
    let edits = |known: &&String| strsim::osa_distance(&upper, known);
    let suggestion = known.iter().min_by_key(edits).filter(|known| edits(known) <= MAX_EDITS);
    Some(UnknownVariable { name: name.to_owned(), suggestion: suggestion.cloned() })
}

/// Returns whether Kubernetes sets such a variable in every container, for a service named `transcribe-hook`.
fn is_injected(rest: &str) -> bool {
    rest == "PORT" || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"].iter().any(|beginning| rest.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_is_reported_with_the_most_similar_one() {
        let known = ["TRANSCRIBE_HOOK_LISTEN", "TRANSCRIBE_HOOK_BACKUP_DIR"].map(str::to_owned).into();
        for (name, wanted) in [
            ("TRANSCRIBE_HOOK_LISTEN", None),
            ("TRANSCRIBE_HOOK_LISTN", Some(Some("TRANSCRIBE_HOOK_LISTEN"))),
            ("transcribe_hook_listen", Some(Some("TRANSCRIBE_HOOK_LISTEN"))),
            ("TRANSCRIBE_HOOK_BACKUPDIR", Some(Some("TRANSCRIBE_HOOK_BACKUP_DIR"))),
            ("TRANSCRIBE_HOOK_SOMETHING_ELSE", Some(None)),
            ("TRANSCRIBE_HOOK_PORT_8080_TCP_ADDR", None),
            ("TRANSCRIBE_HOOK_SERVICE_PORT_HTTP", None),
            ("PATH", None),
        ] {
            let found = unknown(name, &known);
            assert_eq!(found.as_ref().map(|found| found.suggestion.as_deref()), wanted, "{name}");
        }
    }
}
