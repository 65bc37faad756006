//! The schema file is what the code says, and says what everything is.

use serde_json::{Value, json};

use crate::harness::World;

#[test]
fn schema_graphql_is_what_the_code_says() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql")).unwrap();
    assert!(file == trellis::schema::sdl(), "run `cargo run -- schema > schema.graphql`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_field_argument_and_value_has_a_description() {
    let world = World::new().await;
    let document = "{ __schema { types { name description \
        fields(includeDeprecated: true) { name description args { name description } } \
        inputFields { name description } enumValues(includeDeprecated: true) { name description } } } }";
    let answer = world.ask_anonymously(document).await;
    let mut seen = 0;
    let mut bare = Vec::new();
    let mut look = |path: String, item: &Value| {
        seen += 1;
        if item["description"].as_str().is_none_or(str::is_empty) {
            bare.push(path);
        }
    };
    let items = |item: &Value, list: &str| item[list].as_array().cloned().unwrap_or_default();
    for kind in items(&answer.data()["__schema"], "types") {
        let name = kind["name"].as_str().unwrap().to_owned();
        // The library's own.
        if name.starts_with("__") || name == "ID" {
            continue;
        }
        look(name.clone(), &kind);
        for list in ["inputFields", "enumValues"] {
            for item in items(&kind, list) {
                look(format!("{name}.{}", item["name"]), &item);
            }
        }
        for field in items(&kind, "fields") {
            look(format!("{name}.{}", field["name"]), &field);
            for arg in items(&field, "args") {
                look(format!("{name}.{}({})", field["name"], arg["name"]), &arg);
            }
        }
    }
    assert!(seen > 200, "only {seen} things seen");
    assert_eq!(json!(bare), json!([]));
}
