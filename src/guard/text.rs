//! The text of a document, before it is parsed: one pass over its bytes, in which nothing is kept but counters, and where
//! these are within their limits another one for what the parser would not tell.
//!
//! The parser is recursive and builds a tree. What is refused here costs neither stack nor memory.

use std::collections::HashSet;

use super::{count, within};
use crate::config::Limits;
use crate::error::Error;

/// Checks the text of a document.
///
/// # Errors
/// It passes a limit, a string in it has no end, or an input object has a field twice.
pub(super) fn check(document: &str, limits: &Limits) -> Result<(), Error> {
    let bytes = count(document.len());
    let mend = "Ask for less at once, or send long values as variables.";
    within("maxDocumentBytes", bytes, limits.max_document_bytes, mend, || format!("the document has {bytes} bytes"))?;
    let Some(Count { tokens, directives, longest_name, nesting, value_nesting }) = Count::of(document.as_bytes())
    else {
        return Err(Error::GraphqlParseFailed("The document is not GraphQL: a string in it has no end.".to_owned()));
    };
    let mend = "Ask for less at once, or in several requests.";
    within("maxTokens", tokens, limits.max_tokens, mend, || format!("the document has {tokens} tokens"))?;
    let mend = "Ask for fewer levels at once.";
    within("maxNesting", nesting, limits.max_nesting, mend, || format!("the document's brackets nest {nesting} deep"))?;
    let tell = || format!("a value in the document nests {value_nesting} deep");
    within("maxValueNesting", value_nesting, limits.max_value_nesting, "Send flatter values.", tell)?;
    let mend = "Leave out those that change nothing.";
    within("maxDirectives", directives, limits.max_directives, mend, || {
        format!("the document has {directives} directives")
    })?;
    let tell = || format!("a name in the document has {longest_name} bytes");
    within("maxNameBytes", longest_name, limits.max_name_bytes, "Choose a shorter one.", tell)?;
    match repeated_field(document.as_bytes()) {
        Some(name) => Err(Error::GraphqlValidationFailed(format!(
            "An input object has the field {} twice. Leave one out.",
            String::from_utf8_lossy(name)
        ))),
        None => Ok(()),
    }
}

/// What one pass over a document finds.
#[derive(Default)]
struct Count {
    tokens: u64,
    directives: u64,
    longest_name: u64,
    /// Brackets of any kind, one within another.
    nesting: u64,
    /// Lists and objects within parentheses, where only values and types can be.
    value_nesting: u64,
}

impl Count {
    /// None where a string has no end.
    fn of(document: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        let (mut open, mut parenthesis) = (0_u64, None);
        let mut rest = document;
        while let Some((token, after)) = first_token(rest).ok()? {
            rest = after;
            match token {
                [b'A'..=b'Z' | b'a'..=b'z' | b'_', ..] => {
                    found.longest_name = found.longest_name.max(count(token.len()));
                }
                [b'{' | b'[' | b'('] => {
                    open += 1;
                    found.nesting = found.nesting.max(open);
                    if token == b"(" {
                        parenthesis.get_or_insert(open);
                    }
                    found.value_nesting = found.value_nesting.max(open - parenthesis.unwrap_or(open));
                }
                [b'}' | b']' | b')'] => {
                    open = open.saturating_sub(1);
                    parenthesis = parenthesis.filter(|at| open >= *at);
                }
                _ => found.directives += u64::from(token == b"@"),
            }
            found.tokens += 1;
        }
        Some(found)
    }
}

/// An open bracket.
enum Bracket {
    /// Of arguments, or of the declarations of variables: what is within is values.
    Parenthesis,
    /// Of an input object, with its number.
    Object(u32),
    /// Of a selection or a list.
    Other,
}

/// Finds a field that stands twice in an input object: the parser keeps one of the two, and forgets the other.
fn repeated_field(document: &[u8]) -> Option<&[u8]> {
    let (mut open, mut objects, mut seen) = (Vec::new(), 0_u32, HashSet::new());
    let (mut rest, mut before) = (document, &b""[..]);
    while let Ok(Some((token, after))) = first_token(rest) {
        match token {
            // Braces are of an object where parentheses are around them, else of a selection.
            b"{" if open.iter().any(|bracket| matches!(bracket, Bracket::Parenthesis)) => {
                objects += 1;
                open.push(Bracket::Object(objects));
            }
            b"(" => open.push(Bracket::Parenthesis),
            b"{" | b"[" => open.push(Bracket::Other),
            b"}" | b"]" | b")" => drop(open.pop()),
            b":" => {
                if let Some(Bracket::Object(object)) = open.last()
                    && !seen.insert((*object, before))
                {
                    return Some(before);
                }
            }
            _ => {}
        }
        (rest, before) = (after, token);
    }
    None
}

/// A string has no end. The parser reads `"""` without an end as an empty string and the beginning of another one, so what
/// follows would be code to it and a string to this.
struct NoEnd;

/// A token and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first token of a text, where there is one.
fn first_token(mut text: &[u8]) -> Result<Option<Split<'_>>, NoEnd> {
    loop {
        let Some((first, after)) = text.split_first() else { return Ok(None) };
        let after = match first {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                text = after;
                continue;
            }
            b'#' => {
                text = after_while(after, |_, byte| !matches!(byte, b'\n' | b'\r'));
                continue;
            }
            b'"' => after_string(text).ok_or(NoEnd)?,
            b'.' => text.strip_prefix(b"...").unwrap_or(after),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                after_while(after, |_, byte| byte.is_ascii_alphanumeric() || byte == b'_')
            }
            b'0'..=b'9' | b'-' => after_while(after, |before, byte| {
                let is_sign = matches!(byte, b'+' | b'-') && matches!(before, Some(b'e' | b'E'));
                byte.is_ascii_alphanumeric() || byte == b'.' || is_sign
            }),
            _ => after,
        };
        return Ok(text.get(..text.len() - after.len()).map(|token| (token, after)));
    }
}

/// What follows the bytes that belong together; each is judged with the one before it.
fn after_while(bytes: &[u8], belongs: impl Fn(Option<u8>, u8) -> bool) -> &[u8] {
    let mut before = None;
    let end = bytes.iter().position(|byte| !belongs(before.replace(*byte), *byte));
    end.and_then(|end| bytes.get(end..)).unwrap_or_default()
}

/// What follows the string that begins here; none where it has no end.
fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    if let Some(mut rest) = bytes.strip_prefix(b"\"\"\"") {
        loop {
            rest = match rest {
                [b'"', b'"', b'"', after @ ..] => return Some(after),
                [b'\\', b'"', b'"', b'"', after @ ..] | [_, after @ ..] => after,
                [] => return None,
            };
        }
    }
    let mut rest = bytes.get(1..)?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [] | [b'\n' | b'\r', ..] => return None,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
        };
    }
}
