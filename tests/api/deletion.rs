//! Soft delete and restore: one row is marked, everything below it is hidden at every path, and all of it comes back.

use std::collections::BTreeSet;

use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::{World, one};
use crate::mutations::{MUTATIONS, Stage, contents, named, send};

const ENTITIES: [&str; 6] = ["Comment", "Member", "Project", "Task", "User", "Workspace"];

/// What changes by itself, or whenever a row comes back.
const VOLATILE: [&str; 3] = ["freshness", "joinedAt", "updatedAt"];

/// Writes documents that walk every path into the graph, down to a depth in rows.
struct Walker {
    catalogue: Catalogue,
    /// Every field that a document has selected: `Type.field`.
    visited: BTreeSet<String>,
}

/// Kind and name under the wrappers.
fn bare(kind: &Value) -> (&str, &str) {
    if kind["ofType"].is_object() {
        return bare(&kind["ofType"]);
    }
    (kind["kind"].as_str().unwrap(), kind["name"].as_str().unwrap())
}

impl Walker {
    /// `{ … }` for a type: everything of it, and of the rows that it refers to.
    fn selection(&mut self, of: &str, depth: u32) -> String {
        let mut selected = vec!["__typename".to_owned()];
        for field in self.catalogue.fields(of).to_vec() {
            let name = field["name"].as_str().unwrap();
            let (kind, below) = bare(&field["type"]);
            if VOLATILE.contains(&name) || (of == "Member" && name == "createdAt") {
                continue;
            }
            selected.push(match kind {
                _ if ENTITIES.contains(&below) && of.ends_with("Edge") => format!("{name} {{ id }}"),
                "OBJECT" if ENTITIES.contains(&below) && depth == 0 => continue,
                "OBJECT" => {
                    let depth = if ENTITIES.contains(&below) { depth - 1 } else { depth };
                    // A list of rows that would have to stay empty is not walked.
                    if depth == 0 && below.ends_with("Connection") {
                        continue;
                    }
                    // Small pages are cheap ones, and large enough for the tree.
                    let arguments = field["args"].as_array().unwrap();
                    let page =
                        if arguments.iter().any(|argument| argument["name"] == "first") { "(first: 5)" } else { "" };
                    format!("{name}{page} {}", self.selection(below, depth))
                }
                _ => name.to_owned(),
            });
            self.visited.insert(format!("{of}.{name}"));
        }
        format!("{{ {} }}", selected.join(" "))
    }

    /// A selection for whatever has an id.
    fn of_any(&mut self, depth: u32) -> String {
        let parts = ENTITIES.map(|of| format!("... on {of} {}", self.selection(of, depth)));
        format!("{{ {} }}", parts.join(" "))
    }

    /// Every field of the types that rows are made of, but the volatile ones.
    fn everything(&self) -> BTreeSet<String> {
        let (mut found, mut queue) = (BTreeSet::new(), vec!["WorkspaceConnection".to_owned()]);
        while let Some(of) = queue.pop() {
            for field in self.catalogue.fields(&of) {
                let name = field["name"].as_str().unwrap();
                let (kind, below) = bare(&field["type"]);
                let is_volatile = VOLATILE.contains(&name) || (of == "Member" && name == "createdAt");
                if !is_volatile && found.insert(format!("{of}.{name}")) && kind == "OBJECT" {
                    queue.push(below.to_owned());
                }
            }
        }
        found
    }
}

/// Two workspaces of ada's; in one of them grace is a member, who said something about a task of hers.
struct Tree {
    ada: Uuid,
    grace: Uuid,
    workspace: Uuid,
    member: Uuid,
    project: Uuid,
    task: Uuid,
    comment: Uuid,
    /// The other rows below the task, the project and the workspace, in turn.
    below_task: Vec<Uuid>,
    below_project: Vec<Uuid>,
    below_workspace: Vec<Uuid>,
    elsewhere: Vec<Uuid>,
}

impl Tree {
    async fn plant(world: &World) -> Self {
        let (ada, grace) = (world.user("ada").await, world.user("grace").await);
        let workspace = world.workspace("home", ada).await;
        let member = world.member(workspace, grace, Role::Member).await;
        let sql = format!("SELECT id FROM members WHERE user_id = '{ada}'");
        let owner: Uuid = one(&world.sql, &sql).await.try_get_by_index(0).unwrap();
        let (project, second_project) =
            (world.project(workspace, "Atlas").await, world.project(workspace, "Bridge").await);
        let task = world.task_with(project, "Draw", |row| row.assignee_id = Set(Some(grace))).await;
        let second_task = world.task_with(project, "Print", |row| row.assignee_id = Set(Some(ada))).await;
        let third_task = world.task_with(second_project, "Build", |row| row.assignee_id = Set(Some(grace))).await;
        let comment = world.comment(task, grace, "Yes").await;
        let second_comment = world.comment(task, ada, "No").await;
        let (third_comment, fourth_comment) =
            (world.comment(second_task, ada, "Later").await, world.comment(third_task, grace, "Now").await);
        let club = world.workspace("club", ada).await;
        let club_project = world.project(club, "Chess").await;
        let club_task = world.task_with(club_project, "Play", |row| row.assignee_id = Set(Some(ada))).await;
        let club_comment = world.comment(club_task, ada, "e4").await;
        Self {
            ada,
            grace,
            workspace,
            member,
            project,
            task,
            comment,
            below_task: vec![second_comment],
            below_project: vec![second_task, third_comment],
            below_workspace: vec![owner, second_project, third_task, fourth_comment],
            elsewhere: vec![club, club_project, club_task, club_comment],
        }
    }

    fn all(&self) -> Vec<Uuid> {
        let named = [self.workspace, self.member, self.project, self.task, self.comment];
        let others = [&self.below_task, &self.below_project, &self.below_workspace, &self.elsewhere];
        named.into_iter().chain(others.into_iter().flatten().copied()).collect()
    }

    /// Each row with the mutations that delete it and bring it back, and what is hidden with it.
    fn deletions(&self) -> [(&'static str, &'static str, Uuid, Vec<Uuid>); 5] {
        let comment = vec![self.comment];
        let task = [&comment[..], &[self.task], &self.below_task].concat();
        let project = [&task[..], &[self.project], &self.below_project].concat();
        let workspace = [&project[..], &[self.workspace, self.member], &self.below_workspace].concat();
        [
            ("commentDelete", "commentRestore", self.comment, comment),
            ("taskDelete", "taskRestore", self.task, task),
            ("projectDelete", "projectRestore", self.project, project),
            ("workspaceDelete", "workspaceRestore", self.workspace, workspace),
            ("memberRemove", "memberAdd", self.member, vec![self.member]),
        ]
    }
}

/// The documents of a walk, each with its variables: every root field, by every id of the tree.
fn walk(walker: &mut Walker, tree: &Tree) -> Vec<(String, Value)> {
    let mut documents = Vec::new();
    let mut add = |head: &str, selection: &str, id: Value| {
        let declared = if head.contains("$ids") { "query($ids: [ID!]!)" } else { "query($id: ID)" };
        let declared = if head.contains("$id)") { "query($id: ID!)" } else { declared };
        documents.push((format!("{declared} {{ {head} {selection} }}"), json!({ "id": id, "ids": tree.all() })));
    };
    let (any, whatever) = (walker.of_any(1), walker.of_any(0));
    add("nodes(ids: $ids)", &any, Value::Null);
    for id in tree.all() {
        add("node(id: $id)", &whatever, json!(id));
    }
    add("viewer", &walker.selection("User", 3), Value::Null);
    add("workspace(id: $id)", &walker.selection("Workspace", 3), json!(tree.workspace));
    add("workspaceBySlug(slug: \"home\")", &walker.selection("Workspace", 1), Value::Null);
    add("workspaces(first: 5)", &walker.selection("WorkspaceConnection", 4), Value::Null);
    add("project(id: $id)", &walker.selection("Project", 3), json!(tree.project));
    add("task(id: $id)", &walker.selection("Task", 3), json!(tree.task));
    add("comment(id: $id)", &walker.selection("Comment", 3), json!(tree.comment));
    documents
}

/// Walks, and returns what was found, path by path.
async fn found(world: &World, caller: Uuid, documents: &[(String, Value)]) -> Vec<String> {
    world.replicated().await;
    let mut found = Vec::new();
    for (document, variables) in documents {
        let document = document.replace("query($id: ID) ", "");
        let answer = send(world, Some(caller), &document, variables).await;
        check_counts(answer.data());
        // The extensions tell of the server that was read, whose log grows.
        let data = answer.text.split_once(",\"extensions\":").map(|(data, _)| format!("{data}}}"));
        found.push(data.unwrap_or(answer.text));
    }
    found
}

/// Every total is the number of rows next to it, and every report counts the tasks next to it.
fn check_counts(value: &Value) -> usize {
    let mut checked = 0;
    if let (Some(nodes), Some(total)) = (value["nodes"].as_array(), value["totalCount"].as_u64()) {
        let edges = value["edges"].as_array().unwrap();
        assert_eq!([nodes.len(), edges.len()], [usize::try_from(total).unwrap(); 2]);
        checked += 1;
    }
    if value["report"].is_object() && value["tasks"].is_object() {
        assert_eq!(value["report"]["totals"]["total"], value["tasks"]["totalCount"]);
        checked += 1;
    }
    let children: Vec<&Value> = match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    checked + children.into_iter().map(check_counts).sum::<usize>()
}

const WIDE: [&str; 10] = [
    "--max-selections",
    "100000",
    "--max-complexity",
    "10000000",
    "--max-depth",
    "40",
    "--max-tokens",
    "100000",
    "--max-document-bytes",
    "1000000",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_and_all_below_it_are_hidden_at_every_path_and_come_back_byte_for_byte() {
    let world = World::with(&WIDE).await;
    let tree = Tree::plant(&world).await;
    let mut walker = Walker { catalogue: Catalogue::of(&world).await, visited: BTreeSet::new() };
    let documents = walk(&mut walker, &tree);
    let everything = walker.everything();
    assert!(everything.len() > 70, "{everything:?}");
    assert_eq!(walker.visited, everything);
    let mut roots: Vec<&str> =
        walker.catalogue.fields("Query").iter().map(|field| field["name"].as_str().unwrap()).collect();
    roots.retain(|root| {
        !["server", "rateLimit", "estimateCost"].contains(root)
            && !documents.iter().any(|(document, _)| document.contains(&format!("{{ {root}")))
    });
    assert_eq!(roots, [""; 0], "every root field is walked");

    let before = found(&world, tree.ada, &documents).await;
    let before_grace = found(&world, tree.grace, &documents).await;
    let all_of = |texts: &[String], id: &Uuid| texts.iter().filter(|text| text.contains(&id.to_string())).count();
    for id in tree.all() {
        assert!(all_of(&before, &id) >= 4, "{id} is found at several roots");
    }
    let counted: usize = before.iter().map(|text| check_counts(&serde_json::from_str(text).unwrap())).sum();
    assert!(counted > 250, "{counted} totals and reports");

    let mut hidden_rows = 0;
    for (delete, restore, id, hidden) in tree.deletions() {
        let answer = named(delete).run(&world, tree.ada, &json!({ "id": id })).await;
        assert_eq!(answer.data()[delete]["userErrors"], json!([]), "{delete}");
        let during = found(&world, tree.ada, &documents).await;
        for id in tree.all() {
            let places = all_of(&during, &id);
            assert_eq!(places == 0, hidden.contains(&id), "{delete}: {id} at {places} roots");
        }
        hidden_rows += hidden.len();
        if delete == "memberRemove" {
            let during = found(&world, tree.grace, &documents).await;
            assert!(tree.all().iter().all(|id| all_of(&during, id) == 0), "the one who left sees nothing");
        }
        let input = match restore {
            "memberAdd" => json!({ "workspaceId": tree.workspace, "email": "grace@example.com" }),
            _ => json!({ "id": id }),
        };
        let answer = named(restore).run(&world, tree.ada, &input).await;
        let payload = &answer.data()[restore];
        assert_eq!(payload["userErrors"], json!([]), "{restore}");
        // A membership comes back as another one.
        let new: Uuid = serde_json::from_value(payload[named(restore).row]["id"].clone()).unwrap();
        for (caller, before) in [(tree.ada, &before), (tree.grace, &before_grace)] {
            let mut documents = documents.clone();
            for (_, variables) in &mut documents {
                *variables =
                    serde_json::from_str(&variables.to_string().replace(&id.to_string(), &new.to_string())).unwrap();
            }
            let after = found(&world, caller, &documents).await;
            let after: Vec<String> = after.iter().map(|text| text.replace(&new.to_string(), &id.to_string())).collect();
            assert_eq!(&after, before, "after {restore}");
        }
    }
    assert_eq!(hidden_rows, 1 + 3 + 6 + 12 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_and_a_restoration_touch_one_row_and_no_other() {
    let world = World::new().await;
    let tree = Tree::plant(&world).await;
    let mut touched = 0;
    for (delete, restore, id, _) in tree.deletions() {
        let others = contents(&world, Some(id)).await;
        let version = async || {
            let sql = format!(
                "SELECT xmin::text || ' ' || (deleted_at IS NULL) FROM {} WHERE id = '{id}'",
                named(delete).table
            );
            one(&world.sql, &sql).await.try_get_by_index::<String>(0).unwrap()
        };
        let before = version().await;
        let answer = named(delete).run(&world, tree.ada, &json!({ "id": id })).await;
        assert!(answer.data()[delete][named(delete).row]["deletedAt"].is_string(), "{delete}");
        assert!(version().await != before && version().await.ends_with("false"), "{delete}");
        assert_eq!(contents(&world, Some(id)).await, others, "{delete}");
        touched += 1;
        if restore == "memberAdd" {
            continue;
        }
        let answer = named(restore).run(&world, tree.ada, &json!({ "id": id })).await;
        assert_eq!(answer.data()[restore][named(delete).row]["deletedAt"], json!(null), "{restore}");
        assert!(version().await.ends_with("true"), "{restore}");
        assert_eq!(contents(&world, Some(id)).await, others, "{restore}");
        touched += 1;
    }
    assert_eq!(touched, 5 + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_cannot_be_deleted_and_what_is_live_cannot_be_restored() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut refused = 0;
    for mutation in MUTATIONS.iter().filter(|mutation| ["DeleteInput", "RestoreInput"].contains(&mutation.input)) {
        let name = mutation.name;
        let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
        let input = stage.input(name);
        assert_eq!(mutation.run(&world, ada, &input).await.data()[name]["userErrors"], json!([]), "{name}");
        let before = contents(&world, None).await;
        let missing = mutation.run(&world, ada, &Stage::missing().input(name)).await;
        let again = mutation.run(&world, ada, &input).await;
        assert_eq!(again.data()[name]["userErrors"][0]["code"], "NOT_FOUND", "{name}");
        assert_eq!(again.text, missing.text, "{name}");
        assert_eq!(contents(&world, None).await, before, "{name}");
        refused += 1;
    }
    assert_eq!(refused, 5 + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_below_a_deleted_row_is_changed_deleted_or_restored() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut refused = 0;
    let above = [
        ("tasks", vec!["commentCreate", "commentUpdate", "commentDelete", "commentRestore"]),
        (
            "projects",
            vec![
                "taskCreate",
                "taskUpdate",
                "taskDelete",
                "taskRestore",
                "tasksUpdate",
                "commentUpdate",
                "commentRestore",
            ],
        ),
        (
            "workspaces",
            vec![
                "memberAdd",
                "memberUpdate",
                "memberRemove",
                "projectCreate",
                "projectUpdate",
                "projectDelete",
                "projectRestore",
                "taskUpdate",
                "commentDelete",
            ],
        ),
    ];
    for (table, mutations) in above {
        for name in mutations {
            let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
            let id = match table {
                "tasks" => stage.task,
                "projects" => stage.project,
                _ => stage.workspace,
            };
            world.execute(&format!("UPDATE {table} SET deleted_at = now() WHERE id = '{id}'")).await;
            let before = contents(&world, None).await;
            let missing = named(name).run(&world, ada, &Stage::missing().input(name)).await;
            let answer = named(name).run(&world, ada, &stage.input(name)).await;
            assert_eq!(answer.data()[name]["userErrors"][0]["code"], "NOT_FOUND", "{name} below {table}");
            assert_eq!(answer.text, missing.text, "{name} below {table}");
            assert_eq!(contents(&world, None).await, before, "{name} below {table}");
            refused += 1;
        }
    }
    assert_eq!(refused, 4 + 7 + 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_whose_slug_was_taken_comes_back_when_the_slug_is_free_again() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    let run = async |caller, name: &'static str, input: Value| {
        named(name).run(&world, caller, &input).await.data()[name].clone()
    };
    run(ada, "workspaceDelete", json!({ "id": home })).await;
    let other =
        run(grace, "workspaceCreate", json!({ "name": "Mine", "slug": "home" })).await["workspace"]["id"].clone();
    let before = contents(&world, None).await;
    let refused = run(ada, "workspaceRestore", json!({ "id": home })).await;
    assert_eq!(refused["workspace"], json!(null));
    assert_eq!(refused["userErrors"].as_array().unwrap().len(), 1);
    assert_eq!(refused["userErrors"][0]["code"], "NOT_UNIQUE");
    assert_eq!(refused["userErrors"][0]["field"], json!(["input", "id"]));
    assert_eq!(contents(&world, None).await, before);
    run(grace, "workspaceUpdate", json!({ "id": other, "slug": "mine" })).await;
    let restored = run(ada, "workspaceRestore", json!({ "id": home })).await;
    assert_eq!((&restored["userErrors"], &restored["workspace"]["slug"]), (&json!([]), &json!("home")));
    let answer = run(grace, "workspaceUpdate", json!({ "id": other, "slug": "home" })).await;
    assert_eq!(answer["userErrors"][0]["field"], json!(["input", "slug"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_deletion_shows_nothing_below_the_deleted_row() {
    let world = World::without_replica().await;
    let tree = Tree::plant(&world).await;
    let list = "{ totalCount nodes { id } edges { cursor } pageInfo { hasNextPage startCursor } }";
    let cases = [
        (
            "taskDelete",
            tree.task,
            format!("task {{ deletedAt comments {list} all: comments(deleted: INCLUDE) {list} }}"),
        ),
        (
            "projectDelete",
            tree.project,
            format!(
                "project {{ deletedAt report {{ totals {{ total }} }} tasks {list} all: tasks(deleted: INCLUDE) {list} \
                 board {{ tasks {list} }} }}"
            ),
        ),
        (
            "workspaceDelete",
            tree.workspace,
            format!(
                "workspace {{ deletedAt report {{ totals {{ total }} }} members {list} projects {list} tasks {list} \
                 all: projects(deleted: INCLUDE) {list} gone: tasks(deleted: ONLY) {list} }}"
            ),
        ),
    ];
    for (name, id, selection) in cases {
        let document =
            format!("mutation($id: ID!) {{ {name}(input: {{ id: $id }}) {{ {selection} userErrors {{ code }} }} }}");
        let answer = world.ask(tree.ada, &document, json!({ "id": id })).await;
        let row = &answer.data()[name][named(name).row];
        assert!(row["deletedAt"].is_string(), "{name}");
        let empty = json!({ "totalCount": 0, "nodes": [], "edges": [], "pageInfo": { "hasNextPage": false, "startCursor": null } });
        let mut lists = 0;
        for (field, value) in row.as_object().unwrap() {
            match field.as_str() {
                "deletedAt" => {}
                "report" => assert_eq!(*value, json!(null), "{name}"),
                "board" => {
                    assert_eq!(value.as_array().unwrap().len(), 4);
                    assert!(value.as_array().unwrap().iter().all(|column| column["tasks"] == empty), "{name}: {value}");
                }
                _ => {
                    assert_eq!(*value, empty, "{name}.{field}");
                    lists += 1;
                }
            }
        }
        assert!(lists >= 2, "{name}");
    }
}
