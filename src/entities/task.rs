//! A piece of work in a project, and its two projections: `Card` (what the covering index holds) and the full row.
#![expect(missing_docs, reason = "the derive makes public items that cannot be given comments")]

use sea_orm::entity::prelude::*;
use sea_orm::{Iterable, QueryResult};
use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    Todo,
    InProgress,
    InReview,
    Completed,
}

/// How urgent a task is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Priority {
    Low,
    Medium,
    High,
    Urgent,
}

/// A row of `tasks`; the card's columns come first.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "tasks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub project_id: Uuid,
    pub status: Status,
    pub created_at: DateTimeUtc,
    pub title: String,
    pub assignee_id: Option<Uuid>,
    pub due_date: Option<DateTimeUtc>,
    pub priority: Priority,
    pub description: Option<String>,
    /// Set exactly while the status is `Completed`.
    pub completed_at: Option<DateTimeUtc>,
    /// Strictly growing for the row: the token of optimistic concurrency.
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    #[sea_orm(belongs_to, from = "project_id", to = "id")]
    pub project: BelongsTo<super::project::Entity>,
    #[sea_orm(belongs_to, from = "assignee_id", to = "id")]
    pub assignee: BelongsTo<Option<super::user::Entity>>,
    #[sea_orm(has_many)]
    pub comments: HasMany<super::comment::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// How many of the columns belong to the card.
const CARD_COLUMNS: usize = 8;

/// Which columns of a task a statement reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// Exactly what the covering index holds: 137 buffers for 800 rows where the full row takes 863.
    Card,
    /// Every column.
    Full,
}

impl Projection {
    /// The select list, each column behind `alias`.
    #[must_use]
    pub fn columns(self, alias: &str) -> String {
        let count = match self {
            Self::Card => CARD_COLUMNS,
            Self::Full => usize::MAX,
        };
        super::columns(alias, Column::iter().take(count))
    }
}

/// A task as it was read: the card always, the detail where the projection was `Full`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub card: Card,
    pub detail: Option<Detail>,
}

/// The columns that the covering index holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub id: Uuid,
    pub project_id: Uuid,
    pub status: Status,
    pub created_at: DateTimeUtc,
    pub title: String,
    pub assignee_id: Option<Uuid>,
    pub due_date: Option<DateTimeUtc>,
    pub priority: Priority,
}

/// The columns that only the table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub description: Option<String>,
    pub completed_at: Option<DateTimeUtc>,
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
}

impl Row {
    /// Reads a row whose columns start at `at`.
    ///
    /// # Errors
    /// A column is missing or of another type.
    pub fn decode(row: &QueryResult, at: usize, projection: Projection) -> Result<Self, DbErr> {
        let card = Card {
            id: row.try_get_by_index(at)?,
            project_id: row.try_get_by_index(at + 1)?,
            status: row.try_get_by_index(at + 2)?,
            created_at: row.try_get_by_index(at + 3)?,
            title: row.try_get_by_index(at + 4)?,
            assignee_id: row.try_get_by_index(at + 5)?,
            due_date: row.try_get_by_index(at + 6)?,
            priority: row.try_get_by_index(at + 7)?,
        };
        let detail = match projection {
            Projection::Card => None,
            Projection::Full => Some(Detail {
                description: row.try_get_by_index(at + CARD_COLUMNS)?,
                completed_at: row.try_get_by_index(at + CARD_COLUMNS + 1)?,
                updated_at: row.try_get_by_index(at + CARD_COLUMNS + 2)?,
                deleted_at: row.try_get_by_index(at + CARD_COLUMNS + 3)?,
            }),
        };
        Ok(Self { card, detail })
    }
}
