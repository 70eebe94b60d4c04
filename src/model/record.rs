//! ElevenLabs' records of a call. A record contains the facts and the transcript entries of one event.
//!
//! Records are stored as JSON. New fields need a serde default, and existing fields must not change their meaning.

use super::{CallStatus, ConversationId, DriverId, Message, PhoneNumber, Remark, RemarkKind, Speaker, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

