//! Roles and names of those who use the service.

use super::Invalid;
use std::fmt;
use std::sync::Arc;

/// A role. A higher one includes the lower ones, except that only [`Role::Ingest`] stores turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Stores turns and histories, and reads nothing.
    Ingest,
    /// Reads lists and statistics, without anything that was said.
    List,
    /// Reads everything.
    Read,
    /// Reads, changes and erases everything.
    Manage,
}

impl Role {
    /// All roles, in ascending order.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::List, Self::Read, Self::Manage];

    /// Returns the name of the role.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::List => "list",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }

    /// Returns the role with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a token, or of a user whom a proxy signed in: 1 to 128 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Maximum length, in characters.
    pub const MAX_CHARS: usize = 128;

    /// Creates a name, without surrounding white space.
    ///
    /// # Errors
    /// The name is empty, too long, or contains a control character.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > Self::MAX_CHARS || text.chars().any(char::is_control) {
            let rule = format!("must be 1 to {} characters without control characters", Self::MAX_CHARS);
            return Err(Invalid(rule.into()));
        }
        Ok(Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_ascend_and_are_found_by_their_names() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        for other in ["", "Read", "reader", "read ", "admin"] {
            assert_eq!(Role::from_name(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_name_is_short_and_can_be_printed() {
        for good in ["anna", "anna@example.com", "Zoë K", &"x".repeat(128)] {
            assert_eq!(UserName::new(&format!(" {good} ")).unwrap().as_str(), good);
        }
        for bad in ["", "  ", "a\u{0}b", "a\nb", "a\u{1b}[0m", &"x".repeat(129)] {
            assert!(UserName::new(bad).is_err(), "{bad:?}");
        }
    }
}
