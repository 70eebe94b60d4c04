//! Values that are text within JSON.

use super::{CallStatus, ConversationId, DriverId, Message, PhoneNumber, Speaker, Timestamp};

/// Implements serde for types that are stored as text in JSON, in their usual text form.
macro_rules! text_in_json {
    ($($name:ty: $to:expr, $from:expr;)+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let to: fn(&$name) -> std::borrow::Cow<'_, str> = $to;
                serializer.serialize_str(&to(self))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                let from: fn(&str) -> Option<$name> = $from;
                from(&text).ok_or_else(|| serde::de::Error::custom(concat!("no ", stringify!($name))))
            }
        }
    )+};
}
text_in_json! {
    ConversationId: |id| id.as_str().into(), |text| ConversationId::new(text).ok();
    PhoneNumber: |number| number.as_str().into(), |text| PhoneNumber::new(text).ok();
    Message: |message| message.as_str().into(), |text| Message::new(text).ok();
    Timestamp: |time| time.to_string().into(), |text| Timestamp::parse(text).ok();
    CallStatus: |status| status.as_str().into(), CallStatus::from_stored;
    Speaker: |speaker| speaker.as_str().into(), Speaker::from_stored;
    DriverId: |id| id.to_string().into(), |text| text.parse().ok().and_then(|number| DriverId::new(number).ok());
}
