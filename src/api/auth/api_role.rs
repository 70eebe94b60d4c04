//! The API's representation of roles.

use crate::domain::Role;
use poem_openapi::Enum;

/// A role, which says what a client may do. Each one includes the ones before it, except that only `ingest` stores
/// turns.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "Role", rename_all = "snake_case")]
pub(in crate::api) enum ApiRole {
    /// Stores turns and histories.
    Ingest,
    /// Reads lists and statistics, without what was said.
    List,
    /// Reads everything.
    Read,
    /// Reads, changes and erases everything.
    Manage,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Ingest => Self::Ingest,
            Role::List => Self::List,
            Role::Read => Self::Read,
            Role::Manage => Self::Manage,
        }
    }
}
