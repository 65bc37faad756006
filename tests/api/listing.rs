//! Connections to page through, and the walk that checks each page of one.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, World};

/// A connection: a document with the variables of a page, and where the connection is in its answer.
#[derive(Clone, Debug)]
pub struct List {
    document: String,
    /// Where the connection is in the answer's data.
    pub pointer: &'static str,
    variables: Value,
}

impl List {
    pub fn new(parent: &str, declared: &str, pointer: &'static str, variables: Value) -> Self {
        let name = pointer.rsplit('/').next().unwrap();
        let extra = if name == "tasks" { ", filter: $filter, orderBy: $order" } else { "" };
        let page = "totalCount nodes { id } edges { cursor node { id } } \
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }";
        let connection =
            format!("{name}(first: $first, after: $after, last: $last, before: $before{extra}) {{ {page} }}");
        let document = format!(
            "query($first: Int, $after: Cursor, $last: Int, $before: Cursor{declared}) {{ {} }}",
            parent.replace("{}", &connection)
        );
        Self { document, pointer, variables }
    }

    /// A list below a root field that takes an id.
    pub fn below(root: &str, pointer: &'static str, id: Uuid) -> Self {
        Self::new(&format!("{root}(id: $id) {{ {{}} }}"), ", $id: ID!", pointer, json!({ "id": id }))
    }

    /// The same in an order of its own.
    pub fn ordered(root: &str, pointer: &'static str, id: Uuid, kind: &str, order: Order) -> Self {
        let mut list = Self::below(root, pointer, id);
        list.document = list.document.replacen("$first: Int,", &format!("$order: {kind}, $first: Int,"), 1).replacen(
            "before: $before)",
            "before: $before, orderBy: $order)",
            1,
        );
        list.variables["order"] = json!({ "field": order.0, "direction": order.1 });
        list
    }

    pub fn tasks(root: &str, id: Uuid, order: Order, filter: Option<&[&str]>) -> Self {
        Self::tasks_where(root, id, order, &json!(filter.map(|statuses| json!({ "status": statuses }))))
    }

    pub fn tasks_where(root: &str, id: Uuid, order: Order, filter: &Value) -> Self {
        let pointer = if root == "project" { "/project/tasks" } else { "/workspace/tasks" };
        let parent = format!("{root}(id: $id) {{ {{}} }}");
        let order = json!({ "field": order.0, "direction": order.1 });
        let variables = json!({ "id": id, "order": order, "filter": filter });
        Self::new(&parent, ", $id: ID!, $filter: TaskFilter, $order: TaskOrder", pointer, variables)
    }

    pub async fn ask(&self, world: &World, user: Uuid, page: &Value) -> Answer {
        let mut variables = self.variables.clone();
        for (name, value) in page.as_object().unwrap() {
            variables[name] = value.clone();
        }
        world.ask(user, &self.document, variables).await
    }

    pub async fn page(&self, world: &World, user: Uuid, page: &Value) -> Value {
        self.ask(world, user, page).await.data().pointer(self.pointer).unwrap().clone()
    }

    /// Walks the list in pages of a size, and checks each page against the `expected` ids.
    async fn check_walk(&self, (world, user): (&World, Uuid), size: usize, walk: Walk, expected: &[Uuid]) {
        let mut cursor = Value::Null;
        let mut seen = 0;
        loop {
            let arguments = match walk {
                Walk::Forward => json!({ "first": size, "after": cursor }),
                Walk::Backward => json!({ "last": size, "before": cursor }),
            };
            let page = self.page(world, user, &arguments).await;
            let size = size.min(expected.len() - seen);
            let start = if walk == Walk::Forward { seen } else { expected.len() - seen - size };
            let rows = &expected[start..start + size];
            let about = || format!("{arguments} of {}", self.variables);
            assert_eq!(ids(&page["nodes"], "/id"), rows, "{}", about());
            assert_eq!(ids(&page["edges"], "/node/id"), rows, "{}", about());
            assert_eq!(page["totalCount"], json!(expected.len()), "{}", about());
            let cursors: Vec<&Value> = page["edges"].as_array().unwrap().iter().map(|edge| &edge["cursor"]).collect();
            assert_eq!(
                page["pageInfo"],
                json!({
                    "hasNextPage": start + size < expected.len(),
                    "hasPreviousPage": start > 0,
                    "startCursor": cursors.first(),
                    "endCursor": cursors.last(),
                }),
                "{}",
                about()
            );
            seen += size;
            if seen == expected.len() {
                return;
            }
            let (next, end) = match walk {
                Walk::Forward => ("hasNextPage", "endCursor"),
                Walk::Backward => ("hasPreviousPage", "startCursor"),
            };
            assert_eq!(page["pageInfo"][next], true, "{}", about());
            cursor = page["pageInfo"][end].clone();
        }
    }

    pub async fn check(&self, world: &World, user: Uuid, size: usize, expected: &[Uuid]) {
        self.check_walk((world, user), size, Walk::Forward, expected).await;
        self.check_walk((world, user), size, Walk::Backward, expected).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Forward,
    Backward,
}

pub fn ids(rows: &Value, pointer: &str) -> Vec<Uuid> {
    let rows = rows.as_array().unwrap();
    rows.iter().map(|row| row.pointer(pointer).unwrap().as_str().unwrap().parse().unwrap()).collect()
}

pub type Order = (&'static str, &'static str);

pub const ORDERS: [Order; 4] =
    [("CREATED_AT", "ASC"), ("CREATED_AT", "DESC"), ("DUE_DATE", "ASC"), ("DUE_DATE", "DESC")];
/// The ids that a statement finds.
pub async fn found(world: &World, sql: &str) -> Vec<Uuid> {
    let rows = world.sql.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// A project of `count` tasks, and its owner.
pub async fn project_of(world: &World, count: u32) -> (Uuid, Uuid) {
    let ada = world.user("ada").await;
    let home = world.workspace("home", ada).await;
    world.fill(home, ada, [1, count, 0]).await;
    (ada, found(world, "SELECT id FROM projects").await[0])
}
