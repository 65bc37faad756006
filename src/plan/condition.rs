//! Reads the conditions in a plan: which columns of the node's own table they name, and how.
//!
//! PostgreSQL writes columns of the table that a node scans without a prefix, and those of other tables with one.

/// A part of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(char),
    Cast,
    Text,
}

/// A function or a cast around a column, which no index on the bare column can serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrapped {
    /// As it would be written in an index: `lower(title)`.
    pub expression: String,
    /// The column.
    pub column: String,
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// By `=`, also with one of several values.
    Equal,
    /// By less or greater, alone or in a row.
    Range,
    /// With `IS NULL`.
    Null,
    /// In a way that an ordered index does not serve.
    Other,
}

/// The columns, of those that the table has, that a condition names, each once and in its order.
pub(super) fn columns<'a>(condition: &str, of_table: &'a [String]) -> Vec<(&'a str, Comparison)> {
    let tokens = tokens(condition);
    let mut found: Vec<(&str, Comparison)> = Vec::new();
    for at in 0..tokens.len() {
        if let Some(column) = own_column(&tokens, at, of_table)
            && found.iter().all(|(known, _)| *known != column)
        {
            found.push((column, comparison(&tokens, at)));
        }
    }
    found
}

fn comparison(tokens: &[Token], at: usize) -> Comparison {
    match [at + 1, at + 2].map(|at| tokens.get(at)) {
        [Some(Token::Symbol('=')), _] => Comparison::Equal,
        [Some(Token::Symbol('<')), Some(Token::Symbol('>'))] => Comparison::Other,
        // Inside ROW (…).
        [Some(Token::Symbol('<' | '>' | ',' | ')')), _] => Comparison::Range,
        [Some(Token::Word("IS")), Some(Token::Word("NULL"))] => Comparison::Null,
        _ => Comparison::Other,
    }
}

/// The first column that stands inside a function or a cast.
pub(super) fn wrapped(condition: &str, of_table: &[String]) -> Option<Wrapped> {
    let tokens = tokens(condition);
    (0..tokens.len()).find_map(|at| {
        let column = own_column(&tokens, at, of_table)?;
        let expression = cast(&tokens, at, column).or_else(|| call(&tokens, at, column))?;
        Some(Wrapped { expression, column: column.to_owned() })
    })
}

/// A word that is a column of the table, not another table's, a type or a function.
fn own_column<'a>(tokens: &[Token], at: usize, of_table: &'a [String]) -> Option<&'a str> {
    let Some(Token::Word(word)) = tokens.get(at) else { return None };
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    let after = tokens.get(at + 1);
    let is_qualified = before == Some(&Token::Symbol('.')) || after == Some(&Token::Symbol('.'));
    if is_qualified || before == Some(&Token::Cast) || after == Some(&Token::Symbol('(')) {
        return None;
    }
    of_table.iter().map(String::as_str).find(|column| column == word)
}

/// `(due_date)::date`. A cast between texts changes nothing.
fn cast(tokens: &[Token], at: usize, column: &str) -> Option<String> {
    let around = [at.checked_sub(1)?, at + 1, at + 2].map(|at| tokens.get(at));
    let [Some(Token::Symbol('(')), Some(Token::Symbol(')')), Some(Token::Cast)] = around else { return None };
    let Some(Token::Word(kind)) = tokens.get(at + 3) else { return None };
    (!matches!(*kind, "text" | "varchar" | "character" | "bpchar")).then(|| format!("({column}::{kind})"))
}

/// `lower(title)`, at whatever depth.
fn call(tokens: &[Token], at: usize, column: &str) -> Option<String> {
    let mut depth = 0_usize;
    for before in (1..at).rev() {
        match tokens.get(before) {
            Some(Token::Symbol(')')) => depth += 1,
            Some(Token::Symbol('(')) if depth > 0 => depth -= 1,
            Some(Token::Symbol('(')) => {
                if let Some(Token::Word(word)) = tokens.get(before - 1)
                    && is_function(word)
                {
                    return Some(format!("{}({column})", word.to_lowercase()));
                }
            }
            _ => {}
        }
    }
    None
}

/// PostgreSQL writes keywords in capitals, among them the functions that have a syntax of their own.
fn is_function(word: &str) -> bool {
    let is_keyword = word.chars().all(|letter| letter.is_ascii_uppercase());
    !is_keyword || matches!(word, "COALESCE" | "GREATEST" | "LEAST" | "NULLIF" | "EXTRACT")
}

fn tokens(condition: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = condition;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' => (Some(Token::Text), quoted(rest, '\'')),
            '"' => {
                let length = quoted(rest, '"');
                (rest.get(1..length.saturating_sub(1)).map(Token::Word), length)
            }
            ':' if rest.starts_with("::") => (Some(Token::Cast), 2),
            letter if letter.is_alphabetic() || letter == '_' || letter == '$' => {
                let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
                let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                (rest.get(..length).map(Token::Word), length)
            }
            space if space.is_whitespace() => (None, space.len_utf8()),
            symbol => (Some(Token::Symbol(symbol)), symbol.len_utf8()),
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    tokens
}

/// How many bytes a quoted text has; the quote in it is doubled.
fn quoted(text: &str, quote: char) -> usize {
    let mut inside = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = inside.next() {
        if letter == quote && inside.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}
