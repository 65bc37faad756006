//! Rows for tests, with everything that a test does not care about filled in.

use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait};
use trellis::clock;
use trellis::entities::member::Role;
use trellis::entities::{comment, member, project, task, user, workspace};
use uuid::Uuid;

use crate::harness::World;

impl World {
    /// A user whose e-mail address is the name at example.com.
    pub async fn user(&self, name: &str) -> Uuid {
        let row = user::ActiveModel {
            id: Set(clock::new_id()),
            email: Set(format!("{name}@example.com")),
            name: Set(name.to_owned()),
            ..Default::default()
        };
        user::Entity::insert(row).exec_with_returning(&self.sql).await.unwrap().id
    }

    /// A workspace with an owner.
    pub async fn workspace(&self, slug: &str, owner: Uuid) -> Uuid {
        let id = clock::new_id();
        let row = workspace::ActiveModel {
            id: Set(id),
            name: Set(format!("The {slug}")),
            slug: Set(slug.to_owned()),
            ..Default::default()
        };
        workspace::Entity::insert(row).exec_without_returning(&self.sql).await.unwrap();
        self.member(id, owner, Role::Owner).await;
        id
    }

    pub async fn member(&self, workspace_id: Uuid, user_id: Uuid, role: Role) -> Uuid {
        let row = member::ActiveModel {
            id: Set(clock::new_id()),
            workspace_id: Set(workspace_id),
            user_id: Set(user_id),
            role: Set(role),
            ..Default::default()
        };
        member::Entity::insert(row).exec_with_returning(&self.sql).await.unwrap().id
    }

    pub async fn project(&self, workspace_id: Uuid, name: &str) -> Uuid {
        let row = project::ActiveModel {
            id: Set(clock::new_id()),
            workspace_id: Set(workspace_id),
            name: Set(name.to_owned()),
            status: Set(project::Status::Active),
            ..Default::default()
        };
        project::Entity::insert(row).exec_with_returning(&self.sql).await.unwrap().id
    }

    pub async fn task(&self, project_id: Uuid, title: &str) -> Uuid {
        self.task_with(project_id, title, |_| ()).await
    }

    /// A task that `change` has completed.
    pub async fn task_with(&self, project_id: Uuid, title: &str, change: impl FnOnce(&mut task::ActiveModel)) -> Uuid {
        let mut row = task::ActiveModel {
            id: Set(clock::new_id()),
            project_id: Set(project_id),
            title: Set(title.to_owned()),
            status: Set(task::Status::Todo),
            priority: Set(task::Priority::Medium),
            ..Default::default()
        };
        change(&mut row);
        if row.status == Set(task::Status::Completed) && row.completed_at.is_not_set() {
            row.completed_at = Set(Some(clock::now()));
        }
        task::Entity::insert(row).exec_with_returning(&self.sql).await.unwrap().id
    }

    pub async fn comment(&self, task_id: Uuid, author_id: Uuid, body: &str) -> Uuid {
        let row = comment::ActiveModel {
            id: Set(clock::new_id()),
            task_id: Set(task_id),
            author_id: Set(author_id),
            body: Set(body.to_owned()),
            ..Default::default()
        };
        comment::Entity::insert(row).exec_with_returning(&self.sql).await.unwrap().id
    }

    /// Runs SQL behind the server's back.
    pub async fn execute(&self, sql: &str) {
        self.sql.execute_unprepared(sql).await.unwrap();
    }

    /// A tree: `projects` in a workspace, in each `tasks`, each assigned to the author of its `comments`.
    pub async fn fill(&self, workspace_id: Uuid, author: Uuid, [projects, tasks, comments]: [u32; 3]) {
        self.execute(&format!(
            "WITH p AS (
               INSERT INTO projects (id, workspace_id, name, status, created_at)
               SELECT gen_random_uuid(), '{workspace_id}', 'Project ' || n, 'active', now() + n * interval '1 second'
               FROM generate_series(1, {projects}) n RETURNING id),
             t AS (
               INSERT INTO tasks (id, project_id, assignee_id, title, status, priority, created_at)
               SELECT gen_random_uuid(), p.id, '{author}', 'Task ' || n, 'todo', 'medium', now() + n * interval '1 second'
               FROM p, generate_series(1, {tasks}) n RETURNING id)
             INSERT INTO comments (id, task_id, author_id, body, created_at)
             SELECT gen_random_uuid(), t.id, '{author}', 'Comment ' || n, now() + n * interval '1 second'
             FROM t, generate_series(1, {comments}) n"
        ))
        .await;
    }
}
