//! Pages over a list that changes meanwhile: rows that are there throughout appear exactly once, in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Duration;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use trellis::clock;
use uuid::Uuid;

use crate::harness::World;

const DOCUMENT: &str = "query($id: ID!, $first: Int, $after: Cursor, $last: Int, $before: Cursor, $order: TaskOrder!) { \
    project(id: $id) { tasks(first: $first, after: $after, last: $last, before: $before, orderBy: $order) { \
    nodes { id title } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";

/// The rows that stay, as a walk through the whole list meets them.
async fn walk(world: &World, ada: Uuid, project: Uuid, order: &Value, forward: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut variables = json!({ "id": project, "order": order });
        let (size, place) = if forward { ("first", "after") } else { ("last", "before") };
        variables[size] = json!(3);
        variables[place] = cursor;
        let answer = world.ask(ada, DOCUMENT, variables).await;
        let tasks = &answer.data()["project"]["tasks"];
        let mut rows: Vec<&Value> = tasks["nodes"].as_array().unwrap().iter().collect();
        if !forward {
            rows.reverse();
        }
        let stays = rows.into_iter().filter(|row| row["title"] == "Stays");
        found.extend(stays.map(|row| row["id"].as_str().unwrap().to_owned()));
        let (more, end) = if forward { ("hasNextPage", "endCursor") } else { ("hasPreviousPage", "startCursor") };
        if tasks["pageInfo"][more] == json!(false) {
            return found;
        }
        cursor = tasks["pageInfo"][end].clone();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_there_throughout_appear_exactly_once_while_others_come_and_go() {
    let world = Arc::new(World::new().await);
    let ada = world.user("ada").await;
    let project = world.project(world.workspace("home", ada).await, "Atlas").await;
    let begin = clock::now();
    // Six instants for forty rows, and no due date for a third of them.
    for index in 0..40 {
        world
            .task_with(project, "Stays", |task| {
                task.created_at = Set(begin + Duration::seconds(index % 6));
                task.due_date = Set((index % 3 != 0).then(|| begin + Duration::days(index % 4)));
            })
            .await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let stir = tokio::spawn({
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        async move {
            let mut stirred = 0;
            while !done.load(Ordering::Relaxed) {
                world
                    .execute(&format!(
                        "INSERT INTO tasks (id, project_id, title, status, priority, created_at, due_date) \
                         SELECT gen_random_uuid(), '{project}', 'Goes', 'todo', 'low', t.created_at, t.due_date \
                         FROM tasks t WHERE t.title = 'Stays'; \
                         UPDATE tasks SET deleted_at = now() WHERE title = 'Goes' AND deleted_at IS NULL \
                           AND random() < 0.7; \
                         DELETE FROM tasks WHERE title = 'Goes' AND deleted_at IS NOT NULL AND random() < 0.5"
                    ))
                    .await;
                stirred += 1;
            }
            stirred
        }
    });
    let mut walks = 0;
    for field in ["CREATED_AT", "DUE_DATE"] {
        for direction in ["ASC", "DESC"] {
            let order = json!({ "field": field, "direction": direction });
            let forward = walk(&world, ada, project, &order, true).await;
            let mut backward = walk(&world, ada, project, &order, false).await;
            backward.reverse();
            let mut distinct = forward.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!((forward.len(), distinct.len()), (40, 40), "{order}");
            assert_eq!(forward, backward, "{order}");
            walks += 2;
        }
    }
    done.store(true, Ordering::Relaxed);
    let stirred: u32 = stir.await.unwrap();
    assert!(walks == 8 && stirred > 8, "stirred {stirred} times during {walks} walks");
}
