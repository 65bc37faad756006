//! Writes members: who belongs to a workspace, and with which role.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveEnum, Iterable};
use serde::Serialize;
use uuid::Uuid;

use super::access::Action;
use super::text::Faults;
use super::write::{Check, Columns, Existing, TO_CALLER, Write, update};
use crate::clock;
use crate::database::{Bound, Command, Exchange, NamedStatement};
use crate::entities::columns;
use crate::entities::member::{Column, Model, Role};
use crate::error::{UserError, UserErrorCode};

fn select(alias: &str) -> String {
    columns(alias, Column::iter())
}

const COLUMNS: Columns<Model> = Columns { list: select, count: 8, decode: Model::decode };

/// Makes a user a member of a workspace, registering them where nobody has the address.
#[derive(Clone, Debug, Serialize)]
pub struct Add {
    /// The caller.
    pub viewer: Uuid,
    /// Where.
    pub workspace_id: Uuid,
    /// The user's address, whatever the case of its letters.
    pub email: String,
    /// The name of a user who is new; the address's local part where there is none.
    pub name: Option<String>,
    /// What the member may do.
    pub role: Role,
}

/// The condition that the caller may manage members of a role: of those below ADMIN, or any as OWNER.
fn manages(role: &str) -> String {
    format!("(m.role = 'owner' OR {role} NOT IN ('owner', 'admin'))")
}

fn only_owners(field: &str) -> UserError {
    UserError::of(field, UserErrorCode::Forbidden, "Only an OWNER manages owners and admins.")
}

impl Command for Add {
    type Output = Model;
    const NAME: &'static str = "member_add";

    fn faults(&self) -> Vec<UserError> {
        let mut faults = Faults::default();
        faults.check_line("email", &self.email, 320);
        let is_address = self.email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !self.email.contains(char::is_whitespace) && !host.contains('@')
        });
        if !is_address {
            faults.add("email", "Must be an e-mail address, as in ada@example.com.");
        }
        if let Some(name) = &self.name {
            faults.check_line("name", name, 200);
        }
        faults.0
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.workspace_id.into()]);
        let local = self.email.split('@').next().unwrap_or_default();
        let name: String = self.name.as_deref().unwrap_or(local).chars().take(200).collect();
        let (user_id, email, name) = (bound.bind(clock::new_id()), bound.bind(self.email.clone()), bound.bind(name));
        let (id, role) = (bound.bind(clock::new_id()), bound.bind(self.role.to_value()));
        // Of two registrations of one address at once the second finds the first one's user: DO UPDATE waits for it
        // and returns it, and changes nothing.
        let writes = format!(
            "INSERT INTO members AS t (id, workspace_id, user_id, role) \
             SELECT {id}, target.workspace_id, person.id, {role} FROM target, person WHERE target.good"
        );
        let write = Write {
            name: Self::NAME,
            noun: "workspace",
            field: "workspaceId",
            action: Action::ManageMembers,
            own: "false",
            target: "w.id AS workspace_id",
            from: format!("FROM (SELECT $2::uuid AS workspace_id) p {TO_CALLER}"),
            checks: vec![Check { condition: manages(&format!("{role}::text")), otherwise: only_owners("role") }],
            before: format!(
                "person AS (INSERT INTO users AS person (id, email, name) \
                 SELECT {user_id}, {email}, {name} FROM target WHERE target.good \
                 ON CONFLICT (lower(email)) WHERE deleted_at IS NULL DO UPDATE SET email = person.email \
                 RETURNING person.id), "
            ),
            writes,
        };
        write.exchange(bound, COLUMNS, Existing::New)
    }
}

/// Of two changes that each leave one other owner, the second must see the first: they take turns by the workspace of
/// the member `id`, which this statement locks first.
#[must_use]
pub fn turn(id: Uuid) -> NamedStatement {
    let sql = "SELECT 1 FROM workspaces WHERE id = (SELECT workspace_id FROM members WHERE id = $1) FOR NO KEY UPDATE";
    NamedStatement::new("member_turn", sql, [id.into()])
}

/// A write to the membership `$2`, after which it has the role that is the SQL expression `role`, or none.
fn write(name: &'static str, set: &str, role: &str) -> Write {
    let stays_owned = format!(
        "(t.role <> 'owner' OR {role} = 'owner' OR EXISTS (SELECT FROM members o \
         JOIN users ou ON ou.id = o.user_id AND ou.deleted_at IS NULL \
         WHERE o.workspace_id = t.workspace_id AND o.id <> t.id AND o.role = 'owner' AND o.deleted_at IS NULL))"
    );
    let last_owner = "A workspace needs an OWNER. Make somebody else one first.";
    Write {
        name,
        noun: "member",
        field: "id",
        action: Action::ManageMembers,
        own: "false",
        target: "t.id AS target_id",
        from: format!(
            "FROM members t JOIN (SELECT id AS member_id, workspace_id FROM members) p ON p.member_id = t.id \
             {TO_CALLER} WHERE t.id = $2 AND t.deleted_at IS NULL"
        ),
        checks: vec![
            Check { condition: format!("({} AND {})", manages("t.role"), manages(role)), otherwise: only_owners("id") },
            Check { condition: stays_owned, otherwise: UserError::of("id", UserErrorCode::Invalid, last_owner) },
        ],
        before: String::new(),
        writes: update("members", set),
    }
}

/// Gives a member another role.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// The caller.
    pub viewer: Uuid,
    /// Which member.
    pub id: Uuid,
    /// The role.
    pub role: Role,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Update {
    type Output = Model;
    const NAME: &'static str = "member_update";

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<Model> {
        let mut bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let role = format!("{}::text", bound.bind(self.role.to_value()));
        let write = write(Self::NAME, &format!("role = {role}"), &role);
        write.exchange(bound, COLUMNS, Existing::Row { expected: self.expected }).after(turn(self.id))
    }
}

/// Ends a membership.
#[derive(Clone, Debug, Serialize)]
pub struct Remove {
    /// The caller.
    pub viewer: Uuid,
    /// Which member.
    pub id: Uuid,
    /// When the caller last saw it change.
    pub expected: Option<DateTime<Utc>>,
}

impl Command for Remove {
    type Output = Model;
    const NAME: &'static str = "member_remove";

    fn faults(&self) -> Vec<UserError> {
        Vec::new()
    }

    fn exchange(&self) -> Exchange<Model> {
        let bound = Bound::new(self.viewer, vec![self.viewer.into(), self.id.into()]);
        let write = write(Self::NAME, "deleted_at = now()", "'viewer'");
        write.exchange(bound, COLUMNS, Existing::Row { expected: self.expected }).after(turn(self.id))
    }
}
