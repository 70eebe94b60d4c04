//! Values of flags for URLs, which may contain secrets: neither errors nor help texts show them whole.

use crate::domain::shown_url;
use clap::builder::Str;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error};

/// Names of values that are URLs.
const URL_NAMES: [&str; 2] = ["URL", "ORIGIN"];

/// Makes the help of every command hide URLs in variables.
pub(in crate::cli) fn with_hidden_urls(command: Command) -> Command {
    command
        .mut_args(|arg| if is_of_url(&arg) { arg.hide_env_values(true) } else { arg })
        .mut_subcommands(with_hidden_urls)
}

/// Returns whether the value of an argument is a URL.
pub(in crate::cli) fn is_of_url(arg: &Arg) -> bool {
    let is_url = |name: &Str| URL_NAMES.contains(&name.as_str());
    arg.get_value_names().is_some_and(|names| names.iter().any(is_url))
}

/// Shortens the URL in an error that refuses it.
pub(in crate::cli) fn shorten_url(mut error: Error) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    if URL_NAMES.iter().any(|name| text(ContextKind::InvalidArg).contains(&format!("<{name}>"))) {
        let shown = shown_url(text(ContextKind::InvalidValue));
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}
