//! The flag that says what must not be stored.

use crate::redaction::{Kind, Redactor};
use clap::{Args, ValueEnum};

/// What is replaced before it is stored.
#[derive(Debug, Args)]
pub(in crate::cli) struct RedactArgs {
    /// Replace what is found of these in words before they are stored, by `[card]` and the like: card, email, phone, ssn
    #[arg(long, env = "TRANSCRIBE_HOOK_REDACT", value_name = "KINDS", value_delimiter = ',')]
    redact: Vec<KindName>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    /// Payment cards' numbers
    Card,
    /// E-mail addresses
    Email,
    /// Telephone numbers, but for those of the telephone line, by which drivers are found
    Phone,
    /// Social security numbers of the United States
    Ssn,
}

impl RedactArgs {
    /// What replaces them, if any are to be replaced.
    pub(in crate::cli) fn redactor(&self) -> Option<Redactor> {
        let kind = |name: &KindName| match name {
            KindName::Card => Kind::Card,
            KindName::Email => Kind::Email,
            KindName::Phone => Kind::Phone,
            KindName::Ssn => Kind::Ssn,
        };
        let kinds: Vec<_> = self.redact.iter().map(kind).collect();
        (!kinds.is_empty()).then(|| Redactor::new(&kinds))
    }
}
