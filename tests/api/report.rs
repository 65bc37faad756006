//! Reports: each number against a hand count.

use chrono::Duration;
use sea_orm::ActiveValue::Set;
use serde_json::json;
use trellis::clock;
use trellis::entities::task::{Priority, Status};

use crate::harness::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_of_a_report_are_those_of_a_hand_count() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let atlas = world.project(home, "Atlas").await;
    let other = world.project(home, "Other").await;
    let deleted = world.project(home, "Deleted").await;
    let (yesterday, tomorrow) = (clock::now() - Duration::days(1), clock::now() + Duration::days(1));
    let task = async |project, status, priority, due, assignee| {
        world
            .task_with(project, "A task", |task| {
                task.status = Set(status);
                task.priority = Set(priority);
                task.due_date = Set(due);
                task.assignee_id = Set(assignee);
            })
            .await
    };
    task(atlas, Status::Todo, Priority::Low, Some(yesterday), Some(ada)).await;
    task(atlas, Status::Todo, Priority::Urgent, Some(tomorrow), None).await;
    task(atlas, Status::InProgress, Priority::Urgent, Some(yesterday), None).await;
    task(atlas, Status::Completed, Priority::Urgent, Some(yesterday), Some(ada)).await;
    let gone = task(atlas, Status::Todo, Priority::High, Some(yesterday), None).await;
    world.execute(&format!("UPDATE tasks SET deleted_at = now() WHERE id = '{gone}'")).await;
    task(other, Status::InReview, Priority::High, None, Some(ada)).await;
    task(deleted, Status::Todo, Priority::Low, Some(yesterday), None).await;
    world.execute(&format!("UPDATE projects SET deleted_at = now() WHERE id = '{deleted}'")).await;
    world.replicated().await;

    let document = "query($id: ID!) { project(id: $id) { report { ...R } workspace { report { ...R } } } } \
        fragment R on Report { totals { total open completed overdue unassigned } byStatus { status count } \
        byPriority { priority count open overdue } }";
    let answer = world.ask(ada, document, json!({ "id": atlas })).await;
    let project = &answer.data()["project"];
    assert_eq!(
        project["report"],
        json!({
            "totals": { "total": 4, "open": 3, "completed": 1, "overdue": 2, "unassigned": 2 },
            "byStatus": [
                { "status": "TODO", "count": 2 }, { "status": "IN_PROGRESS", "count": 1 },
                { "status": "IN_REVIEW", "count": 0 }, { "status": "COMPLETED", "count": 1 },
            ],
            "byPriority": [
                { "priority": "LOW", "count": 1, "open": 1, "overdue": 1 },
                { "priority": "MEDIUM", "count": 0, "open": 0, "overdue": 0 },
                { "priority": "HIGH", "count": 0, "open": 0, "overdue": 0 },
                { "priority": "URGENT", "count": 3, "open": 2, "overdue": 1 },
            ],
        })
    );
    let workspace = &project["workspace"]["report"];
    assert_eq!(workspace["totals"], json!({ "total": 5, "open": 4, "completed": 1, "overdue": 2, "unassigned": 2 }));
    assert_eq!(workspace["byStatus"][2], json!({ "status": "IN_REVIEW", "count": 1 }));
    assert_eq!(workspace["byPriority"][2], json!({ "priority": "HIGH", "count": 1, "open": 1, "overdue": 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_over_nothing_is_all_zeros() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let document = "{ workspaceBySlug(slug: \"home\") { report { totals { total open completed overdue unassigned } \
                    byStatus { count } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let report = &answer.data()["workspaceBySlug"]["report"];
    assert_eq!(report["totals"], json!({ "total": 0, "open": 0, "completed": 0, "overdue": 0, "unassigned": 0 }));
    assert_eq!(report["byStatus"].as_array().unwrap().len(), 4);
}
