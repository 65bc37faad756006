//! What the server relies on in the GraphQL library and in its own batches: order, nulls, merging, one batch a level.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::{EmptyMutation, EmptySubscription, Error, Object, Schema, SimpleObject};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, World};

/// Completes after so many other turns of the runtime.
async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

fn refused<T>() -> Result<T, Error> {
    Err(Error::new("refused"))
}

#[derive(SimpleObject)]
struct Leaf {
    name: &'static str,
    number: i32,
}

struct Branch;

/// A small schema whose fields fail and complete out of order.
#[Object]
impl Branch {
    async fn slow(&self) -> i32 {
        turns(9).await;
        1
    }

    async fn quick(&self) -> i32 {
        2
    }

    async fn leaf(&self) -> Leaf {
        turns(3).await;
        Leaf { name: "leaf", number: 3 }
    }

    async fn maybe_failing(&self) -> Option<Result<i32, Error>> {
        turns(2).await;
        Some(refused())
    }

    async fn failing(&self) -> Result<i32, Error> {
        turns(2).await;
        refused()
    }

    async fn branch(&self) -> Branch {
        Branch
    }

    async fn maybe_branch(&self) -> Option<Branch> {
        Some(Branch)
    }

    async fn nullable_items(&self) -> Vec<Option<Result<i32, Error>>> {
        vec![Some(Ok(1)), Some(refused()), None, Some(Ok(4))]
    }

    async fn items(&self) -> Option<Vec<Result<i32, Error>>> {
        Some(vec![Ok(1), refused(), Ok(3)])
    }

    async fn branches(&self) -> Vec<Option<Branch>> {
        vec![Some(Branch), None]
    }
}

struct Root;

#[Object]
impl Root {
    async fn branch(&self) -> Branch {
        turns(4).await;
        Branch
    }

    async fn maybe_branch(&self) -> Option<Branch> {
        Some(Branch)
    }

    async fn number(&self) -> i32 {
        7
    }
}

/// The answer of the small schema, as text: the order of its keys counts.
async fn answer(document: &str) -> String {
    let schema = Schema::new(Root, EmptyMutation, EmptySubscription);
    serde_json::to_string(&schema.execute(document).await).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn keys_come_in_the_order_of_the_query_whichever_field_completes_first() {
    let text = answer("{ branch { slow quick z: leaf { number name } a: slow leaf { name } } number }").await;
    assert_eq!(
        text,
        r#"{"data":{"branch":{"slow":1,"quick":2,"z":{"number":3,"name":"leaf"},"a":1,"leaf":{"name":"leaf"}},"number":7}}"#
    );
}

#[tokio::test]
async fn a_nullable_field_that_fails_is_null_and_its_siblings_stay() {
    let answer = parsed(&answer("{ branch { slow maybeFailing quick } number }").await);
    assert_eq!(answer["data"], json!({ "branch": { "slow": 1, "maybeFailing": null, "quick": 2 }, "number": 7 }));
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["path"], json!(["branch", "maybeFailing"]));
}

#[tokio::test]
async fn a_field_that_fails_and_cannot_be_null_makes_its_nearest_nullable_parent_null() {
    let nearest = parsed(&answer("{ maybeBranch { branch { branch { failing } } quick } number }").await);
    assert_eq!(nearest["data"], json!({ "maybeBranch": null, "number": 7 }));
    assert_eq!(nearest["errors"][0]["path"], json!(["maybeBranch", "branch", "branch", "failing"]));
    let inner = parsed(&answer("{ maybeBranch { maybeBranch { failing } quick } number }").await);
    assert_eq!(inner["data"], json!({ "maybeBranch": { "maybeBranch": null, "quick": 2 }, "number": 7 }));
    let whole = parsed(&answer("{ branch { branch { failing } } number }").await);
    assert_eq!(whole["data"], json!(null));
    assert_eq!(whole["errors"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failing_item_is_null_in_a_list_of_nullable_items_and_ends_a_list_of_others() {
    let nullable = parsed(&answer("{ branch { nullableItems quick } }").await);
    assert_eq!(nullable["data"], json!({ "branch": { "nullableItems": [1, null, null, 4], "quick": 2 } }));
    assert_eq!(nullable["errors"][0]["path"], json!(["branch", "nullableItems", 1]));
    let others = parsed(&answer("{ branch { items quick } }").await);
    assert_eq!(others["data"], json!({ "branch": { "items": null, "quick": 2 } }));
    assert_eq!(others["errors"][0]["path"], json!(["branch", "items", 1]));
    let within = parsed(&answer("{ branch { branches { failing } quick } }").await);
    assert_eq!(within["data"], json!({ "branch": { "branches": [null, null], "quick": 2 } }));
    assert_eq!(within["errors"][0]["path"], json!(["branch", "branches", 0, "failing"]));
}

#[tokio::test]
async fn fragments_inline_fragments_and_type_names_are_in_their_places() {
    let text = answer(
        "query { __typename branch { ...Parts ... on Branch { quick } ... { kind: __typename } } } \
         fragment Parts on Branch { __typename leaf { ...Name } } fragment Name on Leaf { name __typename }",
    )
    .await;
    assert_eq!(
        text,
        r#"{"data":{"__typename":"Root","branch":{"__typename":"Branch","leaf":{"name":"leaf","__typename":"Leaf"},"quick":2,"kind":"Branch"}}}"#
    );
}

#[tokio::test]
async fn skip_and_include_leave_fields_and_fragments_out() {
    let document = "query($yes: Boolean! = true, $no: Boolean! = false) { branch { \
        a: slow @skip(if: $yes) b: slow @skip(if: $no) c: slow @include(if: $yes) d: slow @include(if: $no) \
        ... @include(if: false) { e: slow } ...Rest @skip(if: true) ... on Branch @include(if: true) { f: quick } \
        g: quick @include(if: true) @skip(if: true) } } fragment Rest on Branch { quick }";
    // The library's directives do not look at defaults; the server sends them (`requests.rs`).
    let schema = Schema::new(Root, EmptyMutation, EmptySubscription);
    let variables = async_graphql::Variables::from_json(json!({ "yes": true, "no": false }));
    let request = async_graphql::Request::new(document).variables(variables);
    let text = serde_json::to_string(&schema.execute(request).await).unwrap();
    assert_eq!(text, r#"{"data":{"branch":{"b":1,"c":1,"f":2}}}"#);
}

#[tokio::test]
async fn an_error_names_the_response_path_and_the_location() {
    let answer = parsed(&answer("{\n  first: branch {\n    second: maybeFailing\n  }\n}").await);
    let expected = json!([{
        "message": "refused", "path": ["first", "second"], "locations": [{ "line": 3, "column": 5 }],
    }]);
    assert_eq!(answer["errors"], expected);
}

/// A workspace with two projects, each with two tasks of one comment.
async fn small_world() -> (World, Uuid, Uuid) {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    for project_name in ["Atlas", "Bridge"] {
        let project = world.project(home, project_name).await;
        for number in [1, 2] {
            let task = world.task(project, &format!("{project_name} {number}")).await;
            world.comment(task, ada, &format!("On {project_name} {number}")).await;
        }
    }
    (world, ada, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_ask_for_different_parts_of_the_same_connection() {
    let (world, ada, home) = small_world().await;
    let document = "query($id: ID!) { workspace(id: $id) { \
        oldest: tasks(first: 1, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { title } } \
        newest: tasks(first: 1) { nodes { title } } \
        two: tasks(last: 2) { nodes { title } totalCount } \
        done: tasks(filter: { status: [COMPLETED] }) { nodes { title } totalCount } } }";
    let answer = world.ask(ada, document, json!({ "id": home })).await;
    assert_eq!(
        answer.data()["workspace"],
        json!({
            "oldest": { "nodes": [{ "title": "Atlas 1" }] },
            "newest": { "nodes": [{ "title": "Bridge 2" }] },
            "two": { "nodes": [{ "title": "Atlas 2" }, { "title": "Atlas 1" }], "totalCount": 4 },
            "done": { "nodes": [], "totalCount": 0 },
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_field_twice_is_merged_and_loaded_once() {
    let (world, ada, home) = small_world().await;
    let document = "query($id: ID!) { workspace(id: $id) { name projects { nodes { name } } } \
        workspace(id: $id) { slug projects { nodes { tasks(first: 1) { nodes { title } } } totalCount } } }";
    let answer = world.ask(ada, document, json!({ "id": home })).await;
    let merged = r#"{"data":{"workspace":{"name":"The home","projects":{"nodes":[{"name":"Atlas","tasks":{"nodes":[{"title":"Atlas 2"}]}},{"name":"Bridge","tasks":{"nodes":[{"title":"Bridge 2"}]}}],"totalCount":2},"slug":"home"}},"#;
    assert!(answer.text.starts_with(merged), "{}", answer.text);
    assert_eq!(
        answer.statements(),
        [
            "project_count_of_workspace",
            "projects_of_workspace_by_created_at",
            "tasks_of_project_by_created_at",
            "workspace_by_id"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_on_a_connection_and_on_a_row_chooses_the_columns_that_it_needs() {
    let (world, ada, home) = small_world().await;
    let document = "query($id: ID!) { workspace(id: $id) { tasks(first: 1) { ...Page } } } \
        fragment Page on TaskConnection { __typename edges { ... on TaskEdge { node { ...Row } } } \
        pageInfo { ... { hasNextPage hasPreviousPage } } } \
        fragment Row on Task { title description updatedAt }";
    let answer = world.ask(ada, document, json!({ "id": home })).await;
    let page = &answer.data()["workspace"]["tasks"];
    assert_eq!(page["__typename"], "TaskConnection");
    assert_eq!(page["edges"][0]["node"]["title"], "Bridge 2");
    assert_eq!(page["edges"][0]["node"]["description"], json!(null));
    assert!(page["edges"][0]["node"]["updatedAt"].is_string());
    assert_eq!(page["pageInfo"], json!({ "hasNextPage": true, "hasPreviousPage": false }));
    // Read with the rows: no task is asked for by id.
    assert_eq!(answer.statements(), ["tasks_of_workspace_by_created_at", "workspace_by_id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_level_answer_has_its_keys_in_the_order_of_the_query() {
    let (world, ada, _) = small_world().await;
    // Counts are leaves, which the next level does not wait for; they stand before, between and after the lists.
    let document = "{ workspaces(first: 1) { totalCount nodes { slug projects(first: 1) { \
        nodes { tasks(first: 1) { nodes { comments(first: 1) { totalCount nodes { author { name } body } } \
        title assignee { name } } totalCount } name } totalCount } name } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let data = r#"{"data":{"workspaces":{"totalCount":1,"nodes":[{"slug":"home","projects":{"nodes":[{"tasks":{"nodes":[{"comments":{"totalCount":1,"nodes":[{"author":{"name":"ada"},"body":"On Atlas 2"}]},"title":"Atlas 2","assignee":null}],"totalCount":2},"name":"Atlas"}],"totalCount":2},"name":"The home"}]}},"#;
    assert!(answer.text.starts_with(data), "{}", answer.text);
    assert_eq!(answer.statements().len(), 9, "{:?}", answer.statements());
}

/// The query that `GraphiQL` 5 sends: graphql-js' `getIntrospectionQuery` with descriptions, `specifiedByURL`,
/// repeatable directives, the schema's description, deprecated inputs and `isOneOf`, of type depth 9.
const INTROSPECTION: &str = "query IntrospectionQuery { __schema { description \
    queryType { name kind } mutationType { name kind } subscriptionType { name kind } types { ...FullType } \
    directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } } \
    fragment FullType on __Type { kind name description specifiedByURL isOneOf \
    fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue } \
    type { ...TypeRef } isDeprecated deprecationReason } \
    inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef } \
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } \
    possibleTypes { ...TypeRef } } \
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated \
    deprecationReason } \
    fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
    ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
    } } } } } } } } } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_introspection_of_graphiql_passes_with_the_default_limits() {
    let world = World::new().await;
    let answer = world.ask_anonymously(INTROSPECTION).await;
    let types = answer.data()["__schema"]["types"].as_array().unwrap();
    let names: Vec<&str> = types.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert!(names.len() > 40, "{names:?}");
    assert!(names.contains(&"Task") && names.contains(&"TaskConnection") && names.contains(&"Mutation"), "{names:?}");
}

/// Statements of a request in the order of their names, each with its number of keys.
fn batches(answer: &Answer) -> Vec<(String, u64)> {
    let statements = answer.body["extensions"]["sql"]["statements"].as_array().expect("X-Debug: sql is answered");
    let mut batches: Vec<_> = statements
        .iter()
        .map(|statement| (statement["name"].as_str().unwrap().to_owned(), statement["keys"].as_u64().unwrap()))
        .collect();
    batches.sort_unstable();
    batches
}

/// A tree of 100 projects of 100 tasks of a comment, in which every task and every comment has a person of its own.
async fn wide_tree(world: &World) -> (Uuid, Uuid) {
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [100, 100, 1]).await;
    for (table, column) in [("tasks", "assignee_id"), ("comments", "author_id")] {
        world
            .execute(&format!(
                "INSERT INTO users (id, email, name) \
                 SELECT gen_random_uuid(), '{table}-' || n || '@example.com', 'Person ' || n \
                 FROM generate_series(1, 10000) n"
            ))
            .await;
        world
            .execute(&format!(
                "WITH numbered AS (SELECT id, row_number() OVER () AS n FROM {table}), \
                 people AS (SELECT id, row_number() OVER () AS n FROM users WHERE email LIKE '{table}-%') \
                 UPDATE {table} t SET {column} = people.id FROM numbered JOIN people USING (n) \
                 WHERE t.id = numbered.id"
            ))
            .await;
    }
    world.execute("ANALYZE").await;
    (ada, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_one_batch_of_1_100_and_10_000_keys_while_others_ask_other_things() {
    let large = ["--max-complexity", "10000000", "--max-depth", "20"];
    let patient =
        ["--request-timeout-ms", "600000", "--acquire-timeout-ms", "60000", "--statement-timeout-ms", "600000"];
    let world = Arc::new(World::with(&[&large[..], &patient].concat()).await);
    let (ada, home) = wide_tree(&world).await;

    let over = Arc::new(AtomicBool::new(false));
    let (started, mut starts) = tokio::sync::mpsc::channel(8);
    let others: Vec<_> = (0..8)
        .map(|number| {
            let (world, over, started) = (Arc::clone(&world), Arc::clone(&over), started.clone());
            tokio::spawn(async move {
                let documents = [
                    "{ viewer { name } workspaces { nodes { name } } }",
                    "{ workspaces { nodes { projects(first: 3) { nodes { tasks(first: 3) { nodes { title } } } } } } }",
                    "{ workspaces { totalCount nodes { members { nodes { user { name } } } } } }",
                    "{ workspaces { nodes { tasks(first: 2) { nodes { title assignee { name } } } } } }",
                ];
                let document = documents[number % documents.len()];
                let expected = batches(&world.ask(ada, document, json!({})).await);
                started.send(()).await.unwrap();
                let mut answers = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = world.ask(ada, document, json!({})).await;
                    answer.data();
                    assert_eq!(batches(&answer), expected);
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for _ in 0..8 {
        starts.recv().await.unwrap();
    }

    let document = "query($id: ID!, $n: Int!) { workspace(id: $id) { projects(first: $n) { nodes { \
        tasks(first: $n) { nodes { assignee { name } comments(first: 1) { nodes { author { name } } } } } } } } }";
    for n in [1_u64, 10, 100] {
        let answer = world.ask(ada, document, json!({ "id": home, "n": n })).await;
        answer.data();
        let expected = [
            ("comments_of_task", n * n),
            ("projects_of_workspace_by_created_at", 1),
            ("tasks_of_project_by_created_at", n),
            ("user_by_id", n * n),
            ("user_by_id", n * n),
            ("workspace_by_id", 1),
        ];
        assert_eq!(batches(&answer), expected.map(|(name, keys)| (name.to_owned(), keys)));
    }

    over.store(true, Ordering::Relaxed);
    for other in others {
        assert!(other.await.unwrap() > 0, "every other client was answered in the meantime");
    }
}
