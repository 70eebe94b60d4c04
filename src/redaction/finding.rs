//! Findings: the kinds of personal data, and where a text has them.

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiiKind {
    /// A payment card number.
    Card,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A United States social security number.
    Ssn,
}

impl PiiKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Card, Self::Email, Self::Phone, Self::Ssn];

    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
        }
    }

    /// Returns the text that replaces the data.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Card => "[card]",
            Self::Email => "[email]",
            Self::Phone => "[phone]",
            Self::Ssn => "[ssn]",
        }
    }
}

/// A byte range of a text with personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) kind: PiiKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Number of redactions by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedactionCounts(pub(super) [u64; 4]);

impl RedactionCounts {
    /// Returns the number of redactions of a kind.
    pub const fn count(&self, kind: PiiKind) -> u64 {
        self.0[kind as usize]
    }
}
