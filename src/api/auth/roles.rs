//! The role that each operation requires, and its check.
//!
//! This table is the only place that decides it, for every operation that requires an API token. An operation that is
//! missing here requires the highest role. A test compares the table with the OpenAPI document.

use super::identity::Identity;
use crate::domain::Role;
use poem::{Endpoint, IntoResponse as _, Request, Response};

/// Roles by operation id. An operation of [`Role::List`] leaves words out of its answer, see
/// [`super::identity::may_read_words`], or has none.
const ROLES: &[(&str, Role)] = &[
    ("change_call", Role::Manage),
    ("delete_dispatch", Role::Manage),
    ("delete_driver", Role::Manage),
    ("download_backup", Role::Manage),
    ("erase_call", Role::Manage),
    ("export_calls", Role::Read),
    ("get_audio", Role::Read),
    ("get_call", Role::List),
    ("get_conversation", Role::Read),
    ("get_conversation_audio", Role::Read),
    ("get_dispatch", Role::List),
    ("get_driver", Role::List),
    ("get_setup", Role::Manage),
    ("get_stats", Role::List),
    ("list_calls", Role::List),
    ("list_conversations", Role::Read),
    ("list_dispatches", Role::List),
    ("list_drivers", Role::List),
    ("list_tool_calls", Role::Read),
    ("list_transcriptions", Role::Read),
    ("put_dispatch", Role::Manage),
    ("put_dispatches", Role::Manage),
    ("put_driver", Role::Manage),
    ("search_transcriptions", Role::Read),
    ("watch_call", Role::Read),
    ("watch_calls", Role::Read),
];

/// Query parameters that require a higher role than their operation, because the answer tells what was said: those of
/// an operation by name, with a value, or with any value.
const PARAMETERS: &[(&str, &str, Option<&str>, Role)] =
    &[("get_stats", "include", Some("results"), Role::Read), ("list_calls", "q", None, Role::Read)];

/// Returns the role in the table for an operation.
pub(in crate::api) fn required_role(operation: &str) -> Option<Role> {
    ROLES.iter().find(|(name, _)| *name == operation).map(|(_, role)| *role)
}

/// An endpoint that requires a role.
pub struct RoleGuard<E> {
    inner: E,
    role: Role,
    /// Id of the operation, or an empty text for a path that is not in the document.
    operation: &'static str,
}

impl<E> RoleGuard<E> {
    /// Wraps an endpoint that is not in the document.
    pub fn new(role: Role, inner: E) -> Self {
        Self { inner, role, operation: "" }
    }

    /// Wraps an operation.
    pub(super) fn of_operation(operation: &'static str, inner: E) -> Self {
        Self { inner, role: required_role(operation).unwrap_or(Role::Manage), operation }
    }
}

impl<E: Endpoint> Endpoint for RoleGuard<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let identity = Identity::of_request(&request)?;
        identity.require(self.role, "this operation")?;
        for (_, name, value, role) in PARAMETERS.iter().filter(|(operation, ..)| *operation == self.operation) {
            // A query that cannot be read is refused by the operation.
            let sent: Vec<(String, String)> = request.params().unwrap_or_default();
            if sent.iter().any(|(sent, with)| sent == name && value.is_none_or(|value| value == with)) {
                identity.require(*role, &value.map_or((*name).to_owned(), |value| format!("{name}={value}")))?;
            }
        }
        self.inner.call(request).await.map(|answer| answer.into_response())
    }
}
