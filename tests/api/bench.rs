//! `trellis bench indexes` by the built binary: every row is measured, in a database of its own that never stays.

use std::collections::BTreeSet;
use std::process::Command;

use sea_orm::ConnectionTrait;
use serde_json::Value;
use trellis::database::administration;

use crate::harness::{TEMPLATE, cluster, eventually, new_path, one};
use crate::instance::{DataDirectory, Instance, run, trellis};

const INDEXES: [&str; 7] = [
    "no index",
    "composite",
    "composite, live rows",
    "covering",
    "covering, live rows",
    "partial: idx_tasks_active",
    "both: idx_tasks_list",
];

/// `trellis bench indexes` beside a database of the tests' cluster.
async fn bench(words: &[&str]) -> Command {
    let beside = cluster().await.new_database(None).await;
    let mut command = trellis();
    command.args(["--database-url", &cluster().await.primary_url(&beside), "bench", "indexes"]).args(words);
    command
}

/// How many scratch databases the process of this number has.
async fn databases(process: u32) -> i64 {
    let connection = administration::connect(&cluster().await.primary_url("postgres")).await.unwrap();
    let count = format!("SELECT count(*) FROM pg_database WHERE datname ~ '^trellis_scratch_[0-9]+_{process}$'");
    let count = one(&connection, &count).await.try_get_by_index(0).unwrap();
    connection.close().await.unwrap();
    count
}

fn read<'a>(report: &'a Value, query: &str, index: &str) -> &'a Value {
    let reads = report["reads"].as_array().unwrap();
    reads.iter().find(|read| read["query"] == query && read["index"] == index).unwrap()
}

#[tokio::test]
async fn the_bench_measures_every_index_and_only_the_one_that_knows_of_deletion_needs_no_table() {
    let svg = new_path("bench.svg");
    let mut command = bench(&["--tasks", "5000", "--json", "--svg", svg.to_str().unwrap()]).await;
    let bench = Instance::spawn(&mut command);
    let own = bench.pid();
    let ended = bench.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();

    let reads = report["reads"].as_array().unwrap();
    let seen: BTreeSet<(&str, &str)> =
        reads.iter().map(|read| (read["query"].as_str().unwrap(), read["index"].as_str().unwrap())).collect();
    let all = ["list", "page", "due"].into_iter().flat_map(|query| INDEXES.map(|index| (query, index)));
    assert_eq!(seen, all.collect());
    assert_eq!(reads.len(), 21);
    assert!(report["rows"].as_i64().unwrap() > 100, "the list has rows: {report}");
    for read in reads {
        assert!(read["warm_ms"].as_f64().unwrap() > 0.0, "{read}");
        assert!(read["cold_ms"].is_null(), "{read}");
    }
    assert!(report["cold_refused"].as_str().unwrap().contains("private"), "{report}");

    // 5,000 rows are 130 pages or more; the list's entries in the index are ten at most.
    let buffers = |index| read(&report, "list", index)["buffers"].as_i64().unwrap();
    assert!(buffers("no index") >= 8 * buffers("covering, live rows"), "{report}");
    assert!(buffers("covering") >= 3 * buffers("covering, live rows"), "{report}");
    for (index, heap_fetches) in
        [("covering, live rows", Some(0)), ("both: idx_tasks_list", Some(0)), ("covering", None)]
    {
        let read = read(&report, "list", index);
        assert_eq!(read["heap_fetches"].as_i64(), heap_fetches, "{read}");
        assert_eq!(read["scan"] == "Index Only Scan", heap_fetches.is_some(), "{read}");
    }

    let writes = report["writes"].as_array().unwrap();
    assert_eq!(writes.len(), 8, "the single ones, and all together");
    let wal = |write: &Value| write["wal_bytes"].as_i64().unwrap();
    assert!(writes[1..].iter().all(|write| wal(write) > wal(&writes[0])), "{report}");
    assert!(writes.iter().all(|write| write["size_bytes"].as_i64().unwrap() > 10_000), "{report}");

    let updates = report["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 12);
    for update in updates {
        let (hot, all) = (update["hot"].as_i64().unwrap(), update["updates"].as_i64().unwrap());
        let covered = update["index"] == "covering, live rows" && update["column"] != "updated_at";
        assert!(all >= 5, "{update}");
        match (covered, update["fillfactor"].as_i64().unwrap()) {
            (true, _) => assert_eq!(hot, 0, "an indexed column changes: {update}"),
            (false, 90) => assert!(hot * 10 >= all * 8, "there is room in the page: {update}"),
            (false, _) => assert!(hot * 2 < all, "the pages are full: {update}"),
        }
    }
    let [v4, v7] = [0, 1].map(|index| &report["keys"][index]);
    assert_eq!((v4["version"].as_i64(), v7["version"].as_i64()), (Some(4), Some(7)));
    assert!(v4["size_bytes"].as_i64() > v7["size_bytes"].as_i64(), "{report}");

    let picture = std::fs::read_to_string(&svg).unwrap();
    std::fs::remove_file(&svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
    assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    for index in INDEXES {
        assert!(picture.contains(&format!("\n{index}\n")), "{index}: {picture}");
    }
    assert_eq!(databases(own).await, 0);
}

#[tokio::test]
async fn an_interrupted_bench_leaves_no_database_and_a_killed_ones_goes_with_the_next() {
    let connection = administration::connect(&cluster().await.primary_url("postgres")).await.unwrap();
    connection.execute_unprepared("CREATE DATABASE trellis_scratch_1_99999999").await.unwrap();
    connection.close().await.unwrap();
    let svg = new_path("bench.svg");
    std::fs::write(&svg, "drawn earlier").unwrap();
    let bench = Instance::spawn(&mut bench(&["--tasks", "200000", "--svg", svg.to_str().unwrap()]).await);
    let own = bench.pid();
    eventually("its database is there", || async { if databases(own).await == 1 { Ok(()) } else { Err("not yet") } })
        .await;
    bench.interrupted().await.assert_refused(&["SIGINT", "nothing of it stays"]);
    assert_eq!(databases(own).await, 0);
    assert_eq!(databases(99_999_999).await, 0);
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), "drawn earlier");
    std::fs::remove_file(&svg).unwrap();
}

#[tokio::test]
async fn a_database_that_the_address_names_in_a_parameter_is_left_alone() {
    let kept = cluster().await.new_database(Some(TEMPLATE)).await;
    let address = format!("{}&dbname={kept}", cluster().await.primary_url(""));
    let sql = new_path("bench.sql");
    std::fs::write(&sql, "ALTER TABLE tasks ADD COLUMN one integer").unwrap();
    let bench: &[&str] = &["bench", "indexes", "--tasks", "1000"];
    let rehearsal = &["migrate", "rehearse", "--tasks", "1000", "--limit-ms", "20000", "--sql", sql.to_str().unwrap()];
    for words in [bench, rehearsal] {
        let done = run(trellis().args(["--database-url", &address]).args(words)).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        // Nothing can be said behind this: there is no telling where it leads.
        let process = Instance::spawn(trellis().args(["--database-url", &format!("{address}#")]).args(words));
        let own = process.pid();
        process.ended().await.assert_refused(&[&format!("the address leads to the database {kept}")]);
        assert_eq!(databases(own).await, 0);
    }
    std::fs::remove_file(&sql).unwrap();
    let connection = administration::connect(&cluster().await.primary_url(&kept)).await.unwrap();
    let state = "SELECT count(*) FILTER (WHERE relname = 'idx_tasks_list'), count(*) FILTER (WHERE relname = 'arrivals'), \
        (SELECT count(*) FROM tasks), (SELECT count(*) FROM information_schema.columns WHERE column_name = 'one') \
        FROM pg_class";
    let state = one(&connection, state).await;
    let state: Vec<i64> = (0..4).map(|column| state.try_get_by_index(column).unwrap()).collect();
    assert_eq!(state, [1, 0, 0, 0], "its index, no table of the bench, no tasks, no column of the migration");
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_that_waits_to_read_cold_holds_its_database() {
    let data = DataDirectory::with_demo("bench-held").await;
    let mut cluster = Instance::spawn(&mut data.command(&["cluster"]));
    let primary = cluster.line("primary").await;
    cluster.interrupted().await;
    let mut bench = Instance::spawn(&mut data.command(&["bench", "indexes", "--tasks", "1000"]));
    // Its server is started again for each time that it reads cold: a few times are enough to have missed the first.
    let postmaster = || data.postmasters().first().copied();
    let first = bench.until("its server", |_| postmaster()).await;
    bench.until("its server is started again", |_| postmaster().filter(|pid| *pid != first)).await;
    let lock = std::fs::File::options().write(true).open(data.path().join("transition.lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    bench.logs("another process starts or stops the cluster").await;
    let connection = administration::connect(&primary).await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'trellis_scratch_%'";
    let sessions: i64 = one(&connection, sessions).await.try_get_by_index(0).unwrap();
    assert!(sessions > 0, "another run would take the database for a left-over");
    connection.close().await.unwrap();
    drop(lock);
    assert_eq!(bench.ended().await.code, Some(0));
    data.until_quiet().await;
}

#[tokio::test]
async fn on_the_private_server_the_list_is_also_read_cold_and_told_in_tables() {
    let data = DataDirectory::with_demo("bench").await;
    let ended = run(&mut data.command(&["bench", "indexes", "--tasks", "1000", "--json"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert!(report["cold_refused"].is_null(), "{report}");
    for index in INDEXES {
        let list = read(&report, "list", index);
        assert!(list["cold_ms"].as_f64().unwrap() > 0.0, "{list}");
        assert!(list["cold_reads"].as_i64().unwrap() > 0, "nothing of it was in memory: {list}");
    }

    let ended = run(&mut data.command(&["bench", "indexes", "--tasks", "1000"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for index in INDEXES {
        // Its row of the first table: name, warm, times, cold, times, buffers.
        let row = ended.out.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(index)).unwrap();
        let numbers: Vec<f64> = row
            .split(['|', ' '])
            .filter(|word| !word.is_empty())
            .map_while(|word| word.replace(',', "").parse().ok())
            .collect();
        assert_eq!(numbers.len(), 5, "{index}: {row}");
    }
    assert!(ended.out.lines().all(|line| !line.starts_with('|') || line.chars().count() <= 100), "{}", ended.out);
    data.until_quiet().await;
}
