//! The channel of a conversation.

use super::stored_text::stored_as;

/// The channel of a conversation. Stored and returned as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A telephone call.
    Phone,
    /// A voice conversation in a web page or app.
    Web,
    /// Text messages of the telephone network.
    Sms,
    /// `WhatsApp`, by text or voice.
    Whatsapp,
    /// Typed text in a web page, an app or a messenger.
    Text,
    /// A channel that the record does not tell.
    Unknown,
}

stored_as!(Channel {
    Phone => "phone",
    Web => "web",
    Sms => "sms",
    Whatsapp => "whatsapp",
    Text => "text",
    Unknown => "unknown",
});

impl Channel {
    /// Returns whether people write in this channel, so that hours may pass between two turns.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Sms | Self::Whatsapp | Self::Text)
    }
}
