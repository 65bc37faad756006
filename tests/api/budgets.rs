//! The statement budget of every root field, and of the fields that answer for many things at once.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::World;
use crate::mutations::{MUTATIONS, Stage};

async fn root_fields(world: &World) -> BTreeSet<String> {
    let document = "{ __schema { queryType { fields { name } } mutationType { fields { name } } } }";
    let answer = world.ask_anonymously(document).await;
    let schema = &answer.data()["__schema"];
    let names = ["queryType", "mutationType"].map(|kind| schema[kind]["fields"].as_array().unwrap().clone());
    names.iter().flatten().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

const ALL_TABLES: [&str; 6] =
    ["comment_by_id", "member_by_id", "project_by_id", "task_by_id", "user_by_id", "workspace_by_id"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_root_field_stays_within_its_budget() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut seen = BTreeSet::new();

    let stage = Stage::set(&world, &[(ada, "owner")], ada, "").await;
    let Stage { workspace, project, task, comment, .. } = stage;
    let reads: [(&str, String, &[&str]); 12] = [
        ("node", format!("node(id: \"{task}\") {{ id }}"), &ALL_TABLES),
        ("nodes", format!("nodes(ids: [\"{task}\", \"{project}\", \"{ada}\", \"{comment}\"]) {{ id }}"), &ALL_TABLES),
        ("viewer", "viewer { name }".to_owned(), &["user_by_id"]),
        ("workspace", format!("workspace(id: \"{workspace}\") {{ name }}"), &["workspace_by_id"]),
        ("workspaceBySlug", "workspaceBySlug(slug: \"home\") { name }".to_owned(), &["workspace_by_slug"]),
        ("workspaces", "workspaces { nodes { name } }".to_owned(), &["workspaces_of_user"]),
        ("project", format!("project(id: \"{project}\") {{ name }}"), &["project_by_id"]),
        ("task", format!("task(id: \"{task}\") {{ title isOverdue }}"), &["task_by_id"]),
        ("comment", format!("comment(id: \"{comment}\") {{ body }}"), &["comment_by_id"]),
        ("server", "server { version }".to_owned(), &[]),
        ("rateLimit", "rateLimit { remaining }".to_owned(), &[]),
        ("estimateCost", "estimateCost(document: \"{ viewer { name } }\") { complexity }".to_owned(), &[]),
    ];
    for (field, selection, budget) in reads {
        let answer = world.ask(ada, &format!("{{ {selection} }}"), json!({})).await;
        answer.data();
        assert_eq!(answer.statements(), budget, "{field}");
        seen.insert(field.to_owned());
    }

    for mutation in &MUTATIONS {
        let name = mutation.name;
        let stage = Stage::set(&world, &[(ada, "owner")], ada, name).await;
        let answer = world.ask(ada, &mutation.document(), json!({ "input": stage.input(name) })).await;
        assert_eq!(answer.data()[name]["userErrors"], json!([]), "{name}");
        // Two managers of members take turns, so the second sees what the first one left.
        let budget = if ["memberUpdate", "memberRemove"].contains(&name) { 4 } else { 3 };
        let statements = answer.statements();
        assert_eq!(statements.len(), budget, "{name}: {statements:?}");
        assert!(statements.contains(&"begin") && statements.contains(&"commit"), "{name}: {statements:?}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen.len(), 32);
    assert_eq!(seen, root_fields(&world).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_columns_of_ten_boards_are_one_statement_and_their_counts_another() {
    let world = World::with(&["--max-complexity", "1000000"]).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [10, 5, 0]).await;
    world.execute("UPDATE tasks SET status = 'in_review' WHERE title = 'Task 2'").await;
    let document = "{ workspaceBySlug(slug: \"home\") { projects { nodes { \
        board(first: 3) { status tasks { totalCount nodes { title status } pageInfo { hasNextPage } } } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    for project in answer.data()["workspaceBySlug"]["projects"]["nodes"].as_array().unwrap() {
        let todo = ["Task 5", "Task 4", "Task 3"].map(|title| json!({ "title": title, "status": "TODO" }));
        let column = |status: &str, count: i32, nodes: &[serde_json::Value], has_next: bool| {
            json!({ "status": status, "tasks": {
                "totalCount": count, "nodes": nodes, "pageInfo": { "hasNextPage": has_next },
            } })
        };
        let in_review = [json!({ "title": "Task 2", "status": "IN_REVIEW" })];
        assert_eq!(
            project["board"],
            json!([
                column("TODO", 4, &todo, true),
                column("IN_PROGRESS", 0, &[], false),
                column("IN_REVIEW", 1, &in_review, false),
                column("COMPLETED", 0, &[], false),
            ])
        );
    }
    assert_eq!(
        answer.statements(),
        [
            "projects_of_workspace_by_created_at",
            "task_count_of_column",
            "tasks_of_column_by_created_at",
            "workspace_by_slug",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_ids_are_a_statement_for_each_table_and_come_back_in_their_order() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let mut ids = Vec::new();
    for index in 0..50 {
        ids.push(world.task(project, &format!("Task {index}")).await);
        ids.push(trellis::clock::new_id());
    }
    ids.reverse();
    let document = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let answer = world.ask(ada, document, json!({ "ids": ids })).await;
    let nodes = answer.data()["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 100);
    for (index, (node, id)) in nodes.iter().zip(&ids).enumerate() {
        let expected = if index % 2 == 1 { json!({ "__typename": "Task", "id": id }) } else { json!(null) };
        assert_eq!(*node, expected, "at {index}");
    }
    assert_eq!(answer.statements(), ALL_TABLES);
    ids.push(ada);
    let answer = world.ask(ada, document, json!({ "ids": ids })).await;
    assert_eq!(answer.codes(), ["BAD_USER_INPUT"]);
    assert!(answer.statements().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_many_assignees_are_one_statement_and_only_those_that_the_caller_may_see() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.member(home, grace, trellis::entities::member::Role::Member).await;
    world.fill(home, ada, [1, 2, 0]).await;
    world.fill(home, grace, [1, 3, 0]).await;
    let elsewhere = world.workspace("elsewhere", grace).await;
    world.fill(elsewhere, grace, [1, 4, 0]).await;
    world.execute("UPDATE tasks SET status = 'completed', completed_at = now() WHERE title = 'Task 1'").await;
    let document = "{ workspaceBySlug(slug: \"home\") { members { nodes { user { name \
                    assignedTasks { totalCount nodes { title } } } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let members = answer.data()["workspaceBySlug"]["members"]["nodes"].as_array().unwrap();
    let assigned: Vec<_> = members.iter().map(|member| &member["user"]["assignedTasks"]["totalCount"]).collect();
    assert_eq!(assigned, [1, 2]);
    assert_eq!(members[1]["user"]["assignedTasks"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(
        answer.statements(),
        [
            "members_of_workspace",
            "task_count_of_assignee",
            "tasks_of_assignee_by_due_date",
            "user_by_id",
            "workspace_by_slug",
        ]
    );
}
