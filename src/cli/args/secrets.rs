//! Flags for secrets. Each kind has a repeatable flag, a variable, and a flag for a file with one secret per line.
//!
//! The secrets are validated after the command line is parsed, because errors of the parser would contain them. Neither
//! help texts nor the table of flags show the value of a variable.

use crate::cli::usage_error::{OrUsage as _, usage};
use crate::domain::{Invalid, placeholder};
use crate::secret::Secret;
use anyhow::{Context as _, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::marker::PhantomData;
use std::path::PathBuf;

/// A kind of secret, with the names of its flags.
pub(in crate::cli) trait SecretKind {
    /// Flag for the secret itself.
    const FLAG: &'static str;
    /// Environment variable of that flag.
    const VARIABLE: &'static str;
    /// Flag for the path of a file.
    const FILE_FLAG: &'static str;
    /// Environment variable of the file flag.
    const FILE_VARIABLE: &'static str;
    /// True if several secrets are accepted at a time, so one can replace another without a gap.
    const REPEATABLE: bool;

    /// Returns the help text of the flag for one who uses the secret.
    fn help(user: SecretUser) -> Help;

    /// Returns the reason why a text looks like another kind of secret.
    fn confused(_text: &str) -> Option<&'static str> {
        None
    }
}

/// A help text of a flag.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Help {
    /// The line of the short help.
    short: &'static str,
    /// Further text of the long help, or an empty string.
    details: &'static str,
}

impl Help {
    const fn new(short: &'static str, details: &'static str) -> Self {
        Self { short, details }
    }
}

/// A command, by what it does with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum SecretUser {
    /// `serve`, and commands that use the secret as it does.
    Service,
    /// A client of a running service, which sends what this secret proves.
    Client,
    /// `doctor`, which tests what is set up.
    Doctor,
}

/// A command that reads secrets, as a type.
pub(in crate::cli) trait ReadBy {
    /// The command.
    const USER: SecretUser;
}

/// Secrets as `serve` reads them.
#[derive(Debug)]
pub(in crate::cli) enum ByService {}

impl ReadBy for ByService {
    const USER: SecretUser = SecretUser::Service;
}

/// Secrets as a client of a running service reads them.
#[derive(Debug)]
pub(in crate::cli) enum ByClient {}

impl ReadBy for ByClient {
    const USER: SecretUser = SecretUser::Client;
}

/// Secrets as `doctor` reads them.
#[derive(Debug)]
pub(in crate::cli) enum ByDoctor {}

impl ReadBy for ByDoctor {
    const USER: SecretUser = SecretUser::Doctor;
}

/// The signing secret of ElevenLabs' post-call webhook.
#[derive(Debug)]
pub(in crate::cli) enum WebhookSecret {}

impl SecretKind for WebhookSecret {
    const FLAG: &'static str = "elevenlabs-secret";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_SECRET";
    const FILE_FLAG: &'static str = "elevenlabs-secret-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_SECRET_FILE";
    const REPEATABLE: bool = true;

    fn help(user: SecretUser) -> Help {
        match user {
            SecretUser::Service => Help::new(
                "Verify post-call webhooks of ElevenLabs with this secret",
                "Without a secret every post-call webhook is refused.",
            ),
            SecretUser::Client => Help::new(
                "Sign the post-call event with this secret of `serve`",
                "The first of several secrets is used.",
            ),
            SecretUser::Doctor => Help::new(
                "Sign a test delivery with this secret of `serve`",
                "The first of several secrets is used. Without one no delivery is tested.",
            ),
        }
    }

    fn confused(text: &str) -> Option<&'static str> {
        let key = text.starts_with("sk_") || text.starts_with("xi-");
        if key {
            return Some(
                "is an API key of ElevenLabs; a signing secret begins with wsec_, and is shown when the webhook is \
                 created",
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

/// A secret that signs outgoing webhooks.
#[derive(Debug)]
pub(in crate::cli) enum OutgoingSecret {}

impl SecretKind for OutgoingSecret {
    const FLAG: &'static str = "webhook-secret";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_WEBHOOK_SECRET";
    const FILE_FLAG: &'static str = "webhook-secret-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_WEBHOOK_SECRET_FILE";
    const REPEATABLE: bool = true;

    fn help(_user: SecretUser) -> Help {
        Help::new(
            "Sign outgoing webhooks with this secret",
            "It is whsec_ and 24 to 64 bytes in base64. Each secret adds a signature.",
        )
    }

    fn confused(text: &str) -> Option<&'static str> {
        text.starts_with("wsec_").then_some("is a signing secret of ElevenLabs; this one begins with whsec_")
    }
}

/// A key of the ElevenLabs API.
#[derive(Debug)]
pub(in crate::cli) enum ApiKey {}

impl SecretKind for ApiKey {
    const FLAG: &'static str = "elevenlabs-api-key";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_API_KEY";
    const FILE_FLAG: &'static str = "elevenlabs-api-key-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_ELEVENLABS_API_KEY_FILE";
    const REPEATABLE: bool = false;

    fn help(_user: SecretUser) -> Help {
        Help::new("Use this key of the ElevenLabs API", "")
    }

    fn confused(text: &str) -> Option<&'static str> {
        text.starts_with("wsec_").then_some("is a webhook's signing secret; API keys of ElevenLabs begin with sk_")
    }
}

/// The token that is required to store turns and histories.
#[derive(Debug)]
pub(in crate::cli) enum IngestToken {}

impl SecretKind for IngestToken {
    const FLAG: &'static str = "ingest-token";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_INGEST_TOKEN";
    const FILE_FLAG: &'static str = "ingest-token-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_INGEST_TOKEN_FILE";
    const REPEATABLE: bool = true;

    fn help(user: SecretUser) -> Help {
        match user {
            SecretUser::Service => Help::new(
                "Require this token for storing turns and histories",
                "It must have 16 characters or more. Without a token anybody may store turns.",
            ),
            SecretUser::Client => {
                Help::new("Send turns with this ingest token of `serve`", "The first of several tokens is used.")
            }
            SecretUser::Doctor => Help::new(
                "Take it as known that `serve` requires this ingest token",
                "The token is not sent, so a wrong one is not noticed. Without one this check is skipped.",
            ),
        }
    }
}

/// The token that is required to read and manage calls.
#[derive(Debug)]
pub(in crate::cli) enum ApiTokenSecret {}

impl SecretKind for ApiTokenSecret {
    const FLAG: &'static str = "api-token";
    const VARIABLE: &'static str = "TRANSCRIBE_HOOK_API_TOKEN";
    const FILE_FLAG: &'static str = "api-token-file";
    const FILE_VARIABLE: &'static str = "TRANSCRIBE_HOOK_API_TOKEN_FILE";
    const REPEATABLE: bool = true;

    fn help(user: SecretUser) -> Help {
        match user {
            SecretUser::Service => Help::new(
                "Require this token for reading and managing calls",
                "It must have 16 characters or more. NAME:ROLE:TOKEN names its holder and limits what it allows: the \
                 role is ingest, list, read or manage, the role of a plain token. Without one `serve` generates a \
                 token and stores it beside the database.",
            ),
            SecretUser::Client => Help::new(
                "Authenticate with this API token of `serve`",
                "The first of several tokens with the role manage is used. Without one, the token that `serve` stored \
                 beside --database is sent, but only to this machine or by HTTPS.",
            ),
            SecretUser::Doctor => Help::new(
                "Test a live stream with this API token of `serve`",
                "The first of several tokens with the role manage is used. Without one, the token that `serve` stored \
                 beside --database is sent, but only to this machine; elsewhere live streams are not checked.",
            ),
        }
    }
}

/// The secrets of one kind, as given on the command line to a command.
pub(in crate::cli) struct Secrets<K, U = ByService> {
    given: Vec<String>,
    files: Vec<PathBuf>,
    /// Name of the flag or the variable that has the secrets.
    given_by: String,
    /// Name of the flag or the variable that has the files.
    files_by: String,
    kind: PhantomData<(K, U)>,
}

/// Hides the secrets when the command line is printed.
impl<K, U> std::fmt::Debug for Secrets<K, U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({} given, files {:?})", self.given.len(), self.files)
    }
}

impl<K: SecretKind, U: ReadBy> Secrets<K, U> {
    /// Returns whether no secret was given.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.files.is_empty()
    }

    /// Returns the names of the flags or variables that have the secrets, for an error about several of them.
    pub(in crate::cli) fn names(&self) -> String {
        let given = Some(&*self.given_by).filter(|_| !self.given.is_empty());
        let files = Some(&*self.files_by).filter(|_| !self.files.is_empty());
        given.into_iter().chain(files).collect::<Vec<_>>().join(" and ")
    }

    /// Reads all secrets, those of flags before those of files.
    ///
    /// # Errors
    /// A secret is invalid, or a file cannot be read or contains no secret. The error names the flag or variable that
    /// has the secret, and never contains a secret.
    pub(in crate::cli) fn read(&self) -> Result<Vec<Secret>> {
        self.read_as(|secret| Ok::<_, Invalid>(secret.clone()))
    }

    /// Reads all secrets as [`Secrets::read`] does, and converts each.
    ///
    /// # Errors
    /// See [`Secrets::read`]; or a secret cannot be converted.
    pub(in crate::cli) fn read_as<T>(&self, convert: impl Fn(&Secret) -> Result<T, Invalid>) -> Result<Vec<T>> {
        self.read_all(&self.files, &convert).or_usage()
    }

    /// Reads all secrets as [`Secrets::read`] does, except for those of files that do not exist yet.
    pub(in crate::cli) fn read_existing(&self) -> Result<Vec<Secret>> {
        let files: Vec<_> = self.files.iter().filter(|file| file.exists()).cloned().collect();
        self.read_all(&files, &|secret: &Secret| Ok(secret.clone())).or_usage()
    }

    /// Returns the files of secrets.
    pub(in crate::cli) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn read_all<T>(&self, files: &[PathBuf], convert: &impl Fn(&Secret) -> Result<T, Invalid>) -> Result<Vec<T>> {
        let mut secrets = Vec::new();
        let mut add = |text: &str, name: String| -> Result<()> {
            let valid = secret::<K>(text).and_then(|secret| Ok(convert(&secret)?));
            secrets.push(valid.context(name)?);
            Ok(())
        };
        for (number, text) in self.given.iter().enumerate() {
            let name = &self.given_by;
            add(text, if self.given.len() > 1 { format!("{name}: secret {}", number + 1) } else { name.clone() })?;
        }
        for file in files {
            let name = format!("{} {}", self.files_by, file.display());
            let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
            let text = text.trim_start_matches('\u{FEFF}');
            let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            anyhow::ensure!(!lines.is_empty(), "{name}: contains no secret");
            for (number, line) in lines.iter().enumerate() {
                add(line.trim(), format!("{name}: secret {}", number + 1))?;
            }
        }
        Ok(secrets)
    }

    /// Reads the secret, if one was given.
    ///
    /// # Errors
    /// More than one was given, or one of the errors of [`Secrets::read`].
    pub(in crate::cli) fn read_one(&self) -> Result<Option<Secret>> {
        let mut secrets = self.read()?;
        if secrets.len() > 1 {
            return Err(usage(format_args!("{}: must be one secret, got {}", self.names(), secrets.len())));
        }
        Ok(secrets.pop())
    }
}

/// Validates a secret. Refuses quotes, separators or a variable's name around it, because no signature would match.
///
/// # Errors
/// The text is not a secret of this kind. The error never contains it.
fn secret<K: SecretKind>(text: &str) -> Result<Secret> {
    anyhow::ensure!(!text.trim().is_empty(), "is empty, or has an extra blank; separate two secrets with one blank");
    let quoted = |c: char| matches!(c, '"' | '\'' | '`');
    anyhow::ensure!(!text.starts_with(quoted) && !text.ends_with(quoted), "is in quotes; remove them");
    anyhow::ensure!(
        !text.contains([',', ';']),
        "contains a comma or semicolon; for several secrets repeat the flag, separate them with a blank, or use a file \
         with one per line"
    );
    let named = text.split_once('=').is_some_and(|(name, value)| {
        let in_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        name.len() > 2 && name.contains('_') && name.bytes().all(in_name) && !value.trim_matches('=').is_empty()
    });
    anyhow::ensure!(!named, "begins with the name of a variable; pass only the value");
    anyhow::ensure!(placeholder(text).is_none(), "is a variable that was not replaced by its value");
    if let Some(confused) = K::confused(text) {
        anyhow::bail!("{confused}");
    }
    Ok(Secret::new(text)?)
}

/// Returns the long help of a kind's flag.
fn long_help<K: SecretKind, U: ReadBy>() -> String {
    let Help { short, details } = K::help(U::USER);
    let is_replaced = K::REPEATABLE && U::USER == SecretUser::Service;
    let repeat = if is_replaced { "May be repeated, to replace a secret without a gap." } else { "" };
    format!("{short}\n\n{}", [details, repeat].join(" ").trim()).trim_end().to_owned()
}

impl<K: SecretKind, U: ReadBy> Args for Secrets<K, U> {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(K::FLAG)
                    .long(K::FLAG)
                    .env(K::VARIABLE)
                    .hide_env_values(true)
                    .value_name("SECRET")
                    .action(ArgAction::Append)
                    // Secrets contain no blanks, so a variable can hold several.
                    .value_delimiter(' ')
                    .help(K::help(U::USER).short)
                    .long_help(long_help::<K, U>()),
            )
            .arg(
                Arg::new(K::FILE_FLAG)
                    .long(K::FILE_FLAG)
                    .env(K::FILE_VARIABLE)
                    .value_name("FILE")
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(PathBuf))
                    .help(format!("Read --{} from this file", K::FLAG))
                    .long_help(if K::REPEATABLE {
                        format!("Read --{} from this file, one per line, so it is in no list of processes", K::FLAG)
                    } else {
                        format!("Read --{} from this file, so it is in no list of processes", K::FLAG)
                    }),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<K: SecretKind, U: ReadBy> FromArgMatches for Secrets<K, U> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut secrets = Self {
            given: Vec::new(),
            files: Vec::new(),
            given_by: String::new(),
            files_by: String::new(),
            kind: PhantomData,
        };
        secrets.update_from_arg_matches(matches)?;
        Ok(secrets)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given = matches.get_many(K::FLAG).unwrap_or_default().cloned().collect();
        self.files = matches.get_many(K::FILE_FLAG).unwrap_or_default().cloned().collect();
        self.given_by = source(matches, K::FLAG, K::VARIABLE);
        self.files_by = source(matches, K::FILE_FLAG, K::FILE_VARIABLE);
        Ok(())
    }
}

/// Returns the name of the flag or the variable that has the values of an argument.
fn source(matches: &ArgMatches, flag: &str, variable: &str) -> String {
    match matches.value_source(flag) {
        Some(ValueSource::EnvVariable) => variable.to_owned(),
        _ => format!("--{flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct SecretArg {
        #[command(flatten)]
        secrets: Secrets<WebhookSecret>,
    }

    fn read(line: &[&str]) -> Result<Vec<String>> {
        let line = SecretArg::try_parse_from([&["x"], line].concat())?;
        assert!(!format!("{line:?}").contains("secret_number"), "{line:?}");
        Ok(line.secrets.read()?.iter().map(|secret| secret.expose().to_owned()).collect())
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

    #[test]
    fn a_help_text_says_what_its_command_does_with_the_secret() {
        let [serve, client, doctor] = [SecretUser::Service, SecretUser::Client, SecretUser::Doctor];
        for help in [WebhookSecret::help, IngestToken::help, ApiTokenSecret::help] {
            assert_ne!(help(serve).short, help(client).short);
            assert_ne!(help(serve).short, help(doctor).short);
        }
        assert_ne!(long_help::<ApiTokenSecret, ByClient>(), long_help::<ApiTokenSecret, ByService>());
    }
}
