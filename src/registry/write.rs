//! Every statement of every mutation, with input that succeeds on the sample's rows.

use chrono::{DateTime, Utc};

use super::sample::Target;
use super::{Kind, Registered, Sample};
use crate::clock;
use crate::commands::{Change, comment, member, project, task, workspace};
use crate::database::Command;
use crate::entities::member::Role;
use crate::entities::project::Status as ProjectStatus;
use crate::entities::task::{Priority, Status};

/// Every statement of every command.
pub(super) fn statements(sample: &Sample) -> Vec<Registered> {
    let mut all = creations(sample);
    all.extend(changes("", sample, |_| None));
    all.extend(changes("of an expected version", sample, |target| Some(target.updated_at)));
    all.extend(deletions("", sample, |_| None));
    all.extend(deletions("of an expected version", sample, |target| Some(target.updated_at)));
    all.extend(restorations(sample));
    all
}

/// What a command sends.
fn of(variant: &str, command: &impl Command) -> Vec<Registered> {
    let statements = command.exchange().into_statements();
    statements.map(|statement| Registered { kind: Kind::Write, variant: variant.to_owned(), statement }).collect()
}

fn creations(sample: &Sample) -> Vec<Registered> {
    let (viewer, name) = (sample.viewer, "Registered".to_owned());
    let (workspace_id, project_id, task_id) = (sample.workspace.id, sample.project.id, sample.task.id);
    let all = [
        of("", &workspace::Create { viewer, name: name.clone(), slug: viewer.simple().to_string() }),
        of(
            "",
            &member::Add {
                viewer,
                workspace_id,
                email: format!("{}@example.com", clock::new_id()),
                name: None,
                role: Role::Viewer,
            },
        ),
        of("", &project::Create { viewer, workspace_id, name: name.clone(), status: ProjectStatus::Active }),
        of(
            "",
            &task::Create {
                viewer,
                project_id,
                title: name.clone(),
                description: None,
                status: Status::Todo,
                priority: Priority::Medium,
                due_date: Some(sample.due_date),
                assignee_id: Some(viewer),
            },
        ),
        of("", &comment::Create { viewer, task_id, body: name }),
    ];
    all.concat()
}

type Expected = fn(&Target) -> Option<DateTime<Utc>>;

fn changes(variant: &str, sample: &Sample, expected: Expected) -> Vec<Registered> {
    let Sample { viewer, workspace, member, project, task, comment, .. } = sample;
    let (viewer, name) = (*viewer, Some("Changed".to_owned()));
    let all = [
        of(
            variant,
            &workspace::Update {
                viewer,
                id: workspace.id,
                name: name.clone(),
                slug: None,
                expected: expected(workspace),
            },
        ),
        of(variant, &member::Update { viewer, id: member.id, role: Role::Viewer, expected: expected(member) }),
        of(
            variant,
            &project::Update { viewer, id: project.id, name: name.clone(), status: None, expected: expected(project) },
        ),
        of(
            variant,
            &task::Update {
                viewer,
                id: task.id,
                project_id: Some(project.id),
                title: name.clone(),
                description: Change::Set(None),
                status: Some(Status::Completed),
                priority: None,
                due_date: Change::Keep,
                assignee_id: Change::Set(Some(viewer)),
                expected: expected(task),
            },
        ),
        of(
            variant,
            &comment::Update { viewer, id: comment.id, body: name.unwrap_or_default(), expected: expected(comment) },
        ),
    ];
    all.concat()
}

fn deletions(variant: &str, sample: &Sample, expected: Expected) -> Vec<Registered> {
    let Sample { viewer, workspace, member, project, task, comment, .. } = sample;
    let all = [
        of(variant, &workspace::Delete::new(*viewer, workspace.id, expected(workspace))),
        of(variant, &member::Remove { viewer: *viewer, id: member.id, expected: expected(member) }),
        of(variant, &project::Delete::new(*viewer, project.id, expected(project))),
        of(variant, &task::Delete::new(*viewer, task.id, expected(task))),
        of(variant, &comment::Delete::new(*viewer, comment.id, expected(comment))),
    ];
    all.concat()
}

fn restorations(sample: &Sample) -> Vec<Registered> {
    let Sample { viewer, deleted, .. } = sample;
    let many = task::UpdateMany {
        viewer: *viewer,
        ids: sample.writable_tasks.clone(),
        status: None,
        priority: Some(Priority::High),
        due_date: Change::Keep,
        assignee_id: Change::Keep,
    };
    let all = [
        of("", &workspace::Restore::new(*viewer, deleted.workspace)),
        of("", &project::Restore::new(*viewer, deleted.project)),
        of("", &task::Restore::new(*viewer, deleted.task)),
        of("", &comment::Restore::new(*viewer, deleted.comment)),
        of("", &many),
    ];
    all.concat()
}
