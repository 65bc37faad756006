//! Pages: forward, backward and the whole list are the same rows, whatever the order, the size and the filter.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use trellis::clock;
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::harness::World;
use crate::listing::{List, ORDERS, Order, found, ids, project_of};

const STATUSES: [&str; 4] = ["TODO", "IN_PROGRESS", "IN_REVIEW", "COMPLETED"];

/// No filter, and one for each set of statuses, the empty one too.
fn filters() -> Vec<Option<Vec<&'static str>>> {
    let subset = |bits: usize| Some((0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| STATUSES[bit]).collect());
    std::iter::once(None).chain((0..16).map(subset)).collect()
}

/// A task to be: days of creation and of being due, few of them, so that most are ties.
#[derive(Clone, Debug)]
struct Sketch {
    project: usize,
    status: usize,
    created: u32,
    due: Option<u32>,
    is_deleted: bool,
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch = (0..3_usize, 0..4_usize, 0..3_u32, proptest::option::weighted(0.6, 0..3_u32), 0..6_u32).prop_map(
        |(project, status, created, due, deleted)| {
            // The last project is deleted; two tasks of three are in the first.
            Sketch { project, status, created, due, is_deleted: deleted == 0 }
        },
    );
    proptest::collection::vec(sketch, 12..28)
}

/// A row of the database, for the list that the test computes.
struct Made {
    id: Uuid,
    sketch: Sketch,
}

/// Three projects, the last one deleted, with these tasks.
async fn plant(world: &World, owner: Uuid, sketches: &[Sketch]) -> (Uuid, [Uuid; 3], Vec<Made>) {
    let workspace = world.workspace(&format!("w-{}", clock::new_id()), owner).await;
    let mut projects = [Uuid::nil(); 3];
    for project in &mut projects {
        *project = world.project(workspace, "Atlas").await;
    }
    world.execute(&format!("UPDATE projects SET deleted_at = now() WHERE id = '{}'", projects[2])).await;
    let mut rows = Vec::new();
    let mut made = Vec::new();
    for (number, sketch) in sketches.iter().enumerate() {
        // Ids in no order of time.
        let id = Uuid::from_u128(clock::new_id().as_u128().reverse_bits());
        let status = STATUSES[sketch.status].to_lowercase();
        let date = |day: u32| format!("timestamptz '2026-03-01 00:00:00.000001Z' + {day} * interval '1 microsecond'");
        rows.push(format!(
            "('{id}', '{}', 'Task {number}', '{status}', 'low', {}, {}, {}, {})",
            projects[sketch.project],
            date(sketch.created),
            sketch.due.map_or("NULL::timestamptz".to_owned(), date),
            if status == "completed" { "now()" } else { "NULL::timestamptz" },
            if sketch.is_deleted { "now()" } else { "NULL::timestamptz" },
        ));
        made.push(Made { id, sketch: sketch.clone() });
    }
    world
        .execute(&format!(
            "INSERT INTO tasks (id, project_id, title, status, priority, created_at, due_date, completed_at, \
             deleted_at) VALUES {}",
            rows.join(", ")
        ))
        .await;
    (workspace, projects, made)
}

/// The ids that a list should have, in its order.
fn expected(made: &[Made], projects: &[usize], order: Order, filter: Option<&[&str]>) -> Vec<Uuid> {
    let is_in = |sketch: &Sketch| {
        !sketch.is_deleted
            && projects.contains(&sketch.project)
            && filter.is_none_or(|statuses| statuses.contains(&STATUSES[sketch.status]))
    };
    let mut rows: Vec<&Made> = made.iter().filter(|row| is_in(&row.sketch)).collect();
    rows.sort_by(|a, b| {
        let by_date = match order.0 {
            "CREATED_AT" => a.sketch.created.cmp(&b.sketch.created),
            _ => a.sketch.due.cmp(&b.sketch.due),
        };
        let directed =
            if order.1 == "ASC" { by_date.then(a.id.cmp(&b.id)) } else { by_date.then(a.id.cmp(&b.id)).reverse() };
        // Those without a date come last, in both directions.
        let is_undated = |row: &Made| order.0 == "DUE_DATE" && row.sketch.due.is_none();
        is_undated(a).cmp(&is_undated(b)).then(directed)
    });
    rows.iter().map(|row| row.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forward_backward_and_the_whole_list_of_tasks_are_the_same_rows_in_every_order() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let filters = filters();
    assert_eq!(filters.len(), 17);
    let visited = std::sync::Mutex::new(BTreeSet::new());
    let config = Config { cases: 4, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let strategy = (sketches(), 0..filters.len());
    let check = async |sketches: &[Sketch], offset: usize| {
        let (workspace, projects, made) = plant(&world, ada, sketches).await;
        let walks = (0..4 * 7 * 2).map(|number| {
            let (order, size, filter) =
                (ORDERS[number % 4], number / 8 + 1, &filters[(number + offset) % filters.len()]);
            let (root, id, places) = match number / 4 % 2 {
                0 => ("project", projects[0], &[0][..]),
                _ => ("workspace", workspace, &[0, 1][..]),
            };
            visited.lock().unwrap().insert((order, size, root));
            let list = List::tasks(root, id, order, filter.as_deref());
            let expected = expected(&made, places, order, filter.as_deref());
            let world = &world;
            async move { list.check(world, ada, size, &expected).await }
        });
        stream::iter(walks).for_each_concurrent(4, |walk| walk).await;
    };
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&strategy, |(sketches, offset)| {
            tokio::runtime::Handle::current().block_on(check(&sketches, offset));
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert_eq!(visited.lock().unwrap().len(), 4 * 7 * 2, "each order with each size, of a project and of a workspace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_lists_the_same_rows_both_ways() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    // Each combination of status, day and due day once, and one deleted task of each status.
    let mut sketches = Vec::new();
    for number in 0..4 * 2 * 3_usize {
        let due = [None, Some(0), Some(1)][number / 8];
        sketches.push(Sketch {
            project: 0,
            status: number % 4,
            created: u32::from(number / 4 % 2 == 0),
            due,
            is_deleted: false,
        });
    }
    for status in 0..4 {
        sketches.push(Sketch { project: 0, status, created: 0, due: None, is_deleted: true });
    }
    let (_, projects, made) = plant(&world, ada, &sketches).await;
    let mut walks = Vec::new();
    for filter in filters() {
        for order in ORDERS {
            let expected = expected(&made, &[0], order, filter.as_deref());
            assert_eq!(expected.len(), filter.as_ref().map_or(24, |statuses| statuses.len() * 6));
            walks.push((List::tasks("project", projects[0], order, filter.as_deref()), expected));
        }
    }
    assert_eq!(walks.len(), 17 * 4);
    stream::iter(walks)
        .for_each_concurrent(4, async |(list, expected)| list.check(&world, ada, 5, &expected).await)
        .await;
}

/// With every cursor of the whole list, also of rows that the filter leaves out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_keeps_to_its_cursor_and_to_a_filter_by_the_same_time() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    // Each day with each due day and without one, but one deleted task.
    let mut sketches = Vec::new();
    for number in 0..4 * 4_u32 {
        let due = [None, Some(0), Some(1), Some(2)][number as usize % 4];
        sketches.push(Sketch { project: 0, status: 0, created: number / 4, due, is_deleted: number == 5 });
    }
    let (_, projects, made) = plant(&world, ada, &sketches).await;
    let mut pages = Vec::new();
    for order in ORDERS {
        let all = expected(&made, &[0], order, None);
        let whole = List::tasks("project", projects[0], order, None).page(&world, ada, &json!({ "first": 25 })).await;
        let cursors: Vec<Value> =
            whole["edges"].as_array().unwrap().iter().map(|edge| edge["cursor"].clone()).collect();
        assert_eq!((cursors.len(), all.len()), (15, 15));
        for (from, to) in [(Some(1), None), (None, Some(1)), (Some(1), Some(2))] {
            let [after, before] =
                if order.0 == "CREATED_AT" { ["createdAfter", "createdBefore"] } else { ["dueAfter", "dueBefore"] };
            let instant = |day: Option<u32>| day.map(|day| format!("2026-03-01T00:00:00.00000{}Z", day + 1));
            let filter = json!({ after: instant(from), before: instant(to) });
            let is_in = |id: &&Uuid| {
                let sketch = &made.iter().find(|row| row.id == **id).unwrap().sketch;
                let day = if order.0 == "CREATED_AT" { Some(sketch.created) } else { sketch.due };
                day.is_some_and(|day| from.is_none_or(|from| day >= from) && to.is_none_or(|to| day < to))
            };
            for (at, cursor) in cursors.iter().enumerate() {
                let list = List::tasks_where("project", projects[0], order, &filter);
                let behind: Vec<Uuid> = all[at + 1..].iter().filter(is_in).copied().collect();
                let ahead: Vec<Uuid> = all[..at].iter().filter(is_in).copied().collect();
                let is_at = is_in(&&all[at]);
                let first_two = behind[..behind.len().min(2)].to_vec();
                let last_two = ahead[ahead.len().saturating_sub(2)..].to_vec();
                let next = json!({ "first": 2, "after": cursor });
                let has_next = (behind.len() > 2, is_at || !ahead.is_empty());
                pages.push((list.clone(), next, first_two, has_next));
                let previous = json!({ "last": 2, "before": cursor });
                let has_previous = (is_at || !behind.is_empty(), ahead.len() > 2);
                pages.push((list, previous, last_two, has_previous));
            }
        }
    }
    assert_eq!(pages.len(), 4 * 3 * 15 * 2);
    stream::iter(pages)
        .for_each_concurrent(4, async |(list, arguments, rows, (has_next, has_previous))| {
            let page = list.page(&world, ada, &arguments).await;
            assert_eq!(ids(&page["nodes"], "/id"), rows, "{arguments} of {list:?}");
            let info = json!([page["pageInfo"]["hasNextPage"], page["pageInfo"]["hasPreviousPage"]]);
            assert_eq!(info, json!([has_next, has_previous]), "{arguments} of {list:?}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_projects_members_and_workspaces_are_paged_both_ways() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [9, 1, 9]).await;
    for number in 0..8 {
        world.member(home, world.user(&format!("person-{number}")).await, Role::Viewer).await;
        world.workspace(&format!("other-{number}"), ada).await;
    }
    // Ties: three instants for nine rows; and one deleted row in each list.
    world
        .execute("UPDATE projects SET name = (ARRAY['Ätlas', 'atlas', 'Bridge'])[1 + ascii(right(id::text, 1)) % 3]")
        .await;
    for table in ["projects", "comments"] {
        let day = "timestamptz '2026-01-01 00:00Z' + (ascii(right(id::text, 1)) % 3) * interval '1 day'";
        world.execute(&format!("UPDATE {table} SET created_at = {day}")).await;
    }
    let task = found(&world, "SELECT task_id FROM comments ORDER BY task_id LIMIT 1").await[0];
    for (table, condition) in [
        ("projects", "true"),
        ("comments", &*format!("task_id = '{task}'")),
        ("members", &*format!("user_id <> '{ada}'")),
        ("workspaces", &*format!("id <> '{home}'")),
    ] {
        let id = format!("(SELECT id FROM {table} WHERE {condition} AND deleted_at IS NULL ORDER BY id LIMIT 1)");
        // Not the project of the task whose comments are listed.
        let keep = if table == "projects" {
            format!("id <> (SELECT project_id FROM tasks WHERE id = '{task}')")
        } else {
            "true".into()
        };
        let id = id.replace("WHERE true", &format!("WHERE {keep}"));
        world.execute(&format!("UPDATE {table} SET deleted_at = now() WHERE id = {id}")).await;
    }
    let lists = [
        (
            List::below("task", "/task/comments", task),
            format!("SELECT id FROM comments WHERE task_id = '{task}' AND deleted_at IS NULL ORDER BY created_at, id"),
        ),
        (
            List::ordered("task", "/task/comments", task, "CommentOrder", ("CREATED_AT", "DESC")),
            format!(
                "SELECT id FROM comments WHERE task_id = '{task}' AND deleted_at IS NULL \
                 ORDER BY created_at DESC, id DESC"
            ),
        ),
        (
            List::below("workspace", "/workspace/projects", home),
            "SELECT id FROM projects WHERE deleted_at IS NULL ORDER BY created_at, id".to_owned(),
        ),
        (
            List::ordered("workspace", "/workspace/projects", home, "ProjectOrder", ("CREATED_AT", "DESC")),
            "SELECT id FROM projects WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC".to_owned(),
        ),
        (
            List::ordered("workspace", "/workspace/projects", home, "ProjectOrder", ("NAME", "ASC")),
            "SELECT id FROM projects WHERE deleted_at IS NULL ORDER BY name, id".to_owned(),
        ),
        (
            List::ordered("workspace", "/workspace/projects", home, "ProjectOrder", ("NAME", "DESC")),
            "SELECT id FROM projects WHERE deleted_at IS NULL ORDER BY name DESC, id DESC".to_owned(),
        ),
        (
            List::below("workspace", "/workspace/members", home),
            format!("SELECT id FROM members WHERE workspace_id = '{home}' AND deleted_at IS NULL ORDER BY user_id"),
        ),
        (
            List::new("{}", "", "/workspaces", json!({})),
            "SELECT id FROM workspaces WHERE deleted_at IS NULL ORDER BY id".to_owned(),
        ),
    ];
    for (list, sql) in lists {
        let expected = found(&world, &sql).await;
        assert_eq!(expected.len(), 8, "{sql}");
        for size in [1, 3, 8, 100] {
            list.check(&world, ada, size, &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_says_nothing_of_its_size_has_25_rows() {
    let world = World::new().await;
    let (ada, project) = project_of(&world, 101).await;
    let list = List::tasks("project", project, ORDERS[0], None);
    for (arguments, rows) in [(json!({}), 25), (json!({ "first": 100 }), 100), (json!({ "last": 100 }), 100)] {
        let page = list.page(&world, ada, &arguments).await;
        assert_eq!(page["nodes"].as_array().unwrap().len(), rows, "{arguments}");
        assert_eq!(page["totalCount"], 101);
    }
    let cursor = list.page(&world, ada, &json!({ "first": 40 })).await["pageInfo"]["endCursor"].clone();
    for name in ["after", "before"] {
        let page = list.page(&world, ada, &json!({ name: cursor })).await;
        assert_eq!(page["nodes"].as_array().unwrap().len(), 25, "{name}");
        assert_eq!(page["pageInfo"]["hasNextPage"], true);
        assert_eq!(page["pageInfo"]["hasPreviousPage"], true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_be_is_bad_input_and_costs_no_statement() {
    let world = World::new().await;
    let (ada, project) = project_of(&world, 3).await;
    let list = List::tasks("project", project, ORDERS[0], None);
    let cursor = list.page(&world, ada, &json!({ "first": 1 })).await["pageInfo"]["endCursor"].clone();
    let home = found(&world, "SELECT id FROM workspaces").await[0];
    let lists = [
        (list, vec!["project_by_id"]),
        (List::below("workspace", "/workspace/projects", home), vec!["workspace_by_id"]),
        (List::below("workspace", "/workspace/members", home), vec!["workspace_by_id"]),
        (List::new("{}", "", "/workspaces", json!({})), vec![]),
    ];
    for (list, parents) in lists {
        for arguments in [
            json!({ "first": 0 }),
            json!({ "last": 0 }),
            json!({ "first": -1 }),
            json!({ "last": -1 }),
            json!({ "first": -2_147_483_648_i64 }),
            json!({ "first": 101 }),
            json!({ "last": 101 }),
            json!({ "first": 2_147_483_647 }),
            json!({ "first": 65_537 }),
            json!({ "first": 1, "last": 1 }),
            json!({ "last": 1, "after": cursor }),
            json!({ "first": 1, "before": cursor }),
            json!({ "after": cursor, "before": cursor }),
        ] {
            let answer = list.ask(&world, ada, &arguments).await;
            assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{arguments}: {}", answer.text);
            let path: Vec<&str> = list.pointer.split('/').skip(1).collect();
            assert_eq!(answer.body["errors"][0]["path"], json!(path), "{arguments}");
            assert_eq!(answer.statements(), parents, "{arguments}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_parents_and_cursors_share_a_statement_and_a_card_and_a_full_selection_agree() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [2, 6, 0]).await;
    world.execute("UPDATE tasks SET description = 'About ' || title").await;
    let projects = found(&world, "SELECT id FROM projects ORDER BY created_at").await;
    let mut cursors = Vec::new();
    for project in &projects {
        let list = List::tasks("project", *project, ORDERS[0], None);
        let page = list.page(&world, ada, &json!({ "first": 4 })).await;
        cursors.push([page["edges"][1]["cursor"].clone(), page["edges"][3]["cursor"].clone()]);
    }
    let document = "query($a: ID!, $b: ID!, $a1: Cursor, $a2: Cursor, $b1: Cursor, $b2: Cursor) { \
        a: project(id: $a) { near: tasks(first: 2, after: $a1, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { title } } \
          far: tasks(first: 2, after: $a2, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { title } } } \
        b: project(id: $b) { near: tasks(first: 2, after: $b1, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { title } } \
          far: tasks(first: 2, after: $b2, orderBy: { field: CREATED_AT, direction: ASC }) { nodes { title description } } } }";
    let variables = json!({
        "a": projects[0], "b": projects[1], "a1": cursors[0][0], "a2": cursors[0][1],
        "b1": cursors[1][0], "b2": cursors[1][1],
    });
    let answer = world.ask(ada, document, variables).await;
    let near = json!([{ "title": "Task 3" }, { "title": "Task 4" }]);
    let far = json!([{ "title": "Task 5" }, { "title": "Task 6" }]);
    let full = json!([
        { "title": "Task 5", "description": "About Task 5" }, { "title": "Task 6", "description": "About Task 6" },
    ]);
    assert_eq!(
        *answer.data(),
        json!({
            "a": { "near": { "nodes": near }, "far": { "nodes": far } },
            "b": { "near": { "nodes": near }, "far": { "nodes": full } },
        })
    );
    // One for the three pages of cards, one for the page with descriptions.
    let tasks = "tasks_of_project_by_created_at";
    assert_eq!(answer.statements(), ["project_by_id", tasks, tasks]);
    let statements = answer.body["extensions"]["sql"]["statements"].as_array().unwrap();
    let keys: BTreeSet<u64> = statements
        .iter()
        .filter(|statement| statement["name"] == tasks)
        .map(|statement| statement["keys"].as_u64().unwrap())
        .collect();
    assert_eq!(keys, BTreeSet::from([1, 3]));

    let document = "query($a: ID!) { project(id: $a) { card: tasks(first: 3) { nodes { id title } } \
        full: tasks(first: 3) { edges { node { id title description } } } \
        tasks(first: 3) { nodes { id } } } again: project(id: $a) { tasks(first: 3) { nodes { id description } } } }";
    let answer = world.ask(ada, document, json!({ "a": projects[0] })).await;
    let project = &answer.data()["project"];
    let card = ids(&project["card"]["nodes"], "/id");
    assert_eq!(card.len(), 3);
    assert_eq!(ids(&project["full"]["edges"], "/node/id"), card);
    assert_eq!(ids(&project["tasks"]["nodes"], "/id"), card);
    assert_eq!(ids(&answer.data()["again"]["tasks"]["nodes"], "/id"), card);
    assert_eq!(project["full"]["edges"][0]["node"]["description"], "About Task 6");
    assert_eq!(answer.data()["again"]["tasks"]["nodes"][2]["description"], "About Task 4");
    assert_eq!(answer.statements(), ["project_by_id", tasks, tasks]);
}
