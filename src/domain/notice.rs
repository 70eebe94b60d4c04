//! The types of notices, which outgoing webhooks send to other programs.
//!
//! `store::sqlite::outgoing` stores a notice together with its cause. Triggers of the schema store `call.erased` and
//! `recording.stored`.

use super::stored_text::stored_as;

/// The type of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeType {
    /// A call was created.
    CallStarted,
    /// A call ended.
    CallEnded,
    /// ElevenLabs' record of a call was stored and merged into the transcript.
    CallReconciled,
    /// A call changed in another way.
    CallUpdated,
    /// A call was erased.
    CallErased,
    /// The recording of a call was stored.
    RecordingStored,
    /// A turn of a call matched an alert.
    AlertMatched,
    /// A test, which is about no call.
    WebhookTest,
}

stored_as!(NoticeType {
    CallStarted => "call.started",
    CallEnded => "call.ended",
    CallReconciled => "call.reconciled",
    CallUpdated => "call.updated",
    CallErased => "call.erased",
    RecordingStored => "recording.stored",
    AlertMatched => "alert.matched",
    WebhookTest => "webhook.test",
});

impl NoticeType {
    /// All types about calls, in the order of a call's life.
    pub const ABOUT_CALLS: [Self; 7] = [
        Self::CallStarted,
        Self::CallEnded,
        Self::CallReconciled,
        Self::CallUpdated,
        Self::CallErased,
        Self::RecordingStored,
        Self::AlertMatched,
    ];
}
