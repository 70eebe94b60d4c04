//! Parses the text of a search into an expression.
//!
//! | written | matches turns with |
//! | --- | --- |
//! | `reefer alarm`, `reefer AND alarm` | both words, anywhere in the turn |
//! | `"dock door"` | these words in sequence |
//! | `reefer OR trailer` | at least one |
//! | `reefer NOT alarm`, `reefer AND NOT alarm` | the first but not the second |
//! | `temp*`, `"dock do"*` | a word with this prefix |
//! | `(reefer OR trailer) alarm` | the grouped expression |
//!
//! `NOT` binds tighter than `AND`, and `AND` tighter than `OR`. Operators are in capitals; `and` is an ordinary word.
//! Characters other than letters and digits separate words: `load-4711` matches `load` followed by `4711`.

use super::Invalid;
use std::iter::Peekable;
use std::vec::IntoIter;

/// Maximum number of words and quotations.
const MAX_UNITS: usize = 32;

/// Maximum depth of brackets. The parser calls itself for each level, so the depth bounds its stack.
const MAX_DEPTH: usize = 32;

/// A search expression over the words of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchExpr {
    /// Words in sequence. The text contains at least one letter or digit, and no quotation mark.
    Words {
        /// Words as written.
        text: String,
        /// True if the last word is a prefix.
        prefix: bool,
    },
    /// All of these expressions, at least two.
    All(Vec<Self>),
    /// Any of these expressions, at least two.
    Any(Vec<Self>),
    /// The first expression but not the second.
    AndNot(Box<Self>, Box<Self>),
}

impl SearchExpr {
    /// Parses the text that a person typed.
    ///
    /// # Errors
    /// The text is no valid expression. The error names the position, in characters from 1.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let tokens = tokens(text)?;
        if tokens.iter().all(|(_, token)| matches!(token, Token::Open | Token::Close)) {
            return Err(Invalid::rule("must contain a letter or a digit"));
        }
        let units = tokens.iter().filter(|(_, token)| matches!(token, Token::Unit(_))).count();
        if units > MAX_UNITS {
            return Err(Invalid(format!("must be at most {MAX_UNITS} words and quotations").into()));
        }
        let mut tokens = tokens.into_iter().peekable();
        let wanted = any(&mut tokens)?;
        match tokens.next() {
            None => Ok(wanted),
            Some((at, _)) => Err(misplaced(at, "closes a bracket that is not open")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Unit(SearchExpr),
}

/// Tokens, each with the position of its first character, from 1.
type Lexer = Peekable<IntoIter<(usize, Token)>>;

fn misplaced(at: usize, what: &str) -> Invalid {
    Invalid(format!("character {at} {what}").into())
}

/// Returns whether the character is a quotation mark, as typed or as substituted by word processors and telephones.
fn is_quotation_mark(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„' | '‟' | '«' | '»')
}

fn has_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Invalid> {
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    // Stored messages contain no U+0000 either.
    let mut rest = text.chars().map(|c| if c == '\0' { '\u{FFFD}' } else { c }).zip(1..).peekable();
    while let Some((c, at)) = rest.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        let token = if c == '(' {
            depth += 1;
            if depth > MAX_DEPTH {
                return Err(misplaced(at, "opens a bracket inside 32 others"));
            }
            Token::Open
        } else if c == ')' {
            depth = depth.saturating_sub(1);
            Token::Close
        } else if c == '*' {
            return Err(misplaced(at, "is a * that does not end a word"));
        } else if is_quotation_mark(c) {
            loop {
                match rest.next() {
                    None => return Err(misplaced(at, "opens a quotation that is not closed")),
                    Some((c, _)) if is_quotation_mark(c) => break,
                    Some((c, _)) => word.push(c),
                }
            }
            if !has_word(&word) {
                return Err(misplaced(at, "opens a quotation without a letter or digit"));
            }
            Token::Unit(SearchExpr::Words { text: word, prefix: rest.next_if(|(c, _)| *c == '*').is_some() })
        } else {
            word.push(c);
            let part = |c: char| !c.is_whitespace() && !is_quotation_mark(c) && !matches!(c, '(' | ')' | '*');
            while let Some((c, _)) = rest.next_if(|(c, _)| part(*c)) {
                word.push(c);
            }
            let prefix = has_word(&word) && rest.next_if(|(c, _)| *c == '*').is_some();
            match word.as_str() {
                "AND" if !prefix => Token::And,
                "OR" if !prefix => Token::Or,
                "NOT" if !prefix => Token::Not,
                // A dash between words, for example, is ignored.
                _ if !has_word(&word) => continue,
                _ => Token::Unit(SearchExpr::Words { text: word, prefix }),
            }
        };
        if let (Token::Unit(SearchExpr::Words { prefix: true, .. }), Some((c, at))) = (&token, rest.peek()) {
            if !c.is_whitespace() && *c != ')' {
                return Err(misplaced(*at, "follows a *, which ends a word"));
            }
        }
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn any(tokens: &mut Lexer) -> Result<SearchExpr, Invalid> {
    let mut parts = vec![all(tokens)?];
    while tokens.next_if(|(_, token)| *token == Token::Or).is_some() {
        parts.push(all(tokens)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { SearchExpr::Any(parts) })
}

fn all(tokens: &mut Lexer) -> Result<SearchExpr, Invalid> {
    let mut parts = vec![but(tokens)?];
    loop {
        match tokens.peek() {
            Some((_, Token::And)) => {
                tokens.next();
                if tokens.next_if(|(_, token)| *token == Token::Not).is_some() {
                    let so_far = if parts.len() == 1 { parts.remove(0) } else { SearchExpr::All(parts) };
                    parts = vec![SearchExpr::AndNot(Box::new(so_far), Box::new(unit(tokens)?))];
                } else {
                    parts.push(but(tokens)?);
                }
            }
            Some((_, Token::Unit(_) | Token::Open)) => parts.push(but(tokens)?),
            _ => return Ok(if parts.len() == 1 { parts.remove(0) } else { SearchExpr::All(parts) }),
        }
    }
}

fn but(tokens: &mut Lexer) -> Result<SearchExpr, Invalid> {
    let mut wanted = unit(tokens)?;
    while tokens.next_if(|(_, token)| *token == Token::Not).is_some() {
        wanted = SearchExpr::AndNot(Box::new(wanted), Box::new(unit(tokens)?));
    }
    Ok(wanted)
}

fn unit(tokens: &mut Lexer) -> Result<SearchExpr, Invalid> {
    match tokens.next() {
        Some((_, Token::Unit(words))) => Ok(words),
        Some((at, Token::Open)) => {
            let inner = any(tokens)?;
            match tokens.next() {
                Some((_, Token::Close)) => Ok(inner),
                _ => Err(misplaced(at, "opens a bracket that is not closed")),
            }
        }
        Some((at, Token::Close)) => Err(misplaced(at, "closes a bracket where a word is expected")),
        Some((at, Token::And)) => Err(misplaced(at, "begins an AND, which must be between two words")),
        Some((at, Token::Or)) => Err(misplaced(at, "begins an OR, which must be between two words")),
        Some((at, Token::Not)) => Err(misplaced(at, "begins a NOT, which must follow a word")),
        None => Err(Invalid::rule("must not end with AND, OR, NOT or an open bracket")),
    }
}

/// An excerpt of a turn's words with the matches marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet(pub Vec<SnippetPart>);

/// A part of a [`Snippet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnippetPart {
    /// Words as stored.
    pub text: String,
    /// True if the words match the search.
    pub matched: bool,
}

impl Snippet {
    /// Returns the snippet as HTML: matches in `<mark>`, everything else as escaped text.
    pub fn html(&self) -> String {
        let mut html = String::new();
        for piece in &self.0 {
            if piece.matched {
                html.push_str("<mark>");
            }
            for c in piece.text.chars() {
                match c {
                    '&' => html.push_str("&amp;"),
                    '<' => html.push_str("&lt;"),
                    '>' => html.push_str("&gt;"),
                    '"' => html.push_str("&quot;"),
                    '\'' => html.push_str("&#39;"),
                    c => html.push(c),
                }
            }
            if piece.matched {
                html.push_str("</mark>");
            }
        }
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expression with all brackets; a prefix ends with `*`.
    fn shown(wanted: &SearchExpr) -> String {
        let joined =
            |parts: &[SearchExpr], by: &str| format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(by));
        match wanted {
            SearchExpr::Words { text, prefix } => format!("{text}{}", if *prefix { "*" } else { "" }),
            SearchExpr::All(parts) => joined(parts, " & "),
            SearchExpr::Any(parts) => joined(parts, " | "),
            SearchExpr::AndNot(some, others) => format!("({} - {})", shown(some), shown(others)),
        }
    }

    #[test]
    fn a_text_is_read_by_the_rules_of_precedence() {
        for (text, wanted) in [
            ("reefer", "reefer"),
            (" reefer  alarm ", "(reefer & alarm)"),
            ("reefer AND alarm", "(reefer & alarm)"),
            ("reefer and alarm", "(reefer & and & alarm)"),
            ("a OR b c", "(a | (b & c))"),
            ("a b OR c d OR e", "((a & b) | (c & d) | e)"),
            ("a NOT b", "(a - b)"),
            ("a AND NOT b", "(a - b)"),
            ("a b NOT c", "(a & (b - c))"),
            ("a b AND NOT c", "((a & b) - c)"),
            ("a NOT b NOT c", "((a - b) - c)"),
            ("(a OR b) c", "((a | b) & c)"),
            ("((a))", "a"),
            ("a NOT (b OR c)", "(a - (b | c))"),
            ("\"dock door\" temp*", "(dock door & temp*)"),
            ("\"dock do\"*", "dock do*"),
            ("„Guten Tag“ «bonjour»", "(Guten Tag & bonjour)"),
            ("load-4711", "load-4711"),
            ("a - b", "(a & b)"),
            ("\"AND\"", "AND"),
            ("AND*", "AND*"),
            ("(temp*)", "temp*"),
            ("a\0b", "a\u{FFFD}b"),
        ] {
            assert_eq!(SearchExpr::parse(text).map(|wanted| shown(&wanted)), Ok(wanted.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_expression_is_refused_with_its_position() {
        for (text, position) in [
            ("", None),
            (" - ", None),
            ("()", None),
            ("a OR", None),
            ("(a AND", None),
            ("a )", Some(3)),
            ("(a", Some(1)),
            ("a (b", Some(3)),
            ("OR a", Some(1)),
            ("a AND OR b", Some(7)),
            ("NOT a", Some(1)),
            ("*", Some(1)),
            ("a *", Some(3)),
            ("a*b", Some(3)),
            ("é \"x", Some(3)),
            ("\"-\"", Some(1)),
            ("( ) a", Some(3)),
        ] {
            let refusal = SearchExpr::parse(text).expect_err(text).to_string();
            let named = refusal.strip_prefix("character ").and_then(|rest| rest.split(' ').next()?.parse().ok());
            assert_eq!(named, position, "{text:?}: {refusal}");
        }
    }

    #[test]
    fn there_is_a_maximum_of_words_and_quotations() {
        let words = |count| vec!["a"; count].join(" ");
        assert!(SearchExpr::parse(&words(MAX_UNITS)).is_ok());
        assert!(SearchExpr::parse(&words(MAX_UNITS + 1)).is_err());
    }

    #[test]
    fn there_is_a_maximum_depth_of_brackets_and_none_of_their_number() {
        let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(SearchExpr::parse(&nested(MAX_DEPTH)), SearchExpr::parse("a"));
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            let refusal = SearchExpr::parse(&nested(depth)).expect_err("too deep").to_string();
            assert!(refusal.starts_with("character 33 "), "{refusal}");
        }
        assert!(SearchExpr::parse(&"(a) ".repeat(MAX_UNITS)).is_ok());
    }

    #[test]
    fn a_snippet_as_html_has_no_markup_but_the_marks() {
        let piece = |text: &str, matched| SnippetPart { text: text.to_owned(), matched };
        let snippet = Snippet(vec![piece("<b>\"a\" & ", false), piece("'x'", true)]);
        assert_eq!(snippet.html(), "&lt;b&gt;&quot;a&quot; &amp; <mark>&#39;x&#39;</mark>");
    }
}
