//! One statement a level, whatever the number of parents; where each statement runs.

use serde_json::json;

use crate::harness::World;

const FOUR_LEVELS: &str = "query($n: Int!) { workspaces(first: 3) { nodes { name \
    projects(first: $n) { nodes { name tasks(first: $n) { nodes { title assignee { name } \
    comments(first: 2) { nodes { body author { name } } } } } } } } } }";

const WIDE: [&str; 4] = ["--max-complexity", "10000000", "--max-depth", "20"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_four_level_query_takes_one_statement_a_level_for_1_10_and_100_parents() {
    let world = World::with(&WIDE).await;
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [100, 100, 1]).await;
    let mut seen = Vec::new();
    for n in [1, 10, 100] {
        let answer = world.ask(ada, FOUR_LEVELS, json!({ "n": n })).await;
        let projects = answer.data()["workspaces"]["nodes"][0]["projects"]["nodes"].as_array().unwrap();
        assert_eq!(projects.len(), n);
        let tasks: usize = projects.iter().map(|project| project["tasks"]["nodes"].as_array().unwrap().len()).sum();
        assert_eq!(tasks, n * n);
        seen.push(answer.statements().join(" "));
        assert_eq!(answer.statements_on("replica"), 0);
    }
    // workspaces, projects, tasks, comments and assignees; the only author was an assignee and is remembered.
    let levels = "comments_of_task projects_of_workspace tasks_of_project_by_created_at user_by_id workspaces_of_user";
    assert_eq!(seen, [levels, levels, levels]);
}
