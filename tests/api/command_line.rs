//! The built binary as a person meets it: the first start, the next ones, crashes, wrong settings, each subcommand.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use trellis::config::variables;
use trellis::database::administration;
use uuid::Uuid;

use crate::harness::{SECRET, cluster, one};
use crate::instance::{DataDirectory, Greeting, Instance, ask, command, run, trellis};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

const TOTALS: &str = "{ workspaces(first: 10) { nodes { slug report { freshness { source } totals { total } } } } }";

const CREATE: &str = "mutation { workspaceCreate(input: { name: \"Kept\", slug: \"kept\" }) \
    { workspace { id } userErrors { message } } }";

/// The slugs of the token's workspaces, and the number of tasks in all of them.
async fn slugs_and_tasks(api: &str, token: &str) -> (Vec<String>, i64) {
    let answer = ask(api, token, TOTALS).await;
    let workspaces = answer["data"]["workspaces"]["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let slugs = workspaces.iter().map(|workspace| workspace["slug"].as_str().unwrap().to_owned()).collect();
    let total = |workspace: &Value| workspace["report"]["totals"]["total"].as_i64().unwrap();
    (slugs, workspaces.iter().map(total).sum())
}

#[tokio::test]
async fn the_first_start_prints_all_that_a_person_needs_and_all_of_it_works() {
    let data = DataDirectory::new("first");
    let mut server = data.serve();
    let greeting = server.greeting().await;
    assert_eq!(greeting.user, "ada@example.com");
    let page = reqwest::get(&greeting.page).await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let schema = reqwest::get(&greeting.schema).await.unwrap().text().await.unwrap();
    assert_eq!(schema, fs::read_to_string(Path::new(REPOSITORY).join("schema.graphql")).unwrap());
    let viewer = ask(&greeting.api, &greeting.token, "{ viewer { email } }").await;
    assert_eq!(viewer["data"]["viewer"]["email"], "ada@example.com");

    assert!(greeting.curl.starts_with("curl "), "{}", greeting.curl);
    let pasted = run(Command::new("sh").args(["-c", &greeting.curl])).await;
    assert_eq!(pasted.code, Some(0), "{pasted:?}");
    let answer: Value = serde_json::from_str(&pasted.out).unwrap();
    assert!(answer.get("errors").is_none(), "{answer}");
    assert_eq!(answer["data"]["viewer"]["name"], "Ada");
    assert_eq!(answer["data"]["workspaces"]["nodes"].as_array().unwrap().len(), 3);

    let servers = data.postmasters();
    assert_eq!(servers.len(), 2, "a primary and a replica run");
    for pid in servers {
        assert_ne!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0, "PostgreSQL does not run as root");
    }

    assert_demo_is_large_and_varied(&greeting).await;
}

/// Three workspaces, ten people and three hundred tasks, of every status, priority and age.
async fn assert_demo_is_large_and_varied(greeting: &Greeting) {
    let document = "{ workspaces(first: 10) { nodes { \
        members(first: 30) { nodes { role user { email } } } \
        report { freshness { source replica fellBack } totals { total } \
          byStatus { status count } byPriority { priority count overdue } } \
        first: tasks(first: 1, orderBy: { field: DUE_DATE, direction: ASC }) { nodes { dueDate } } \
        last: tasks(first: 1, orderBy: { field: DUE_DATE, direction: DESC }) { nodes { dueDate } } \
        commented: tasks(first: 20) { nodes { comments(first: 1) { totalCount } } } } } }";
    let answer = ask(&greeting.api, &greeting.token, document).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let workspaces = answer["data"]["workspaces"]["nodes"].as_array().unwrap();
    assert_eq!(workspaces.len(), 3);

    let members = || workspaces.iter().flat_map(|workspace| workspace["members"]["nodes"].as_array().unwrap());
    let mut people: Vec<_> = members().map(|member| member["user"]["email"].as_str().unwrap()).collect();
    people.sort_unstable();
    people.dedup();
    assert!(people.len() >= 10, "{people:?}");
    assert!(members().any(|member| member["role"] == "OWNER" && member["user"]["email"] == "ada@example.com"));

    let sum = |list: &str, field: &str, value: &str, figure: &str| -> i64 {
        let rows = workspaces.iter().flat_map(|workspace| workspace["report"][list].as_array().unwrap());
        rows.filter(|row| row[field] == value).map(|row| row[figure].as_i64().unwrap()).sum()
    };
    let total: i64 = workspaces.iter().map(|w| w["report"]["totals"]["total"].as_i64().unwrap()).sum();
    assert!(total >= 300, "{total}");
    for status in ["TODO", "IN_PROGRESS", "IN_REVIEW", "COMPLETED"] {
        assert!(sum("byStatus", "status", status, "count") > 0, "{status}");
    }
    for priority in ["LOW", "MEDIUM", "HIGH", "URGENT"] {
        assert!(sum("byPriority", "priority", priority, "count") > 0, "{priority}");
        assert!(sum("byPriority", "priority", priority, "overdue") > 0, "{priority}");
    }
    let now = trellis::clock::now().to_rfc3339();
    for workspace in workspaces {
        let due = |end: &str| workspace[end]["nodes"][0]["dueDate"].as_str().unwrap().to_owned();
        assert!(due("first") < now && now < due("last"), "past and future: {} {}", due("first"), due("last"));
        let freshness = &workspace["report"]["freshness"];
        assert_eq!((&freshness["source"], &freshness["fellBack"]), (&"REPLICA".into(), &false.into()));
    }
    assert!(answer.to_string().contains("\"totalCount\":1"), "some tasks have comments");
}

#[tokio::test]
async fn the_first_start_after_a_seed_at_size_greets_the_owner_of_the_generated_workspaces() {
    let data = DataDirectory::new("seeded");
    let seeded = run(&mut data.command(&["seed", "--tasks", "1000", "--workspaces", "2", "--projects", "6"])).await;
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
    let mut server = data.serve();
    let greeting = server.greeting().await;
    assert!(seeded.out.contains(&format!("--email {}", greeting.user)), "{} {seeded:?}", greeting.user);
    let (slugs, tasks) = slugs_and_tasks(&greeting.api, &greeting.token).await;
    assert_eq!(slugs.len(), 2, "{slugs:?}");
    assert!(tasks > 500, "{tasks}");
    assert_eq!(server.interrupted().await.code, Some(0));
}

#[tokio::test]
async fn ctrl_c_stops_everything_and_the_next_start_has_the_data_and_takes_the_old_token() {
    let data = DataDirectory::with_demo("again").await;
    let mut server = data.serve();
    let first = server.greeting().await;
    let created = ask(&first.api, &first.token, CREATE).await;
    assert!(created["data"]["workspaceCreate"]["workspace"]["id"].is_string(), "{created}");
    let before = slugs_and_tasks(&first.api, &first.token).await;
    assert!(before.0.contains(&"kept".to_owned()), "{before:?}");
    assert!(data.processes().len() > 2, "trellis, its servers and their children");

    let ended = server.interrupted().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    data.until_quiet().await;
    assert!(reqwest::get(&first.page).await.unwrap_err().is_connect());

    let mut server = data.serve();
    let second = server.greeting().await;
    assert_eq!(slugs_and_tasks(&second.api, &first.token).await, before, "the old token still speaks for ada");
    assert_eq!(slugs_and_tasks(&second.api, &second.token).await, before);
    let secret = data.path().join("secret");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o077, 0, "nobody else reads the secret");

    server.signal(Signal::SIGTERM);
    let ended = server.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    data.until_quiet().await;
}

#[tokio::test]
async fn ctrl_c_during_the_start_leaves_nothing_running() {
    let data = DataDirectory::with_demo("early").await;
    let mut server = data.serve();
    server.until("the primary's start", |_| data.postmasters().first().copied()).await;
    let ended = server.interrupted().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    data.until_quiet().await;
}

#[tokio::test]
async fn two_instances_with_data_directories_of_their_own_run_side_by_side() {
    let (left, right) = (DataDirectory::with_demo("left").await, DataDirectory::new("right"));
    let (mut left_server, mut right_server) = (left.serve(), right.serve());
    let (at_left, at_right) = (left_server.greeting().await, right_server.greeting().await);
    assert_ne!(at_left.api, at_right.api);
    ask(&at_left.api, &at_left.token, CREATE).await;
    assert_eq!(slugs_and_tasks(&at_left.api, &at_left.token).await.0.len(), 4);
    assert_eq!(slugs_and_tasks(&at_right.api, &at_right.token).await.0.len(), 3);
    let stranger = ask(&at_right.api, &at_left.token, "{ viewer { name } }").await;
    assert_eq!(stranger["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "each has a secret of its own");

    assert_eq!(left_server.interrupted().await.code, Some(0));
    left.until_quiet().await;
    assert_eq!(slugs_and_tasks(&at_right.api, &at_right.token).await.0.len(), 3, "the other one goes on");
}

#[tokio::test]
async fn a_killed_server_finds_its_data_again() {
    let data = DataDirectory::with_demo("killed").await;
    let mut server = data.serve();
    let greeting = server.greeting().await;
    let (demo, tasks) = slugs_and_tasks(&greeting.api, &greeting.token).await;
    assert_eq!(demo.len(), 3);
    server.killed().await;
    let left_over = data.postmasters();
    assert_eq!(left_over.len(), 2, "the servers outlive trellis");

    let mut server = data.serve();
    let greeting = server.greeting().await;
    assert_eq!(data.postmasters(), left_over, "they are used again");
    assert_eq!(slugs_and_tasks(&greeting.api, &greeting.token).await, (demo, tasks));
    assert_eq!(server.interrupted().await.code, Some(0));
    data.until_quiet().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_of_everything() {
    let data = DataDirectory::with_demo("crash").await;
    let mut server = data.serve();
    let greeting = server.greeting().await;
    let (demo, tasks) = slugs_and_tasks(&greeting.api, &greeting.token).await;
    let created = ask(&greeting.api, &greeting.token, CREATE).await;
    assert_eq!(data.signal_postmasters(Signal::SIGKILL), 2);
    server.signal(Signal::SIGKILL);
    assert!(created["data"]["workspaceCreate"]["workspace"]["id"].is_string(), "{created}");
    server.killed().await;
    data.until_quiet().await;

    // The crash left pid files; by the next start another process may have the number.
    for name in ["primary", "replica"] {
        let path = data.path().join(name).join("postmaster.pid");
        let file = fs::read_to_string(&path).unwrap();
        let (_, rest) = file.split_once('\n').unwrap();
        fs::write(&path, format!("{}\n{rest}", std::process::id())).unwrap();
    }
    let sockets: Vec<_> = fs::read_dir(data.path().join("socket")).unwrap().collect();
    assert!(sockets.len() >= 2, "the crash left sockets: {sockets:?}");

    let mut server = data.serve();
    let greeting = server.greeting().await;
    let (slugs, tasks_after) = slugs_and_tasks(&greeting.api, &greeting.token).await;
    assert_eq!(slugs, [demo, vec!["kept".to_owned()]].concat());
    assert_eq!(tasks_after, tasks);
    let report = ask(&greeting.api, &greeting.token, TOTALS).await;
    let sources: Vec<_> = report["data"]["workspaces"]["nodes"].as_array().unwrap().iter().collect();
    assert!(sources.iter().all(|node| node["report"]["freshness"]["source"] == "REPLICA"), "the replica too: {report}");
    assert_eq!(server.interrupted().await.code, Some(0));
}

/// An address of this machine by which others reach it; none where it is on no network. Nothing is sent.
fn address_for_others() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn the_page_has_a_token_only_for_a_browser_on_this_machine_that_asks_by_a_name_of_its_own() {
    let data = DataDirectory::with_demo("page").await;
    let mut server = Instance::spawn(trellis().arg("--data-dir").arg(data.path()).args(["--listen", "0.0.0.0:0"]));
    let greeting = server.greeting().await;
    let port = reqwest::Url::parse(&greeting.page).unwrap().port().unwrap();
    let has_token = async |address: &str, host: &str| {
        let request = reqwest::Client::new().get(format!("http://{address}:{port}/"));
        let page = request.header("host", host).send().await.unwrap().text().await.unwrap();
        // Its head, which is the same in every token.
        page.contains(greeting.token.split_once('.').unwrap().0)
    };
    assert!(has_token("127.0.0.1", "localhost").await && has_token("127.0.0.1", &format!("127.0.0.1:{port}")).await);
    assert!(!has_token("127.0.0.1", "trellis.example").await);
    if let Some(address) = address_for_others() {
        assert!(!has_token(&address.to_string(), "localhost").await);
    }
}

#[tokio::test]
async fn trellis_token_works_beside_a_running_server_and_stops_nothing() {
    let data = DataDirectory::with_demo("token").await;
    let mut server = data.serve();
    let greeting = server.greeting().await;
    let servers = data.postmasters();
    assert_eq!(servers.len(), 2);

    let minted = run(&mut data.command(&["token", "--email", "Grace@Example.com"])).await;
    assert_eq!(minted.code, Some(0), "{minted:?}");
    assert_eq!(minted.out.lines().count(), 1, "the token and nothing else, for $(…): {minted:?}");
    let viewer = ask(&greeting.api, minted.out.trim(), "{ viewer { email } }").await;
    assert_eq!(viewer["data"]["viewer"]["email"], "grace@example.com");

    let unknown = run(&mut data.command(&["token", "--email", "nobody@example.com"])).await;
    unknown.assert_refused(&["no user", "nobody@example.com"]);
    assert_eq!(unknown.out, "");

    assert_eq!(data.postmasters(), servers, "the servers run on");
    assert_eq!(slugs_and_tasks(&greeting.api, &greeting.token).await.0.len(), 3);
    assert_eq!(server.interrupted().await.code, Some(0));

    let alone = run(&mut data.command(&["token", "--email", "ada@example.com", "--hours", "1"])).await;
    assert_eq!(alone.code, Some(0), "it starts the cluster itself: {alone:?}");
    data.until_quiet().await;
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start_and_is_named() {
    let data = DataDirectory::new("settings");
    // A variable and its value, and what a line must say.
    let cases: [(&str, &str, &[&str]); 9] = [
        ("TRELLIS_LISTN", "127.0.0.1:80", &["TRELLIS_LISTN", "unknown"]),
        ("TRELLIS_LISTEN", "here", &["--listen", "here"]),
        ("TRELLIS_MAX_DEPTH", "many", &["--max-depth", "many"]),
        ("TRELLIS_PRIMARY_CONNECTIONS", "0", &["--primary-connections", "0"]),
        ("TRELLIS_LOG", "info,,=", &["TRELLIS_LOG"]),
        ("TRELLIS_JWT_SECRET", "short", &["TRELLIS_JWT_SECRET", "32"]),
        ("TRELLIS_POSTGRES_BIN", "/nowhere", &["/nowhere"]),
        ("REPLICA_URLS", "postgres://localhost:1/trellis", &["--database-url"]),
        ("DATABASE_URL", "postgres://localhost:1/trellis", &["TRELLIS_JWT_SECRET", "32"]),
    ];
    for (variable, value, said) in cases {
        let mut command = trellis();
        // A port that is free, should the start go on in spite of it.
        command.arg("--data-dir").arg(data.path()).env("TRELLIS_LISTEN", "127.0.0.1:0").env(variable, value);
        run(&mut command).await.assert_refused(said);
    }
    run(&mut data.command(&["--max-dept", "3"])).await.assert_refused(&["--max-dept"]);
    assert!(!data.path().join("primary").exists(), "no cluster was made");
}

#[tokio::test]
async fn a_taken_port_is_named_before_a_cluster_is_made() {
    let data = DataDirectory::new("port");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(trellis().arg("--data-dir").arg(data.path()).args(["--listen", &address])).await;
    refused.assert_refused(&["cannot listen", &address, "--listen"]);
    assert!(!data.path().exists());
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_a_clear_line() {
    let words = ["--database-url", "postgres://localhost:1/trellis", "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"];
    let refused = run(trellis().args(words)).await;
    refused.assert_refused(&["primary does not answer", "DATABASE_URL"]);
    assert!(!refused.err.contains(SECRET));
}

#[tokio::test]
async fn a_given_database_is_migrated_only_when_told_to() {
    let cluster = cluster().await;
    let url = cluster.primary_url(&cluster.new_database(None).await);
    let given = |words: &[&str]| {
        let mut command = trellis();
        command.args(["--database-url", &url, "--jwt-secret", SECRET, "--listen", "127.0.0.1:0"]).args(words);
        command
    };
    let sql = administration::connect(&url).await.unwrap();
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let token = trellis::identity::Signer::new(SECRET).mint(Uuid::nil(), 1).unwrap();

    let mut server = Instance::spawn(&mut given(&[]));
    let api = server.url().await;
    let ready: Value = reqwest::get(format!("{api}/readyz")).await.unwrap().json().await.unwrap();
    assert_eq!(ready["primary"], true, "{ready}");
    let answer = ask(&format!("{api}/graphql"), &token, "{ viewer { name } }").await;
    assert!(answer["errors"][0]["extensions"]["code"].is_string(), "{answer}");
    assert!(!answer.to_string().contains("relation"), "no internal text: {answer}");
    assert_eq!(reqwest::get(format!("{api}/livez")).await.unwrap().status(), 200, "it did not crash");
    assert_eq!(one(&sql, tables).await.try_get_by_index::<i64>(0).unwrap(), 0, "nothing was made");
    assert_eq!(server.interrupted().await.code, Some(0));

    run(&mut given(&["token", "--email", "ada@example.com"])).await.assert_refused(&["trellis migrate up"]);

    let mut server = Instance::spawn(&mut given(&["--migrate"]));
    let api = server.url().await;
    let answer = ask(&format!("{api}/graphql"), &token, "{ viewer { name } }").await;
    assert_eq!(answer, serde_json::json!({ "data": { "viewer": null } }), "no demo in a given database");
    assert_eq!(server.interrupted().await.code, Some(0));

    let seeded = run(&mut given(&["seed"])).await;
    assert_eq!(seeded.code, Some(0), "{seeded:?}");
    let minted = run(&mut given(&["token", "--email", "ada@example.com"])).await;
    let mut server = Instance::spawn(&mut given(&[]));
    let api = server.url().await;
    let (slugs, tasks) = slugs_and_tasks(&format!("{api}/graphql"), minted.out.trim()).await;
    assert_eq!((slugs.len(), tasks), (3, 300));
    assert!(server.interrupted().await.err.contains("no replica is configured"), "it says where reports come from");
}

#[tokio::test]
async fn schema_check_passes_in_the_repository_and_fails_beside_another_file() {
    let check = |directory: &Path| {
        let mut command = trellis();
        command.args(["schema", "--check"]).current_dir(directory);
        command
    };
    let same = run(&mut check(Path::new(REPOSITORY))).await;
    assert_eq!(same.code, Some(0), "{same:?}");

    let other = DataDirectory::new("schema");
    fs::create_dir(other.path()).unwrap();
    run(&mut check(other.path())).await.assert_refused(&["schema.graphql", "cannot be read"]);
    let printed = run(trellis().arg("schema")).await.out;
    let file = other.path().join("schema.graphql");
    fs::write(&file, &printed).unwrap();
    assert_eq!(run(&mut check(other.path())).await.code, Some(0), "what it prints is what it checks");
    fs::write(&file, printed.replacen("type Task ", "type Chore ", 1)).unwrap();
    run(&mut check(other.path())).await.assert_refused(&["schema.graphql differs", "trellis schema"]);
}

#[tokio::test]
async fn help_names_every_setting_with_its_variable_and_every_subcommand() {
    let help = run(trellis().arg("--help")).await;
    assert_eq!(help.code, Some(0));
    let names = variables();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        let shown = ["=", "]"].iter().any(|end| help.out.contains(&format!("[env: {name}{end}")));
        assert!(shown, "{name}: {}", help.out);
    }
    for subcommand in ["serve", "migrate", "seed", "schema", "token", "cluster"] {
        assert!(help.out.contains(&format!("\n  {subcommand} ")), "{subcommand}");
    }
    for (words, expected) in [
        (["serve"].as_slice(), [true; 4]),
        (&["explain"], [true, true, false, true]),
        (&["doctor"], [true, true, false, false]),
        (&["seed"], [true, false, false, false]),
        (&["migrate", "up"], [true, false, false, false]),
        (&["bench", "indexes"], [true, false, false, false]),
    ] {
        let help = run(trellis().args(words).arg("--help")).await.out;
        let shown = ["--database-url <URL>", "--report-connections <N>", "--max-connections", "--max-depth"];
        assert_eq!(shown.map(|option| help.contains(&format!("\n      {option}"))), expected, "{words:?}: {help}");
    }
    let hidden = run(trellis().args(["schema", "--max-depth", "5"])).await;
    assert_eq!(hidden.code, Some(0), "what is not shown is taken all the same: {hidden:?}");
    let secret = run(trellis().arg("--help").env("TRELLIS_JWT_SECRET", SECRET)).await;
    assert!(!secret.out.contains(SECRET), "a secret is not shown");
}

#[tokio::test]
async fn an_unprivileged_user_can_run_it() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: every other test of this file runs as an unprivileged user already");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("there is a user called nobody");
    let home = DataDirectory::new("nobody");
    fs::create_dir(home.path()).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(home.path(), Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    let data = DataDirectory::within(home.path(), "data");
    // The target directory may be where only root can go.
    let binary = home.path().join("trellis");
    fs::copy(env!("CARGO_BIN_EXE_trellis"), &binary).unwrap();

    let mut setpriv = command(Path::new("setpriv"));
    setpriv.args([&format!("--reuid={}", nobody.uid), &format!("--regid={}", nobody.gid), "--clear-groups"]);
    setpriv.arg(&binary).args(["--data-dir", "data", "--listen", "127.0.0.1:0"]).current_dir(home.path());
    let mut server = Instance::spawn(&mut setpriv);
    let greeting = server.greeting().await;
    assert_eq!(slugs_and_tasks(&greeting.api, &greeting.token).await, (demo_slugs(), 300));
    let owner = |name: &str| fs::metadata(data.path().join(name)).unwrap().uid();
    assert_eq!(["primary", "replica", "secret"].map(owner), [nobody.uid.as_raw(); 3]);
    assert_eq!(server.interrupted().await.code, Some(0));
    data.until_quiet().await;
}

fn demo_slugs() -> Vec<String> {
    ["aurora-maps", "harbour-robotics", "field-notes"].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_signal_during_the_start_of_a_subcommand_stops_its_servers_in_order() {
    for (words, signal) in [(["migrate", "status"].as_slice(), Signal::SIGINT), (&["cluster"], Signal::SIGTERM)] {
        let data = DataDirectory::with_demo("signal").await;
        let mut started = Instance::spawn(&mut data.command(words));
        started.until("its servers", |_| (!data.postmasters().is_empty()).then_some(())).await;
        started.signal(signal);
        let ended = started.ended().await;
        assert!(ended.code.is_some(), "it ends by itself: {ended:?}");
        data.until_quiet().await;
    }
}
