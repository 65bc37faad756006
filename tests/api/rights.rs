//! Who may do what: every mutation as every role, as those outside, and as nobody.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trellis::entities::member::Role;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::harness::World;
use crate::mutations::{Barrier, MUTATIONS, Stage, contents, named, number, send};

/// Each mutation with the least role that it needs on any row, and on a row that the caller made. Written from the
/// issue, not from the code: VIEWER reads, MEMBER writes tasks and comments (its own comments only, ADMIN any), ADMIN
/// also projects and members below ADMIN, OWNER everything.
const RIGHTS: [(&str, &str, &str); 20] = [
    ("workspaceCreate", "anybody", "anybody"),
    ("workspaceUpdate", "OWNER", "OWNER"),
    ("workspaceDelete", "OWNER", "OWNER"),
    ("workspaceRestore", "OWNER", "OWNER"),
    ("memberAdd", "ADMIN", "ADMIN"),
    ("memberUpdate", "ADMIN", "ADMIN"),
    ("memberRemove", "ADMIN", "ADMIN"),
    ("projectCreate", "ADMIN", "ADMIN"),
    ("projectUpdate", "ADMIN", "ADMIN"),
    ("projectDelete", "ADMIN", "ADMIN"),
    ("projectRestore", "ADMIN", "ADMIN"),
    ("taskCreate", "MEMBER", "MEMBER"),
    ("taskUpdate", "MEMBER", "MEMBER"),
    ("taskDelete", "MEMBER", "MEMBER"),
    ("taskRestore", "MEMBER", "MEMBER"),
    ("tasksUpdate", "MEMBER", "MEMBER"),
    ("commentCreate", "MEMBER", "MEMBER"),
    ("commentUpdate", "ADMIN", "MEMBER"),
    ("commentDelete", "ADMIN", "MEMBER"),
    ("commentRestore", "ADMIN", "MEMBER"),
];

const LADDER: [&str; 5] = ["anybody", "VIEWER", "MEMBER", "ADMIN", "OWNER"];

fn is_enough(role: &str, least: &str) -> bool {
    let rung = |name| LADDER.iter().position(|rung| *rung == name).unwrap();
    rung(role) >= rung(least)
}

/// The codes of what a mutation answered; none where it was done.
fn codes(payload: &Value) -> Vec<&str> {
    payload["userErrors"].as_array().unwrap().iter().map(|error| error["code"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_rights_names_every_mutation_of_the_schema() {
    let world = World::new().await;
    let catalogue = Catalogue::of(&world).await;
    let fields = catalogue.fields("Mutation");
    assert_eq!(fields.len(), 20);
    let fields: BTreeSet<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(RIGHTS.iter().map(|(name, ..)| *name).collect::<BTreeSet<_>>(), fields);
    assert_eq!(MUTATIONS.iter().map(|mutation| mutation.name).collect::<BTreeSet<_>>(), fields);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_is_done_for_a_member_whose_role_is_enough_and_forbidden_to_the_others() {
    let world = World::new().await;
    let (caller, other) = (world.user("caller").await, world.user("other").await);
    let (mut done, mut forbidden) = (0, 0);
    for (name, any, own) in RIGHTS {
        let mutation = named(name);
        for role in ["VIEWER", "MEMBER", "ADMIN", "OWNER"] {
            for (author, least) in [(other, any), (caller, own)] {
                let case = format!("{name} as {role}, least role {least}");
                let stage = Stage::set(&world, &[(caller, &role.to_lowercase())], author, name).await;
                let before = contents(&world, None).await;
                let answer = mutation.run(&world, caller, &stage.input(name)).await;
                let payload = &answer.data()[name];
                let written = contents(&world, None).await != before;
                if is_enough(role, least) {
                    assert_eq!(codes(payload), [""; 0], "{case}");
                    assert_ne!(payload[mutation.row], mutation.nothing(), "{case}");
                    assert!(written, "{case}");
                    done += 1;
                } else {
                    assert_eq!(codes(payload), ["FORBIDDEN"], "{case}");
                    assert_eq!(payload[mutation.row], mutation.nothing(), "{case}");
                    assert!(!written, "{case}");
                    forbidden += 1;
                }
            }
        }
    }
    assert_eq!((done, forbidden), (8 + 6 + 28 + 36 + 15, 18 + 28 + 12 + 9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_former_members_are_answered_byte_for_byte_as_if_nothing_were_there() {
    let world = World::new().await;
    let (owner, stranger, former) =
        (world.user("owner").await, world.user("stranger").await, world.user("former").await);
    let mut refused = 0;
    for (name, any, _) in RIGHTS {
        if any == "anybody" {
            continue;
        }
        let mutation = named(name);
        let stage = Stage::set(&world, &[(owner, "owner"), (former, "owner")], former, name).await;
        world.execute(&format!("UPDATE members SET deleted_at = now() WHERE user_id = '{former}'")).await;
        let before = contents(&world, None).await;
        for caller in [stranger, former] {
            let missing = mutation.run(&world, caller, &Stage::missing().input(name)).await;
            let answer = mutation.run(&world, caller, &stage.input(name)).await;
            assert_eq!(codes(&answer.data()[name]), ["NOT_FOUND"], "{name}");
            assert_eq!(answer.data()[name][mutation.row], mutation.nothing(), "{name}");
            assert_eq!((answer.status, &answer.text), (missing.status, &missing.text), "{name}");
            refused += 1;
        }
        assert_eq!(contents(&world, None).await, before, "{name}");
    }
    assert_eq!(refused, 19 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_and_the_token_of_a_deleted_user_write_nothing() {
    let world = World::new().await;
    let ghost = world.user("ghost").await;
    let mut refused = 0;
    for (name, any, _) in RIGHTS {
        let mutation = named(name);
        world.execute(&format!("UPDATE users SET deleted_at = NULL WHERE id = '{ghost}'")).await;
        let stage = Stage::set(&world, &[(ghost, "owner")], ghost, name).await;
        world.execute(&format!("UPDATE users SET deleted_at = now() WHERE id = '{ghost}'")).await;
        let before = contents(&world, None).await;
        let mut input = stage.input(name);
        let answer = send(&world, None, &mutation.document(), &json!({ "input": input })).await;
        assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{name}");
        assert_eq!(answer.body["data"], json!({ name: null }), "{name}");
        let answer = mutation.run(&world, ghost, &input).await;
        if any == "anybody" {
            assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{name}");
        } else {
            assert_eq!(codes(&answer.data()[name]), ["NOT_FOUND"], "{name}");
        }
        input["idempotencyKey"] = json!("a key");
        let answer = mutation.run(&world, ghost, &input).await;
        assert_eq!(answer.codes(), ["UNAUTHENTICATED"], "{name} with a key");
        assert_eq!(contents(&world, None).await, before, "{name}");
        refused += 1;
    }
    assert_eq!(refused, 20);
}

const ROLES: [(&str, Role); 4] =
    [("OWNER", Role::Owner), ("ADMIN", Role::Admin), ("MEMBER", Role::Member), ("VIEWER", Role::Viewer)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_owner_adds_promotes_demotes_and_removes_admins_and_owners() {
    let world = World::new().await;
    let (caller, keeper) = (world.user("caller").await, world.user("keeper").await);
    let (mut done, mut forbidden) = (0, 0);
    for (caller_role, name_of_caller) in [(Role::Admin, "ADMIN"), (Role::Owner, "OWNER")] {
        let workspace = world.workspace(&name_of_caller.to_lowercase(), keeper).await;
        let own = world.member(workspace, caller, caller_role).await;
        let mut check = async |name: &'static str, input: Value, roles: &[&str]| {
            let is_allowed = name_of_caller == "OWNER" || roles.iter().all(|role| ["MEMBER", "VIEWER"].contains(role));
            let before = contents(&world, None).await;
            let answer = named(name).run(&world, caller, &input).await;
            let payload = &answer.data()[name];
            let case = format!("{name} by {name_of_caller}: {roles:?}");
            if is_allowed {
                assert_eq!(codes(payload), [""; 0], "{case}");
                done += 1;
            } else {
                assert_eq!(codes(payload), ["FORBIDDEN"], "{case}");
                assert_eq!(contents(&world, None).await, before, "{case}");
                forbidden += 1;
            }
        };
        for (number, (target, role)) in ROLES.into_iter().enumerate() {
            let email = format!("added-{number}-{name_of_caller}@example.com");
            check("memberAdd", json!({ "workspaceId": workspace, "email": email, "role": target }), &[target]).await;
            for (to, _) in ROLES {
                let person = world.user(&format!("{target}-to-{to}-{name_of_caller}")).await;
                let member = world.member(workspace, person, role).await;
                check("memberUpdate", json!({ "id": member, "role": to }), &[target, to]).await;
            }
            let person = world.user(&format!("{target}-gone-{name_of_caller}")).await;
            let member = world.member(workspace, person, role).await;
            check("memberRemove", json!({ "id": member }), &[target]).await;
        }
        // Oneself is an admin or an owner too. The last step is the caller's last one here.
        check("memberUpdate", json!({ "id": own, "role": name_of_caller }), &[name_of_caller]).await;
        check("memberRemove", json!({ "id": own }), &[name_of_caller]).await;
    }
    assert_eq!((done, forbidden), (26 + 8, 18));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_owner_is_neither_demoted_nor_removed_until_there_is_another_live_one() {
    let world = World::new().await;
    let (ada, former, ghost) = (world.user("ada").await, world.user("former").await, world.user("ghost").await);
    let home = world.workspace("home", ada).await;
    let member: Uuid = {
        let sql = format!("SELECT id FROM members WHERE user_id = '{ada}'");
        crate::harness::one(&world.sql, &sql).await.try_get_by_index(0).unwrap()
    };
    // Neither of these two is one: a former member, and a member whose account is deleted.
    let membership = world.member(home, former, Role::Owner).await;
    world.member(home, ghost, Role::Owner).await;
    world.execute(&format!("UPDATE members SET deleted_at = now() WHERE id = '{membership}'")).await;
    world.execute(&format!("UPDATE users SET deleted_at = now() WHERE id = '{ghost}'")).await;
    world.member(home, world.user("admin").await, Role::Admin).await;
    let before = contents(&world, None).await;
    for role in ["ADMIN", "MEMBER", "VIEWER"] {
        let answer = named("memberUpdate").run(&world, ada, &json!({ "id": member, "role": role })).await;
        let error = &answer.data()["memberUpdate"]["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("INVALID"), &json!(["input", "id"])), "{role}");
        assert_eq!(answer.data()["memberUpdate"]["member"], json!(null));
    }
    let answer = named("memberRemove").run(&world, ada, &json!({ "id": member })).await;
    assert_eq!(codes(&answer.data()["memberRemove"]), ["INVALID"]);
    assert_eq!(contents(&world, None).await, before);
    world.member(home, world.user("grace").await, Role::Owner).await;
    let answer = named("memberRemove").run(&world, ada, &json!({ "id": member })).await;
    assert_eq!(codes(&answer.data()["memberRemove"]), [""; 0]);
}

/// Two owners at once, in front of the lock of their workspace: exactly one of the two writes is done.
async fn exactly_one_of_two_owners(mutation: &str, of_themselves: bool, refusal: &str) {
    let world = World::new().await;
    let owners = [world.user("ada").await, world.user("grace").await];
    let mut rounds = 0;
    for round in 0..8 {
        let home = world.workspace(&format!("home-{round}"), owners[0]).await;
        let second = world.member(home, owners[1], Role::Owner).await;
        let sql = format!("SELECT id FROM members WHERE user_id = '{}' AND workspace_id = '{home}'", owners[0]);
        let first: Uuid = crate::harness::one(&world.sql, &sql).await.try_get_by_index(0).unwrap();
        let targets = if of_themselves { [first, second] } else { [second, first] };
        let input = |target| match mutation {
            "memberUpdate" => json!({ "id": target, "role": "MEMBER" }),
            _ => json!({ "id": target }),
        };
        let inputs = targets.map(input);
        let barrier = Barrier::raise(&world, &format!("SELECT 1 FROM workspaces WHERE id = '{home}' FOR UPDATE")).await;
        let both = async {
            tokio::join!(
                named(mutation).run(&world, owners[0], &inputs[0]),
                named(mutation).run(&world, owners[1], &inputs[1])
            )
        };
        let release = async {
            barrier.meets(&world, 2).await;
            barrier.fall().await;
        };
        let ((one, two), ()) = tokio::join!(both, release);
        let mut told = [codes(&one.data()[mutation]), codes(&two.data()[mutation])];
        told.sort_unstable();
        assert_eq!(told, [vec![], vec![refusal]], "round {round}");
        let left = format!(
            "SELECT count(*) FROM members WHERE workspace_id = '{home}' AND role = 'owner' AND deleted_at IS NULL"
        );
        assert_eq!(number(&world, &left).await, 1, "round {round}");
        rounds += 1;
    }
    assert_eq!(rounds, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_owners_who_demote_each_other_at_once_exactly_one_succeeds() {
    exactly_one_of_two_owners("memberUpdate", false, "FORBIDDEN").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_owners_who_remove_each_other_at_once_exactly_one_succeeds() {
    exactly_one_of_two_owners("memberRemove", false, "NOT_FOUND").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_last_two_owners_who_step_down_at_once_exactly_one_succeeds() {
    exactly_one_of_two_owners("memberUpdate", true, "INVALID").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_last_two_owners_who_leave_at_once_exactly_one_succeeds() {
    exactly_one_of_two_owners("memberRemove", true, "INVALID").await;
}
