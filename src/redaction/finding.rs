//! Findings: the kinds of personal data, and where a text has them.

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A payment card's number.
    Card,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A social security number of the United States.
    Ssn,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Card, Self::Email, Self::Phone, Self::Ssn];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
        }
    }

    /// What stands in its place.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Card => "[card]",
            Self::Email => "[email]",
            Self::Phone => "[phone]",
            Self::Ssn => "[ssn]",
        }
    }
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How many of each kind were replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found(pub(super) [u64; 4]);

impl Found {
    /// How many of this kind.
    pub const fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }
}
