//! The command `import`.

pub(super) mod calls;
pub(super) mod command;
