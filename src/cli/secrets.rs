//! Flags that take secrets: each kind by a flag that may be repeated, by a variable, and by a file with one a line.
//!
//! The text is checked after the command line was read, not by its parser, whose errors would repeat it. Help and the
//! table of flags never show a variable's value.

use crate::model::placeholder;
use crate::secret::Secret;
use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::marker::PhantomData;
use std::path::PathBuf;

/// A kind of secret: what its flags are called.
pub(super) trait Kind {
    /// The flag that takes the secret itself.
    const FLAG: &'static str;
    /// The flag's variable.
    const VARIABLE: &'static str;
    /// The flag that takes a file.
    const FILE_FLAG: &'static str;
    /// The file flag's variable.
    const FILE_VARIABLE: &'static str;
    /// What the secret is for.
    const HELP: &'static str;
    /// Whether several count, so that one can replace another.
    const SEVERAL: bool;

    /// Why a text is another kind of secret, by its beginning.
    fn confused(_text: &str) -> Option<&'static str> {
        None
    }
}

/// The secret by which the platform signs its post-call webhooks.
#[derive(Debug)]
pub(super) enum WebhookSecret {}

impl Kind for WebhookSecret {
    const FLAG: &'static str = "elevenlabs-secret";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_SECRET";
    const FILE_FLAG: &'static str = "elevenlabs-secret-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_SECRET_FILE";
    const HELP: &'static str = "Signing secret of the platform's post-call webhook, which is refused without one";
    const SEVERAL: bool = true;

    fn confused(text: &str) -> Option<&'static str> {
        let key = text.starts_with("sk_") || text.starts_with("xi-");
        if key {
            return Some(
                "is an API key of ElevenLabs; the signing secret is shown when the webhook is created, and begins with wsec_",
            );
        }
        if text.eq_ignore_ascii_case("bearer") {
            return Some("is the word Bearer; give the secret alone");
        }
        let rest = text.strip_prefix("wsec_")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let whole = !rest.is_empty() && rest.bytes().all(plain) && !rest.contains("wsec_");
        (!whole).then_some("is not one whole signing secret: letters and digits follow wsec_, and nothing else")
    }
}

/// The key to the platform's API.
#[derive(Debug)]
pub(super) enum ApiKey {}

impl Kind for ApiKey {
    const FLAG: &'static str = "elevenlabs-api-key";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_API_KEY";
    const FILE_FLAG: &'static str = "elevenlabs-api-key-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_API_KEY_FILE";
    const HELP: &'static str = "Key to the platform's API";
    const SEVERAL: bool = false;

    fn confused(text: &str) -> Option<&'static str> {
        text.starts_with("wsec_").then_some("is a webhook's signing secret; API keys of ElevenLabs begin with sk_")
    }
}

/// What whoever stores turns has to show.
#[derive(Debug)]
pub(super) enum IngestToken {}

impl Kind for IngestToken {
    const FLAG: &'static str = "ingest-token";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_INGEST_TOKEN";
    const FILE_FLAG: &'static str = "ingest-token-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_INGEST_TOKEN_FILE";
    const HELP: &'static str = "Token without which no turns and histories are taken, of 16 characters or more";
    const SEVERAL: bool = true;
}

/// What whoever reads and manages has to show.
#[derive(Debug)]
pub(super) enum ApiToken {}

impl Kind for ApiToken {
    const FLAG: &'static str = "api-token";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_API_TOKEN";
    const FILE_FLAG: &'static str = "api-token-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_API_TOKEN_FILE";
    const HELP: &'static str = "Token without which nobody reads and manages, of 16 characters or more; without one \
                                `serve` makes its own beside the database";
    const SEVERAL: bool = true;
}

/// The secrets of one kind, as they were given.
pub(super) struct Secrets<K> {
    given: Vec<String>,
    files: Vec<PathBuf>,
    kind: PhantomData<K>,
}

/// Whoever prints the command line does not print its secrets.
impl<K> std::fmt::Debug for Secrets<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} given, files {:?})", self.given.len(), self.files)
    }
}

impl<K: Kind> Secrets<K> {
    /// Whether none was given.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.files.is_empty()
    }

    /// All that were given, by flag first, then by file.
    ///
    /// # Errors
    /// One that breaks the rule for secrets, a file that cannot be read, or one without a secret in it; never with the
    /// secret's text.
    pub(super) fn read(&self) -> Result<Vec<Secret>> {
        let mut secrets = Vec::new();
        for text in &self.given {
            secrets.push(secret::<K>(text).with_context(|| format!("--{} or {}", K::FLAG, K::VARIABLE))?);
        }
        for file in &self.files {
            let name = || format!("--{} {}", K::FILE_FLAG, file.display());
            let text = std::fs::read_to_string(file).with_context(name)?;
            let text = text.trim_start_matches('\u{FEFF}');
            let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            anyhow::ensure!(!lines.is_empty(), "{}: there is no secret in it", name());
            for (number, line) in lines.iter().enumerate() {
                secrets.push(secret::<K>(line.trim()).with_context(|| format!("{}: secret {}", name(), number + 1))?);
            }
        }
        Ok(secrets)
    }

    /// The one that was given, if any was.
    ///
    /// # Errors
    /// As of [`Secrets::read`], and when there is more than one.
    pub(super) fn read_one(&self) -> Result<Option<Secret>> {
        let mut secrets = self.read()?;
        anyhow::ensure!(secrets.len() <= 1, "--{}: only one can be used", K::FLAG);
        Ok(secrets.pop())
    }
}

/// Takes a secret that can be what is meant. With what is around or beside it by mistake, every delivery would be refused.
///
/// # Errors
/// What is wrong, never with the secret's text.
fn secret<K: Kind>(text: &str) -> Result<Secret> {
    anyhow::ensure!(!text.trim().is_empty(), "is empty, or has a blank too much; one blank stands between two secrets");
    let quoted = |c: char| matches!(c, '"' | '\'' | '`');
    anyhow::ensure!(!text.starts_with(quoted) && !text.ends_with(quoted), "is in quotes; give it without them");
    anyhow::ensure!(
        !text.contains([',', ';']),
        "has a comma or semicolon; give several by repeating the flag, with a blank between them, or one a line in a file"
    );
    let named = text.split_once('=').is_some_and(|(name, value)| {
        let in_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        name.len() > 2 && name.contains('_') && name.bytes().all(in_name) && !value.trim_matches('=').is_empty()
    });
    anyhow::ensure!(!named, "begins with the name of a variable; give the value alone");
    anyhow::ensure!(placeholder(text).is_none(), "is a variable that was not filled in");
    if let Some(confused) = K::confused(text) {
        anyhow::bail!("{confused}");
    }
    Ok(Secret::new(text)?)
}

impl<K: Kind> Args for Secrets<K> {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(K::FLAG)
                    .long(K::FLAG)
                    .env(K::VARIABLE)
                    .hide_env_values(true)
                    .value_name("SECRET")
                    .action(ArgAction::Append)
                    // The variable's way to give two, since secrets have no blanks.
                    .value_delimiter(' ')
                    .help(if K::SEVERAL {
                        format!("{}; may be repeated, to replace an old one without a gap", K::HELP)
                    } else {
                        K::HELP.to_owned()
                    }),
            )
            .arg(
                Arg::new(K::FILE_FLAG)
                    .long(K::FILE_FLAG)
                    .env(K::FILE_VARIABLE)
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(PathBuf))
                    .help(if K::SEVERAL {
                        "The same from a file, one a line, so that it shows in no list of processes"
                    } else {
                        "The same from a file, so that it shows in no list of processes"
                    }),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<K: Kind> FromArgMatches for Secrets<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut secrets = Self { given: Vec::new(), files: Vec::new(), kind: PhantomData };
        secrets.update_from_arg_matches(matches)?;
        Ok(secrets)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given = matches.get_many(K::FLAG).unwrap_or_default().cloned().collect();
        self.files = matches.get_many(K::FILE_FLAG).unwrap_or_default().cloned().collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        secrets: Secrets<WebhookSecret>,
    }

    fn read(line: &[&str]) -> Result<Vec<String>> {
        let line = Line::try_parse_from([&["x"], line].concat())?;
        assert!(!format!("{line:?}").contains("secret_number"), "{line:?}");
        Ok(line.secrets.read()?.iter().map(|secret| secret.reveal().to_owned()).collect())
    }

    #[test]
    fn flags_repeat_and_a_file_has_one_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "secret_number_three\n\n  secret_number_four  \n").unwrap();
        let path = file.path().to_str().unwrap();
        let flags = ["--elevenlabs-secret", "secret_number_one", "--elevenlabs-secret=secret_number_two"];
        let both = [&flags[..], &["--elevenlabs-secret-file", path]].concat();
        let all = ["secret_number_one", "secret_number_two", "secret_number_three", "secret_number_four"];
        assert_eq!(read(&both).unwrap(), all);
        assert_eq!(read(&["--elevenlabs-secret", "secret_number_one secret_number_two"]).unwrap(), all[..2]);
        assert_eq!(read(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_secret_is_named_by_its_flag_and_not_repeated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (content, line) in [
            ("", ["--elevenlabs-secret", "shorty\u{e9}"]),
            ("", ["--elevenlabs-secret", ""]),
            ("", ["--elevenlabs-secret", "shorty\u{e9}_but_long_enough"]),
            ("", ["--elevenlabs-secret", "\"shorty_number_one\""]),
            ("", ["--elevenlabs-secret", "'shorty_number_one'"]),
            ("", ["--elevenlabs-secret", "shorty_number_one\""]),
            ("", ["--elevenlabs-secret", " shorty_number_one"]),
            ("", ["--elevenlabs-secret", "shorty_number_one  shorty_number_two"]),
            ("", ["--elevenlabs-secret", "shorty_number_one,shorty_number_two"]),
            ("", ["--elevenlabs-secret", "shorty_number_one;"]),
            ("", ["--elevenlabs-secret", "sk_shorty_number_one"]),
            ("", ["--elevenlabs-secret", "${SHORTY}"]),
            ("", ["--elevenlabs-secret", "ELEVENLABS_SECRET=shorty_number_one"]),
            ("\"shorty_number_one\"\n", ["--elevenlabs-secret-file", path]),
            ("shorty_number_one,shorty_number_two\n", ["--elevenlabs-secret-file", path]),
            ("ELEVENLABS_SECRET=shorty_number_one\n", ["--elevenlabs-secret-file", path]),
            ("secret_number_one\nsk_shorty\n", ["--elevenlabs-secret-file", path]),
            ("\n \n", ["--elevenlabs-secret-file", path]),
            ("secret_number_one\nshorty\u{e9}\n", ["--elevenlabs-secret-file", path]),
            ("", ["--elevenlabs-secret-file", "/nowhere/at/all"]),
        ] {
            std::fs::write(&file, content).unwrap();
            let why = format!("{:#}", read(&line).unwrap_err());
            assert!(why.contains(line[0]) && !why.contains("shorty"), "{why}");
        }
    }
}
