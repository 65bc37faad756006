//! Stands before the parser: refuses what would cost too much to parse or to run.

use std::collections::HashMap;

use async_graphql::parser::types::{
    BaseType, DocumentOperations, ExecutableDocument, OperationDefinition, OperationType,
};
use async_graphql::parser::types::{Selection, SelectionSet};
use async_graphql::{Positioned, Value as ConstValue, Variables};

use crate::config::Limits;
use crate::database::Operation;
use crate::error::Error;

/// How deep brackets may nest in a document's text. The parser is recursive: a value that nests some 2,000 deep, 4 kB,
/// overflows its stack and ends the process.
const MAX_NESTING: usize = 64;

/// How deep fields and fragments may nest together: where the library stops too.
const MAX_LEVELS: usize = 32;

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

/// The operation that a request asks for, where the document has it, and its name, where it has one.
pub(super) fn operation<'a>(
    document: &'a ExecutableDocument,
    asked: Option<&str>,
) -> Option<(Option<&'a str>, &'a OperationDefinition)> {
    match (&document.operations, asked) {
        (DocumentOperations::Single(operation), None) => Some((None, &operation.node)),
        (DocumentOperations::Multiple(operations), asked) => {
            let is_asked = |name: &str| asked.map_or(operations.len() == 1, |asked| asked == name);
            let (name, operation) = operations.iter().find(|(name, _)| is_asked(name))?;
            Some((Some(name.as_str()), &operation.node))
        }
        (DocumentOperations::Single(_), Some(_)) => None,
    }
}

/// Whether an operation reads or writes.
pub(super) fn kind(operation: &OperationDefinition) -> Operation {
    match operation.ty {
        OperationType::Mutation => Operation::Mutation,
        OperationType::Query | OperationType::Subscription => Operation::Query,
    }
}

/// Checks that every variable that the executed operation requires was sent, which the library leaves to the resolvers;
/// sends the defaults of those that were not, and null for the optional numbers.
///
/// The library counts the cost of pages from the variables of every operation in the document, and takes one that was
/// not sent for one that is not declared. To an argument of this kind null and nothing are the same.
pub(super) fn complete_variables(
    document: &ExecutableDocument,
    executed: &OperationDefinition,
    variables: &mut Variables,
) -> Result<(), Error> {
    for Positioned { node: variable, .. } in &executed.variable_definitions {
        let name = &variable.name.node;
        if let Some(default) = &variable.default_value {
            // The library's @skip and @include look at what was sent only.
            variables.entry(name.clone()).or_insert_with(|| default.node.clone());
        }
        let is_required = !variable.var_type.node.nullable && variable.default_value.is_none();
        if is_required && variables.get(name).is_none_or(|value| *value == ConstValue::Null) {
            return Err(Error::BadUserInput(format!("The variable ${name} is required.")));
        }
    }
    for (_, operation) in document.operations.iter() {
        for Positioned { node: variable, .. } in &operation.node.variable_definitions {
            let is_number = matches!(&variable.var_type.node.base, BaseType::Named(name) if name == "Int");
            if is_number && variable.default_value.is_none() {
                variables.entry(variable.name.node.clone()).or_default();
            }
        }
    }
    Ok(())
}

/// Checks how much the operations of a document select, their fragments expanded.
///
/// The library expands a fragment at each of its spreads before it looks at any limit, and a document of 2 kB whose
/// fragments each spread the next one twice would keep it busy for ever. Here each fragment is measured once.
pub(super) fn check_size(document: &ExecutableDocument, limits: &Limits) -> Result<(), Error> {
    let mut fragments = HashMap::new();
    for (_, operation) in document.operations.iter() {
        let size = measure(document, &operation.node.selection_set.node, &mut fragments, 0)?;
        let (max_root_fields, max_depth) = (usize::from(limits.max_root_fields), usize::from(limits.max_depth));
        let max_selections = usize::try_from(limits.max_selections).unwrap_or(usize::MAX);
        let text = if size.fields > max_root_fields {
            format!("The operation selects {} root fields; maxRootFields is {max_root_fields}.", size.fields)
        } else if size.depth > max_depth {
            format!("The fields nest {} deep; maxDepth is {max_depth}.", size.depth)
        } else if size.selections > max_selections {
            format!("The operation selects {} fields in all; maxSelections is {max_selections}.", size.selections)
        } else {
            continue;
        };
        return Err(Error::LimitExceeded(text));
    }
    Ok(())
}

/// How much a selection set selects.
#[derive(Clone, Copy, Default)]
struct Size {
    /// Fields of the set itself.
    fields: usize,
    /// Fields at every level.
    selections: usize,
    /// Levels of fields.
    depth: usize,
}

fn measure<'a>(
    document: &'a ExecutableDocument,
    set: &'a SelectionSet,
    fragments: &mut HashMap<&'a str, Size>,
    level: usize,
) -> Result<Size, Error> {
    if level > MAX_LEVELS {
        return Err(Error::LimitExceeded(format!("Fields and fragments nest more than {MAX_LEVELS} deep.")));
    }
    let mut size = Size::default();
    for selection in &set.items {
        let below = match &selection.node {
            Selection::Field(field) => {
                let below = measure(document, &field.node.selection_set.node, fragments, level + 1)?;
                // Tools ask for the schema 15 deep, and the answer is always the same.
                let is_introspection = matches!(field.node.name.node.as_str(), "__schema" | "__type");
                let depth = if is_introspection { 0 } else { below.depth };
                Size { fields: 1, selections: below.selections.saturating_add(1), depth: depth + 1 }
            }
            Selection::InlineFragment(fragment) => {
                measure(document, &fragment.node.selection_set.node, fragments, level + 1)?
            }
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                match (fragments.get(name), document.fragments.get(name)) {
                    (Some(size), _) => *size,
                    (None, Some(fragment)) => {
                        // What contains itself counts once; validation refuses it.
                        fragments.insert(name, Size::default());
                        let size = measure(document, &fragment.node.selection_set.node, fragments, level + 1)?;
                        fragments.insert(name, size);
                        size
                    }
                    // Validation refuses it.
                    (None, None) => Size::default(),
                }
            }
        };
        size.fields = size.fields.saturating_add(below.fields);
        size.selections = size.selections.saturating_add(below.selections);
        size.depth = size.depth.max(below.depth);
    }
    Ok(size)
}
