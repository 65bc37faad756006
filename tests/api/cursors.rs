//! Cursors: what is not one of the order's own is refused, and what is outlives its row.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::{self, StreamExt};
use serde_json::json;

use crate::harness::World;
use crate::listing::{List, ORDERS, found, ids, project_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_not_one_of_the_orders_own_is_invalid() {
    let world = World::new().await;
    let (ada, project) = project_of(&world, 3).await;
    let refuse = async |list: &List, cursor: &str| {
        for (size, name) in [("first", "after"), ("last", "before")] {
            let answer = list.ask(&world, ada, &json!({ size: 1, name: cursor })).await;
            assert_eq!(answer.codes(), ["INVALID_CURSOR"], "{cursor}: {}", answer.text);
            assert_eq!(answer.statements(), ["project_by_id"], "{cursor}");
        }
    };
    let lists = ORDERS.map(|order| List::tasks("project", project, order, None));
    let mut cursors = Vec::new();
    for list in &lists {
        let page = list.page(&world, ada, &json!({ "first": 1 })).await;
        cursors.push(page["pageInfo"]["endCursor"].as_str().unwrap().to_owned());
    }
    assert_eq!(cursors.iter().collect::<BTreeSet<_>>().len(), 4, "{cursors:?}");
    let home = found(&world, "SELECT id FROM workspaces").await[0];
    let projects = List::below("workspace", "/workspace/projects", home);
    let foreign = projects.page(&world, ada, &json!({ "first": 1 })).await["pageInfo"]["endCursor"].clone();
    refuse(&lists[0], foreign.as_str().unwrap()).await;
    for (list, own) in lists.iter().zip(&cursors) {
        for cursor in cursors.iter().filter(|cursor| *cursor != own) {
            refuse(list, cursor).await;
        }
    }
    let (list, good) = (&lists[0], &cursors[0]);
    let mut spoiled = Vec::new();
    for at in 0..good.len() {
        for letter in ["A", "B", "_"] {
            let mut cursor = good.clone();
            cursor.replace_range(at..=at, letter);
            if cursor != *good {
                spoiled.push(cursor);
            }
        }
        spoiled.push(good[..at].to_owned());
        spoiled.push(good[at + 1..].to_owned());
    }
    assert!(spoiled.len() > 4 * good.len(), "{}", spoiled.len());
    for rubbish in ["null", " ", "0", "../../x", "%00", "\0", "ä", "AAAA", "' OR true --", &"A".repeat(9_000)] {
        spoiled.push(rubbish.to_owned());
    }
    spoiled.extend([format!("{good}A"), format!("{good}AA=="), format!("{good}{good}"), format!(" {good}")]);
    stream::iter(&spoiled).for_each_concurrent(4, async |cursor| refuse(list, cursor).await).await;
}

/// A cursor as the server writes them, with any content: its checksum is no secret.
fn forged(order: &str, kind: u8, value: &[u8]) -> String {
    let mut bytes = vec![1];
    bytes.extend(crc32fast::hash(order.as_bytes()).to_be_bytes());
    bytes.push(kind);
    bytes.extend([7; 16]);
    bytes.extend(value);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_cursor_is_invalid_or_a_place_in_the_list_and_never_a_defect() {
    let world = World::new().await;
    let (ada, project) = project_of(&world, 3).await;
    let home = found(&world, "SELECT id FROM workspaces").await[0];
    let lists = [
        ("tasks.created_at.asc", List::tasks("project", project, ORDERS[0], None)),
        ("tasks.due_date.desc", List::tasks("project", project, ORDERS[3], None)),
        ("projects.name.asc", List::ordered("workspace", "/workspace/projects", home, "ProjectOrder", ("NAME", "ASC"))),
        ("members.user_id.asc", List::below("workspace", "/workspace/members", home)),
    ];
    let micros = |year: i64| (365 * 86_400_000_000 * (year - 1970)).to_be_bytes();
    let values = [
        (0, Vec::new()),
        (1, Vec::new()),
        (2, micros(2026).to_vec()),
        (2, micros(-5_000).to_vec()),
        (2, micros(200_000).to_vec()),
        (2, i64::MIN.to_be_bytes().to_vec()),
        (2, i64::MAX.to_be_bytes().to_vec()),
        (3, b"B".to_vec()),
        (3, b"a\0b".to_vec()),
        (3, b"\xff".to_vec()),
        (3, "\u{10ffff}".repeat(200).into_bytes()),
        (3, vec![b'x'; 9_000]),
        (4, Vec::new()),
    ];
    let (mut invalid, mut pages) = (0, 0);
    for (order, list) in &lists {
        for (kind, value) in &values {
            let cursor = forged(order, *kind, value);
            for (size, name) in [("first", "after"), ("last", "before")] {
                let answer = list.ask(&world, ada, &json!({ size: 1, name: cursor })).await;
                // No name is so long.
                assert!(value.len() < 9_000 || answer.codes() == ["INVALID_CURSOR"], "{order}: {}", answer.text);
                match answer.codes()[..] {
                    [] => pages += 1,
                    ["INVALID_CURSOR"] => invalid += 1,
                    _ => panic!("{order} {kind} {value:?}: {}", answer.text),
                }
            }
        }
    }
    assert!(pages > 0, "the forgery works: {invalid} are invalid");
    assert_eq!(pages + invalid, 4 * 13 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_outlives_its_row() {
    let world = World::new().await;
    let (ada, project) = project_of(&world, 6).await;
    for order in ORDERS {
        world.execute("UPDATE tasks SET deleted_at = NULL").await;
        let list = List::tasks("project", project, order, None);
        let all = ids(&list.page(&world, ada, &json!({})).await["nodes"], "/id");
        assert_eq!(all.len(), 6);
        let cursor = list.page(&world, ada, &json!({ "first": 3 })).await["pageInfo"]["endCursor"].clone();
        world.execute(&format!("UPDATE tasks SET deleted_at = now() WHERE id = '{}'", all[2])).await;
        let after = list.page(&world, ada, &json!({ "first": 2, "after": cursor })).await;
        assert_eq!(ids(&after["nodes"], "/id"), all[3..5], "{order:?}");
        let before = list.page(&world, ada, &json!({ "last": 1, "before": cursor })).await;
        assert_eq!(ids(&before["nodes"], "/id"), all[1..2], "{order:?}");
        assert_eq!(before["pageInfo"]["hasNextPage"], true);
        // Nothing lies behind a cursor whose row and everything before it is gone.
        for id in &all[..2] {
            world.execute(&format!("UPDATE tasks SET deleted_at = now() WHERE id = '{id}'")).await;
        }
        let after = list.page(&world, ada, &json!({ "first": 9, "after": cursor })).await;
        assert_eq!(ids(&after["nodes"], "/id"), all[3..], "{order:?}");
        assert_eq!((&after["pageInfo"]["hasPreviousPage"], &after["totalCount"]), (&json!(false), &json!(3)));
    }
}
