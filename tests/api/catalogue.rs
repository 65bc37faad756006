//! The schema as its introspection tells it, and documents made from it: for tests that visit every field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::harness::World;

const INTROSPECTION: &str = "{ __schema { types { kind name fields { name args { ...Input } type { ...Type } } \
    inputFields { ...Input } enumValues { name } } } } \
    fragment Input on __InputValue { name defaultValue type { ...Type } } \
    fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// Every type of the schema, by name.
pub struct Catalogue(BTreeMap<String, Value>);

/// An argument of a root field, or a field of its input, that takes an id.
#[derive(Clone, Debug)]
pub struct IdPlace {
    /// `Query` or `Mutation`.
    pub root: &'static str,
    /// The root field.
    pub field: String,
    /// The argument, and the names below it.
    pub path: Vec<String>,
}

/// A place that takes a value.
#[derive(Clone, Debug)]
pub struct InputPlace {
    /// The type that has the field.
    pub parent: String,
    pub field: String,
    /// The argument, and the names below it.
    pub path: Vec<String>,
    /// The name of the place's type.
    pub kind: String,
}

impl Catalogue {
    /// Asks a server.
    pub async fn of(world: &World) -> Self {
        let answer = world.ask_anonymously(INTROSPECTION).await;
        let types = answer.data()["__schema"]["types"].as_array().unwrap();
        Self(types.iter().map(|kind| (kind["name"].as_str().unwrap().to_owned(), kind.clone())).collect())
    }

    /// The names of the types, without the library's own.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| !name.starts_with("__"))
    }

    /// The fields of a type, or of an input.
    pub fn fields(&self, name: &str) -> &[Value] {
        let kind = &self.0[name];
        let fields = kind["fields"].as_array().or(kind["inputFields"].as_array());
        fields.map(Vec::as_slice).unwrap_or_default()
    }

    /// A field of a type.
    fn field(&self, parent: &str, name: &str) -> &Value {
        self.fields(parent).iter().find(|field| field["name"] == name).unwrap()
    }

    /// Every place of the root fields that takes an id.
    pub fn id_places(&self) -> Vec<IdPlace> {
        let mut places = Vec::new();
        for root in ["Query", "Mutation"] {
            for field in self.fields(root) {
                let start = IdPlace { root, field: text(field, "name"), path: Vec::new() };
                self.add_places(&start, field["args"].as_array().unwrap(), &mut places);
            }
        }
        places
    }

    fn add_places(&self, above: &IdPlace, inputs: &[Value], places: &mut Vec<IdPlace>) {
        for input in inputs {
            let mut place = above.clone();
            place.path.push(text(input, "name"));
            let (kind, name) = named(&input["type"]);
            match kind {
                "INPUT_OBJECT" => self.add_places(&place, self.fields(name), places),
                _ if name == "ID" => places.push(place),
                _ => {}
            }
        }
    }

    /// Every field that is no root field and takes an id, in an argument or in the input that is one: `Type.field`.
    pub fn nested_id_places(&self) -> Vec<String> {
        let mut found = Vec::new();
        for name in
            self.types().filter(|name| !["Query", "Mutation"].contains(name) && self.0[*name]["fields"].is_array())
        {
            for field in self.fields(name) {
                let start = IdPlace { root: "", field: format!("{name}.{}", text(field, "name")), path: Vec::new() };
                let mut places = Vec::new();
                self.add_places(&start, field["args"].as_array().unwrap(), &mut places);
                found.extend(places.iter().map(|place| format!("{}({})", place.field, place.path.join("."))));
            }
        }
        found
    }

    /// A document for a root field with one variable for each required argument, and for the first name of `place`
    /// where there is one; it selects the scalars of what comes back, and those of the objects in it.
    pub fn document(&self, root: &str, field: &str, place: &[String]) -> String {
        let field = self.field(root, field);
        let name = field["name"].as_str().unwrap();
        let wanted = |argument: &&Value| is_required(argument) || place.first() == Some(&text(argument, "name"));
        let arguments: Vec<(String, String)> = field["args"]
            .as_array()
            .unwrap()
            .iter()
            .filter(wanted)
            .map(|argument| (text(argument, "name"), signature(&argument["type"])))
            .collect();
        let declared: Vec<String> = arguments.iter().map(|(name, kind)| format!("${name}: {kind}")).collect();
        let passed: Vec<String> = arguments.iter().map(|(name, _)| format!("{name}: ${name}")).collect();
        let (operation, selection) = (root.to_lowercase(), self.selection(&field["type"], 2));
        match arguments.len() {
            0 => format!("{operation} {{ {name} {selection} }}"),
            _ => format!("{operation}({}) {{ {name}({}) {selection} }}", declared.join(", "), passed.join(", ")),
        }
        .replacen("query(", "query Visit(", 1)
    }

    /// Variables for [`Self::document`]: every required id is that of its name in `ids`, but the one at `place`, which is
    /// `placed`. Texts are made up; the address is that of a user named stranger.
    pub fn variables(&self, place: &IdPlace, ids: &BTreeMap<&str, Uuid>, placed: Uuid) -> Value {
        let arguments = self.field(place.root, &place.field)["args"].as_array().unwrap();
        Value::Object(self.values(arguments, ids, &place.path, &json!(placed)))
    }

    /// Every place of every field, in an argument or below it, that takes a value.
    pub fn input_places(&self) -> Vec<InputPlace> {
        let mut found = Vec::new();
        for parent in self.types().filter(|name| self.0[*name]["kind"] == "OBJECT") {
            for field in self.fields(parent) {
                let start = InputPlace {
                    parent: parent.to_owned(),
                    field: text(field, "name"),
                    path: Vec::new(),
                    kind: String::new(),
                };
                self.add_input_places(&start, field["args"].as_array().unwrap(), &mut found);
            }
        }
        found
    }

    fn add_input_places(&self, above: &InputPlace, inputs: &[Value], found: &mut Vec<InputPlace>) {
        for input in inputs {
            let (kind, name) = named(&input["type"]);
            let mut place = InputPlace { kind: name.to_owned(), ..above.clone() };
            place.path.push(text(input, "name"));
            match kind {
                "INPUT_OBJECT" => self.add_input_places(&place, self.fields(name), found),
                _ => found.push(place),
            }
        }
    }

    /// A request that puts a value in a place; `within` writes a selection on the place's type as a document.
    pub fn request_with(
        &self,
        place: &InputPlace,
        ids: &BTreeMap<&str, Uuid>,
        placed: &Value,
        within: impl Fn(&str, &str) -> String,
    ) -> Value {
        let field = self.field(&place.parent, &place.field);
        let inputs = field["args"].as_array().unwrap();
        let given = self.values(inputs, ids, &place.path, placed);
        let of = |name: &String| inputs.iter().find(|input| input["name"] == **name).unwrap();
        let declared: Vec<_> = given.keys().map(|name| format!("${name}: {}", signature(&of(name)["type"]))).collect();
        let passed: Vec<_> = given.keys().map(|name| format!("{name}: ${name}")).collect();
        let selection = if self.selection(&field["type"], 0).is_empty() { "" } else { "{ __typename }" };
        let selected = format!("{}({}) {selection}", place.field, passed.join(", "));
        json!({ "query": within(&format!("({})", declared.join(", ")), &selected), "variables": given })
    }

    fn values(
        &self,
        inputs: &[Value],
        ids: &BTreeMap<&str, Uuid>,
        path: &[String],
        placed: &Value,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        for input in inputs {
            let name = text(input, "name");
            let here = path.first() == Some(&name);
            if !here && !is_required(input) {
                continue;
            }
            let below = if here { &path[1..] } else { &[] };
            let (kind, type_name) = named(&input["type"]);
            let value = match (kind, type_name) {
                ("INPUT_OBJECT", _) => Value::Object(self.values(self.fields(type_name), ids, below, placed)),
                ("ENUM", _) if !here => self.0[type_name]["enumValues"][0]["name"].clone(),
                _ if here => placed.clone(),
                (_, "ID") => ids.get(name.as_str()).map_or_else(|| placed.clone(), |id| json!(id)),
                (_, "String") if name == "email" => json!("stranger@example.com"),
                (_, "String") if name == "document" => json!("{ __typename }"),
                (_, "String") => json!("some-text"),
                (_, "Int") => json!(1),
                (_, "JSON") => json!({}),
                (_, "Boolean") => json!(true),
                (_, "DateTime") => json!("2026-01-31T09:30:00Z"),
                other => panic!("a value for {other:?}"),
            };
            let is_list = signature(&input["type"]).starts_with('[');
            let value = if is_list { json!([value]) } else { value };
            values.insert(name, value);
        }
        values
    }

    /// `{ … }` for a type, empty for a scalar.
    fn selection(&self, kind: &Value, depth: u32) -> String {
        let (kind, name) = named(kind);
        if !["OBJECT", "INTERFACE"].contains(&kind) {
            return String::new();
        }
        let mut selected = vec!["__typename".to_owned()];
        for field in self.fields(name) {
            let (field_kind, _) = named(&field["type"]);
            if field["args"].as_array().unwrap().iter().any(is_required) {
                continue;
            }
            let name = text(field, "name");
            match field_kind {
                "OBJECT" | "INTERFACE" if depth > 0 => {
                    selected.push(format!("{name} {}", self.selection(&field["type"], depth - 1)));
                }
                "OBJECT" | "INTERFACE" => {}
                _ => selected.push(name),
            }
        }
        format!("{{ {} }}", selected.join(" "))
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap().to_owned()
}

fn is_required(input: &Value) -> bool {
    input["type"]["kind"] == "NON_NULL" && input["defaultValue"].is_null()
}

/// Kind and name under the wrappers.
fn named(kind: &Value) -> (&str, &str) {
    match kind["ofType"].as_object() {
        Some(_) => named(&kind["ofType"]),
        None => (kind["kind"].as_str().unwrap(), kind["name"].as_str().unwrap()),
    }
}

/// The type as it is written.
fn signature(kind: &Value) -> String {
    match kind["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", signature(&kind["ofType"])),
        "LIST" => format!("[{}]", signature(&kind["ofType"])),
        _ => text(kind, "name"),
    }
}
