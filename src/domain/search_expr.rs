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

/// A search expression over the words of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
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
    But(Box<Self>, Box<Self>),
}

impl Wanted {
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
            return Err(Invalid::rule("must be at most 32 words and quotations"));
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
    Unit(Wanted),
}

/// Tokens, each with the position of its first character, from 1.
type Tokens = Peekable<IntoIter<(usize, Token)>>;

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
    // Stored messages contain no U+0000 either.
    let mut rest = text.chars().map(|c| if c == '\0' { '\u{FFFD}' } else { c }).zip(1..).peekable();
    while let Some((c, at)) = rest.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        let token = if c == '(' {
            Token::Open
        } else if c == ')' {
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
            Token::Unit(Wanted::Words { text: word, prefix: rest.next_if(|(c, _)| *c == '*').is_some() })
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
                _ => Token::Unit(Wanted::Words { text: word, prefix }),
            }
        };
        if let (Token::Unit(Wanted::Words { prefix: true, .. }), Some((c, at))) = (&token, rest.peek()) {
            if !c.is_whitespace() && *c != ')' {
                return Err(misplaced(*at, "follows a *, which ends a word"));
            }
        }
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn any(tokens: &mut Tokens) -> Result<Wanted, Invalid> {
    let mut parts = vec![all(tokens)?];
    while tokens.next_if(|(_, token)| *token == Token::Or).is_some() {
        parts.push(all(tokens)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Wanted::Any(parts) })
}

fn all(tokens: &mut Tokens) -> Result<Wanted, Invalid> {
    let mut parts = vec![but(tokens)?];
    loop {
        match tokens.peek() {
            Some((_, Token::And)) => {
                tokens.next();
                if tokens.next_if(|(_, token)| *token == Token::Not).is_some() {
                    let so_far = if parts.len() == 1 { parts.remove(0) } else { Wanted::All(parts) };
                    parts = vec![Wanted::But(Box::new(so_far), Box::new(unit(tokens)?))];
                } else {
                    parts.push(but(tokens)?);
                }
            }
            Some((_, Token::Unit(_) | Token::Open)) => parts.push(but(tokens)?),
            _ => return Ok(if parts.len() == 1 { parts.remove(0) } else { Wanted::All(parts) }),
        }
    }
}

fn but(tokens: &mut Tokens) -> Result<Wanted, Invalid> {
    let mut wanted = unit(tokens)?;
    while tokens.next_if(|(_, token)| *token == Token::Not).is_some() {
        wanted = Wanted::But(Box::new(wanted), Box::new(unit(tokens)?));
    }
    Ok(wanted)
}

fn unit(tokens: &mut Tokens) -> Result<Wanted, Invalid> {
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
pub struct Snippet(pub Vec<Piece>);

/// A part of a [`Snippet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
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
