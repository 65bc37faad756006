//! Who may do what: the one table of rights.

use sea_orm::{ActiveEnum, Iterable};

use crate::database::Bound;
use crate::entities::member::Role;

/// What a member may do in a workspace, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Rename a workspace, delete it, bring it back.
    ManageWorkspace,
    /// Add members, change their roles, remove them: those below ADMIN, unless the caller is OWNER.
    ManageMembers,
    /// Make projects, change them, delete them, bring them back.
    ManageProjects,
    /// Make tasks, change them, delete them, bring them back.
    WriteTasks,
    /// Make comments.
    WriteComments,
    /// Change comments, delete them, bring them back.
    ManageComments,
}

/// The least role that an action needs.
pub struct Right {
    /// On any row.
    pub any: Role,
    /// On a row that the caller made.
    pub own: Role,
}

impl Action {
    /// The least role that the action needs.
    #[must_use]
    pub fn right(self) -> Right {
        let (any, own) = match self {
            Self::ManageWorkspace => (Role::Owner, Role::Owner),
            Self::ManageMembers | Self::ManageProjects => (Role::Admin, Role::Admin),
            Self::WriteTasks | Self::WriteComments => (Role::Member, Role::Member),
            Self::ManageComments => (Role::Admin, Role::Member),
        };
        Right { any, own }
    }

    /// The condition that the membership `m` has the right, where `own` is the condition that the row is the caller's.
    pub(super) fn allowed(self, own: &str, bound: &mut Bound) -> String {
        let Right { any, own: on_own } = self.right();
        let anyway = format!("m.role = ANY({}::text[])", bound.bind(at_least(any)));
        if any == on_own {
            return anyway;
        }
        format!("({anyway} OR ({own} AND m.role = ANY({}::text[])))", bound.bind(at_least(on_own)))
    }

    /// What a person is told who lacks the right.
    pub(super) fn refusal(self) -> String {
        let Right { any, own } = self.right();
        let name = |role: Role| role.to_value().to_uppercase();
        let needed = format!("Needs role {} or above in the workspace.", name(any));
        if any == own { needed } else { format!("{needed} On rows of your own, {} is enough.", name(own)) }
    }
}

/// A role and those above it, as the database has them.
fn at_least(least: Role) -> Vec<String> {
    Role::iter().filter(|role| role.is_at_least(least)).map(|role| role.to_value()).collect()
}
