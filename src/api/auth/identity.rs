//! The one who sends a request: a name, a role, and the credential that proves them.

use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::domain::{Role, UserName};
use poem::Request;

/// The proof of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Credential {
    /// A token, which a page of another origin cannot know.
    Token,
    /// A session cookie, which browsers send by themselves.
    Session,
    /// The user header of a trusted proxy, which adds it to all requests of a browser that it signed in.
    Proxy,
    /// Nothing, because the service requires no token.
    None,
}

/// The one who sends a request. The access checks add it to each request that they allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Identity {
    /// Name of the token or user; `None` for a token without a name, and without a token.
    pub(in crate::api) name: Option<UserName>,
    pub(in crate::api) role: Role,
    pub(in crate::api) credential: Credential,
}

impl Identity {
    /// Returns the identity of those who need no token.
    pub(super) const fn anonymous() -> Self {
        Self { name: None, role: Role::Manage, credential: Credential::None }
    }

    /// Returns the identity of a request that passed the access checks.
    ///
    /// # Errors
    /// The request did not pass them.
    pub(super) fn of_request(request: &Request) -> Result<&Self, ApiError> {
        request.data().ok_or_else(|| ApiError::no_token("send the API token as Authorization: Bearer"))
    }

    /// Checks that the role includes another one. `what` is what requires that one.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn require(&self, required: Role, what: &str) -> Result<(), ApiError> {
        if self.role >= required {
            return Ok(());
        }
        let details = format!("{what} requires the role {required}, but the role is {}", self.role);
        Err(ApiError::Forbidden(ErrorCode::RoleTooLow, details))
    }
}

/// Returns whether the answer to a request may contain what was said in calls.
pub(in crate::api) fn may_read_words(request: &Request) -> bool {
    Identity::of_request(request).is_ok_and(|identity| identity.role >= Role::Read)
}
