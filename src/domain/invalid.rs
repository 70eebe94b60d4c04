//! Values that break a rule.

/// A value that breaks a rule. The text is the rule, to be printed after the field's name.
///
/// For example, `must be exactly "agent" or "user"` is printed as `speaker: must be …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub std::borrow::Cow<'static, str>);

impl Invalid {
    pub(super) const fn rule(rule: &'static str) -> Self {
        Self(std::borrow::Cow::Borrowed(rule))
    }
}
