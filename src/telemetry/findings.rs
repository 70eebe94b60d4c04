//! Findings about the setup: what a check found, and what to do about it. [`ELEVENLABS_CHECK`] holds the last check of
//! ElevenLabs' settings, for the API and the page.

use parking_lot::Mutex;

/// Severity of a finding, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// Not checked, because something that the check needs was not given.
    Skipped,
    /// Something may get lost, or is not as it should be.
    Warning,
    /// Something does not work.
    Problem,
}

impl Severity {
    /// Returns the name, which is a label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// A finding. It contains neither secrets nor words of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check, for programs.
    pub check: &'static str,
    /// Severity.
    pub severity: Severity,
    /// The fact.
    pub text: String,
    /// Remedy.
    pub remedy: Option<String>,
    /// ElevenLabs' agent that it is about; `None` for the workspace.
    pub agent_id: Option<String>,
}

impl Finding {
    /// Creates a finding that nothing is wrong.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, text: text.into(), remedy: None, agent_id: None }
    }

    /// Creates a finding that something was not checked, with what to do for it.
    pub fn skipped(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Skipped, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }

    /// Creates a warning with what to do.
    pub fn warning(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }

    /// Creates a problem with what to do.
    pub fn problem(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, remedy: Some(remedy.into()), ..Self::ok(check, text) }
    }
}

/// The findings of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFindings {
    /// Time of the check, in microseconds since 1970.
    pub at_micros: i64,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// The last check of ElevenLabs' settings by this process.
pub static ELEVENLABS_CHECK: Mutex<Option<CheckFindings>> = Mutex::new(None);
