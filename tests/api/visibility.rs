//! What a caller does not see: other workspaces, by any id; and whatever lies below a deleted row, at any path.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trellis::clock;
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::catalogue::{Catalogue, IdPlace};
use crate::harness::{Answer, World, one};

/// One of everything, in a workspace of its owner.
struct Tree {
    owner: Uuid,
    workspace: Uuid,
    member: Uuid,
    project: Uuid,
    task: Uuid,
    comment: Uuid,
}

impl Tree {
    async fn plant(world: &World, name: &str) -> Self {
        let owner = world.user(name).await;
        let workspace = world.workspace(name, owner).await;
        let member = world.member(workspace, world.user(&format!("{name}-2")).await, Role::Member).await;
        let project = world.project(workspace, "Atlas").await;
        let task =
            world.task_with(project, "Draw", |row| row.assignee_id = sea_orm::ActiveValue::Set(Some(owner))).await;
        let comment = world.comment(task, owner, "Yes").await;
        Self { owner, workspace, member, project, task, comment }
    }

    fn named(&self, noun: &str) -> Uuid {
        match noun {
            "user" => self.owner,
            "workspace" => self.workspace,
            "member" => self.member,
            "project" => self.project,
            "task" => self.task,
            "comment" => self.comment,
            _ => panic!("there is no {noun} in a tree"),
        }
    }

    /// What the required ids of the inputs are, but for the one under test.
    fn names(&self) -> BTreeMap<&'static str, Uuid> {
        let names = [("workspaceId", self.workspace), ("projectId", self.project), ("assigneeId", self.owner)];
        names.into_iter().chain([("taskId", self.task), ("id", self.task)]).collect()
    }

    fn ids(&self) -> [Uuid; 6] {
        [self.owner, self.workspace, self.member, self.project, self.task, self.comment]
    }
}

/// Ids of everything in a workspace of others that is live, and in one in which everything is deleted.
async fn foreign_ids(world: &World) -> Vec<Uuid> {
    let (live, gone) = (Tree::plant(world, "live").await, Tree::plant(world, "gone").await);
    for noun in ["user", "workspace", "member", "project", "task", "comment"] {
        mark(world, &format!("{noun}s"), gone.named(noun), "now()").await;
    }
    [live.ids(), gone.ids()].concat()
}

/// Sends a document under a fixed request id, so that equal answers are equal texts.
async fn ask(world: &World, user: Uuid, document: &str, variables: &Value) -> Answer {
    let body = json!({ "query": document, "variables": variables });
    let request = world.http().post(world.url("/graphql")).bearer_auth(world.token(user));
    Answer::of(request.header("x-request-id", "the-same").json(&body).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_workspaces_id_is_answered_byte_for_byte_like_a_missing_one() {
    let world = World::new().await;
    let foreign = foreign_ids(&world).await;
    world.user("stranger").await;
    let catalogue = Catalogue::of(&world).await;
    let places = catalogue.id_places();
    let mut visited = 0;
    for place in &places {
        // A tree for each place: the mutations change it.
        let own = Tree::plant(&world, &format!("own-{visited}")).await;
        // What is brought back must be gone.
        if let Some(noun) = place.field.strip_suffix("Restore") {
            mark(&world, &format!("{noun}s"), own.named(noun), "now()").await;
        }
        let document = catalogue.document(place.root, &place.field, &place.path);
        let answer = async |id| ask(&world, own.owner, &document, &catalogue.variables(place, &own.names(), id)).await;
        let missing = answer(clock::new_id()).await;
        assert!(missing.status.is_success(), "{place:?}: {}", missing.text);
        for id in &foreign {
            let answer = answer(*id).await;
            assert_eq!(answer.status, missing.status);
            assert_eq!(answer.text, missing.text, "{place:?}");
        }
        let mut is_told_apart = false;
        for id in own.ids() {
            is_told_apart |= answer(id).await.text != missing.text;
        }
        assert!(is_told_apart, "an id of one's own is answered otherwise: {place:?}: {}", missing.text);
        visited += 1;
    }
    // Six root fields, and the inputs of twenty mutations.
    assert_eq!(visited, 6 + 23, "{places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_by_another_workspaces_user_finds_what_a_filter_by_nobody_finds() {
    let world = World::new().await;
    let (own, foreign) = (Tree::plant(&world, "own").await, Tree::plant(&world, "foreign").await);
    let documents = [
        (
            "Project.board",
            "query($id: ID!, $f: TaskFilter) { project(id: $id) { board(filter: $f) { tasks { totalCount nodes { title } } } } }",
            own.project,
        ),
        (
            "Project.tasks",
            "query($id: ID!, $f: TaskFilter) { project(id: $id) { tasks(filter: $f) { totalCount nodes { title } } } }",
            own.project,
        ),
        (
            "User.assignedTasks",
            "query($id: ID!, $f: TaskFilter) { task(id: $id) { assignee { assignedTasks(filter: $f) { totalCount nodes { title } } } } }",
            own.task,
        ),
        (
            "Workspace.tasks",
            "query($id: ID!, $f: TaskFilter) { workspace(id: $id) { tasks(filter: $f) { totalCount nodes { title } } } }",
            own.workspace,
        ),
    ];
    let visited: Vec<String> = documents.iter().map(|(place, _, _)| format!("{place}(filter.assigneeId)")).collect();
    let mut places = Catalogue::of(&world).await.nested_id_places();
    places.sort_unstable();
    assert_eq!(visited, places);
    for (place, document, parent) in documents {
        let answer = async |id: Uuid| {
            let variables = json!({ "id": parent, "f": { "assigneeId": [id] } });
            ask(&world, own.owner, document, &variables).await
        };
        let missing = answer(clock::new_id()).await;
        missing.data();
        assert_ne!(answer(own.owner).await.text, missing.text, "{place}");
        for id in foreign.ids() {
            assert_eq!(answer(id).await.text, missing.text, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_write_with_another_workspaces_id_writes_nothing() {
    let world = World::new().await;
    let (own, foreign) = (Tree::plant(&world, "own").await, foreign_ids(&world).await);
    world.user("stranger").await;
    let catalogue = Catalogue::of(&world).await;
    let places: Vec<IdPlace> = catalogue.id_places().into_iter().filter(|place| place.root == "Mutation").collect();
    assert_eq!(places.len(), 23);
    let before = contents(&world).await;
    for place in &places {
        let document = catalogue.document(place.root, &place.field, &place.path);
        for id in &foreign {
            let answer = ask(&world, own.owner, &document, &catalogue.variables(place, &own.names(), *id)).await;
            let errors = &answer.data()[&place.field]["userErrors"];
            assert_eq!(errors[0]["code"], "NOT_FOUND", "{place:?}: {}", answer.text);
        }
    }
    assert_eq!(contents(&world).await, before);
}

/// Every row of every table, as text.
async fn contents(world: &World) -> Vec<String> {
    let mut contents = Vec::new();
    for table in ["users", "workspaces", "members", "projects", "tasks", "comments"] {
        let sql = format!("SELECT string_agg(t::text, ';' ORDER BY id) FROM {table} t");
        contents.push(one(&world.sql, &sql).await.try_get_by_index(0).unwrap());
    }
    contents
}

/// Every path of the schema into the rows of a tree. `report` is left to the tests that wait for the replica.
const PATHS: &str = "query($w: ID!, $slug: String!, $p: ID!, $t: ID!, $c: ID!, $m: ID!) { \
    workspace(id: $w) { name members { totalCount nodes { user { name } } } projects { totalCount nodes { name } } \
      tasks { totalCount nodes { title comments { totalCount nodes { body } } } } } \
    workspaceBySlug(slug: $slug) { name } \
    workspaces { totalCount nodes { name } } \
    viewer { assignedTasks { totalCount nodes { title comments { totalCount nodes { body } } } } } \
    nodes(ids: [$w, $p, $t, $c, $m]) { __typename id } \
    project(id: $p) { name workspace { name } board { tasks { totalCount nodes { title } } } tasks { totalCount nodes { title project { name } } } } \
    task(id: $t) { title project { name } assignee { name } comments { totalCount nodes { body task { title } } } } \
    comment(id: $c) { body author { name } task { title project { workspace { name } } } } }";

/// How much of a tree a user finds, path by path: rows, or totals.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    workspace: usize,
    by_slug: usize,
    workspaces: i64,
    assigned: i64,
    nodes: usize,
    board: i64,
    members: i64,
    projects: i64,
    tasks: i64,
    comments_of_page: i64,
    project: usize,
    tasks_of_project: i64,
    task: usize,
    comments: i64,
    comment: usize,
}

impl Found {
    /// All of it.
    const ALL: Self = Self {
        workspace: 1,
        by_slug: 1,
        workspaces: 1,
        assigned: 1,
        nodes: 5,
        board: 1,
        members: 2,
        projects: 1,
        tasks: 1,
        comments_of_page: 1,
        project: 1,
        tasks_of_project: 1,
        task: 1,
        comments: 1,
        comment: 1,
    };

    /// Nothing of it.
    const NOTHING: Self = Self {
        workspace: 0,
        by_slug: 0,
        workspaces: 0,
        assigned: 0,
        nodes: 0,
        board: 0,
        members: 0,
        projects: 0,
        tasks: 0,
        comments_of_page: 0,
        project: 0,
        tasks_of_project: 0,
        task: 0,
        comments: 0,
        comment: 0,
    };

    async fn by(world: &World, user: Uuid, tree: &Tree, slug: &str) -> Self {
        let variables = json!({ "w": tree.workspace, "slug": slug, "p": tree.project, "t": tree.task, "c": tree.comment, "m": tree.member });
        let answer = world.ask(user, PATHS, variables).await;
        let data = answer.data();
        let is_there = |name: &str| usize::from(data[name].is_object());
        // A connection's rows and its total must say the same.
        let total = |pointer: &str| {
            let Some(connection) = data.pointer(pointer) else { return 0 };
            let rows = connection["nodes"].as_array().unwrap().len();
            assert_eq!(connection["totalCount"], json!(rows), "{pointer}");
            i64::try_from(rows).unwrap()
        };
        Self {
            workspace: is_there("workspace"),
            by_slug: is_there("workspaceBySlug"),
            workspaces: total("/workspaces"),
            assigned: total("/viewer/assignedTasks"),
            nodes: data["nodes"].as_array().unwrap().iter().filter(|node| node.is_object()).count(),
            board: (0..4).map(|column| total(&format!("/project/board/{column}/tasks"))).sum(),
            members: total("/workspace/members"),
            projects: total("/workspace/projects"),
            tasks: total("/workspace/tasks"),
            comments_of_page: total("/workspace/tasks/nodes/0/comments"),
            project: is_there("project"),
            tasks_of_project: total("/project/tasks"),
            task: is_there("task"),
            comments: total("/task/comments"),
            comment: is_there("comment"),
        }
    }
}

async fn mark(world: &World, table: &str, id: Uuid, deleted_at: &str) {
    world.execute(&format!("UPDATE {table} SET deleted_at = {deleted_at} WHERE id = '{id}'")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_row_hides_everything_below_it_at_every_path_and_its_return_brings_it_back() {
    let world = World::new().await;
    let tree = Tree::plant(&world, "home").await;
    assert_eq!(Found::by(&world, tree.owner, &tree, "home").await, Found::ALL);
    let no_comment = Found { comments_of_page: 0, comments: 0, comment: 0, nodes: 4, ..Found::ALL };
    let no_task =
        Found { tasks: 0, assigned: 0, board: 0, tasks_of_project: 0, task: 0, nodes: 3, ..no_comment.clone() };
    let no_project = Found { projects: 0, project: 0, nodes: 2, ..no_task.clone() };
    let steps = [
        ("comments", tree.comment, no_comment),
        ("tasks", tree.task, no_task),
        ("projects", tree.project, no_project),
        ("members", tree.member, Found { members: 1, nodes: 4, ..Found::ALL }),
        ("workspaces", tree.workspace, Found::NOTHING),
        ("users", tree.owner, Found::NOTHING),
    ];
    assert_eq!(steps.len(), 6, "one for each table");
    for (table, id, expected) in steps {
        mark(&world, table, id, "now()").await;
        assert_eq!(Found::by(&world, tree.owner, &tree, "home").await, expected, "without the row of {table}");
        mark(&world, table, id, "NULL").await;
        assert_eq!(Found::by(&world, tree.owner, &tree, "home").await, Found::ALL, "with the row of {table} again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_sees_nothing_of_the_workspace_and_the_others_see_them_leave() {
    let world = World::new().await;
    let tree = Tree::plant(&world, "home").await;
    let grace = world.user("grace").await;
    let membership = world.member(tree.workspace, grace, Role::Admin).await;
    assert_eq!(Found::by(&world, grace, &tree, "home").await, Found { members: 3, assigned: 0, ..Found::ALL });
    mark(&world, "members", membership, "now()").await;
    assert_eq!(Found::by(&world, grace, &tree, "home").await, Found::NOTHING);
    assert_eq!(Found::by(&world, tree.owner, &tree, "home").await, Found::ALL);
    assert_eq!(Found::by(&world, world.user("stranger").await, &tree, "home").await, Found::NOTHING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_below_a_deleted_row_are_refused_like_those_below_a_missing_one() {
    let world = World::new().await;
    let tree = Tree::plant(&world, "home").await;
    let document = "mutation($w: ID!, $p: ID!, $t: ID!) { \
        projectCreate(input: { workspaceId: $w, name: \"X\" }) { userErrors { code message field } } \
        taskCreate(input: { projectId: $p, title: \"X\" }) { userErrors { code message field } } \
        taskUpdate(input: { id: $t, title: \"X\" }) { userErrors { code message field } } \
        commentCreate(input: { taskId: $t, body: \"X\" }) { userErrors { code message field } } }";
    let missing = json!({ "w": clock::new_id(), "p": clock::new_id(), "t": clock::new_id() });
    let missing = world.ask(tree.owner, document, missing).await.data().clone();
    for field in ["projectCreate", "taskCreate", "taskUpdate", "commentCreate"] {
        assert_eq!(missing[field]["userErrors"][0]["code"], "NOT_FOUND");
    }
    mark(&world, "workspaces", tree.workspace, "now()").await;
    let variables = json!({ "w": tree.workspace, "p": tree.project, "t": tree.task });
    assert_eq!(*world.ask(tree.owner, document, variables.clone()).await.data(), missing);
    mark(&world, "workspaces", tree.workspace, "NULL").await;
    mark(&world, "projects", tree.project, "now()").await;
    let answer = world.ask(tree.owner, document, variables).await;
    assert_eq!(answer.data()["projectCreate"]["userErrors"], json!([]));
    for field in ["taskCreate", "taskUpdate", "commentCreate"] {
        assert_eq!(answer.data()[field], missing[field]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_on_the_replica_do_not_count_what_is_deleted() {
    let world = World::new().await;
    let tree = Tree::plant(&world, "home").await;
    let other = world.project(tree.workspace, "Bridge").await;
    world.task(other, "Build").await;
    let gone = world.task(tree.project, "Gone").await;
    let document = "query($w: ID!) { workspace(id: $w) { report { totals { total } freshness { source } \
        byStatus { count } byPriority { count } } projects { nodes { report { totals { total } } } } } }";
    let totals = async || {
        world.replicated().await;
        let answer = world.ask(tree.owner, document, json!({ "w": tree.workspace })).await;
        let workspace = &answer.data()["workspace"];
        assert_eq!(workspace["report"]["freshness"]["source"], "REPLICA");
        let sum = |name: &str| -> i64 {
            let rows = workspace["report"][name].as_array().unwrap();
            rows.iter().map(|row| row["count"].as_i64().unwrap()).sum()
        };
        let total = workspace["report"]["totals"]["total"].as_i64().unwrap();
        assert_eq!((sum("byStatus"), sum("byPriority")), (total, total));
        let projects = workspace["projects"]["nodes"].as_array().unwrap();
        let projects: Vec<i64> =
            projects.iter().map(|project| project["report"]["totals"]["total"].as_i64().unwrap()).collect();
        (total, projects)
    };
    assert_eq!(totals().await, (3, vec![2, 1]));
    mark(&world, "tasks", gone, "now()").await;
    assert_eq!(totals().await, (2, vec![1, 1]));
    mark(&world, "projects", other, "now()").await;
    assert_eq!(totals().await, (1, vec![1]));
    mark(&world, "projects", other, "NULL").await;
    mark(&world, "tasks", gone, "NULL").await;
    assert_eq!(totals().await, (3, vec![2, 1]));
    mark(&world, "workspaces", tree.workspace, "now()").await;
    let answer = world.ask(tree.owner, document, json!({ "w": tree.workspace })).await;
    assert_eq!(*answer.data(), json!({ "workspace": null }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_shown_to_those_who_share_a_workspace_and_to_nobody_else() {
    let world = World::new().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let home = world.workspace("home", ada).await;
    let membership = world.member(home, grace, Role::Member).await;
    let project = world.project(home, "Atlas").await;
    let assign =
        |row: &mut trellis::entities::task::ActiveModel| row.assignee_id = sea_orm::ActiveValue::Set(Some(grace));
    let task = world.task_with(project, "Draw", assign).await;
    world.comment(task, grace, "Yes").await;
    let document = "query($t: ID!) { viewer { email } task(id: $t) { assignee { name email } \
        comments { nodes { author { name email } } } } }";
    let emails = async || {
        let answer = world.ask(ada, document, json!({ "t": task })).await;
        let (viewer, task) = (&answer.data()["viewer"], &answer.data()["task"]);
        assert_eq!(viewer["email"], "ada@example.com");
        let author = &task["comments"]["nodes"][0]["author"];
        assert_eq!((&task["assignee"]["name"], &author["name"]), (&json!("grace"), &json!("grace")));
        assert_eq!(task["assignee"]["email"], author["email"]);
        author["email"].clone()
    };
    assert_eq!(emails().await, "grace@example.com");
    mark(&world, "members", membership, "now()").await;
    assert_eq!(emails().await, json!(null), "grace left the only workspace that they shared");
    let club = world.workspace("club", grace).await;
    assert_eq!(emails().await, json!(null), "grace's own workspace is not ada's");
    let guest = world.member(club, ada, Role::Viewer).await;
    assert_eq!(emails().await, "grace@example.com", "they share another one");
    mark(&world, "workspaces", club, "now()").await;
    assert_eq!(emails().await, json!(null), "a deleted workspace is shared by nobody");
    mark(&world, "workspaces", club, "NULL").await;
    mark(&world, "members", guest, "now()").await;
    assert_eq!(emails().await, json!(null), "ada left it");
}
