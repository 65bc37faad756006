//! What is expected of each statement, and every case where PostgreSQL does more than a rule of the design allows, with
//! the reason.

use trellis::plan::Node;

use crate::observation::Observed;

/// Tables that grow with use, without an end.
pub const GROWING: [&str; 3] = ["tasks", "comments", "idempotency_keys"];

/// A table of as many pages is read whole about as quickly as through an index, so PostgreSQL may. With a million tasks
/// the members have 54, the users 28, the projects 7, the workspaces 1.
pub const SMALL_TABLE_PAGES: i32 = 32;

/// The words of the registry for filters.
pub const FILTERS: [&str; 13] = [
    "status",
    "open status",
    "priority",
    "assignee",
    "assignee or nobody",
    "due before",
    "due after",
    "overdue",
    "not overdue",
    "created before",
    "created after",
    "part of the title",
    "part of the name",
];

/// Lists that an index gives in order, with the filters that the same index serves.
///
/// The others are these, and are held to no bound but on their indexes, since they grow with the list:
/// - by due date, of deleted tasks: `idx_tasks_deleted` is by age, so a project's deleted tasks are read and sorted;
/// - by due date, of open tasks: `idx_tasks_active` has no id, so at least the tasks of a day are sorted, or all open ones
///   of the project, on `idx_tasks_list` alone;
/// - by age, of assignees: `idx_tasks_assignee` is by due date, so all open tasks of the user are read and sorted;
/// - by due date, of assignees: each task's project is looked up on the way, or those of all open tasks of the user at
///   once, and these are sorted;
/// - with a filter that is in no index's key: rows are read in order until the page is full, or all and sorted.
const IN_ORDER: [(&str, &[&str]); 10] = [
    ("comments_of_task", &[]),
    ("members_of_workspace", &[]),
    ("projects_of_workspace_by_created_at", &[]),
    ("projects_of_workspace_by_name", &[]),
    ("tasks_of_column_by_created_at", &[]),
    ("tasks_of_project_by_due_date", &["due before", "due after"]),
    ("tasks_of_workspace_by_due_date", &["due before", "due after"]),
    ("tasks_of_project_by_created_at", &["status", "open status", "created before", "created after"]),
    ("tasks_of_workspace_by_created_at", &["status", "open status", "created before", "created after"]),
    ("workspaces_of_user", &[]),
];

/// Whether an index gives a page in order.
pub fn is_in_order(observed: &Observed) -> bool {
    let served = IN_ORDER.iter().find(|(name, _)| *name == observed.name);
    let is_role = observed.has("role");
    let is_due = observed.name.ends_with("by_due_date");
    let is_trash_by_due_date = is_due && ["with deleted", "only deleted"].iter().any(|words| observed.has(words));
    served.is_some_and(|(_, served)| {
        !is_role && !is_trash_by_due_date && observed.filters().iter().all(|filter| served.contains(filter))
    })
}

/// How many pages PostgreSQL reads for one: they are merged.
pub fn merged_pages(observed: &Observed, projects_of_workspace: i64) -> f64 {
    let of_deleted = if observed.has("with deleted") { 2 } else { 1 };
    let of_statuses = if observed.has("status") || observed.has("open status") { 2 } else { 1 };
    let of_parent = match observed.name {
        "tasks_of_workspace_by_created_at" | "tasks_of_workspace_by_due_date" => projects_of_workspace,
        // A membership, and its workspace.
        "workspaces_of_user" => 2,
        _ => 1,
    };
    f64::from(i32::try_from(of_deleted * of_statuses * of_parent).unwrap())
}

/// The nodes that read a table that grows.
pub fn scans(observed: &Observed) -> impl Iterator<Item = &Node> {
    let is_scan = |node: &&Node| node.table.as_deref().is_some_and(|table| GROWING.contains(&table));
    observed.nodes().into_iter().filter(is_scan)
}

/// Pages of tables that grow, and of their indexes, that a parent's page touches.
pub fn buffers(observed: &Observed) -> f64 {
    let buffers: u64 = scans(observed).map(|node| node.buffers.shared()).sum();
    f64::from(u32::try_from(buffers).unwrap()) / observed.keys()
}

/// How often a parent's page goes from the root of an index to a leaf.
pub fn descents(observed: &Observed) -> f64 {
    scans(observed).map(|node| node.loops).sum::<f64>() / observed.keys()
}

/// What the design says to read from an index alone.
pub fn is_covered(observed: &Observed) -> bool {
    let of_column = observed.name == "tasks_of_column_by_created_at" && observed.has("card");
    let of_statuses = is_in_order(observed)
        && observed.name.starts_with("tasks_of_")
        && observed.has("card")
        && ["status", "open status"].iter().any(|filter| observed.has(filter));
    let counted = ["task_count_of_project", "task_count_of_workspace", "task_count_of_column", "comment_count_of_task"];
    // With an assignee, PostgreSQL may intersect with the index of assignees; between two due dates of which next to
    // nothing is left, it looks up the status of each. Both read the table.
    let is_narrow = ["assignee", "assignee or nobody"].iter().any(|filter| observed.has(filter))
        || observed.name == "task_count_of_column" && observed.has("due before") && observed.has("due after");
    let is_count = counted.contains(&observed.name) && !is_narrow;
    let of_report = ["tally_", "assignees_of_", "projects_of_report", "overdue_", "throughput_", "cycle_time_"];
    of_column && observed.filters().is_empty()
        || of_statuses
        || is_count
        || of_report.iter().any(|prefix| observed.name.starts_with(prefix))
}

const LIST: &str = "idx_tasks_list";
const CREATED: &str = "idx_tasks_created";
const ACTIVE: &str = "idx_tasks_active";
const DUE: &str = "idx_tasks_due";
const DELETED: &str = "idx_tasks_deleted";
const ASSIGNEE: &str = "idx_tasks_assignee";
const COMPLETED: &str = "idx_tasks_completed";
const TASK: &str = "pk_tasks";
const COMMENT: &str = "pk_comments";
const MEMBERSHIP: &str = "idx_members_user_workspace";
/// The same pair the other way round, and as good for who has both: 21 and 22 buffers for seven workspaces.
const MEMBERS: &str = "idx_members_workspace_user";

/// Statements that find their rows by the caller's memberships.
const BY_MEMBERSHIP: [&str; 12] = [
    "member_add",
    "project_create",
    "project_delete",
    "project_restore",
    "project_update",
    "task_create",
    "workspace_by_id",
    "workspace_by_slug",
    "workspace_count_of_user",
    "workspace_delete",
    "workspace_update",
    "workspaces_of_user",
];

/// The indexes of tasks and comments through which a statement may go, and one of which it does; for other statements one
/// of those that it uses. Nothing where it reads no table, or one that is small.
pub fn indexes(observed: &Observed) -> &'static [&'static str] {
    let (only_deleted, with_deleted) = (observed.has("only deleted"), observed.has("with deleted"));
    match observed.name {
        "comment_count_of_task" | "comments_of_task" if only_deleted => &["idx_comments_deleted"],
        "comment_count_of_task" | "comments_of_task" if with_deleted => &["idx_comments_list", "idx_comments_deleted"],
        "comment_count_of_task" | "comments_of_task" => &["idx_comments_list"],
        "comment_by_id" | "comment_delete" | "comment_restore" | "comment_update" => &[COMMENT, TASK],
        "comment_create" | "task_by_id" | "task_delete" | "task_restore" | "task_update" | "tasks_update" => &[TASK],
        "assignees_of_project"
        | "assignees_of_workspace"
        | "projects_of_report"
        | "tally_of_project"
        | "tally_of_workspace" => &[LIST],
        "tasks_of_column_by_created_at" if observed.filters().is_empty() => &[LIST],
        "tasks_of_column_by_created_at" => &[LIST, DUE],
        "cycle_time_of_project" | "cycle_time_of_workspace" => &[COMPLETED],
        "overdue_of_project" | "overdue_of_workspace" => &[ACTIVE],
        "throughput_of_project" | "throughput_of_workspace" => &[CREATED, COMPLETED],
        // As good on 18, which skips to the rows of each status: 1,054 buffers instead of 1,207.
        "task_count_of_assignee" if observed.has("created after") => &[ASSIGNEE, LIST],
        "task_count_of_assignee" | "tasks_of_assignee_by_created_at" | "tasks_of_assignee_by_due_date" => &[ASSIGNEE],
        "tasks_of_project_by_created_at"
        | "tasks_of_workspace_by_created_at"
        | "tasks_of_project_by_due_date"
        | "tasks_of_workspace_by_due_date"
            if only_deleted =>
        {
            &[DELETED]
        }
        "tasks_of_project_by_created_at" | "tasks_of_workspace_by_created_at" if with_deleted => &[CREATED, DELETED],
        "tasks_of_project_by_created_at" | "tasks_of_workspace_by_created_at" if observed.filters().is_empty() => {
            &[CREATED]
        }
        "tasks_of_project_by_created_at" | "tasks_of_workspace_by_created_at" => &[LIST, CREATED, DUE, ASSIGNEE],
        "task_count_of_project" | "task_count_of_workspace" if only_deleted => &[DELETED],
        "task_count_of_project" | "task_count_of_workspace" if with_deleted => &[LIST, CREATED, DUE, DELETED],
        "task_count_of_project" | "task_count_of_workspace" | "task_count_of_column" => {
            &[LIST, CREATED, DUE, ACTIVE, ASSIGNEE]
        }
        "tasks_of_project_by_due_date" | "tasks_of_workspace_by_due_date" if with_deleted => &[DUE, DELETED],
        "tasks_of_project_by_due_date" | "tasks_of_workspace_by_due_date" if is_in_order(observed) => &[DUE],
        "tasks_of_project_by_due_date" | "tasks_of_workspace_by_due_date" => &[DUE, LIST, ACTIVE, ASSIGNEE],
        "idempotency_answer" => &["idx_idempotency_keys_user_key"],
        "idempotency_keep" => &["pk_idempotency_keys"],
        "idempotency_purge" => &["idx_idempotency_keys_created", "pk_idempotency_keys"],
        "user_by_email" => &["idx_users_email_lower"],
        "members_of_workspace" => &[MEMBERS],
        "viewer_role" => &[MEMBERSHIP, MEMBERS],
        name if BY_MEMBERSHIP.contains(&name) => &[MEMBERSHIP],
        "member_remove" | "member_turn" | "member_update" => &["pk_members"],
        _ => &[],
    }
}
