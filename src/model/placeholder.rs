//! Values that a template left unfilled, such as `{{system__conversation_id}}` or `undefined`.
//!
//! A tool whose variables are not filled in sends the same text for every call. As the name of a call it would make the
//! whole fleet's turns one call.

use super::Invalid;

/// What stands around a variable's name in the template languages that people use.
const BRACKETS: [(&str, &str); 21] = [
    ("{{{", "}}}"),
    ("{{", "}}"),
    ("${", "}"),
    ("#{", "}"),
    ("@{", "}"),
    ("{%", "%}"),
    ("{$", "}"),
    ("{!", "}"),
    ("{", "}"),
    ("<%=", "%>"),
    ("<%", "%>"),
    ("<<", ">>"),
    ("<", ">"),
    ("[[", "]]"),
    ("[", "]"),
    ("%(", ")s"),
    ("$(", ")"),
    ("(", ")"),
    ("%%", "%%"),
    ("%", "%"),
    ("*|", "|*"),
];

/// Brackets that mark a variable wherever they stand within a text.
const ANYWHERE: [(&str, &str); 3] = [("{{", "}}"), ("${", "}"), ("<%", "%>")];

/// What programs write for a value that is not there.
const NOTHING: [&str; 17] = [
    "undefined",
    "null",
    "none",
    "nil",
    "nan",
    "<nil>",
    "(null)",
    "n/a",
    "n.a.",
    "unknown",
    "true",
    "false",
    "-",
    "?",
    "\"\"",
    "''",
    "[object object]",
];

/// Names of variables that stand for the value that they should have been replaced by: their letters, in whatever way they are
/// written.
const NAMES: [&str; 3] = ["conversationid", "systemconversationid", "yourconversationid"];

/// What a value that is not there leaves at the end of a text that is put together, as in `conv_undefined`.
const ENDS: [&str; 3] = ["undefined", "null", "[object object]"];

/// Length of the longest of these words.
const LONGEST_NAME: usize = "system__conversation_id".len();

/// Returns the variable that was not filled in, as it stands in a text that is nothing but a placeholder.
pub fn placeholder(text: &str) -> Option<&str> {
    let text = text.trim();
    let unquoted = ['"', '\'', '`'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    if let Some(inner) = unquoted.filter(|inner| !inner.is_empty()) {
        return placeholder(inner);
    }
    let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    if is(&NOTHING) || is_name(text) || text.to_ascii_lowercase().starts_with("[object ") {
        return Some(text);
    }
    let bracketed = BRACKETS.iter().find_map(|(open, close)| named(text.strip_prefix(open)?.strip_suffix(close)?));
    let prefixed = || named(text.strip_prefix('$')?);
    bracketed.or_else(prefixed)
}

/// Returns the variable that was not filled in, be it only a part of the text.
pub fn unfilled(text: &str) -> Option<&str> {
    // As nearly all identifiers are.
    if text.len() > LONGEST_NAME && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return None;
    }
    let part = |(open, close): &(&str, &str)| {
        let (_, rest) = text.split_once(open)?;
        named(rest.split_once(close)?.0)
    };
    // No identifier has these, whatever stands in them.
    let braces = || ["{{", "}}", "<?"].iter().any(|mark| text.contains(mark)).then_some(text);
    let ends = || {
        let lower = text.to_ascii_lowercase();
        let before = ENDS.iter().find_map(|end| lower.strip_suffix(end))?;
        before.ends_with(['_', '-', ':', '.', '/']).then_some(text)
    };
    placeholder(text).or_else(|| ANYWHERE.iter().find_map(part)).or_else(braces).or_else(ends)
}

/// Whether a text is nothing but the name of a variable, such as `__conversation_id__` and `YOUR-CONVERSATION-ID`.
fn is_name(text: &str) -> bool {
    let marks = |byte: u8| matches!(byte, b'_' | b'-' | b'.' | b':' | b'#' | b'@' | b' ');
    if text.len() > 2 * LONGEST_NAME || !text.bytes().all(|byte| byte.is_ascii_alphabetic() || marks(byte)) {
        return false;
    }
    let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
    NAMES.iter().any(|name| letters.eq_ignore_ascii_case(name))
}

/// Returns the error of a field that holds a placeholder.
pub(super) fn not_filled_in(variable: &str) -> Invalid {
    let shown: String = variable.chars().take(60).collect();
    Invalid(format!("the variable was not filled in, got {shown:?}").into())
}

/// A variable's name: it begins with a letter or `_`, and is neither a GUID nor part of an address.
fn named(text: &str) -> Option<&str> {
    let name = text.trim();
    let first = name.chars().next()?;
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ' ' | ':' | '|' | '$');
    let guid = name.len() >= 32 && name.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    (name.len() <= 200 && (first.is_alphabetic() || first == '_') && name.chars().all(in_name) && !guid).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_left_unfilled_is_told_by_its_variable() {
        for (text, variable) in [
            ("{{system__conversation_id}}", "system__conversation_id"),
            (" {{ system__conversation_id }} ", "system__conversation_id"),
            ("{{{id}}}", "id"),
            ("{conversation_id}", "conversation_id"),
            ("${conversationId}", "conversationId"),
            ("$conversation_id", "conversation_id"),
            ("%conversation_id%", "conversation_id"),
            ("%(id)s", "id"),
            ("<conversation_id>", "conversation_id"),
            ("<%= id %>", "id"),
            ("[conversation id]", "conversation id"),
            ("\"{{id}}\"", "id"),
            ("undefined", "undefined"),
            ("NULL", "NULL"),
            ("None", "None"),
            ("nil", "nil"),
            ("NaN", "NaN"),
            ("[object Object]", "[object Object]"),
            ("[object Undefined]", "[object Undefined]"),
            ("conversation_id", "conversation_id"),
            ("system__conversation_id", "system__conversation_id"),
        ] {
            assert_eq!(placeholder(text), Some(variable), "{text}");
        }
        for text in [
            "{{1.conversation_id}}",
            "{{trigger.body['id']}}",
            "={{ $('Webhook').item.json.id }}",
            "{{}}",
            "{{system__conversation_id",
            "{system__conversation_id}}",
            "__CONVERSATION_ID__",
            "YOUR-CONVERSATION-ID",
            "@conversation_id",
            ":conversationId",
            "#conversation_id#",
            "{$conversation.id}",
            "{!id}",
            "<?= $id ?>",
            "%%id%%",
            "*|ID|*",
            "false",
            "n.a.",
            "-",
            "conv_undefined",
            "call-null",
            "conv-[object Object]",
        ] {
            assert!(unfilled(text).is_some(), "{text}");
        }
        assert_eq!(unfilled("conv_{{id}}"), Some("id"));
        assert_eq!(unfilled("call-${id}-1"), Some("id"));
    }

    #[test]
    fn an_identifier_is_no_placeholder() {
        for text in [
            "conv_1901kaj4pr1penza6bbkscg6hgkc",
            "{6B29FC40-CA47-1067-B31D-00DD010662DA}",
            "{c0ffee40-ca47-1067-b31d-00dd010662da}",
            "<a84b4c76e66710@pc33.example.com>",
            "nullify",
            "conv_nullify",
            "conversation_id_7",
            "conversation",
            "undefined-1",
            "42",
            "%",
            "$",
            "<>",
            "{}",
            "100%",
            "",
        ] {
            assert_eq!(unfilled(text), None, "{text}");
        }
    }
}
