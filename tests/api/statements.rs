//! One statement a level, whatever the number of parents.

use serde_json::json;

use crate::harness::World;

const WIDE: [&str; 4] = ["--max-complexity", "10000000", "--max-depth", "20"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_level_query_takes_one_statement_a_level_for_1_10_and_100_parents() {
    let world = World::with(&WIDE).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [100, 100, 1]).await;
    let document = "query($n: Int!) { workspaces(first: 3) { nodes { name \
        projects(first: $n) { nodes { name tasks(first: $n) { nodes { title assignee { name } \
        comments(first: 2) { nodes { body author { name } } } } } } } } } }";
    // The only author was an assignee too, and is remembered.
    let levels = "comments_of_task projects_of_workspace_by_created_at tasks_of_project_by_created_at user_by_id workspaces_of_user";
    for n in [1, 10, 100] {
        let answer = world.ask(ada, document, json!({ "n": n })).await;
        let projects = answer.data()["workspaces"]["nodes"][0]["projects"]["nodes"].as_array().unwrap();
        assert_eq!(projects.len(), n);
        let tasks: usize = projects.iter().map(|project| project["tasks"]["nodes"].as_array().unwrap().len()).sum();
        assert_eq!(tasks, n * n);
        assert_eq!(answer.statements().join(" "), levels);
        assert_eq!(answer.statements_on("replica"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workspaces_and_counts_at_every_level_take_one_statement_a_level_and_one_count_a_level() {
    let world = World::with(&WIDE).await;
    let ada = world.user("ada").await;
    for slug in ["one", "two", "three"] {
        let home = world.workspace(slug, ada).await;
        world.fill(home, ada, [2, 3, 2]).await;
    }
    let document = "{ workspaces { totalCount nodes { members { totalCount nodes { user { name } } } \
        projects { totalCount nodes { tasks { totalCount nodes { comments { totalCount nodes { body } } } } } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let data = answer.data();
    assert_eq!(data["workspaces"]["totalCount"], 3);
    for workspace in data["workspaces"]["nodes"].as_array().unwrap() {
        assert_eq!(workspace["projects"]["totalCount"], 2);
        assert_eq!(workspace["projects"]["nodes"][1]["tasks"]["totalCount"], 3);
        assert_eq!(workspace["projects"]["nodes"][1]["tasks"]["nodes"][2]["comments"]["totalCount"], 2);
    }
    assert_eq!(
        answer.statements(),
        [
            "comment_count_of_task",
            "comments_of_task",
            "member_count_of_workspace",
            "members_of_workspace",
            "project_count_of_workspace",
            "projects_of_workspace_by_created_at",
            "task_count_of_project",
            "tasks_of_project_by_created_at",
            "user_by_id",
            "workspace_count_of_user",
            "workspaces_of_user",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_reached_by_two_ways_on_one_level_are_one_statement() {
    let world = World::with(&WIDE).await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    world.fill(home, grace, [1, 5, 0]).await;
    let document = "{ workspaceBySlug(slug: \"home\") { members { nodes { user { name } } } \
                    tasks { nodes { assignee { name } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    assert_eq!(answer.data()["workspaceBySlug"]["tasks"]["nodes"][0]["assignee"]["name"], "grace");
    let names = answer.statements();
    assert_eq!(names, ["members_of_workspace", "tasks_of_workspace_by_created_at", "user_by_id", "workspace_by_slug"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_relation_upward_is_one_statement_a_level() {
    let world = World::with(&WIDE).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [1, 1, 4]).await;
    let document = "{ workspaces { nodes { projects { nodes { tasks { nodes { comments { nodes { \
                    task { title description project { name workspace { slug } } } } } } } } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let names = answer.statements();
    let upward = ["project_by_id", "task_by_id", "workspace_by_id"];
    assert_eq!(names.iter().filter(|name| upward.contains(name)).count(), 3, "{names:?}");
    assert_eq!(names.len(), 7, "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_projects_reports_are_one_statement_on_the_replica() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [10, 3, 0]).await;
    world.replicated().await;
    let document = "{ workspaceBySlug(slug: \"home\") { report { totals { total } } projects { nodes { \
                    report { freshness { source replica } totals { total } byStatus { count } byPriority { count } } } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    let workspace = &answer.data()["workspaceBySlug"];
    assert_eq!(workspace["report"]["totals"]["total"], 30);
    assert_eq!(workspace["projects"]["nodes"][9]["report"]["totals"]["total"], 3);
    assert_eq!(workspace["projects"]["nodes"][9]["report"]["freshness"]["source"], "REPLICA");
    assert_eq!(
        answer.statements(),
        ["projects_of_workspace_by_created_at", "tally_of_project", "tally_of_workspace", "workspace_by_slug"]
    );
    assert_eq!(answer.statements_on("replica"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freshness_alone_costs_no_statement() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.workspace("home", ada).await;
    let document = "{ workspaceBySlug(slug: \"home\") { report { freshness { source asOf lagMs fellBack } } } }";
    let answer = world.ask(ada, document, json!({})).await;
    assert_eq!(answer.data()["workspaceBySlug"]["report"]["freshness"]["fellBack"], false);
    assert_eq!(answer.statements(), ["workspace_by_slug"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_reads_the_table_only_for_fields_that_the_index_does_not_hold() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    let project = world.project(home, "Atlas").await;
    let text = |task: &mut trellis::entities::task::ActiveModel| {
        task.description = sea_orm::ActiveValue::Set(Some("At length.".to_owned()));
    };
    world.task_with(project, "Draw", text).await;
    for selection in ["nodes { description }", "edges { node { ...F } }", "nodes { ... on Task { ...F } }"] {
        let fragment = if selection.contains("...F") { "fragment F on Task { description }" } else { "" };
        let document = format!("{{ project(id: \"{project}\") {{ tasks {{ {selection} }} }} }} {fragment}");
        let answer = world.ask(ada, &document, json!({})).await;
        assert!(answer.text.contains("At length."), "{}", answer.text);
        // The row was read whole with the page: no second statement fetches what a card lacks.
        assert_eq!(answer.statements(), ["project_by_id", "tasks_of_project_by_created_at"], "{selection}");
    }
}
