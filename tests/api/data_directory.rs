//! What a data directory holds is somebody's: no start and no end removes what is nowhere else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use sea_orm::ConnectionTrait;
use trellis::database::administration;

use crate::harness::{eventually, new_path};
use crate::instance::{DataDirectory, Instance, ask, run};

const TEMPORARY: [&str; 2] = ["cluster", "--temporary"];

const CREATE: &str = "mutation { workspaceCreate(input: { name: \"Kept\", slug: \"kept\" }) \
    { workspace { id } userErrors { message } } }";

#[tokio::test]
async fn a_temporary_cluster_takes_a_new_or_an_empty_directory_alone_and_removes_it() {
    for is_there in [false, true] {
        let data = DataDirectory::new("temporary");
        if is_there {
            fs::create_dir(data.path()).unwrap();
        }
        let ended = run(&mut data.command(&TEMPORARY)).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.out.lines().count(), 2, "the primary and the replica have run: {ended:?}");
        assert!(!data.path().exists());
    }

    let other = DataDirectory::new("temporary");
    fs::create_dir(other.path()).unwrap();
    fs::write(other.path().join("notes"), "mine").unwrap();
    run(&mut other.command(&TEMPORARY)).await.assert_refused(&["is not empty", "--temporary", "--data-dir"]);
    let names: Vec<_> = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes"], "nothing was removed, and nothing was made");

    let kept = DataDirectory::with_demo("temporary").await;
    run(&mut kept.command(&TEMPORARY)).await.assert_refused(&["is not empty"]);
    let mut server = kept.serve();
    server.greeting().await;
    run(&mut kept.command(&TEMPORARY)).await.assert_refused(&["is not empty"]);
    let greeting = server.greeting().await;
    let answer = ask(&greeting.api, &greeting.token, "{ viewer { email } }").await;
    assert_eq!(answer["data"]["viewer"]["email"], "ada@example.com", "who used it still does");
    server.interrupted().await;
    kept.until_quiet().await;
}

#[tokio::test]
async fn a_temporary_cluster_that_another_process_still_uses_stays() {
    let data = DataDirectory::new("temporary-shared");
    let mut command = data.command(&TEMPORARY);
    let mut temporary = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(temporary.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("primary "));
    let mut user = Instance::spawn(&mut data.command(&["cluster"]));
    let primary = user.line("primary").await;
    drop(temporary.stdin.take());
    assert!(tokio::task::spawn_blocking(move || temporary.wait()).await.unwrap().unwrap().success());
    let connection = administration::connect(&primary).await.unwrap();
    connection.execute_unprepared("CREATE TABLE still_there ()").await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(user.interrupted().await.code, Some(0));
    data.until_quiet().await;
}

#[tokio::test]
async fn a_directory_that_postgresql_cannot_reach_is_not_removed_in_place_of_the_one_it_uses() {
    let home = new_path("temporary-home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let data = DataDirectory::within(&home, "data");
    fs::create_dir(data.path()).unwrap();
    fs::write(data.path().join("notes"), "mine").unwrap();
    // As root PostgreSQL's data is elsewhere; as anybody else this directory is refused, since it is not empty.
    let ended = run(&mut data.command(&TEMPORARY)).await;
    assert_eq!(ended.code == Some(0), ended.err.contains("kept elsewhere"), "{ended:?}");
    assert_eq!(fs::read_to_string(data.path().join("notes")).unwrap(), "mine");
    drop(data);
    fs::remove_dir_all(&home).unwrap();
}

#[tokio::test]
async fn a_promoted_replica_keeps_its_writes_and_the_next_start_says_how_to_go_on_from_it() {
    let data = DataDirectory::with_demo("promoted").await;
    let mut server = data.serve();
    let greeting = server.greeting().await;
    let mut cluster = Instance::spawn(&mut data.command(&["cluster"]));
    let replica = administration::connect(&cluster.line("replica").await).await.unwrap();
    replica.execute_unprepared("SELECT pg_promote()").await.unwrap();
    replica.close().await.unwrap();
    cluster.interrupted().await;
    // Until the server has seen it, the former primary takes the writes: they are lost, and this is not about them.
    server.logs("a server was promoted").await;
    let made = eventually("a write is acknowledged", || async {
        let answer = ask(&greeting.api, &greeting.token, CREATE).await;
        if answer["data"]["workspaceCreate"]["workspace"]["id"].is_string() { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(made["data"]["workspaceCreate"]["userErrors"], serde_json::json!([]), "{made}");
    assert_eq!(server.interrupted().await.code, Some(0));

    let directory = data.path().join("replica");
    let go_on = format!("cd {} && mv primary primary.old && mv replica primary", data.path().display());
    for _ in 0..2 {
        let refused = run(&mut data.command(&[])).await;
        refused.assert_refused(&[&format!("{} was promoted", directory.display()), &go_on]);
    }
    data.until_quiet().await;
    assert!(std::process::Command::new("sh").args(["-c", &go_on]).status().unwrap().success());
    let mut server = data.serve();
    let greeting = server.greeting().await;
    let found = ask(&greeting.api, &greeting.token, "{ workspaceBySlug(slug: \"kept\") { name } }").await;
    assert_eq!(found["data"]["workspaceBySlug"]["name"], "Kept", "{found}");
    assert!(directory.join("standby.signal").exists(), "it has a new replica");
    assert_eq!(server.interrupted().await.code, Some(0));
    data.until_quiet().await;
}
