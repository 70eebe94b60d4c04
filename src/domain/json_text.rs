//! Values that are text within JSON.

use super::{CallSid, ConversationId, DeliveryKey, DriverId, Message, PhoneNumber, Timestamp, UserName};

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
    CallSid: |id| id.as_str().into(), |text| CallSid::from_sender(text).ok();
    UserName: |name| name.as_str().into(), |text| UserName::new(text).ok();
    PhoneNumber: |number| number.as_str().into(), |text| PhoneNumber::new(text).ok();
    DeliveryKey: |key| key.as_str().into(), |text| DeliveryKey::new(text).ok();
    Message: |message| message.as_str().into(), |text| Message::from_stored(text).ok();
    Timestamp: |time| time.to_string().into(), |text| Timestamp::parse(text).ok();
    DriverId: |id| id.to_string().into(), |text| text.parse().ok().and_then(|number| DriverId::new(number).ok());
}

/// JSON of bytes, as Base64.
pub(super) mod base64 {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::domain) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::domain) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}
