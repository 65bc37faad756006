//! What the guard knows of the schema: of which type a field is, how long its list is, what inputs are made of.
//!
//! It is read from the schema's own text, so that a new field has its cost by being there.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::types::{
    BaseType, FieldDefinition, OperationType, ServiceDocument, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned, Value as ConstValue};

use crate::config::DEFAULT_PAGE;

/// The directive with which the schema says how long a list without a page is.
const LIST_SIZE: &str = "listSize";

/// The types that the language has, and no schema defines.
const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];

/// The types of the schema.
#[derive(Debug, Default)]
pub(super) struct Types {
    names: HashSet<Name>,
    objects: HashMap<Name, HashMap<Name, Field>>,
    inputs: HashMap<Name, HashMap<Name, Type>>,
    query: Option<Name>,
    mutation: Option<Name>,
    /// How many arguments a field has at most.
    pub most_arguments: usize,
}

/// A field of an object or an interface.
#[derive(Debug)]
pub(super) struct Field {
    /// Its type, lists and exclamation marks apart.
    pub ty: Name,
    /// Its arguments.
    pub arguments: HashMap<Name, Type>,
    /// How long its list is.
    pub list: List,
    /// How long the page is where nothing is said, in a field whose arguments `first` and `last` say it.
    pub page: Option<u64>,
}

/// How long the list of a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// It is none, or nothing can be selected of what is in it.
    None,
    /// As the schema says.
    Declared(u64),
    /// As long as the list in this argument.
    Argument(Name),
    /// As long as the page of the nearest field that has one: this one, or one above it.
    Page,
}

impl Types {
    /// Reads a schema.
    pub fn read(schema: &ServiceDocument) -> Self {
        let mut types = Self::default();
        for definition in &schema.definitions {
            match definition {
                TypeSystemDefinition::Schema(Positioned { node: schema, .. }) => {
                    types.query = schema.query.as_ref().map(|name| name.node.clone());
                    types.mutation = schema.mutation.as_ref().map(|name| name.node.clone());
                }
                TypeSystemDefinition::Type(ty) => types.add(&ty.node.name.node, &ty.node.kind),
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        types.find_lists_of_objects();
        let fields = types.objects.values().flat_map(HashMap::values);
        types.most_arguments = fields.map(|field| field.arguments.len()).max().unwrap_or_default();
        types
    }

    fn add(&mut self, name: &Name, kind: &TypeKind) {
        self.names.insert(name.clone());
        let fields = match kind {
            TypeKind::Object(object) => &object.fields,
            TypeKind::Interface(interface) => &interface.fields,
            TypeKind::InputObject(input) => {
                let fields = input.fields.iter().map(|field| &field.node);
                let fields = fields.map(|field| (field.name.node.clone(), field.ty.node.clone()));
                self.inputs.insert(name.clone(), fields.collect());
                return;
            }
            TypeKind::Enum(_) | TypeKind::Scalar | TypeKind::Union(_) => return,
        };
        let fields = fields.iter().map(|field| (field.node.name.node.clone(), Field::read(&field.node)));
        self.objects.insert(name.clone(), fields.collect());
    }

    /// A list of scalars or enums is one field of an answer, however long it is.
    fn find_lists_of_objects(&mut self) {
        let objects: Vec<Name> = self.objects.keys().cloned().collect();
        for field in self.objects.values_mut().flat_map(HashMap::values_mut) {
            if !objects.contains(&field.ty) {
                field.list = List::None;
            }
        }
    }

    /// Whether there is a type of this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name) || BUILT_IN.contains(&name)
    }

    /// The type of an operation's root; none where the schema does not have such operations.
    pub fn root(&self, operation: OperationType) -> Option<&Name> {
        match operation {
            OperationType::Query => self.query.as_ref(),
            OperationType::Mutation => self.mutation.as_ref(),
            OperationType::Subscription => None,
        }
    }

    /// A field by its parent's name and its own.
    pub fn field(&self, parent: &str, name: &str) -> Option<&Field> {
        self.objects.get(parent)?.get(name)
    }

    /// The fields of an input.
    pub fn input(&self, name: &str) -> Option<&HashMap<Name, Type>> {
        self.inputs.get(name)
    }
}

impl Field {
    fn read(definition: &FieldDefinition) -> Self {
        let arguments = definition.arguments.iter().map(|argument| &argument.node);
        let argument = |name: &str| arguments.clone().find(|argument| argument.name.node == *name);
        let page = argument("first").map(|first| match first.default_value.as_ref().map(|value| &value.node) {
            Some(ConstValue::Number(rows)) => rows.as_u64().unwrap_or(DEFAULT_PAGE.into()),
            _ => DEFAULT_PAGE.into(),
        });
        let list = match (&definition.ty.node.base, declared(definition)) {
            (BaseType::Named(_), _) => List::None,
            (BaseType::List(_), Some(length)) => List::Declared(length),
            (BaseType::List(_), None) if page.is_some() => List::Page,
            (BaseType::List(_), None) => {
                let mut lists = arguments.clone().filter(|argument| matches!(argument.ty.node.base, BaseType::List(_)));
                lists.next().map_or(List::Page, |argument| List::Argument(argument.name.node.clone()))
            }
        };
        let arguments = arguments.map(|argument| (argument.name.node.clone(), argument.ty.node.clone())).collect();
        Self { ty: named(&definition.ty.node).clone(), arguments, list, page }
    }
}

/// What `@listSize(assumedSize: …)` says.
fn declared(field: &FieldDefinition) -> Option<u64> {
    let directive = field.directives.iter().find(|directive| directive.node.name.node == *LIST_SIZE)?;
    let (_, value) = directive.node.arguments.iter().find(|(name, _)| name.node == *"assumedSize")?;
    match &value.node {
        ConstValue::Number(length) => length.as_u64(),
        _ => None,
    }
}

/// The name of a type, lists and exclamation marks apart.
pub(super) fn named(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named(of),
    }
}
