//! Stands before the parser: refuses what would cost too much to parse or to run.

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::parser::types::{Selection, SelectionSet};

use crate::config::Limits;
use crate::database::Operation;
use crate::error::Error;

/// How deep brackets may nest in a document's text. The parser is recursive: a value that nests some 2,000 deep, 4 kB,
/// overflows its stack and ends the process.
const MAX_NESTING: usize = 64;

/// Checks the text of a document, in one pass.
pub(super) fn check_text(document: &str, limits: &Limits) -> Result<(), Error> {
    let max_bytes = usize::try_from(limits.max_document_bytes).unwrap_or(usize::MAX);
    if document.len() > max_bytes {
        let message = format!("The document has {} bytes; maxDocumentBytes is {max_bytes}.", document.len());
        return Err(Error::LimitExceeded(message));
    }
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut text = Text::Code;
    let bytes = document.as_bytes();
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let rest = bytes.get(index..).unwrap_or_default();
        let mut step = 1;
        text = match (text, byte) {
            (Text::Code, b'#') => Text::Comment,
            (Text::Code, b'"') if rest.starts_with(b"\"\"\"") => {
                step = 3;
                Text::Block
            }
            (Text::Code, b'"') => Text::String,
            (Text::Code, b'{' | b'[' | b'(') => {
                depth += 1;
                deepest = deepest.max(depth);
                Text::Code
            }
            (Text::Code, b'}' | b']' | b')') => {
                depth = depth.saturating_sub(1);
                Text::Code
            }
            (Text::Comment | Text::String, b'\n' | b'\r') | (Text::String, b'"') => Text::Code,
            (Text::Block, b'"') if rest.starts_with(b"\"\"\"") => {
                step = 3;
                Text::Code
            }
            (Text::Block, b'\\') if rest.starts_with(b"\\\"\"\"") => {
                step = 4;
                Text::Block
            }
            (Text::String, b'\\') => {
                step = 2;
                Text::String
            }
            (same, _) => same,
        };
        index += step;
    }
    if deepest > MAX_NESTING {
        let message = format!("The document nests {deepest} brackets deep; {MAX_NESTING} are allowed.");
        return Err(Error::LimitExceeded(message));
    }
    Ok(())
}

/// What a scanned byte is part of.
#[derive(Clone, Copy)]
enum Text {
    Code,
    Comment,
    String,
    Block,
}

/// The operation that a request asks for, where the document has it.
pub(super) fn operation<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(&operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name).map(|operation| &operation.node),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next().map(|operation| &operation.node)
        }
        (DocumentOperations::Single(_), Some(_)) | (DocumentOperations::Multiple(_), None) => None,
    }
}

/// Whether an operation reads or writes.
pub(super) fn kind(operation: &OperationDefinition) -> Operation {
    match operation.ty {
        OperationType::Mutation => Operation::Mutation,
        OperationType::Query | OperationType::Subscription => Operation::Query,
    }
}

/// Checks how many root fields an operation selects, through fragments too.
pub(super) fn check_root_fields(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    limits: &Limits,
) -> Result<(), Error> {
    let max = usize::from(limits.max_root_fields);
    let count = root_fields(document, &operation.selection_set.node, max, 0);
    if count > max {
        return Err(Error::LimitExceeded(format!(
            "The operation selects more than {max} root fields (maxRootFields)."
        )));
    }
    Ok(())
}

/// Counts up to one more than `max`. Fragments that contain themselves end at a depth that no valid document has.
fn root_fields(document: &ExecutableDocument, set: &SelectionSet, max: usize, depth: usize) -> usize {
    let mut count = 0;
    for selection in &set.items {
        count += match &selection.node {
            Selection::Field(_) => 1,
            _ if depth > MAX_NESTING => 0,
            Selection::InlineFragment(fragment) => {
                root_fields(document, &fragment.node.selection_set.node, max, depth + 1)
            }
            Selection::FragmentSpread(spread) => match document.fragments.get(&spread.node.fragment_name.node) {
                Some(fragment) => root_fields(document, &fragment.node.selection_set.node, max, depth + 1),
                None => 0,
            },
        };
        if count > max {
            break;
        }
    }
    count
}
