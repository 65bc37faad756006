//! The text of a document, before it is parsed: one pass over its bytes, and nothing is kept but counters.
//!
//! The parser is recursive and builds a tree. What is refused here costs neither stack nor memory.

use super::{count, within};
use crate::config::Limits;
use crate::error::Error;

/// How many bytes a name may have. The library compares an unknown name with every known one, in time that grows with
/// its length.
const MAX_NAME_BYTES: u64 = 128;

/// Checks the text of a document.
///
/// # Errors
/// It passes a limit, or a string in it has no end.
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
    within("maxNameBytes", longest_name, MAX_NAME_BYTES, "Choose a shorter one.", tell)
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
    /// None where a string has no end. The parser reads `"""` without an end as an empty string and the beginning of
    /// another one, so what follows would be code to it and a string to this count.
    fn of(document: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        let (mut open, mut parenthesis) = (0_u64, None);
        let mut rest = document;
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                    rest = after;
                    continue;
                }
                b'#' => {
                    rest = after_while(after, |_, byte| !matches!(byte, b'\n' | b'\r'));
                    continue;
                }
                b'"' => after_string(rest)?,
                b'.' => rest.strip_prefix(b"...").unwrap_or(after),
                b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                    let after = after_while(after, |_, byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    found.longest_name = found.longest_name.max(count(rest.len() - after.len()));
                    after
                }
                b'0'..=b'9' | b'-' => after_while(after, |before, byte| {
                    let is_sign = matches!(byte, b'+' | b'-') && matches!(before, Some(b'e' | b'E'));
                    byte.is_ascii_alphanumeric() || byte == b'.' || is_sign
                }),
                b'{' | b'[' | b'(' => {
                    open += 1;
                    found.nesting = found.nesting.max(open);
                    if *first == b'(' {
                        parenthesis.get_or_insert(open);
                    }
                    found.value_nesting = found.value_nesting.max(open - parenthesis.unwrap_or(open));
                    after
                }
                b'}' | b']' | b')' => {
                    open = open.saturating_sub(1);
                    parenthesis = parenthesis.filter(|at| open >= *at);
                    after
                }
                _ => after,
            };
            found.directives += u64::from(*first == b'@');
            found.tokens += 1;
        }
        Some(found)
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
