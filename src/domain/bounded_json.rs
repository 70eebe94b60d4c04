//! A JSON value of limited size in memory.
//!
//! A value takes many times the memory of its text: `0,` has two bytes and becomes 72, `{"a":0},` has eight and becomes
//! 600. So the limit of a body's size does not limit the memory of its value. This one leaves out what is beyond its
//! limits, and counts it. What comes before stays whole.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// Maximum number of elements of an array, and of fields of an object. The others are left out.
const MAX_ELEMENTS: usize = 100_000;

/// Memory of an element of an array, in bytes, with what the array reserves for further ones.
const ELEMENT_BYTES: usize = size_of::<Value>() * 3 / 2;

/// Memory of an object with its first fields, in bytes.
const OBJECT_BYTES: usize = 512;

/// Number of fields for which an object reserves memory with its first one.
const FIRST_FIELDS: usize = 4;

/// Memory of each further field of an object, in bytes.
const FIELD_BYTES: usize = 160;

/// Memory of a text beside its own length, in bytes. The lengths are those of the body.
const TEXT_BYTES: usize = 24;

/// A JSON value whose arrays, objects and texts take at most about `MAX_MIB` MiB beside the length of the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundedJson<const MAX_MIB: usize> {
    /// The value.
    pub value: Value,
    /// Number of elements and fields that were left out.
    pub left_out: usize,
}

impl<'de, const MAX_MIB: usize> Deserialize<'de> for BoundedJson<MAX_MIB> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let budget = Budget { left: Cell::new(MAX_MIB << 20), left_out: Cell::new(0) };
        let value = BoundedVisitor(&budget).deserialize(deserializer)?;
        Ok(Self { value, left_out: budget.left_out.get() })
    }
}

/// The memory that is left.
struct Budget {
    left: Cell<usize>,
    left_out: Cell<usize>,
}

impl Budget {
    /// Takes memory, and returns whether there was enough.
    fn take(&self, bytes: usize) -> bool {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Counts an element or a field that was left out.
    fn leave_out(&self) {
        self.left_out.set(self.left_out.get().saturating_add(1));
    }
}

#[derive(Clone, Copy)]
struct BoundedVisitor<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for BoundedVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BoundedVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        self.0.take(TEXT_BYTES);
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < MAX_ELEMENTS && self.0.take(ELEMENT_BYTES) {
            match access.next_element_seed(self)? {
                Some(element) => elements.push(element),
                None => return Ok(elements.into()),
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {
            self.0.leave_out();
        }
        Ok(elements.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while fields.len() < MAX_ELEMENTS {
            let Some(name) = access.next_key::<String>()? else { return Ok(fields.into()) };
            let bytes = match fields.len() {
                0 => OBJECT_BYTES,
                1..FIRST_FIELDS => TEXT_BYTES,
                _ => FIELD_BYTES + TEXT_BYTES,
            };
            if !self.0.take(bytes) {
                access.next_value::<IgnoredAny>()?;
                self.0.leave_out();
                break;
            }
            let value = access.next_value_seed(self)?;
            fields.insert(name, value);
        }
        while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            self.0.leave_out();
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read<const MAX_MIB: usize>(text: &str) -> BoundedJson<MAX_MIB> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_value_within_the_limits_is_that_of_the_usual_parser() {
        for text in [
            r#"{"b": [1, -2, 1.5, 1e300, true, null, "x\n", {}, []], "a": {"c": {"d": 18446744073709551615}}, "b": 7}"#,
            "[]",
            "\"words\"",
            "-0.0",
            "null",
        ] {
            let BoundedJson { value, left_out } = read::<1>(text);
            assert_eq!((value, left_out), (serde_json::from_str(text).unwrap(), 0), "{text}");
        }
        let order: Vec<_> = read::<1>(r#"{"b": 1, "a": 2}"#).value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(order, ["b", "a"]);
        for bad in ["", "[1", "{\"a\"}", "[1,]", "{} {}", "NaN"] {
            assert!(serde_json::from_str::<BoundedJson<1>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_beyond_the_limits_is_left_out_and_counted_and_the_rest_stays() {
        let many = |element: &str, number: usize| vec![element; number].join(",");
        let text = format!(r#"{{"before": "x", "many": [{}], "after": ["y"]}}"#, many("0", MAX_ELEMENTS + 7));
        let BoundedJson { value, left_out } = read::<64>(&text);
        assert_eq!((value["many"].as_array().unwrap().len(), left_out), (MAX_ELEMENTS, 7));
        assert_eq!((&value["before"], &value["after"]), (&json!("x"), &json!(["y"])));
        // Many small arrays and objects have no memory left in the end.
        for element in ["[0]", r#"{"a":0}"#, r#"{"a":{}}"#, r#"["a"]"#] {
            let text = format!("[{}]", many(element, 50_000));
            let BoundedJson { value, left_out } = read::<1>(&text);
            let kept = value.as_array().unwrap().len();
            assert!(kept > 1000 && kept < 10_000, "{element}: {kept}");
            assert!(left_out >= 50_000 - kept, "{element}: {left_out}");
            assert_eq!(value[0].to_string(), element);
            assert_eq!(read::<64>(&text).left_out, 0, "{element}");
        }
        let named: Vec<_> = (0..50_000).map(|n| format!(r#""k{n}":0"#)).collect();
        let BoundedJson { value, left_out } = read::<1>(&format!("{{{}}}", named.join(",")));
        assert_eq!(value.as_object().unwrap().len() + left_out, 50_000);
        assert!(left_out > 40_000, "{left_out}");
    }
}
