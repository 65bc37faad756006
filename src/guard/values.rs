//! The values of a request, in its document and in its variables: how many, how long, how deep, of which shape.

use std::collections::HashMap;

use async_graphql::parser::types::{BaseType, ExecutableDocument, OperationDefinition, Type, VariableDefinition};
use async_graphql::{Number, Positioned, Variables};
use async_graphql_value::{ConstValue, Value};

use super::types::{Types, named};
use super::{Guard, count, within};
use crate::config::Limits;
use crate::error::{Error, shortened};

const FLATTER: &str = "Send flatter values.";
const SHORTER: &str = "Send the rest in another request.";

/// What a value takes besides its text, in bytes.
const OVERHEAD: u64 = 8;

/// Checks what was sent as variables, before anything else looks at it.
pub(super) fn check_variables(variables: &Variables, limits: &Limits) -> Result<(), Error> {
    let mut extent = Extent::default();
    for value in variables.values() {
        extent.add(value, 0);
    }
    let Extent { values, nesting, longest } = extent;
    let tell = || format!("a variable's value nests {nesting} deep");
    within("maxValueNesting", nesting, limits.max_value_nesting, FLATTER, tell)?;
    let tell = || format!("a variable holds a list of {longest} items");
    within("maxListItems", longest, limits.max_list_items, SHORTER, tell)?;
    within("maxTokens", values, limits.max_tokens, SHORTER, || format!("the variables hold {values} values"))
}

/// How much a variable is, in bytes, wherever it is used: the library copies it there.
pub(super) fn size_of_variable(value: &ConstValue) -> u64 {
    match value {
        ConstValue::String(text) => OVERHEAD + count(text.len()),
        ConstValue::List(items) => items.iter().map(size_of_variable).fold(OVERHEAD, u64::saturating_add),
        ConstValue::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| count(name.len()) + size_of_variable(value));
            fields.fold(OVERHEAD, u64::saturating_add)
        }
        _ => OVERHEAD,
    }
}

/// What the values of the variables come to that a value of the document uses; `sizes` are those of the variables.
pub(super) fn size_of_used(value: &Value, sizes: &HashMap<&str, u64>) -> u64 {
    match value {
        Value::Variable(name) => sizes.get(name.as_str()).copied().unwrap_or_default(),
        Value::List(items) => items.iter().map(|item| size_of_used(item, sizes)).fold(0, u64::saturating_add),
        Value::Object(fields) => fields.values().map(|item| size_of_used(item, sizes)).fold(0, u64::saturating_add),
        _ => 0,
    }
}

/// How much the variables are.
#[derive(Default)]
struct Extent {
    values: u64,
    nesting: u64,
    /// Of lists, and of objects: an input has no more fields than its type.
    longest: u64,
}

impl Extent {
    /// The reader of JSON refuses what nests more than 128 deep, so this does not either.
    fn add(&mut self, value: &ConstValue, level: u64) {
        self.values += 1;
        match value {
            ConstValue::List(items) => {
                self.open(items.len(), level);
                for item in items {
                    self.add(item, level + 1);
                }
            }
            ConstValue::Object(fields) => {
                self.open(fields.len(), level);
                for field in fields.values() {
                    self.add(field, level + 1);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, length: usize, level: u64) {
        self.nesting = self.nesting.max(level + 1);
        self.longest = self.longest.max(count(length));
    }
}

/// Fits variables to the executed operation, and checks them: the library leaves it to the resolvers whether one is missing
/// or is no input object.
pub(super) fn complete_variables(
    variables: &mut Variables,
    executed: &OperationDefinition,
    types: &Types,
) -> Result<(), Error> {
    fit_variables(variables, executed);
    for Positioned { node: variable, .. } in &executed.variable_definitions {
        let name = &variable.name.node;
        let value = variables.get(name);
        if is_required(variable) && value.is_none_or(|value| *value == ConstValue::Null) {
            return Err(Error::BadUserInput(format!("The variable ${name} is required.")));
        }
        if let Some(value) = value {
            check_shape(&value.clone().into_value(), &variable.var_type.node, types, &format!("${name}"))?;
        }
    }
    Ok(())
}

/// Leaves the variables that an operation declares and no others, with the defaults of those that were not sent. The
/// library's @skip and @include look at what was sent only.
pub(super) fn fit_variables(variables: &mut Variables, executed: &OperationDefinition) {
    let declared = |name: &str| executed.variable_definitions.iter().any(|variable| variable.node.name.node == *name);
    variables.retain(|name, _| declared(name.as_str()));
    for Positioned { node: variable, .. } in &executed.variable_definitions {
        if let Some(default) = &variable.default_value {
            variables.entry(variable.name.node.clone()).or_insert_with(|| default.node.clone());
        }
    }
}

fn is_required(variable: &VariableDefinition) -> bool {
    !variable.var_type.node.nullable && variable.default_value.is_none()
}

/// Checks how many variables each operation of a document declares, and that there are such types: the library panics
/// where it looks for the default of a list of others.
pub(super) fn check_declarations(document: &ExecutableDocument, limits: &Limits, types: &Types) -> Result<(), Error> {
    for (_, Positioned { node: operation, .. }) in document.operations.iter() {
        let declared = count(operation.variable_definitions.len());
        let mend = "Send several values as one input.";
        let tell = || format!("the operation declares {declared} variables");
        within("maxVariables", declared, limits.max_variables, mend, tell)?;
        let mut names = operation.variable_definitions.iter().map(|variable| named(&variable.node.var_type.node));
        if let Some(name) = names.find(|name| !types.has(name)) {
            return Err(Error::GraphqlValidationFailed(format!("Unknown type \"{name}\".")));
        }
    }
    Ok(())
}

/// Checks a value of the document: the length of its lists and, where its type is known, its shape.
pub(super) fn check_literal(value: &Value, ty: Option<&Type>, guard: &Guard, name: &str) -> Result<(), Error> {
    let longest = count(longest_list(value));
    let tell = || format!("the argument {name} holds a list of {longest} items");
    within("maxListItems", longest, guard.limits.max_list_items, SHORTER, tell)?;
    ty.map_or(Ok(()), |ty| check_shape(value, ty, &guard.types, name))
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::List(items) => items.iter().map(longest_list).fold(items.len(), usize::max),
        Value::Object(fields) => fields.values().map(longest_list).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Checks what the library leaves to the resolvers: that an input is an object with fields of its type, and that an
/// integer has 32 bits. Everything else about values is the library's to check.
fn check_shape(value: &Value, ty: &Type, types: &Types, path: &str) -> Result<(), Error> {
    let name = match (&ty.base, value) {
        (_, Value::Null | Value::Variable(_)) => return Ok(()),
        (BaseType::List(of), Value::List(items)) => {
            return items.iter().try_for_each(|item| check_shape(item, of, types, path));
        }
        (BaseType::List(of), single) => return check_shape(single, of, types, path),
        (BaseType::Named(name), _) => name,
    };
    match (types.input(name), value) {
        (None, Value::Number(number)) if *name == *"Int" && !is_int(number) => {
            Err(Error::BadUserInput(format!("{path} is no Int: integers have 32 bits.")))
        }
        (None, _) => Ok(()),
        (Some(fields), Value::Object(given)) => given.iter().try_for_each(|(field, value)| {
            let Some(ty) = fields.get(field) else {
                let message = format!("{path} has a field that {name} does not have: {field}.");
                return Err(Error::BadUserInput(shortened(&message).into_owned()));
            };
            check_shape(value, ty, types, &format!("{path}.{field}"))
        }),
        (Some(_), _) => Err(Error::BadUserInput(format!("{path} is no {name}: send an object, as in {{ … }}."))),
    }
}

fn is_int(number: &Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}
