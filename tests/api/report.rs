//! Reports: each number against a hand count.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Duration;
use sea_orm::ActiveValue::Set;
use serde_json::json;
use trellis::clock;
use trellis::entities::task::{Priority, Status};

use crate::errors::lock;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rankings_are_by_open_tasks_and_the_unassigned_come_last() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    let (busy, idle) = (world.project(home, "Busy").await, world.project(home, "Idle").await);
    let task = async |project, status, assignee| {
        world
            .task_with(project, "A task", |task| {
                task.status = Set(status);
                task.assignee_id = Set(assignee);
            })
            .await
    };
    for _ in 0..3 {
        task(busy, Status::Todo, None).await;
        task(busy, Status::Completed, Some(ada)).await;
    }
    task(busy, Status::Todo, Some(ada)).await;
    task(busy, Status::InReview, Some(grace)).await;
    task(busy, Status::Todo, Some(grace)).await;
    world.replicated().await;
    let rows = "byAssignee { assignee { name } count open completed overdue } \
                byProject { project { name } count open completed overdue }";
    let document = format!(
        "query($id: ID!) {{ workspaceBySlug(slug: \"home\") {{ report {{ {rows} top: byAssignee(first: 2) {{ count }} one: byAssignee(first: 1) {{ count }} }} }} \
         project(id: $id) {{ report {{ {rows} }} }} }}"
    );
    let answer = world.ask(ada, &document, json!({ "id": idle })).await;
    let row = |key: &str, name: Option<&str>, counts: [i32; 3]| {
        let [count, open, completed] = counts;
        let who = name.map(|name| json!({ "name": name }));
        json!({ key: who, "count": count, "open": open, "completed": completed, "overdue": 0 })
    };
    let workspace = &answer.data()["workspaceBySlug"]["report"];
    assert_eq!(
        workspace["byAssignee"],
        json!([
            row("assignee", Some("grace"), [2, 2, 0]),
            row("assignee", Some("ada"), [4, 1, 3]),
            row("assignee", None, [3, 3, 0]),
        ])
    );
    assert_eq!(workspace["top"], json!([{ "count": 2 }, { "count": 3 }]));
    assert_eq!(workspace["one"], json!([{ "count": 3 }]));
    let projects = json!([row("project", Some("Busy"), [9, 6, 3]), row("project", Some("Idle"), [0, 0, 0])]);
    assert_eq!(workspace["byProject"], projects);
    let project = &answer.data()["project"]["report"];
    assert_eq!(*project, json!({ "byAssignee": [], "byProject": [row("project", Some("Idle"), [0, 0, 0])] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_delay_that_has_begun_counts() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let atlas = world.project(world.workspace("home", ada).await, "Atlas").await;
    for hours in [-1, 1, 71, 73, 167, 169, 335, 337, 719, 721] {
        let due = clock::now() - Duration::hours(hours);
        world.task_with(atlas, "Late", |task| task.due_date = Set(Some(due))).await;
    }
    world.replicated().await;
    let document = "query($id: ID!) { project(id: $id) { report { overdue { minDays maxDays count } } } }";
    let answer = world.ask(ada, document, json!({ "id": atlas })).await;
    let bucket = |min: i32, max: Option<i32>, count: i32| json!({ "minDays": min, "maxDays": max, "count": count });
    assert_eq!(
        answer.data()["project"]["report"]["overdue"],
        json!([
            bucket(1, Some(3), 2),
            bucket(4, Some(7), 2),
            bucket(8, Some(14), 2),
            bucket(15, Some(30), 2),
            bucket(31, None, 1),
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_begin_at_midnight_of_the_time_zone_also_when_the_clocks_change() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let atlas = world.project(home, "Atlas").await;
    // Berlin's 29 March 2026 has 23 hours: from 23:00 to 22:00 in UTC.
    let instants = ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"];
    for instant in instants {
        let instant = instant.parse().unwrap();
        world
            .task_with(atlas, "A task", |task| {
                task.created_at = Set(instant);
                task.completed_at = Set(Some(instant + Duration::hours(24)));
                task.status = Set(Status::Completed);
            })
            .await;
    }
    world.replicated().await;
    let document = "query($id: ID!, $zone: String!) { project(id: $id) { report { throughput(interval: DAY, \
        from: \"2026-03-28T12:00:00Z\", to: \"2026-03-31T12:00:00Z\", timeZone: $zone) { start created completed } \
        cycleTime(from: \"2026-03-29T23:00:00Z\") { samples p50 mean } } } }";
    let ask = async |zone: &str| {
        let answer = world.ask(ada, document, json!({ "id": atlas, "zone": zone })).await;
        answer.data()["project"]["report"].clone()
    };
    let point = |start: &str, created: i32, completed: i32| json!({ "start": format!("{start}.000000Z"), "created": created, "completed": completed });
    let berlin = ask("Europe/Berlin").await;
    assert_eq!(
        berlin["throughput"],
        json!([
            point("2026-03-27T23:00:00", 1, 0),
            point("2026-03-28T23:00:00", 2, 0),
            point("2026-03-29T22:00:00", 1, 3),
            point("2026-03-30T22:00:00", 0, 1),
        ])
    );
    assert_eq!(berlin["cycleTime"], json!({ "samples": 3, "p50": 86_400.0, "mean": 86_400.0 }));
    let utc = ask("UTC").await;
    let created: Vec<_> = utc["throughput"].as_array().unwrap().iter().map(|point| &point["created"]).collect();
    assert_eq!(created, [2, 2, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_begins_at_its_first_midnight_also_where_that_comes_twice_or_never() {
    let world = World::without_replica().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    // The clocks go from 1:00 back to 0:00, from 0:00 to 1:00, from 24:00 back to 23:00; a day is left out. Each case: the
    // first instant of each day, the last one but one before the range and the next ones in it.
    for (zone, [before, first, second, third]) in [
        ("Atlantic/Azores", ["2026-10-24T00:00", "2026-10-25T00:00", "2026-10-26T01:00", "2026-10-27T01:00"]),
        ("America/Havana", ["2026-10-31T04:00", "2026-11-01T04:00", "2026-11-02T05:00", "2026-11-03T05:00"]),
        ("America/Havana", ["2026-03-07T05:00", "2026-03-08T05:00", "2026-03-09T04:00", "2026-03-10T04:00"]),
        ("Asia/Beirut", ["2026-03-27T22:00", "2026-03-28T22:00", "2026-03-29T21:00", "2026-03-30T21:00"]),
        ("America/Asuncion", ["2024-03-23T03:00", "2024-03-24T04:00", "2024-03-25T04:00", "2024-03-26T04:00"]),
        ("Pacific/Apia", ["2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00", "2012-01-01T10:00"]),
    ] {
        let project = world.project(home, zone).await;
        let instants = [before, first, second, third].map(|start| format!("{start}:00Z").parse().unwrap());
        let moment = Duration::microseconds(1);
        for instant in instants.iter().flat_map(|start| [*start - moment, *start, *start + Duration::minutes(30)]) {
            world
                .task_with(project, "A task", |task| {
                    task.created_at = Set(instant);
                    task.completed_at = Set(Some(instant));
                    task.status = Set(Status::Completed);
                })
                .await;
        }
        let document = "query($id: ID!, $from: DateTime, $to: DateTime!, $zone: String!, $first: Int!) { project(id: $id) { \
            report { throughput(interval: DAY, from: $from, to: $to, timeZone: $zone, first: $first) { \
            start created completed } } } }";
        let point = |start: &str| json!({ "start": format!("{start}:00.000000Z"), "created": 3, "completed": 3 });
        for (from, to, first_ones, expected) in [
            (Some(instants[1] + Duration::minutes(30)), instants[3], 2, vec![first, second]),
            (Some(instants[1]), instants[2] + moment, 2, vec![first, second]),
            (Some(instants[1] - moment), instants[1] + moment, 2, vec![before, first]),
            (None, instants[2] + Duration::minutes(30), 2, vec![first, second]),
        ] {
            let variables = json!({ "id": project, "from": from, "to": to, "zone": zone, "first": first_ones });
            let answer = world.ask(ada, document, variables).await;
            let expected: Vec<_> = expected.into_iter().map(point).collect();
            assert_eq!(answer.data()["project"]["report"]["throughput"], json!(expected), "{zone} from {from:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_twelve_intervals_where_no_range_is_asked_for_and_never_more_than_first() {
    let world = World::without_replica().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let ask = async |arguments: &str| {
        let document =
            format!("{{ workspaceBySlug(slug: \"home\") {{ report {{ throughput({arguments}) {{ start }} }} }} }}");
        world.ask(ada, &document, json!({})).await
    };
    // In Berlin half an hour after midnight, a week after an hour was left out; and at a midnight.
    for to in ["2026-04-04T22:30:00Z", "2026-04-04T22:00:00Z", "2026-03-31T22:00:00Z"] {
        for interval in ["DAY", "WEEK", "MONTH"] {
            for (first, length) in [("", 12), ("first: 12", 12), ("first: 100", 12), ("first: 2", 2), ("first: 1", 1)] {
                let arguments = format!("interval: {interval}, timeZone: \"Europe/Berlin\", to: \"{to}\", {first}");
                let answer = ask(&arguments).await;
                let points = &answer.data()["workspaceBySlug"]["report"]["throughput"];
                assert_eq!(points.as_array().unwrap().len(), length, "{arguments}: {points}");
            }
        }
    }
    // 25 whole days, and a moment more at either end.
    for (interval, first, from, to, is_answered) in [
        ("DAY", "", "2026-05-01T00:00:00Z", "2026-05-26T00:00:00Z", true),
        ("DAY", "", "2026-05-01T00:00:00Z", "2026-05-26T00:00:00.000001Z", false),
        ("DAY", "", "2026-04-30T23:59:59.999999Z", "2026-05-26T00:00:00Z", false),
        ("DAY", "first: 26", "2026-04-30T23:59:59.999999Z", "2026-05-26T00:00:00Z", true),
        ("MONTH", "first: 100", "2026-01-01T00:00:00Z", "2034-05-01T00:00:00Z", true),
        ("MONTH", "first: 100", "2026-01-01T00:00:00Z", "2034-05-01T00:00:00.000001Z", false),
    ] {
        let arguments = format!("interval: {interval}, from: \"{from}\", to: \"{to}\", {first}");
        let answer = ask(&arguments).await;
        let expected: &[&str] = if is_answered { &[] } else { &["BAD_USER_INPUT"] };
        assert_eq!(answer.codes(), expected, "{arguments}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_part_of_a_report_fails_those_that_follow_fail_for_the_same_reason() {
    let world = World::alone(&["--report-timeout-ms", "3000"]).await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let lock = lock(&world, "tasks").await;
    let document = "{ workspaceBySlug(slug: \"home\") { \
        a: report { totals { total } } b: report { overdue { count } } c: report { cycleTime { samples } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    assert_eq!(answer.codes(), ["TIMEOUT"; 3], "{}", answer.text);
    lock.rollback().await.unwrap();
    world.ask(ada, document, json!({})).await.data();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_range_a_wrong_time_zone_and_a_negative_age_are_bad_input() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let wrong = [
        ("", "throughput(timeZone: \"Mars/Olympus\") { start }"),
        ("", "throughput(timeZone: \"'; DROP TABLE tasks; --\") { start }"),
        ("", "throughput(from: \"2026-01-02T00:00:00Z\", to: \"2026-01-01T00:00:00Z\") { start }"),
        ("", "throughput(interval: DAY, from: \"1900-01-02T00:00:00Z\") { start }"),
        ("", "cycleTime(from: \"2026-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\") { samples }"),
        ("", "throughput(first: 101) { start }"),
        ("", "byAssignee(first: 0) { count }"),
        ("", "byProject(first: 101) { count }"),
        ("(maxStalenessMs: -1)", "totals { total }"),
    ];
    for (arguments, field) in wrong {
        let document = format!("{{ workspaceBySlug(slug: \"home\") {{ slug report{arguments} {{ {field} }} }} }}");
        let answer = world.ask(ada, &document, json!({})).await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{field}");
        assert_eq!(answer.body["data"]["workspaceBySlug"], json!({ "slug": "home", "report": null }), "{field}");
        assert_eq!(answer.statements(), ["workspace_by_slug"], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_must_be_newer_than_the_replica_comes_from_the_primary_and_says_so() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let document = "{ workspaceBySlug(slug: \"home\") { \
        any: report { freshness { source fellBack } totals { total } } \
        newest: report(maxStalenessMs: 0) { freshness { source fellBack } totals { total } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let workspace = &answer.data()["workspaceBySlug"];
    assert_eq!(workspace["any"]["freshness"], json!({ "source": "REPLICA", "fellBack": false }));
    assert_eq!(workspace["newest"]["freshness"], json!({ "source": "PRIMARY", "fellBack": true }));
    assert_eq!(answer.statements_on("replica"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_selected_parts_of_a_report_are_computed() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let parts = [
        ("totals { total } byStatus { count } byPriority { count }", "tally_of_workspace"),
        ("byAssignee { count }", "assignees_of_workspace"),
        ("byProject { count }", "projects_of_report"),
        ("overdue { count }", "overdue_of_workspace"),
        ("throughput { created }", "throughput_of_workspace"),
        ("cycleTime { samples }", "cycle_time_of_workspace"),
    ];
    for (part, statement) in parts {
        let document = format!("{{ workspaceBySlug(slug: \"home\") {{ report {{ {part} }} }} }}");
        let answer = world.ask(ada, &document, json!({})).await;
        answer.data();
        let mut names = [statement, "workspace_by_slug"];
        names.sort_unstable();
        assert_eq!(answer.statements(), names, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_of_a_report_see_one_snapshot() {
    let world = Arc::new(World::new().await);
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Atlas").await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        async move {
            while !done.load(Ordering::Relaxed) {
                world.task(project, "Another").await;
            }
        }
    });
    let document = "{ workspaceBySlug(slug: \"home\") { report { totals { total } byStatus { count } \
                    byAssignee { count } byProject { count } } } }";
    let (mut totals, mut rounds) = (BTreeSet::new(), 0);
    while rounds < 200 && (rounds < 40 || totals.len() < 10) {
        let answer = world.ask(ada, document, json!({})).await;
        let report = &answer.data()["workspaceBySlug"]["report"];
        let total = report["totals"]["total"].as_i64().unwrap();
        for part in ["byStatus", "byAssignee", "byProject"] {
            let sum: i64 = report[part].as_array().unwrap().iter().map(|row| row["count"].as_i64().unwrap()).sum();
            assert_eq!(sum, total, "{part} in {report}");
        }
        totals.insert(total);
        rounds += 1;
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert!(totals.len() >= 10, "the data hardly changed meanwhile: {totals:?}");
}
