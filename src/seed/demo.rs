//! The demo: small, believable, the same each time except for ids, and placed around the present day.

use anyhow::Context;
use chrono::{DateTime, Duration, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, PaginatorTrait, TransactionTrait};
use uuid::Uuid;

use crate::clock;
use crate::database::administration;
use crate::entities::member::Role;
use crate::entities::task::{Priority, Status};
use crate::entities::{comment, member, project, task, user, workspace};

/// The demo's user: owner of the first workspace, and a member of the others.
pub const EMAIL: &str = "ada@example.com";

const PEOPLE: [&str; 10] =
    ["Ada", "Grace", "Alan", "Katherine", "Edsger", "Barbara", "Donald", "Margaret", "Claude", "Hedy"];

/// A name, its slug, who is in it with which role, and its projects.
struct Plan {
    name: &'static str,
    slug: &'static str,
    members: &'static [(usize, Role)],
    projects: &'static [(&'static str, project::Status)],
}

const PLANS: [Plan; 3] = [
    Plan {
        name: "Aurora Maps",
        slug: "aurora-maps",
        members: &[(0, Role::Owner), (1, Role::Admin), (2, Role::Member), (3, Role::Member), (4, Role::Viewer)],
        projects: &[
            ("Offline maps", project::Status::Active),
            ("Route planner", project::Status::Active),
            ("Partner API", project::Status::Active),
            ("Rebrand", project::Status::Completed),
        ],
    },
    Plan {
        name: "Harbour Robotics",
        slug: "harbour-robotics",
        members: &[(5, Role::Owner), (0, Role::Member), (6, Role::Member), (7, Role::Member)],
        projects: &[
            ("Gripper firmware", project::Status::Active),
            ("Fleet dashboard", project::Status::Paused),
            ("Safety case", project::Status::Active),
        ],
    },
    Plan {
        name: "Field Notes",
        slug: "field-notes",
        members: &[(8, Role::Owner), (9, Role::Admin), (0, Role::Viewer)],
        projects: &[("Autumn issue", project::Status::Active), ("Archive scans", project::Status::Archived)],
    },
];

const TASKS: usize = 300;
/// How far back the history goes.
const DAYS: i64 = 90;

const VERBS: [&str; 8] = ["Draft", "Review", "Fix", "Measure", "Document", "Simplify", "Test", "Replace"];
const OBJECTS: [&str; 12] = [
    "the sign-in page",
    "the nightly export",
    "the retry policy",
    "the search index",
    "the error messages",
    "the upload form",
    "the billing summary",
    "the audit trail",
    "the onboarding mail",
    "the tile cache",
    "the release notes",
    "the access rules",
];
const REMARKS: [&str; 6] = [
    "I can take this one on Thursday.",
    "Reproduced it: it happens only with an empty list.",
    "Numbers before and after are in the description.",
    "Please look at the second commit first.",
    "Blocked until the new certificates are there.",
    "Shipped to staging, looks good.",
];

/// Fills a database that has no users, in one transaction. Says whether it did.
///
/// # Errors
/// The database cannot be reached, or has no schema yet; nothing was written then.
pub async fn run(address: &str) -> anyhow::Result<bool> {
    let connection = administration::connect(address).await.context("the database cannot be reached")?;
    let transaction = connection.begin().await?;
    let users = user::Entity::find().count(&transaction).await.context("run `trellis migrate up` first")?;
    let is_empty = users == 0;
    if is_empty {
        fill(&transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(is_empty)
}

async fn fill(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let began = clock::now() - Duration::days(DAYS);
    let people: Vec<Uuid> = (0..PEOPLE.len()).map(|index| clock::id_at(at(began, index))).collect();
    let users = PEOPLE.iter().zip(&people).enumerate().map(|(index, (name, id))| user::ActiveModel {
        id: Set(*id),
        email: Set(format!("{}@example.com", name.to_lowercase())),
        name: Set((*name).to_owned()),
        created_at: Set(at(began, index)),
        updated_at: Set(at(began, index)),
        deleted_at: Set(None),
    });
    user::Entity::insert_many(users).exec_without_returning(transaction).await?;

    let mut homes = Vec::new();
    for (index, plan) in PLANS.iter().enumerate() {
        homes.extend(fill_workspace(transaction, plan, at(began, 60 + index), &people).await?);
    }
    let tasks: Vec<task::ActiveModel> = (0..TASKS).map(|index| demo_task(index, began, &homes)).collect();
    let comments: Vec<comment::ActiveModel> =
        tasks.iter().enumerate().flat_map(|(index, task)| demo_comments(index, task, &homes)).collect();
    task::Entity::insert_many(tasks).exec_without_returning(transaction).await?;
    comment::Entity::insert_many(comments).exec_without_returning(transaction).await?;
    Ok(())
}

/// Some minutes after an instant: rows of one kind have different ages.
fn at(instant: DateTime<Utc>, minutes: usize) -> DateTime<Utc> {
    instant + Duration::minutes(i64::try_from(minutes).unwrap_or_default())
}

/// A project, and who may work in it.
struct Home {
    project_id: Uuid,
    writers: Vec<Uuid>,
}

async fn fill_workspace(
    transaction: &DatabaseTransaction,
    plan: &Plan,
    made: DateTime<Utc>,
    people: &[Uuid],
) -> Result<Vec<Home>, DbErr> {
    let workspace_id = clock::id_at(made);
    let row = workspace::ActiveModel {
        id: Set(workspace_id),
        name: Set(plan.name.to_owned()),
        slug: Set(plan.slug.to_owned()),
        created_at: Set(made),
        updated_at: Set(made),
        deleted_at: Set(None),
    };
    workspace::Entity::insert(row).exec_without_returning(transaction).await?;

    let people = plan.members.iter().filter_map(|(person, role)| Some((*people.get(*person)?, *role)));
    let people: Vec<(Uuid, Role)> = people.collect();
    let members = people.iter().map(|(user_id, role)| member::ActiveModel {
        id: Set(clock::id_at(made)),
        workspace_id: Set(workspace_id),
        user_id: Set(*user_id),
        role: Set(*role),
        joined_at: Set(made),
        created_at: Set(made),
        updated_at: Set(made),
        deleted_at: Set(None),
    });
    member::Entity::insert_many(members).exec_without_returning(transaction).await?;

    let mut homes = Vec::new();
    for (index, (name, status)) in plan.projects.iter().enumerate() {
        let made = at(made, 10 * (index + 1));
        let project_id = clock::id_at(made);
        let row = project::ActiveModel {
            id: Set(project_id),
            workspace_id: Set(workspace_id),
            name: Set((*name).to_owned()),
            status: Set(*status),
            created_at: Set(made),
            updated_at: Set(made),
            deleted_at: Set(None),
        };
        project::Entity::insert(row).exec_without_returning(transaction).await?;
        let writers =
            people.iter().filter(|(_, role)| role.is_at_least(Role::Member)).map(|(user_id, _)| *user_id).collect();
        homes.push(Home { project_id, writers });
    }
    Ok(homes)
}

/// An element of a list, whatever the number: the demo's stand-in for chance, the same each time.
fn pick<T: Copy>(list: &[T], number: usize) -> Option<T> {
    list.get(number.checked_rem(list.len())?).copied()
}

/// The home of the task with this number: the first projects get the most.
fn home(homes: &[Home], index: usize) -> Option<&Home> {
    homes.get((index * index / 7 + index) % homes.len().max(1) * (index % 3 + 1) / 3)
}

fn demo_task(index: usize, began: DateTime<Utc>, homes: &[Home]) -> task::ActiveModel {
    let home = home(homes, index);
    // From five days after the beginning to today.
    let made = at(began + Duration::days(5), index * 24 * 60 * 85 / TASKS);
    let status = match index % 10 {
        0..=2 => Status::Todo,
        3 | 4 => Status::InProgress,
        5 => Status::InReview,
        _ => Status::Completed,
    };
    let completed_at = (status == Status::Completed).then(|| (made + Duration::hours(30)).min(clock::now()));
    // From three weeks ago to five weeks ahead; every fourth has no date.
    let days = i64::try_from(index * 11 % 56).unwrap_or_default() - 21;
    let due_date = (index % 4 != 3).then(|| clock::now() + Duration::days(days));
    let title = format!(
        "{} {}",
        pick(&VERBS, index * 5 + index / 8).unwrap_or_default(),
        pick(&OBJECTS, index * 7 + index / 12).unwrap_or_default()
    );
    task::ActiveModel {
        id: Set(clock::id_at(made)),
        project_id: Set(home.map(|home| home.project_id).unwrap_or_default()),
        status: Set(status),
        created_at: Set(made),
        title: Set(title.clone()),
        assignee_id: Set(home.filter(|_| index % 5 != 4).and_then(|home| pick(&home.writers, index * 3 + index / 10))),
        due_date: Set(due_date),
        priority: Set(pick(
            &[Priority::Medium, Priority::High, Priority::Low, Priority::Medium, Priority::Urgent],
            index,
        )
        .unwrap_or(Priority::Medium)),
        description: Set(index.is_multiple_of(3).then(|| format!("{title}: see the notes of the last review."))),
        completed_at: Set(completed_at),
        updated_at: Set(completed_at.unwrap_or(made)),
        deleted_at: Set(None),
    }
}

/// No comment to three for a task.
fn demo_comments(index: usize, task: &task::ActiveModel, homes: &[Home]) -> Vec<comment::ActiveModel> {
    let (Some(task_id), Some(made)) = (task.id.try_as_ref(), task.created_at.try_as_ref()) else { return Vec::new() };
    let writers = home(homes, index).map(|home| home.writers.as_slice()).unwrap_or_default();
    let remark = |number: usize| {
        let said = (at(*made, 45 * (number + 1))).min(clock::now());
        Some(comment::ActiveModel {
            id: Set(clock::id_at(said)),
            task_id: Set(*task_id),
            author_id: Set(pick(writers, index + number)?),
            body: Set(pick(&REMARKS, index * 5 + number)?.to_owned()),
            created_at: Set(said),
            updated_at: Set(said),
            deleted_at: Set(None),
        })
    };
    (0..index % 4).filter_map(remark).collect()
}
