//! Findings: the kinds of personal data, and where a text has them.

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A payment card number.
    Card,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A United States social security number.
    Ssn,
}

impl Kind {
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
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Number of redactions by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found(pub(super) [u64; 4]);

impl Found {
    /// Returns the number of redactions of a kind.
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }
}
