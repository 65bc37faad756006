//! Every mutation, with an input that works on a stage set for it: for the tests that run them all.

use std::fmt::Write;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use serde_json::{Value, json};
use trellis::clock;
use trellis::database::administration;
use uuid::Uuid;

use crate::harness::{Answer, World, eventually, one};

/// A mutation of the contract.
#[derive(Debug)]
pub struct Mutation {
    pub name: &'static str,
    /// The type of its argument `input`.
    pub input: &'static str,
    /// The payload's field for what was written.
    pub row: &'static str,
    /// The table in which it writes one row, or many alike.
    pub table: &'static str,
}

const fn mutation(name: &'static str, input: &'static str, row: &'static str, table: &'static str) -> Mutation {
    Mutation { name, input, row, table }
}

pub const MUTATIONS: [Mutation; 20] = [
    mutation("workspaceCreate", "WorkspaceCreateInput", "workspace", "workspaces"),
    mutation("workspaceUpdate", "WorkspaceUpdateInput", "workspace", "workspaces"),
    mutation("workspaceDelete", "DeleteInput", "workspace", "workspaces"),
    mutation("workspaceRestore", "RestoreInput", "workspace", "workspaces"),
    mutation("memberAdd", "MemberAddInput", "member", "members"),
    mutation("memberUpdate", "MemberUpdateInput", "member", "members"),
    mutation("memberRemove", "DeleteInput", "member", "members"),
    mutation("projectCreate", "ProjectCreateInput", "project", "projects"),
    mutation("projectUpdate", "ProjectUpdateInput", "project", "projects"),
    mutation("projectDelete", "DeleteInput", "project", "projects"),
    mutation("projectRestore", "RestoreInput", "project", "projects"),
    mutation("taskCreate", "TaskCreateInput", "task", "tasks"),
    mutation("taskUpdate", "TaskUpdateInput", "task", "tasks"),
    mutation("taskDelete", "DeleteInput", "task", "tasks"),
    mutation("taskRestore", "RestoreInput", "task", "tasks"),
    mutation("tasksUpdate", "TasksUpdateInput", "tasks", "tasks"),
    mutation("commentCreate", "CommentCreateInput", "comment", "comments"),
    mutation("commentUpdate", "CommentUpdateInput", "comment", "comments"),
    mutation("commentDelete", "DeleteInput", "comment", "comments"),
    mutation("commentRestore", "RestoreInput", "comment", "comments"),
];

/// The mutation of a name.
pub fn named(name: &str) -> &'static Mutation {
    MUTATIONS.iter().find(|mutation| mutation.name == name).unwrap_or_else(|| panic!("a mutation {name}"))
}

impl Mutation {
    /// What a row has of its own.
    pub fn columns(&self) -> &'static str {
        match self.row {
            "workspace" => "id name slug createdAt updatedAt deletedAt",
            "member" => "id role joinedAt createdAt updatedAt deletedAt",
            "project" => "id name status createdAt updatedAt deletedAt",
            "comment" => "id body createdAt updatedAt deletedAt",
            _ => "id title description status priority dueDate completedAt createdAt updatedAt deletedAt",
        }
    }

    /// A document that runs it with the variable `input` and selects the columns of what was written.
    pub fn document(&self) -> String {
        let Self { name, input, row, .. } = self;
        let columns = self.columns();
        format!(
            "mutation($input: {input}!) {{ {name}(input: $input) {{ {row} {{ {columns} }} \
             userErrors {{ code message field }} }} }}"
        )
    }

    /// What the payload holds where nothing was written.
    pub fn nothing(&self) -> Value {
        if self.row == "tasks" { json!([]) } else { Value::Null }
    }

    /// Runs it.
    pub async fn run(&self, world: &World, caller: Uuid, input: &Value) -> Answer {
        send(world, Some(caller), &self.document(), &json!({ "input": input })).await
    }
}

/// Sends a document as somebody or as nobody, under a fixed request id, so that equal answers are equal texts.
pub async fn send(world: &World, caller: Option<Uuid>, document: &str, variables: &Value) -> Answer {
    let request = world.http().post(world.url("/graphql")).header("x-request-id", "the-same");
    let request = match caller {
        Some(caller) => request.bearer_auth(world.token(caller)),
        None => request,
    };
    Answer::of(request.json(&json!({ "query": document, "variables": variables })).send().await.unwrap()).await
}

/// A workspace with one of everything that a mutation refers to.
pub struct Stage {
    pub workspace: Uuid,
    /// A VIEWER, who is there to be promoted or removed.
    pub member: Uuid,
    pub project: Uuid,
    pub task: Uuid,
    pub comment: Uuid,
    /// Deleted rows, next to the live ones.
    pub gone_project: Uuid,
    pub gone_task: Uuid,
    pub gone_comment: Uuid,
}

impl Stage {
    /// Ids that no row has.
    pub fn missing() -> Self {
        Self {
            workspace: clock::new_id(),
            member: clock::new_id(),
            project: clock::new_id(),
            task: clock::new_id(),
            comment: clock::new_id(),
            gone_project: clock::new_id(),
            gone_task: clock::new_id(),
            gone_comment: clock::new_id(),
        }
    }

    /// A workspace with these members, and a guest who is one of their own; `author` wrote its comments. For
    /// `workspaceRestore` the workspace is deleted.
    pub async fn set(world: &World, members: &[(Uuid, &str)], author: Uuid, mutation: &str) -> Self {
        let stage = Self::missing();
        let Self { workspace, member, project, task, comment, gone_project, gone_task, gone_comment } = &stage;
        let (guest, slug) = (clock::new_id(), workspace.simple());
        let deleted_at = if mutation == "workspaceRestore" { "now()" } else { "NULL" };
        let mut sql = format!(
            "INSERT INTO workspaces (id, name, slug, deleted_at) VALUES ('{workspace}', 'Home', 'w{slug}', {deleted_at}); \
             INSERT INTO users (id, email, name) VALUES ('{guest}', '{guest}@example.com', 'Guest'); \
             INSERT INTO members (id, workspace_id, user_id, role) VALUES ('{member}', '{workspace}', '{guest}', 'viewer'); \
             INSERT INTO projects (id, workspace_id, name, status, deleted_at) VALUES \
               ('{project}', '{workspace}', 'Atlas', 'active', NULL), ('{gone_project}', '{workspace}', 'Gone', 'active', now()); \
             INSERT INTO tasks (id, project_id, title, status, priority, deleted_at) VALUES \
               ('{task}', '{project}', 'Draw', 'todo', 'medium', NULL), ('{gone_task}', '{project}', 'Gone', 'todo', 'medium', now()); \
             INSERT INTO comments (id, task_id, author_id, body, deleted_at) VALUES \
               ('{comment}', '{task}', '{author}', 'Yes', NULL), ('{gone_comment}', '{task}', '{author}', 'Gone', now());"
        );
        for (user, role) in members {
            let id = clock::new_id();
            write!(
                sql,
                "INSERT INTO members (id, workspace_id, user_id, role) VALUES ('{id}', '{workspace}', '{user}', '{role}');"
            )
            .unwrap();
        }
        world.execute(&sql).await;
        stage
    }

    /// An input that succeeds here.
    pub fn input(&self, mutation: &str) -> Value {
        let word = self.workspace.simple().to_string();
        match mutation {
            "workspaceCreate" => json!({ "name": "New", "slug": format!("n{word}") }),
            "workspaceUpdate" => json!({ "id": self.workspace, "name": "Changed" }),
            "workspaceDelete" | "workspaceRestore" => json!({ "id": self.workspace }),
            "memberAdd" => json!({ "workspaceId": self.workspace, "email": format!("{word}@example.com") }),
            "memberUpdate" => json!({ "id": self.member, "role": "MEMBER" }),
            "memberRemove" => json!({ "id": self.member }),
            "projectCreate" => json!({ "workspaceId": self.workspace, "name": "New" }),
            "projectUpdate" => json!({ "id": self.project, "name": "Changed" }),
            "projectDelete" => json!({ "id": self.project }),
            "projectRestore" => json!({ "id": self.gone_project }),
            "taskCreate" => json!({ "projectId": self.project, "title": "New" }),
            "taskUpdate" => json!({ "id": self.task, "title": "Changed" }),
            "taskDelete" => json!({ "id": self.task }),
            "taskRestore" => json!({ "id": self.gone_task }),
            "tasksUpdate" => json!({ "ids": [self.task], "priority": "HIGH" }),
            "commentCreate" => json!({ "taskId": self.task, "body": "New" }),
            "commentUpdate" => json!({ "id": self.comment, "body": "Changed" }),
            "commentDelete" => json!({ "id": self.comment }),
            "commentRestore" => json!({ "id": self.gone_comment }),
            other => panic!("an input for {other}"),
        }
    }
}

pub const TABLES: [&str; 7] = ["users", "workspaces", "members", "projects", "tasks", "comments", "idempotency_keys"];

/// Every version of every row of every table, but those of the row `except`: equal where nothing was written.
pub async fn contents(world: &World, except: Option<Uuid>) -> String {
    let except = except.unwrap_or_default();
    let tables = TABLES.map(|table| {
        format!(
            "(SELECT md5(string_agg(t.xmin::text || t::text, ';' ORDER BY id)) FROM {table} t WHERE id <> '{except}')"
        )
    });
    let sql = format!("SELECT concat_ws(' ', {})", tables.map(|sql| format!("coalesce({sql}, 'none')")).join(", "));
    one(&world.sql, &sql).await.try_get_by_index(0).unwrap()
}

/// A number that a statement selects.
pub async fn number(world: &World, sql: &str) -> i64 {
    one(&world.sql, sql).await.try_get_by_index(0).unwrap()
}

/// A lock that a test holds, so that writes meet in front of it.
pub struct Barrier {
    transaction: DatabaseTransaction,
    _connection: DatabaseConnection,
}

impl Barrier {
    /// Takes the locks of a statement.
    pub async fn raise(world: &World, sql: &str) -> Self {
        let connection = administration::connect(&world.addresses.primary).await.unwrap();
        let transaction = connection.begin().await.unwrap();
        transaction.execute_unprepared(sql).await.unwrap();
        Self { transaction, _connection: connection }
    }

    /// Waits until so many of the server's transactions wait for a lock.
    pub async fn meets(&self, world: &World, writes: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name = 'trellis primary' AND wait_event_type = 'Lock'";
        eventually("the writes wait for the lock", || async {
            let waiting = number(world, waiting).await;
            (waiting == writes).then_some(()).ok_or(waiting)
        })
        .await;
    }

    /// Lets them go.
    pub async fn fall(self) {
        self.transaction.commit().await.unwrap();
    }
}
