//! The rules of the data layer, asked of PostgreSQL's own catalog.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};
use trellis::database::constraint::CONSTRAINTS;
use trellis::registry::{self, Parents, Registered, Sample};

use crate::harness::World;

/// Every table but the migrator's own.
const TABLES: [&str; 7] = ["comments", "idempotency_keys", "members", "projects", "tasks", "users", "workspaces"];

/// Every index but the primary keys, as PostgreSQL writes them.
const INDEXES: [&str; 19] = [
    "CREATE INDEX idx_comments_author ON public.comments USING btree (author_id) WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_comments_deleted ON public.comments USING btree (task_id, created_at, id) \
     WHERE (deleted_at IS NOT NULL)",
    "CREATE INDEX idx_comments_list ON public.comments USING btree (task_id, created_at, id) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_idempotency_keys_created ON public.idempotency_keys USING btree (created_at) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_members_user_workspace ON public.members USING btree (user_id, workspace_id) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_projects_created ON public.projects USING btree (workspace_id, created_at, id) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_projects_deleted ON public.projects USING btree (workspace_id, created_at, id) \
     WHERE (deleted_at IS NOT NULL)",
    "CREATE INDEX idx_projects_name ON public.projects USING btree (workspace_id, name, id) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_tasks_active ON public.tasks USING btree (project_id, due_date) \
     WHERE ((deleted_at IS NULL) AND (status <> 'completed'::text))",
    "CREATE INDEX idx_tasks_assignee ON public.tasks USING btree (assignee_id, due_date, id) \
     WHERE ((deleted_at IS NULL) AND (status <> 'completed'::text))",
    "CREATE INDEX idx_tasks_completed ON public.tasks USING btree (project_id, completed_at) \
     INCLUDE (created_at, assignee_id) WHERE ((deleted_at IS NULL) AND (status = 'completed'::text))",
    "CREATE INDEX idx_tasks_created ON public.tasks USING btree (project_id, created_at, id) \
     WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_tasks_deleted ON public.tasks USING btree (project_id, created_at, id) \
     WHERE (deleted_at IS NOT NULL)",
    "CREATE INDEX idx_tasks_due ON public.tasks USING btree (project_id, due_date, id) WHERE (deleted_at IS NULL)",
    "CREATE INDEX idx_tasks_list ON public.tasks USING btree (project_id, status, created_at, id) \
     INCLUDE (title, assignee_id, due_date, priority) WHERE (deleted_at IS NULL)",
    "CREATE UNIQUE INDEX idx_idempotency_keys_user_key ON public.idempotency_keys USING btree (user_id, key) \
     WHERE (deleted_at IS NULL)",
    "CREATE UNIQUE INDEX idx_members_workspace_user ON public.members USING btree (workspace_id, user_id) \
     WHERE (deleted_at IS NULL)",
    "CREATE UNIQUE INDEX idx_users_email_lower ON public.users USING btree (lower(email)) \
     WHERE (deleted_at IS NULL)",
    "CREATE UNIQUE INDEX idx_workspaces_slug ON public.workspaces USING btree (slug) WHERE (deleted_at IS NULL)",
];

/// Constraints without a row in the table of constraints, and why no input can violate them.
const INVIOLABLE: [(&str, &str); 17] = [
    ("ck_members_role", CLOSED),
    ("ck_projects_status", CLOSED),
    ("ck_tasks_completed_at", "the statement that writes the status writes the time"),
    ("ck_tasks_priority", CLOSED),
    ("ck_tasks_status", CLOSED),
    ("fk_comments_author_id", CALLER),
    ("fk_idempotency_keys_user_id", CALLER),
    ("fk_members_user_id", "the statement that writes the member has just found or made the user"),
    ("idx_idempotency_keys_user_key", CLAIM),
    ("idx_users_email_lower", CLAIM),
    ("pk_comments", MINTED),
    ("pk_idempotency_keys", MINTED),
    ("pk_members", MINTED),
    ("pk_projects", MINTED),
    ("pk_tasks", MINTED),
    ("pk_users", MINTED),
    ("pk_workspaces", MINTED),
];
const CLOSED: &str = "the schema knows the values";
const CALLER: &str = "the statement that writes looks the caller up";
const CLAIM: &str = "it is met by ON CONFLICT, which does not fail";
const MINTED: &str = "the server mints the id";

/// Every index but the primary keys.
const OF_INDEXES: &str = "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
    WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisprimary";

async fn rows(connection: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    connection.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap()
}

/// The first column of every row.
pub async fn texts(connection: &DatabaseConnection, sql: &str) -> Vec<String> {
    rows(connection, sql).await.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// The constraints of a kind, on Trellis's tables: `c` for checks, `f` for foreign keys, `p` for primary keys.
fn of_constraints(kind: char) -> String {
    format!(
        "FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid WHERE c.contype = '{kind}' \
         AND c.connamespace = 'public'::regnamespace AND t.relname <> 'seaql_migrations'"
    )
}

#[tokio::test]
async fn every_table_has_its_audit_columns() {
    let world = World::new().await;
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
        AND relkind IN ('r', 'p') AND relname <> 'seaql_migrations' ORDER BY 1";
    assert_eq!(texts(&world.sql, tables).await, TABLES);
    let columns = "SELECT format('%s %s %s %s', table_name, column_name, is_nullable, coalesce(column_default, '-')) \
        FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'timestamp with time zone' \
        AND column_name IN ('created_at', 'updated_at', 'deleted_at') ORDER BY table_name, column_name";
    let expected = TABLES.iter().flat_map(|table| {
        let of = move |rest: &str| format!("{table} {rest}");
        [of("created_at NO now()"), of("deleted_at YES -"), of("updated_at NO now()")]
    });
    assert_eq!(texts(&world.sql, columns).await, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn every_primary_key_is_a_uuid_that_the_server_makes() {
    let world = World::new().await;
    let keys = format!(
        "SELECT (SELECT format('%s %s %s %s %s', t.relname, c.conname, attname, atttypid::regtype, atthasdef) \
           FROM pg_attribute WHERE attrelid = t.oid AND attnum = ALL (c.conkey)) {} ORDER BY t.relname",
        of_constraints('p')
    );
    let expected = TABLES.map(|table| format!("{table} pk_{table} id uuid f"));
    assert_eq!(texts(&world.sql, &keys).await, expected);
}

#[tokio::test]
async fn every_foreign_key_has_an_index_and_a_name_and_restricts_deletion() {
    let world = World::new().await;
    let sql = format!(
        "SELECT t.relname::text, c.conname::text, pg_get_constraintdef(c.oid), cardinality(c.conkey), \
           (SELECT attname::text FROM pg_attribute WHERE attrelid = t.oid AND attnum = c.conkey[1]), \
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = c.conkey[1] \
             AND pg_get_expr(i.indpred, i.indrelid) ~ '^\\(+deleted_at IS NULL\\)') \
         {} ORDER BY 2",
        of_constraints('f')
    );
    let keys = rows(&world.sql, &sql).await;
    assert_eq!(keys.len(), 8);
    for key in keys {
        let text = |index| key.try_get_by_index::<String>(index).unwrap();
        let (table, name, definition, column) = (text(0), text(1), text(2), text(4));
        assert_eq!(key.try_get_by_index::<i32>(3).unwrap(), 1, "{name} has one column");
        assert_eq!(name, format!("fk_{table}_{column}"));
        assert!(definition.ends_with("(id) ON DELETE RESTRICT"), "{name}: {definition}");
        assert!(key.try_get_by_index::<bool>(5).unwrap(), "an index of live rows leads with the column of {name}");
    }
}

/// The indexes of foreign keys hold no deleted rows, so they serve joins, and not the check of a row that is removed for
/// good: that would read the whole table.
#[tokio::test]
async fn no_row_that_others_refer_to_is_ever_removed_for_good() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let workspace = world.workspace("home", user).await;
    world.fill(workspace, user, [1, 1, 1]).await;
    let sample = Sample::of(&world.sql, Parents::Largest).await.unwrap();
    let registered: Vec<Registered> = registry::representative(&sample).collect();
    assert!(registered.len() >= 300, "{}", registered.len());
    let removes = |one: &&Registered| one.statement.sql().contains("DELETE FROM");
    let removing: Vec<&str> = registered.iter().filter(removes).map(Registered::name).collect();
    assert_eq!(removing, ["idempotency_purge"]);
    let referred = format!("SELECT DISTINCT c.confrelid::regclass::text {} ORDER BY 1", of_constraints('f'));
    assert_eq!(texts(&world.sql, &referred).await, ["projects", "tasks", "users", "workspaces"]);
}

/// An index's key columns and predicate; two that share a table and a predicate may repeat each other.
struct Index {
    name: String,
    place: (String, String),
    columns: Vec<String>,
}

/// The pairs of indexes of which the first one's columns begin the second one's.
async fn repeated(connection: &DatabaseConnection) -> Vec<(String, String)> {
    let sql = "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, \
          coalesce(pg_get_expr(i.indpred, i.indrelid), ''), \
          ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n) \
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace";
    let index = |row: &QueryResult| Index {
        name: row.try_get_by_index(0).unwrap(),
        place: (row.try_get_by_index(1).unwrap(), row.try_get_by_index(2).unwrap()),
        columns: row.try_get_by_index(3).unwrap(),
    };
    let indexes: Vec<Index> = rows(connection, sql).await.iter().map(index).collect();
    assert!(indexes.len() >= INDEXES.len() + TABLES.len(), "{}", indexes.len());
    let pairs = indexes.iter().flat_map(|one| indexes.iter().map(move |other| (one, other)));
    let repeats = |one: &Index, other: &Index| {
        one.name != other.name && one.place == other.place && other.columns.starts_with(&one.columns)
    };
    pairs
        .filter(|(one, other)| repeats(one, other))
        .map(|(one, other)| (one.name.clone(), other.name.clone()))
        .collect()
}

#[tokio::test]
async fn no_index_repeats_another_one_or_its_beginning() {
    let world = World::new().await;
    assert_eq!(repeated(&world.sql).await, []);
    world.execute("CREATE INDEX superfluous ON tasks (project_id, status) WHERE deleted_at IS NULL").await;
    let pair = ("superfluous".to_owned(), "idx_tasks_list".to_owned());
    assert_eq!(repeated(&world.sql).await, [pair], "one would be noticed");
}

#[tokio::test]
async fn every_index_but_the_primary_keys_holds_live_rows_alone_or_deleted_ones_alone() {
    let world = World::new().await;
    let predicates = texts(&world.sql, &format!("SELECT pg_get_expr(i.indpred, i.indrelid) {OF_INDEXES}")).await;
    assert_eq!(predicates.len(), INDEXES.len());
    for predicate in predicates {
        let live = predicate == "(deleted_at IS NULL)" || predicate.starts_with("((deleted_at IS NULL) AND ");
        assert!(live || predicate == "(deleted_at IS NOT NULL)", "{predicate}");
    }
}

#[tokio::test]
async fn every_check_is_named_by_its_table_and_purpose() {
    let world = World::new().await;
    let sql = format!("SELECT format('%s %s', t.relname, c.conname) {} AND c.convalidated", of_constraints('c'));
    let checks = texts(&world.sql, &sql).await;
    assert_eq!(checks.len(), 14, "{checks:?}");
    for check in checks {
        let (table, name) = check.split_once(' ').unwrap();
        assert!(name.starts_with(&format!("ck_{table}_")), "{check}");
    }
}

#[tokio::test]
async fn tasks_and_comments_leave_room_on_their_pages_and_are_vacuumed_early() {
    let world = World::new().await;
    let sql = "SELECT format('%s %s', relname, array_to_string(reloptions, ' ')) FROM pg_class \
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reloptions IS NOT NULL ORDER BY 1";
    let settings = "fillfactor=90 autovacuum_vacuum_scale_factor=0.01 autovacuum_vacuum_insert_scale_factor=0.02 \
        autovacuum_analyze_scale_factor=0.02";
    let expected = ["comments", "tasks"].map(|table| format!("{table} {settings}"));
    assert_eq!(texts(&world.sql, sql).await, expected);
}

#[tokio::test]
async fn the_indexes_are_exactly_those_of_the_design() {
    let world = World::new().await;
    let definitions = format!("SELECT pg_get_indexdef(i.indexrelid) COLLATE \"C\" {OF_INDEXES} ORDER BY 1");
    assert_eq!(texts(&world.sql, &definitions).await, INDEXES);
    let unusable = format!("SELECT c.relname::text {OF_INDEXES} AND NOT (i.indisvalid AND i.indisready)");
    assert_eq!(texts(&world.sql, &unusable).await, [""; 0]);
}

#[tokio::test]
async fn every_constraint_is_told_to_the_user_unless_no_input_can_violate_it() {
    let world = World::new().await;
    let unique = texts(&world.sql, &format!("SELECT c.relname::text {OF_INDEXES} AND i.indisunique")).await;
    assert_eq!(unique.len(), 4, "{unique:?}");
    let mut all = unique;
    for (kind, number) in [('c', 14), ('f', 8), ('p', 7), ('u', 0), ('x', 0), ('t', 0)] {
        let found = texts(&world.sql, &format!("SELECT c.conname::text {}", of_constraints(kind))).await;
        assert_eq!(found.len(), number, "{found:?}");
        all.extend(found);
    }
    all.sort();
    let told = CONSTRAINTS.iter().map(|constraint| constraint.name);
    let mut known: Vec<&str> = told.chain(INVIOLABLE.map(|(name, _)| name)).collect();
    known.sort_unstable();
    assert_eq!(all, known, "each in one of the two, and neither names one that is gone");
}
