//! Rows of a database to run statements on: found by their places, so that the same data gives the same sample.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable, Value};
use uuid::Uuid;

use crate::loaders::page::{Position, SortValue};

/// Whose lists and reports are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// Up to so many projects of one user, those whose size is nearest to the median, and what belongs to them.
    Ordinary(u16),
    /// The largest project alone, and the largest of what belongs to it.
    Largest,
}

/// A row that a write changes, as it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target {
    pub(super) id: Uuid,
    pub(super) updated_at: DateTime<Utc>,
}

/// Deleted rows; where there are none, ids that no row has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    pub(super) workspace: Uuid,
    pub(super) project: Uuid,
    pub(super) task: Uuid,
    pub(super) comment: Uuid,
}

/// What statements are asked about. No list is empty.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The caller: a member of every workspace, and an owner of the one that is written to where anybody is.
    pub(super) viewer: Uuid,
    pub(super) email: String,
    pub(super) workspaces: Vec<Uuid>,
    pub(super) slugs: Vec<String>,
    pub(super) members: Vec<Uuid>,
    pub(super) users: Vec<Uuid>,
    /// Users who have open tasks.
    pub(super) assignees: Vec<Uuid>,
    pub(super) projects: Vec<Uuid>,
    /// One of each project, that with the most comments.
    pub(super) tasks: Vec<Uuid>,
    pub(super) comments: Vec<Uuid>,
    /// What writes are to.
    pub(super) workspace: Target,
    pub(super) member: Target,
    pub(super) project: Target,
    pub(super) task: Target,
    pub(super) comment: Target,
    pub(super) writable_tasks: Vec<Uuid>,
    pub(super) deleted: Gone,
    /// An instant before which half of the tasks with a date are due.
    pub(super) due_date: DateTime<Utc>,
    /// The 91 days before the newest task.
    pub(super) last_quarter: (DateTime<Utc>, DateTime<Utc>),
    pub(super) word_of_task: String,
    pub(super) word_of_project: String,
    /// The middle of each list, by the column of its order and its parent.
    middles: HashMap<(&'static str, Uuid), Position>,
}

impl Sample {
    /// Looks for a sample.
    ///
    /// # Errors
    /// The database does not answer, or has no project with a task.
    pub async fn of(connection: &impl ConnectionTrait, parents: Parents) -> anyhow::Result<Self> {
        let finder = Finder(connection);
        let (viewer, projects) = finder.viewer_and_projects(parents).await?;
        let mut sample = Self { viewer, projects, ..Self::of_nothing() };
        sample.find_rows(&finder, parents).await?;
        sample.find_targets(&finder).await?;
        sample.find_middles(&finder).await?;
        sample.find_values(&finder).await?;
        Ok(sample)
    }

    /// The caller's e-mail address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// A sample of ids that no row has: for texts alone.
    pub(super) fn of_nothing() -> Self {
        let ids = vec![Uuid::nil()];
        let [workspace, member, project, task, comment] = [Target::default(); 5];
        Self {
            viewer: Uuid::nil(),
            email: "nobody@example.com".to_owned(),
            workspaces: ids.clone(),
            slugs: vec!["nothing".to_owned()],
            members: ids.clone(),
            users: ids.clone(),
            assignees: ids.clone(),
            projects: ids.clone(),
            tasks: ids.clone(),
            comments: ids.clone(),
            workspace,
            member,
            project,
            task,
            comment,
            writable_tasks: ids,
            deleted: Gone::default(),
            due_date: DateTime::default(),
            last_quarter: (DateTime::default(), DateTime::default()),
            word_of_task: "nothing".to_owned(),
            word_of_project: "nothing".to_owned(),
            middles: HashMap::new(),
        }
    }

    /// A position in the middle of a parent's list in an order.
    pub(super) fn middle(&self, order: &'static str, parent: Uuid) -> Position {
        let column = order.rsplit_once('.').map_or(order, |(column, _)| column);
        self.middles.get(&(column, parent)).cloned().unwrap_or_else(|| nowhere(column))
    }

    /// A position in the middle of a parent's tasks without a date.
    pub(super) fn undated(&self, parent: Uuid) -> Position {
        self.middles.get(&(UNDATED, parent)).cloned().unwrap_or_else(|| nowhere(UNDATED))
    }

    async fn find_rows(&mut self, finder: &Finder<'_, impl ConnectionTrait>, parents: Parents) -> anyhow::Result<()> {
        let Self { viewer, projects, .. } = self;
        let (most, by_load) = match parents {
            Parents::Ordinary(most) => (i64::from(most), ""),
            Parents::Largest => (1, "count(*) DESC,"),
        };
        self.email = finder.one("SELECT email FROM users WHERE id = $1", [(*viewer).into()]).await?.unwrap_or_default();
        let sql = "SELECT DISTINCT w.id, w.slug FROM projects p JOIN workspaces w ON w.id = p.workspace_id \
                   WHERE p.id = ANY($1) ORDER BY w.id";
        let workspaces: Vec<(Uuid, String)> = finder.pairs(sql, [projects.clone().into()]).await?;
        (self.workspaces, self.slugs) = workspaces.into_iter().unzip();
        let sql = "SELECT m.id, m.user_id FROM members m WHERE m.workspace_id = ANY($1) AND m.deleted_at IS NULL \
                   ORDER BY m.user_id = $2 DESC, m.id LIMIT 50";
        let values = [self.workspaces.clone().into(), (*viewer).into()];
        let members: Vec<(Uuid, Uuid)> = finder.pairs(sql, values).await?;
        (self.members, self.users) = members.into_iter().unzip();
        let sql = format!(
            "SELECT t.assignee_id FROM tasks t WHERE t.project_id = ANY($1) AND t.deleted_at IS NULL \
             AND t.status <> 'completed' AND t.assignee_id IS NOT NULL \
             GROUP BY t.assignee_id ORDER BY {by_load} t.assignee_id LIMIT $2"
        );
        let assignees = finder.all(&sql, [projects.clone().into(), most.into()]).await?;
        self.assignees = if assignees.is_empty() { vec![*viewer] } else { assignees };
        let sql = "SELECT t.id FROM unnest($1::uuid[]) AS k (id) CROSS JOIN LATERAL (\
                   SELECT t.id FROM tasks t WHERE t.project_id = k.id AND t.deleted_at IS NULL ORDER BY \
                   (SELECT count(*) FROM comments c WHERE c.task_id = t.id AND c.deleted_at IS NULL) DESC, t.id LIMIT 1) t";
        self.tasks = finder.all(sql, [projects.clone().into()]).await?;
        let sql = "SELECT c.id FROM unnest($1::uuid[]) AS k (id) CROSS JOIN LATERAL (\
                   SELECT c.id FROM comments c WHERE c.task_id = k.id AND c.deleted_at IS NULL \
                   ORDER BY c.created_at, c.id LIMIT 1) c";
        let comments = finder.all(sql, [self.tasks.clone().into()]).await?;
        self.comments = if comments.is_empty() { vec![Uuid::nil()] } else { comments };
        Ok(())
    }

    async fn find_targets(&mut self, finder: &Finder<'_, impl ConnectionTrait>) -> anyhow::Result<()> {
        let viewer = self.viewer;
        let sql = "SELECT w.id, w.updated_at FROM members m JOIN workspaces w ON w.id = m.workspace_id \
                   WHERE w.id = ANY($1) AND m.user_id = $2 AND m.deleted_at IS NULL \
                   ORDER BY m.role = 'owner' DESC, m.role = 'admin' DESC, w.id LIMIT 1";
        self.workspace = finder.target(sql, [self.workspaces.clone().into(), viewer.into()]).await?;
        let in_workspace = self.workspace.id;
        let sql = "SELECT id, updated_at FROM projects WHERE id = ANY($1) AND workspace_id = $2 ORDER BY id LIMIT 1";
        self.project = finder.target(sql, [self.projects.clone().into(), in_workspace.into()]).await?;
        let in_project = self.project.id;
        let sql = "SELECT id, updated_at FROM tasks WHERE id = ANY($1) AND project_id = $2";
        self.task = finder.target(sql, [self.tasks.clone().into(), in_project.into()]).await?;
        let sql = "SELECT id, updated_at FROM comments WHERE task_id = $1 AND deleted_at IS NULL ORDER BY id LIMIT 1";
        self.comment = finder.target(sql, [self.task.id.into()]).await?;
        let sql = "SELECT id, updated_at FROM members WHERE workspace_id = $1 AND user_id <> $2 AND deleted_at IS NULL \
                   ORDER BY role = 'owner', id DESC LIMIT 1";
        self.member = finder.target(sql, [in_workspace.into(), viewer.into()]).await?;
        let sql =
            "SELECT id FROM tasks WHERE project_id = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id LIMIT 100";
        self.writable_tasks = finder.all(sql, [in_project.into()]).await?;

        let gone_workspace = "SELECT w.id FROM members m JOIN workspaces w ON w.id = m.workspace_id \
                              WHERE m.user_id = $1 AND m.deleted_at IS NULL AND w.deleted_at IS NOT NULL \
                              ORDER BY w.id LIMIT 1";
        let gone_project =
            "SELECT id FROM projects WHERE workspace_id = $1 AND deleted_at IS NOT NULL ORDER BY id LIMIT 1";
        let gone_task = "SELECT id FROM tasks WHERE project_id = $1 AND deleted_at IS NOT NULL ORDER BY id LIMIT 1";
        let gone_comment = "SELECT c.id FROM tasks t JOIN comments c ON c.task_id = t.id \
                            WHERE t.project_id = $1 AND t.deleted_at IS NULL AND c.deleted_at IS NOT NULL \
                            ORDER BY c.id LIMIT 1";
        self.deleted = Gone {
            workspace: finder.one(gone_workspace, [viewer.into()]).await?.unwrap_or_default(),
            project: finder.one(gone_project, [in_workspace.into()]).await?.unwrap_or_default(),
            task: finder.one(gone_task, [in_project.into()]).await?.unwrap_or_default(),
            comment: finder.one(gone_comment, [in_project.into()]).await?.unwrap_or_default(),
        };
        Ok(())
    }

    async fn find_middles(&mut self, finder: &Finder<'_, impl ConnectionTrait>) -> anyhow::Result<()> {
        let of_project = "tasks t WHERE t.project_id = k.parent AND t.deleted_at IS NULL";
        let of_workspace = "projects p JOIN tasks t ON t.project_id = p.id AND t.deleted_at IS NULL \
                            WHERE p.workspace_id = k.parent AND p.deleted_at IS NULL";
        let of_assignee = "tasks t WHERE t.assignee_id = k.parent AND t.deleted_at IS NULL AND t.status <> 'completed'";
        let comments = "comments t WHERE t.task_id = k.parent AND t.deleted_at IS NULL";
        let projects = "projects t WHERE t.workspace_id = k.parent AND t.deleted_at IS NULL";
        let members = "members t WHERE t.workspace_id = k.parent AND t.deleted_at IS NULL";
        let workspaces = "members t WHERE t.user_id = k.parent AND t.deleted_at IS NULL";
        let viewer = [self.viewer];
        let of_tasks = [(of_project, &self.projects), (of_workspace, &self.workspaces), (of_assignee, &self.assignees)];
        let mut lists: Vec<(&'static str, &str, &[Uuid])> = vec![
            ("comments.created_at", comments, &self.tasks),
            ("projects.created_at", projects, &self.workspaces),
            ("projects.name", projects, &self.workspaces),
            ("members.user_id", members, &self.workspaces),
            ("workspaces.id", workspaces, &viewer),
        ];
        for (list, parents) in of_tasks {
            lists.extend(
                ["tasks.created_at", "tasks.due_date", UNDATED].map(|column| (column, list, parents.as_slice())),
            );
        }
        let mut middles = HashMap::new();
        for (column, list, parents) in lists {
            middles.extend(finder.middles(column, list, parents).await?);
        }
        self.middles = middles;
        Ok(())
    }

    async fn find_values(&mut self, finder: &Finder<'_, impl ConnectionTrait>) -> anyhow::Result<()> {
        if let SortValue::Time(due_date) = self.middle("tasks.due_date.asc", self.project.id).value {
            self.due_date = due_date;
        }
        let sql = "SELECT max(created_at) FROM tasks WHERE project_id = ANY($1) AND deleted_at IS NULL";
        let newest: Option<Option<DateTime<Utc>>> = finder.one(sql, [self.projects.clone().into()]).await?;
        let newest = newest.flatten().unwrap_or_default();
        self.last_quarter = (newest - Duration::days(91), newest);
        let title = finder.one("SELECT title FROM tasks WHERE id = $1", [self.task.id.into()]).await?;
        self.word_of_task = longest_word(title);
        let name = finder.one("SELECT name FROM projects WHERE id = $1", [self.project.id.into()]).await?;
        self.word_of_project = longest_word(name);
        Ok(())
    }
}

/// In place of an order's column: the tasks without a date, in the order of their ids.
const UNDATED: &str = "tasks without a date";

/// A position in a list that has no row.
fn nowhere(column: &str) -> Position {
    let value = match column {
        UNDATED => SortValue::Null,
        "members.user_id" | "workspaces.id" => SortValue::Nothing,
        "projects.name" => SortValue::Text(String::new()),
        _ => SortValue::Time(DateTime::default()),
    };
    Position { value, id: Uuid::nil() }
}

fn longest_word(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    let word = text.split_whitespace().max_by_key(|word| word.len()).filter(|word| word.len() > 1);
    word.unwrap_or("nothing").to_owned()
}

/// Every live project that a user sees, once for each such user.
const VISIBLE: &str = "members m JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL \
    JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL \
    JOIN projects p ON p.workspace_id = w.id AND p.deleted_at IS NULL WHERE m.deleted_at IS NULL";

/// Asks a database for rows.
struct Finder<'a, C>(&'a C);

impl<C: ConnectionTrait> Finder<'_, C> {
    async fn rows(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<QueryResult>, DbErr> {
        self.0.query_all_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values)).await
    }

    /// The first column of every row.
    async fn all<T: TryGetable>(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<T>, DbErr> {
        self.rows(sql, values).await?.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// The first two columns of every row.
    async fn pairs<A: TryGetable, B: TryGetable>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<(A, B)>, DbErr> {
        let rows = self.rows(sql, values).await?;
        rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
    }

    /// The first column of the first row.
    async fn one<T: TryGetable>(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Option<T>, DbErr> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// A row by its id and its version; a missing one where there is none.
    async fn target(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Target, DbErr> {
        let pairs = self.pairs(sql, values).await?;
        Ok(pairs.into_iter().next().map(|(id, updated_at)| Target { id, updated_at }).unwrap_or_default())
    }

    async fn viewer_and_projects(&self, parents: Parents) -> anyhow::Result<(Uuid, Vec<Uuid>)> {
        let size = "(SELECT count(*) FROM tasks t WHERE t.project_id = p.id AND t.deleted_at IS NULL)";
        let found = match parents {
            Parents::Ordinary(most) => {
                let viewer = self.owner(None).await?;
                let sql = format!(
                    "WITH mine AS (SELECT p.id, {size} AS size FROM {VISIBLE} AND m.user_id = $1), \
                     median AS (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY size) AS size FROM mine WHERE size > 0) \
                     SELECT mine.id FROM mine, median WHERE mine.size > 0 ORDER BY abs(mine.size - median.size), mine.id \
                     LIMIT $2"
                );
                (viewer, self.all(&sql, [viewer.into(), i64::from(most).into()]).await?)
            }
            Parents::Largest => {
                let sql = format!("SELECT p.id FROM {VISIBLE} AND {size} > 0 ORDER BY {size} DESC, p.id LIMIT 1");
                let project: Option<Uuid> = self.one(&sql, []).await?;
                (self.owner(project).await?, project.into_iter().collect())
            }
        };
        anyhow::ensure!(!found.1.is_empty(), "there is no project with a task to look at: run `trellis seed` first");
        Ok(found)
    }

    /// Who owns the most projects, or the one project.
    async fn owner(&self, project: Option<Uuid>) -> Result<Uuid, DbErr> {
        let sql = format!(
            "SELECT m.user_id FROM {VISIBLE} AND ($1::uuid IS NULL OR p.id = $1) GROUP BY m.user_id \
             ORDER BY count(*) FILTER (WHERE m.role = 'owner') DESC, count(*) DESC, m.user_id LIMIT 1"
        );
        Ok(self.one(&sql, [project.into()]).await?.unwrap_or_default())
    }

    /// The position in the middle of each parent's list, a FROM and a WHERE, in the order of a column.
    async fn middles(
        &self,
        column: &'static str,
        list: &str,
        parents: &[Uuid],
    ) -> Result<HashMap<(&'static str, Uuid), Position>, DbErr> {
        let (value, id, condition) = match column {
            UNDATED => ("NULL", "t.id", "t.due_date IS NULL"),
            "tasks.due_date" => ("t.due_date", "t.id", "t.due_date IS NOT NULL"),
            "members.user_id" => ("NULL", "t.user_id", "true"),
            "workspaces.id" => ("NULL", "t.workspace_id", "true"),
            "projects.name" => ("t.name", "t.id", "true"),
            _ => ("t.created_at", "t.id", "true"),
        };
        let list = format!("{list} AND {condition}");
        let sql = format!(
            "SELECT k.parent, m.id, m.value FROM unnest($1::uuid[]) AS k (parent) CROSS JOIN LATERAL (\
             SELECT {id} AS id, {value} AS value FROM {list} ORDER BY 2, 1 \
             OFFSET (SELECT count(*) / 2 FROM {list}) LIMIT 1) m"
        );
        let rows = self.rows(&sql, [parents.to_vec().into()]).await?;
        let position = |row: &QueryResult| {
            let value = match nowhere(column).value {
                SortValue::Time(_) => SortValue::Time(row.try_get_by_index(2)?),
                SortValue::Text(_) => SortValue::Text(row.try_get_by_index(2)?),
                fixed => fixed,
            };
            Ok(((column, row.try_get_by_index(0)?), Position { value, id: row.try_get_by_index(1)? }))
        };
        rows.iter().map(position).collect()
    }
}
