//! JSON in columns.

use crate::store::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps in these values have string keys")
}

pub(super) fn parsed<T: DeserializeOwned>(text: &str, doing: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new(ErrorKind::Other, doing, error))
}
