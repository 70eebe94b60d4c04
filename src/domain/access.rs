//! Roles and names of those who use the service, and what they did with calls.

use super::stored_text::stored_as;
use super::{ConversationId, Invalid, Timestamp};
use serde::{Deserialize, Serialize};
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

stored_as!(Role { Ingest => "ingest", List => "list", Read => "read", Manage => "manage" });

impl Role {
    /// All roles, in ascending order.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::List, Self::Read, Self::Manage];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The proof of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token, which a page of another origin cannot know.
    Token,
    /// A session cookie, which browsers send by themselves.
    Session,
    /// The user header of a trusted proxy, which adds it to all requests of a browser that it signed in.
    Proxy,
    /// Nothing, because the service requires no token.
    None,
}

stored_as!(Credential {
    Token => "token",
    Session => "session",
    Proxy => "proxy",
    None => "none",
});

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

/// The one who sends a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the token or user; `None` for a token without a name, and without a token.
    pub name: Option<UserName>,
    /// Role of the token or user.
    pub role: Role,
    /// Proof of the identity.
    pub credential: Credential,
}

impl Identity {
    /// Returns the identity of those who need no token.
    pub const fn anonymous() -> Self {
        Self { name: None, role: Role::Manage, credential: Credential::None }
    }
}

/// Action of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessAction {
    /// Listed calls with their titles, summaries and last words.
    List,
    /// Read a call, or followed all calls live.
    Read,
    /// Listened to a recording, or downloaded it.
    Listen,
    /// Searched for words.
    Search,
    /// Exported calls.
    Export,
    /// Downloaded a backup of everything.
    Backup,
    /// Erased a call.
    Erase,
}

stored_as!(AccessAction {
    List => "list",
    Read => "read",
    Listen => "listen",
    Search => "search",
    Export => "export",
    Backup => "backup",
    Erase => "erase",
});

/// An access to calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Time of the access.
    pub at: Timestamp,
    /// The one who accessed calls.
    pub identity: Identity,
    /// Action.
    pub action: AccessAction,
    /// The call; `None` if the access was not to a single call.
    pub conversation_id: Option<ConversationId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_ascend_and_are_found_by_their_names() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::from_stored(role.as_str()), Some(role));
        }
        for other in ["", "Read", "reader", "read ", "admin"] {
            assert_eq!(Role::from_stored(other), None, "{other:?}");
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
