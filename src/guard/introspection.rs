//! How large an answer about the schema would be: counted by walking the schema as the answer would.
//!
//! Types lead to fields and fields to types, without an end. And the query of tools is so much larger than any other that
//! the limits of rows would have to be far too wide for it.

use std::collections::HashMap;

use async_graphql::parser::types::{
    BaseType, ExecutableDocument, InputValueDefinition, Selection, SelectionSet, ServiceDocument, Type, TypeKind,
    TypeSystemDefinition,
};
use async_graphql::parser::{Error as ParserError, parse_schema};
use async_graphql::{Name, Positioned};

/// What every schema has, and the text of none says: types that describe types lead to each other without an end too.
/// As the library answers it.
const OF_THE_LANGUAGE: &str = "
    scalar Boolean scalar Float scalar ID scalar Int scalar String
    directive @deprecated(reason: String) on FIELD_DEFINITION
    directive @oneOf on INPUT_OBJECT
    type __Schema {
        description: String! types: [__Type!]! queryType: __Type! mutationType: __Type subscriptionType: __Type
        directives: [__Directive!]!
    }
    type __Type {
        kind: __TypeKind! name: String description: String fields(includeDeprecated: Boolean!): [__Field!]
        interfaces: [__Type!] possibleTypes: [__Type!] enumValues(includeDeprecated: Boolean!): [__EnumValue!]
        inputFields(includeDeprecated: Boolean!): [__InputValue!] ofType: __Type specifiedByURL: String isOneOf: Boolean
    }
    type __Field {
        name: String! description: String args(includeDeprecated: Boolean!): [__InputValue!]! type: __Type!
        isDeprecated: Boolean! deprecationReason: String
    }
    type __InputValue {
        name: String! description: String type: __Type! defaultValue: String
        isDeprecated: Boolean! deprecationReason: String
    }
    type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String }
    type __Directive {
        name: String! description: String locations: [__DirectiveLocation!]!
        args(includeDeprecated: Boolean!): [__InputValue!]! isRepeatable: Boolean!
    }
    enum __TypeKind { SCALAR OBJECT INTERFACE UNION ENUM INPUT_OBJECT LIST NON_NULL }
    enum __DirectiveLocation {
        QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT VARIABLE_DEFINITION SCHEMA
        SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE INPUT_OBJECT
        INPUT_FIELD_DEFINITION
    }
";

/// What a schema says of itself.
#[derive(Debug, Default)]
pub(super) struct Description {
    types: HashMap<Name, Named>,
    directives: Vec<Vec<Type>>,
    roots: Vec<(&'static str, Name)>,
}

/// A type with a name.
#[derive(Debug, Default)]
struct Named {
    fields: Vec<Field>,
    input_fields: Vec<Type>,
    enum_values: usize,
    interfaces: Vec<Name>,
    possible_types: Vec<Name>,
}

/// A field of a type.
#[derive(Debug)]
struct Field {
    arguments: Vec<Type>,
    ty: Type,
}

/// A root field about the schema.
#[derive(Clone, Copy)]
pub(super) enum Root<'a> {
    /// `__schema`.
    Schema,
    /// `__type`, of this name.
    Type(&'a str),
}

/// What an object in the answer describes.
#[derive(Clone, Copy)]
enum Described<'a> {
    Schema,
    Type(&'a Type),
    /// A type without its exclamation mark.
    Nullable(&'a Type),
    Named(&'a Named),
    Field(&'a Field),
    /// An argument, or a field of an input.
    Input(&'a Type),
    EnumValue,
    Directive(&'a [Type]),
}

impl Description {
    /// Reads a schema.
    ///
    /// # Errors
    /// What every schema has is not written as one.
    pub fn read(schema: &ServiceDocument) -> Result<Self, ParserError> {
        let mut description = Self::default();
        for definition in parse_schema(OF_THE_LANGUAGE)?.definitions.iter().chain(&schema.definitions) {
            match definition {
                TypeSystemDefinition::Schema(Positioned { node: schema, .. }) => {
                    let roots = [("queryType", &schema.query), ("mutationType", &schema.mutation)];
                    let roots = roots.into_iter().filter_map(|(name, root)| Some((name, root.as_ref()?.node.clone())));
                    description.roots.extend(roots);
                }
                TypeSystemDefinition::Directive(directive) => {
                    description.directives.push(types(&directive.node.arguments));
                }
                TypeSystemDefinition::Type(ty) => {
                    description.types.insert(ty.node.name.node.clone(), Named::read(&ty.node.kind));
                }
            }
        }
        let implementations = description.types.iter().flat_map(|(name, ty)| {
            ty.interfaces.iter().map(|interface| (interface.clone(), name.clone())).collect::<Vec<_>>()
        });
        for (interface, name) in implementations.collect::<Vec<_>>() {
            description.types.entry(interface).or_default().possible_types.push(name);
        }
        Ok(description)
    }

    /// How many fields the answer to a root field with this selection has, the root field included. Beyond `max` the
    /// counting stops.
    pub fn count(&self, root: Root<'_>, document: &ExecutableDocument, set: &SelectionSet, max: u64) -> u64 {
        let described = match root {
            Root::Schema => Some(Described::Schema),
            Root::Type(name) => self.types.get(name).map(Described::Named),
        };
        let mut walk = Walk { description: self, document, max, counted: 1 };
        if let Some(described) = described {
            walk.set(set, described);
        }
        walk.counted
    }

    fn named(&self, name: &Name) -> Option<Described<'_>> {
        self.types.get(name).map(Described::Named)
    }

    /// What a field of the description leads to.
    fn below<'a>(&'a self, of: Described<'a>, field: &str) -> Vec<Described<'a>> {
        let all = |names: &'a [Name]| names.iter().filter_map(|name| self.named(name)).collect();
        match (of, field) {
            (Described::Schema, "types") => self.types.values().map(Described::Named).collect(),
            (Described::Schema, "directives") => {
                self.directives.iter().map(|types| Described::Directive(types)).collect()
            }
            (Described::Schema, root) => {
                let root = self.roots.iter().find(|(name, _)| *name == root);
                root.and_then(|(_, name)| self.named(name)).into_iter().collect()
            }
            (Described::Type(ty), field) if ty.nullable => self.below(Described::Nullable(ty), field),
            (Described::Type(ty), "ofType") => vec![Described::Nullable(ty)],
            (Described::Nullable(ty), field) => match (&ty.base, field) {
                (BaseType::List(of), "ofType") => vec![Described::Type(of)],
                (BaseType::List(_), _) => Vec::new(),
                (BaseType::Named(name), field) => {
                    self.named(name).map(|named| self.below(named, field)).unwrap_or_default()
                }
            },
            (Described::Named(ty), "fields") => ty.fields.iter().map(Described::Field).collect(),
            (Described::Named(ty), "inputFields") => ty.input_fields.iter().map(Described::Input).collect(),
            (Described::Named(ty), "enumValues") => vec![Described::EnumValue; ty.enum_values],
            (Described::Named(ty), "interfaces") => all(&ty.interfaces),
            (Described::Named(ty), "possibleTypes") => all(&ty.possible_types),
            (Described::Field(field), "type") => vec![Described::Type(&field.ty)],
            (Described::Field(Field { arguments, .. }), "args") => arguments.iter().map(Described::Input).collect(),
            (Described::Directive(arguments), "args") => arguments.iter().map(Described::Input).collect(),
            (Described::Input(ty), "type") => vec![Described::Type(ty)],
            _ => Vec::new(),
        }
    }
}

impl Named {
    fn read(kind: &TypeKind) -> Self {
        let (fields, interfaces) = match kind {
            TypeKind::Object(object) => (&object.fields, &object.implements),
            TypeKind::Interface(interface) => (&interface.fields, &interface.implements),
            TypeKind::InputObject(input) => return Self { input_fields: types(&input.fields), ..Self::default() },
            TypeKind::Enum(of) => return Self { enum_values: of.values.len(), ..Self::default() },
            TypeKind::Union(union) => {
                let possible_types = union.members.iter().map(|name| name.node.clone()).collect();
                return Self { possible_types, ..Self::default() };
            }
            TypeKind::Scalar => return Self::default(),
        };
        let fields = fields.iter().map(|Positioned { node: field, .. }| Field {
            arguments: types(&field.arguments),
            ty: field.ty.node.clone(),
        });
        let interfaces = interfaces.iter().map(|name| name.node.clone()).collect();
        Self { fields: fields.collect(), interfaces, ..Self::default() }
    }
}

fn types(inputs: &[Positioned<InputValueDefinition>]) -> Vec<Type> {
    inputs.iter().map(|input| input.node.ty.node.clone()).collect()
}

/// A walk over a selection, through all that it would find. The fragments do not spread themselves.
struct Walk<'a> {
    description: &'a Description,
    document: &'a ExecutableDocument,
    max: u64,
    counted: u64,
}

impl Walk<'_> {
    fn set(&mut self, set: &SelectionSet, of: Described<'_>) {
        for selection in &set.items {
            self.counted += 1;
            if self.counted > self.max {
                return;
            }
            match &selection.node {
                Selection::Field(Positioned { node: field, .. }) => {
                    let set = &field.selection_set.node;
                    if !set.items.is_empty() {
                        let description = self.description;
                        for described in description.below(of, field.name.node.as_str()) {
                            self.set(set, described);
                        }
                    }
                }
                Selection::InlineFragment(fragment) => self.set(&fragment.node.selection_set.node, of),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) {
                        self.set(&fragment.node.selection_set.node, of);
                    }
                }
            }
        }
    }
}
