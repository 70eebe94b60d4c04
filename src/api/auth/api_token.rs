//! API tokens with the name and the role of their holder.

use crate::domain::{Credential, Identity, Invalid, Role, UserName};
use crate::secret::{Secret, Tokens};

/// Minimum length of a token, in bytes, which prevents guessing.
const MIN_TOKEN_BYTES: usize = 16;

/// Checks that a secret is long enough to be a token.
///
/// # Errors
/// The secret is too short. The error does not contain it.
pub fn check_token(token: &Secret) -> Result<(), Invalid> {
    if token.expose().len() < MIN_TOKEN_BYTES {
        return Err(Invalid(format!("must be at least {MIN_TOKEN_BYTES} characters long").into()));
    }
    Ok(())
}

/// A token of the API.
#[derive(Debug, Clone)]
pub struct ApiToken {
    /// Name of the holder; `None` for a token without a name.
    pub name: Option<UserName>,
    /// Role of the holder.
    pub role: Role,
    /// The token itself.
    pub secret: Secret,
}

impl ApiToken {
    /// Parses a token as it is configured: `NAME:ROLE:SECRET`, or a plain secret with the role `manage`.
    ///
    /// A plain secret may contain one colon. One with two or more cannot be told from a named token with a misspelled
    /// role, so it is refused instead of giving its holder the highest role.
    ///
    /// # Errors
    /// The text is neither. The error does not contain it.
    pub fn parse(text: &Secret) -> Result<Self, Invalid> {
        let token = match text.expose().splitn(3, ':').collect::<Vec<_>>()[..] {
            [name, role, secret] => {
                let invalid = |part: &str, rule: &str| {
                    let text = format!(
                        "has two colons, so it is read as NAME:ROLE:SECRET; {part} {rule} (a plain token with colons \
                         is written NAME:manage:TOKEN)"
                    );
                    Invalid(text.into())
                };
                let role = Role::from_stored(role)
                    .ok_or_else(|| invalid("the role", "must be one of ingest, list, read, manage"))?;
                Self {
                    name: Some(UserName::new(name).map_err(|rule| invalid("the name", &rule.0))?),
                    role,
                    secret: Secret::new(secret).map_err(|rule| invalid("the secret", &rule.0))?,
                }
            }
            _ => Self { name: None, role: Role::Manage, secret: text.clone() },
        };
        check_token(&token.secret)?;
        Ok(token)
    }
}

/// Checks that no secret belongs to two holders.
///
/// # Errors
/// A secret occurs with two names or two roles. The error does not contain it.
pub fn check_holders(tokens: &[ApiToken]) -> Result<(), Invalid> {
    for (n, token) in tokens.iter().enumerate() {
        let of_another = |other: &ApiToken| {
            (&other.name, other.role) != (&token.name, token.role) && other.secret.expose() == token.secret.expose()
        };
        if tokens[..n].iter().any(of_another) {
            return Err(Invalid("one secret has two names or roles; give each holder a secret".into()));
        }
    }
    Ok(())
}

/// The accepted API tokens with their holders. Only digests of the tokens are stored.
pub(super) struct ApiTokens {
    pub(super) digests: Tokens,
    holders: Box<[(Option<UserName>, Role)]>,
}

impl ApiTokens {
    pub(super) fn new(tokens: &[ApiToken]) -> Self {
        let secrets: Vec<_> = tokens.iter().map(|token| token.secret.clone()).collect();
        let holders = tokens.iter().map(|token| (token.name.clone(), token.role)).collect();
        Self { digests: Tokens::new(&secrets), holders }
    }

    /// Returns the holder of a token, if the token is accepted.
    pub(super) fn holder_of(&self, presented: &[u8]) -> Option<Identity> {
        self.digests.position(presented).map(|position| self.holder_at(position, Credential::Token))
    }

    /// Returns the holder of the token at a position in [`ApiTokens::digests`].
    pub(super) fn holder_at(&self, position: usize, credential: Credential) -> Identity {
        let (name, role) = &self.holders[position];
        Identity { name: name.clone(), role: *role, credential }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApiToken, Invalid> {
        ApiToken::parse(&Secret::new(text).unwrap())
    }

    #[test]
    fn a_token_has_a_name_and_a_role_or_manages() {
        for (text, name, role, secret) in [
            ("a_token_that_is_long", None, Role::Manage, "a_token_that_is_long"),
            ("one_colon:is_of_the_token", None, Role::Manage, "one_colon:is_of_the_token"),
            ("anna:read:0123456789abcdef", Some("anna"), Role::Read, "0123456789abcdef"),
            ("bot:ingest:0123456789:abcdef::", Some("bot"), Role::Ingest, "0123456789:abcdef::"),
            ("a@b.example:manage:0123456789abcdef", Some("a@b.example"), Role::Manage, "0123456789abcdef"),
        ] {
            let token = parse(text).unwrap();
            assert_eq!((token.name.as_ref().map(UserName::as_str), token.role), (name, role), "{text}");
            assert_eq!(token.secret.expose(), secret);
        }
    }

    #[test]
    fn a_mistaken_name_or_role_gives_no_access_and_shows_no_secret() {
        for text in [
            "anna:reader:0123456789abcdef",
            "anna:Read:0123456789abcdef",
            ":read:0123456789abcdef",
            "anna::0123456789abcdef",
            "anna:read:",
            "anna:read:too_short",
            "a_plain:token:with:colons",
            "::::::::::::::::",
        ] {
            let rule = parse(text).unwrap_err().0;
            assert!(!rule.contains("0123456789") && !rule.contains("a_plain"), "{text}: {rule}");
        }
    }

    #[test]
    fn one_secret_has_one_holder() {
        let tokens = |texts: &[&str]| texts.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>();
        let secret = "0123456789abcdef";
        let named = |holder: &str| format!("{holder}:{secret}");
        let (reads, manages, other) = (named("anna:read"), named("anna:manage"), named("bob:read"));
        assert!(check_holders(&tokens(&[secret, secret, "another_token_of_anna"])).is_ok());
        assert!(check_holders(&tokens(&[&reads, &reads])).is_ok());
        for two in [[secret, &reads], [&reads, &manages], [&reads, &other], [&manages, secret]] {
            assert!(check_holders(&tokens(&two)).is_err(), "{two:?}");
        }
    }
}
