//! How much a document asks for: one walk in which each fragment is measured once, however often it is spread.
//!
//! The library expands a fragment at each of its spreads before it looks at any limit: 30 fragments of 40 bytes, each of
//! which spreads the next one twice, would keep it busy for ever.

use std::collections::HashMap;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field as Selected, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::{ConstValue, Value};

use super::introspection::Root;
use super::types::{Field, List};
use super::{Cost, Guard, count, values, within};
use crate::config::{DEFAULT_PAGE, MAX_PAGE};
use crate::error::Error;

/// How much a selection, or a set of them, asks for, with its fragments written out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// Fields of the set itself, its fragments written out.
    pub fields: u64,
    /// Selections at every level: fields, spreads and inline fragments. A field counts once more for each fragment that
    /// it stands in.
    pub selections: u64,
    /// Aliases at every level.
    pub aliases: u64,
    /// Levels of fields. The schema's own description counts as one: tools ask for it 15 deep.
    pub depth: u64,
    /// Levels of selection sets.
    pub levels: u64,
    /// Fields that the answer may hold, those in the rows of a page above apart.
    complexity: u64,
    /// Fields that the answer may hold for each row of the page above.
    for_each_row: u64,
    /// Fields of the schema's own description that the answer holds.
    pub introspection: u64,
    /// Bytes of the variables' values, each as often as it is used.
    pub variables: u64,
}

impl Size {
    /// What it costs to answer.
    pub fn cost(&self) -> Cost {
        Cost { complexity: self.complexity(), depth: self.depth }
    }

    /// Fields that the answer may hold.
    pub fn complexity(&self) -> u64 {
        self.on_pages_of(DEFAULT_PAGE.into())
    }

    fn on_pages_of(&self, rows: u64) -> u64 {
        self.complexity.saturating_add(self.for_each_row.saturating_mul(rows))
    }

    /// Adds a selection that stands beside the others.
    fn add(&mut self, other: &Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.depth = self.depth.max(other.depth);
        self.levels = self.levels.max(other.levels);
        self.complexity = self.complexity.saturating_add(other.complexity);
        self.for_each_row = self.for_each_row.saturating_add(other.for_each_row);
        self.introspection = self.introspection.saturating_add(other.introspection);
        self.variables = self.variables.saturating_add(other.variables);
    }
}

/// One walk over a document.
pub(super) struct Measure<'a> {
    guard: &'a Guard,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// The bytes of each variable's value.
    sizes: HashMap<&'a str, u64>,
    /// None while a fragment is being measured.
    fragments: HashMap<&'a str, Option<Size>>,
    /// Sets of which the size is known, once it is asked for again.
    sets: Option<HashMap<*const SelectionSet, Size>>,
    /// How many fields of the schema's own description have been counted.
    introspected: u64,
}

impl<'a> Measure<'a> {
    pub fn new(guard: &'a Guard, document: &'a ExecutableDocument, variables: &'a Variables) -> Self {
        let sizes = variables.iter().map(|(name, value)| (name.as_str(), values::size_of_variable(value))).collect();
        Self { guard, document, variables, sizes, fragments: HashMap::new(), sets: None, introspected: 0 }
    }

    /// Bytes of the variables' values, each once.
    pub fn size_of_variables(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Measures an operation.
    ///
    /// # Errors
    /// It nests too deep, a fragment spreads itself, or a value in it is too long or of a wrong shape.
    pub fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Size, Error> {
        let mut size = self.set(self.root(operation), &operation.selection_set.node, 1)?;
        size.variables = size.variables.saturating_add(self.used_by(&operation.directives));
        Ok(size)
    }

    fn root(&self, operation: &OperationDefinition) -> Option<&'a str> {
        self.guard.types.root(operation.ty).map(Name::as_str)
    }

    /// Checks that every fragment was met. The library would look into the others without end.
    pub fn check_fragments(&self) -> Result<(), Error> {
        let unused = self.document.fragments.iter().filter(|(name, _)| !self.fragments.contains_key(name.as_str()));
        match unused.min_by_key(|(_, fragment)| fragment.pos) {
            Some((name, _)) => {
                Err(Error::GraphqlValidationFailed(format!("Fragment \"{name}\" is never used. Leave it out.")))
            }
            None => Ok(()),
        }
    }

    fn set(&mut self, parent: Option<&'a str>, set: &'a SelectionSet, level: u64) -> Result<Size, Error> {
        let known = self.sets.as_ref().and_then(|sets| sets.get(&std::ptr::from_ref(set)));
        if let Some(size) = known {
            return Ok(*size);
        }
        self.check_nesting(level)?;
        let mut size = Size::default();
        for selection in &set.items {
            size.add(&self.selection(parent, &selection.node, level)?);
        }
        size.levels += 1;
        if let Some(sets) = &mut self.sets {
            sets.insert(set, size);
        }
        Ok(size)
    }

    fn check_nesting(&self, levels: u64) -> Result<(), Error> {
        let tell = || format!("the selections nest {levels} deep, with their fragments written out");
        within("maxNesting", levels, self.guard.limits.max_nesting, "Ask for fewer levels at once.", tell)
    }

    fn selection(&mut self, parent: Option<&'a str>, selection: &'a Selection, level: u64) -> Result<Size, Error> {
        let (mut size, directives, is_field) = match selection {
            Selection::Field(field) => (self.field(parent, &field.node, level)?, &field.node.directives, true),
            Selection::InlineFragment(fragment) => {
                let on = fragment.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                let size = self.set(on.or(parent), &fragment.node.selection_set.node, level + 1)?;
                (size, &fragment.node.directives, false)
            }
            Selection::FragmentSpread(spread) => {
                let size = self.fragment(spread.node.fragment_name.node.as_str(), level)?;
                (size, &spread.node.directives, false)
            }
        };
        size.variables = size.variables.saturating_add(self.used_by(directives));
        // The library compares the fields of a set that answer under one name, and does so again for the fragments in it.
        let compared_again = if is_field { 0 } else { size.fields };
        size.selections = size.selections.saturating_add(compared_again).saturating_add(1);
        Ok(size)
    }

    fn fragment(&mut self, name: &'a str, level: u64) -> Result<Size, Error> {
        match self.fragments.get(name) {
            Some(Some(size)) => {
                self.check_nesting(level + size.levels)?;
                return Ok(*size);
            }
            Some(None) => {
                return Err(Error::GraphqlValidationFailed(format!("The fragment {name} spreads itself.")));
            }
            None => {}
        }
        // One that is not there is validation's to refuse.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.fragments.insert(name, None);
        let on = fragment.node.type_condition.node.on.node.as_str();
        let mut size = self.set(Some(on), &fragment.node.selection_set.node, level + 1)?;
        size.variables = size.variables.saturating_add(self.used_by(&fragment.node.directives));
        self.fragments.insert(name, Some(size));
        Ok(size)
    }

    fn field(&mut self, parent: Option<&'a str>, selected: &'a Selected, level: u64) -> Result<Size, Error> {
        let name = selected.name.node.as_str();
        let field = parent.and_then(|parent| self.guard.types.field(parent, name));
        self.check_arguments(selected)?;
        for (argument, value) in &selected.arguments {
            let ty = field.and_then(|field| field.arguments.get(&argument.node));
            values::check_literal(&value.node, ty, self.guard, &argument.node)?;
        }
        let below = field.map(|field| field.ty.as_str());
        let set = &selected.selection_set.node;
        let inner = if set.items.is_empty() { Size::default() } else { self.set(below, set, level + 1)? };
        let aliases = inner.aliases.saturating_add(u64::from(selected.alias.is_some()));
        let variables = inner.variables.saturating_add(self.used(&selected.arguments));
        let size = Size { fields: 1, aliases, variables, ..inner };
        if let Some(introspection) = self.introspection(selected) {
            return Ok(Size { introspection, complexity: inner.complexity().saturating_add(1), depth: 1, ..size });
        }
        let depth = inner.depth + 1;
        let (complexity, for_each_row) = match field {
            Some(field) => self.cost(field, selected, &inner),
            None => (inner.complexity().saturating_add(1), 0),
        };
        Ok(Size { depth, complexity, for_each_row, ..size })
    }

    /// What the values of the variables in arguments come to.
    fn used(&self, arguments: &[(Positioned<Name>, Positioned<Value>)]) -> u64 {
        let sizes = arguments.iter().map(|(_, value)| values::size_of_used(&value.node, &self.sizes));
        sizes.fold(0, u64::saturating_add)
    }

    fn used_by(&self, directives: &[Positioned<Directive>]) -> u64 {
        directives.iter().map(|directive| self.used(&directive.node.arguments)).fold(0, u64::saturating_add)
    }

    /// Of two fields that would answer under one name the library tells each argument in which they differ.
    fn check_arguments(&self, selected: &Selected) -> Result<(), Error> {
        let (most, arguments) = (self.guard.types.most_arguments, selected.arguments.len());
        if arguments <= most {
            return Ok(());
        }
        let name = &selected.name.node;
        let message =
            format!("Field \"{name}\" has {arguments} arguments; no field of this schema takes more than {most}.");
        Err(Error::GraphqlValidationFailed(message))
    }

    /// How many fields of the answer a field is at most, all below it included: those that are counted once, and those
    /// that are counted for each row of a page above.
    fn cost(&self, field: &Field, selected: &Selected, inner: &Size) -> (u64, u64) {
        let rows = field.page.map(|default| self.page(selected, default));
        let (once, for_each_row) = match rows {
            Some(rows) => (inner.on_pages_of(rows), 0),
            None => (inner.complexity, inner.for_each_row),
        };
        let times = match &field.list {
            List::None => 1,
            List::Declared(length) => *length,
            List::Argument(name) => self.length(selected, name),
            List::Page => match rows {
                Some(rows) => rows,
                None => return (1, once.saturating_add(for_each_row.saturating_mul(DEFAULT_PAGE.into()))),
            },
        };
        (once.saturating_mul(times).saturating_add(1), for_each_row.saturating_mul(times))
    }

    /// How many fields the answer to a question about the schema has; none where the field is not one. Beyond the limit of
    /// all such fields together nothing is counted any more.
    fn introspection(&mut self, selected: &Selected) -> Option<u64> {
        let root = match selected.name.node.as_str() {
            "__schema" => Root::Schema,
            "__type" => Root::Type(match &selected.get_argument("name")?.node {
                Value::String(name) => name,
                Value::Variable(variable) => match self.variables.get(variable)? {
                    ConstValue::String(name) => name,
                    _ => return None,
                },
                _ => return None,
            }),
            _ => return None,
        };
        let left = u64::from(self.guard.limits.max_introspection).saturating_sub(self.introspected);
        let fields = self.guard.description.count(root, self.document, &selected.selection_set.node, left);
        self.introspected = self.introspected.saturating_add(fields);
        Some(fields)
    }

    /// The rows of a page: what the arguments say, where they do.
    fn page(&self, selected: &Selected, default: u64) -> u64 {
        let said = ["first", "last"].iter().find_map(|name| match self.argument(selected, name)? {
            Argument::Number(rows) => Some(rows),
            Argument::List(_) => None,
        });
        said.unwrap_or(default).clamp(1, MAX_PAGE.into())
    }

    fn length(&self, selected: &Selected, name: &str) -> u64 {
        match self.argument(selected, name) {
            Some(Argument::List(length)) => length,
            // One value stands for a list of one.
            _ => 1,
        }
    }

    fn argument(&self, selected: &Selected, name: &str) -> Option<Argument> {
        match &selected.get_argument(name)?.node {
            Value::Variable(variable) => match self.variables.get(variable)? {
                ConstValue::Number(number) => number.as_u64().map(Argument::Number),
                ConstValue::List(items) => Some(Argument::List(count(items.len()))),
                _ => None,
            },
            Value::Number(number) => number.as_u64().map(Argument::Number),
            Value::List(items) => Some(Argument::List(count(items.len()))),
            _ => None,
        }
    }

    /// The path of fields that asks for most.
    pub fn dearest(&mut self, operation: &'a OperationDefinition, by: fn(&Size) -> u64) -> String {
        self.sets = Some(HashMap::new());
        let mut path = Vec::new();
        let (mut parent, mut set) = (self.root(operation), &operation.selection_set.node);
        loop {
            // Of equals the first.
            let sized = set.items.iter().rev().map(|item| (self.selection(parent, &item.node, 1), &item.node));
            let dearest = sized.filter_map(|(size, selection)| Some((by(&size.ok()?), selection)));
            let Some((_, selection)) = dearest.max_by_key(|(weight, _)| *weight) else { break };
            match selection {
                Selection::Field(Positioned { node: field, .. }) => {
                    path.push(field.response_key().node.as_str());
                    let name = field.name.node.as_str();
                    parent =
                        parent.and_then(|parent| self.guard.types.field(parent, name)).map(|field| field.ty.as_str());
                    set = &field.selection_set.node;
                }
                Selection::InlineFragment(Positioned { node: fragment, .. }) => {
                    let on = fragment.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    (parent, set) = (on.or(parent), &fragment.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) else { break };
                    let on = fragment.node.type_condition.node.on.node.as_str();
                    (parent, set) = (Some(on), &fragment.node.selection_set.node);
                }
            }
        }
        path.join(".")
    }
}

/// What an argument says about the length of a list.
enum Argument {
    Number(u64),
    List(u64),
}
