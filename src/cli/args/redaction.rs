//! The flag of `serve` and `backfill` that selects the redacted data.

use crate::redaction::{PiiKind, Redactor};
use clap::{Args, ValueEnum};

/// The kinds of personal data that are replaced before words are stored.
#[derive(Debug, Args)]
pub(in crate::cli) struct RedactionArgs {
    /// Redact these kinds before storing: card, email, phone, ssn
    ///
    /// Each finding is replaced with its kind in brackets, as in `[card]`.
    #[arg(long, env = "TRANSCRIBE_HOOK_REDACT", value_name = "KINDS", value_delimiter = ',')]
    redact: Vec<PiiKindArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PiiKindArg {
    /// Payment card numbers
    Card,
    /// E-mail addresses
    Email,
    /// Telephone numbers, except the call's own, which identifies the driver
    Phone,
    /// United States social security numbers
    Ssn,
}

impl From<PiiKindArg> for PiiKind {
    fn from(kind: PiiKindArg) -> Self {
        match kind {
            PiiKindArg::Card => Self::Card,
            PiiKindArg::Email => Self::Email,
            PiiKindArg::Phone => Self::Phone,
            PiiKindArg::Ssn => Self::Ssn,
        }
    }
}

impl RedactionArgs {
    /// Returns the redactor, if any kind is configured.
    pub(in crate::cli) fn redactor(&self) -> Option<Redactor> {
        let kinds: Vec<PiiKind> = self.redact.iter().copied().map(PiiKind::from).collect();
        (!kinds.is_empty()).then(|| Redactor::new(&kinds))
    }
}
