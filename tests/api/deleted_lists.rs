//! Lists of deleted rows: `deleted: EXCLUDE | INCLUDE | ONLY`, its pages and counts, and the right that it needs.

use serde_json::{Value, json};
use trellis::clock;
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::World;
use crate::mutations::named;

/// A list that can show deleted rows: its place in the schema, the way to it from `$id`, and the mutation that deletes
/// one of its rows.
const LISTS: [(&str, &str, &str); 4] = [
    ("Project.tasks", "project(id: $id) { list: tasks", "taskDelete"),
    ("Task.comments", "task(id: $id) { list: comments", "commentDelete"),
    ("Workspace.projects", "workspace(id: $id) { list: projects", "projectDelete"),
    ("Workspace.tasks", "workspace(id: $id) { list: tasks", "taskDelete"),
];

/// A list with five rows, in the order in which they are listed.
struct Listed {
    parent: Uuid,
    rows: Vec<Uuid>,
}

impl Listed {
    async fn fill(world: &World, place: &str, workspace: Uuid, author: Uuid) -> Self {
        let project = world.project(workspace, "Atlas").await;
        let task = world.task(project, "Draw").await;
        let mut rows = Vec::new();
        for number in 0..5 {
            rows.push(match place {
                "Workspace.projects" => world.project(workspace, "Another").await,
                "Task.comments" => world.comment(task, author, "Yes").await,
                // Ties in the order are the rule in real data.
                _ => {
                    let created_at = clock::now() - chrono::Duration::days(number / 2);
                    world
                        .task_with(project, "Print", |row| row.created_at = sea_orm::ActiveValue::Set(created_at))
                        .await
                }
            });
        }
        match place {
            "Workspace.projects" => rows.insert(0, project),
            "Task.comments" => {}
            _ => rows.push(task),
        }
        let parent = match place {
            "Project.tasks" => project,
            "Task.comments" => task,
            _ => workspace,
        };
        Self { parent, rows }
    }
}

/// Which way one pages through a list: size, cursor, where the next page begins, and whether there is one.
const FORWARD: [&str; 4] = ["first", "after", "endCursor", "hasNextPage"];
const BACKWARD: [&str; 4] = ["last", "before", "startCursor", "hasPreviousPage"];

/// Pages through a list that is reached as `way` from `$id`, and checks that the pages fit together; the ids, and
/// which of them are deleted.
async fn pages(
    world: &World,
    (caller, parent): (Uuid, Uuid),
    way: &str,
    deleted: &str,
    [size, cursor, end, more]: [&str; 4],
) -> Vec<(Uuid, bool)> {
    let document = format!(
        "query($id: ID!, $cursor: Cursor) {{ {way}({size}: 2, {cursor}: $cursor, deleted: {deleted}) {{ totalCount \
         nodes {{ id deletedAt }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }} }}"
    );
    let (mut found, mut position, mut total) = (Vec::new(), Value::Null, None);
    loop {
        let answer = world.ask(caller, &document, json!({ "id": parent, "cursor": position })).await;
        let list = answer.data().as_object().unwrap().values().next().unwrap()["list"].clone();
        assert_eq!(total.get_or_insert(list["totalCount"].clone()), &list["totalCount"]);
        let row = |row: &Value| (serde_json::from_value(row["id"].clone()).unwrap(), row["deletedAt"].is_string());
        let page: Vec<(Uuid, bool)> = list["nodes"].as_array().unwrap().iter().map(row).collect();
        assert!(page.len() <= 2);
        found = if size == "first" { [found, page].concat() } else { [page, found].concat() };
        assert!(found.len() < 20, "pages end");
        if list["pageInfo"][more] == json!(false) {
            break;
        }
        position = list["pageInfo"][end].clone();
    }
    assert_eq!(total.unwrap(), json!(found.len()));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_shows_live_rows_deleted_rows_or_both_in_pages_and_in_counts() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let catalogue = Catalogue::of(&world).await;
    let mut places = Vec::new();
    for of in catalogue.types() {
        for field in catalogue.fields(of) {
            let arguments = field["args"].as_array().map(Vec::as_slice).unwrap_or_default();
            if arguments.iter().any(|argument| argument["name"] == "deleted") {
                places.push(format!("{of}.{}", field["name"].as_str().unwrap()));
            }
        }
    }
    places.sort_unstable();
    assert_eq!(places, LISTS.map(|(place, ..)| place));
    for (number, (place, way, delete)) in LISTS.into_iter().enumerate() {
        let workspace = world.workspace(&format!("home-{number}"), ada).await;
        let Listed { parent, mut rows } = Listed::fill(&world, place, workspace, ada).await;
        let gone = [rows[1], rows[3]];
        for id in gone {
            let answer = named(delete).run(&world, ada, &json!({ "id": id })).await;
            assert_eq!(answer.data()[delete]["userErrors"], json!([]), "{place}");
        }
        // Tasks come newest first: in which order ties come is the list's own affair, as long as all lists agree.
        let mut all = pages(&world, (ada, parent), way, "INCLUDE", FORWARD).await;
        assert_eq!(all, pages(&world, (ada, parent), way, "INCLUDE", BACKWARD).await, "{place}");
        for direction in [FORWARD, BACKWARD] {
            let only = pages(&world, (ada, parent), way, "ONLY", direction).await;
            assert_eq!(only, all.iter().copied().filter(|(_, is_deleted)| *is_deleted).collect::<Vec<_>>(), "{place}");
            assert_eq!(only.len(), 2, "{place}");
            let live = pages(&world, (ada, parent), way, "EXCLUDE", direction).await;
            assert_eq!(live, all.iter().copied().filter(|(_, is_deleted)| !is_deleted).collect::<Vec<_>>(), "{place}");
            assert_eq!(live.len(), rows.len() - 2, "{place}");
        }
        all.sort_unstable();
        rows.sort_unstable();
        assert_eq!(all, rows.iter().map(|id| (*id, gone.contains(id))).collect::<Vec<_>>(), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_rows_are_shown_from_role_member_on_and_forbidden_to_viewers() {
    let world = World::new().await;
    let (ada, caller) = (world.user("ada").await, world.user("caller").await);
    let home = world.workspace("home", ada).await;
    let membership = world.member(home, caller, Role::Viewer).await;
    let (mut shown, mut forbidden) = (0, 0);
    for (place, way, delete) in LISTS {
        let Listed { parent, rows } = Listed::fill(&world, place, home, ada).await;
        named(delete).run(&world, ada, &json!({ "id": rows[2] })).await;
        for role in ["viewer", "member", "admin", "owner"] {
            world.execute(&format!("UPDATE members SET role = '{role}' WHERE id = '{membership}'")).await;
            for deleted in ["EXCLUDE", "INCLUDE", "ONLY"] {
                let document =
                    format!("query($id: ID!) {{ {way}(first: 100, deleted: {deleted}) {{ nodes {{ id }} }} }} }}");
                let answer = world.ask(caller, &document, json!({ "id": parent })).await;
                if role == "viewer" && deleted != "EXCLUDE" {
                    assert_eq!(answer.codes(), ["FORBIDDEN"], "{place} {deleted}");
                    assert!(!answer.text.contains(&rows[2].to_string()));
                    forbidden += 1;
                } else {
                    answer.data();
                    assert_eq!(answer.text.contains(&rows[2].to_string()), deleted != "EXCLUDE", "{place} {deleted}");
                    shown += 1;
                }
            }
        }
        let stranger = world.user(&format!("stranger of {place}")).await;
        let document = format!("query($id: ID!) {{ {way}(deleted: ONLY) {{ nodes {{ id }} }} }} }}");
        let answer = world.ask(stranger, &document, json!({ "id": parent })).await;
        assert!(answer.data().as_object().unwrap().values().all(Value::is_null), "{place}");
    }
    assert_eq!((shown, forbidden), (4 * 10, 4 * 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_that_a_list_shows_has_nothing_below_it() {
    let world = World::without_replica().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let (project, live) = (world.project(home, "Atlas").await, world.project(home, "Bridge").await);
    let (inside, task) = (world.task(project, "Draw").await, world.task(live, "Build").await);
    world.comment(inside, ada, "Yes").await;
    world.comment(task, ada, "No").await;
    for (delete, id) in [("projectDelete", project), ("taskDelete", task)] {
        named(delete).run(&world, ada, &json!({ "id": id })).await;
    }
    let document = "query($w: ID!, $p: ID!) { workspace(id: $w) { \
          projects(first: 2, deleted: ONLY) { nodes { name report { totals { total } } ...B } } \
          tasks(first: 2, deleted: ONLY) { nodes { title ...C } } \
          everything: tasks(first: 2, deleted: INCLUDE) { totalCount nodes { title } } } \
        project(id: $p) { tasks(first: 2, deleted: INCLUDE) { nodes { title ...C } } } } \
        fragment B on Project { tasks(first: 2) { totalCount nodes { title } } all: tasks(first: 2, deleted: INCLUDE) { totalCount nodes { title } } \
          gone: tasks(first: 2, deleted: ONLY) { totalCount edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } \
          board(first: 2) { tasks { totalCount nodes { title } } } } \
        fragment C on Task { comments(first: 2) { totalCount nodes { body } } all: comments(first: 2, deleted: INCLUDE) { totalCount nodes { body } } }";
    let answer = world.ask(ada, document, json!({ "w": home, "p": live })).await;
    let nothing = json!({ "totalCount": 0, "nodes": [] });
    let column = json!({ "tasks": nothing });
    assert_eq!(
        answer.data()["workspace"]["projects"]["nodes"],
        json!([{
            "name": "Atlas",
            "report": null,
            "tasks": nothing,
            "all": nothing,
            "gone": {
                "totalCount": 0,
                "edges": [],
                "pageInfo": { "hasNextPage": false, "hasPreviousPage": false, "endCursor": null },
            },
            "board": [column, column, column, column],
        }])
    );
    let deleted = json!([{ "title": "Build", "comments": nothing, "all": nothing }]);
    assert_eq!(answer.data()["workspace"]["tasks"]["nodes"], deleted);
    assert_eq!(answer.data()["project"]["tasks"]["nodes"], deleted);
    // The tasks of a deleted project are in no list, whatever it includes.
    assert_eq!(answer.data()["workspace"]["everything"], json!({ "totalCount": 1, "nodes": [{ "title": "Build" }] }));
}
