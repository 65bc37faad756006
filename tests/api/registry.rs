//! The registry of statements: what it holds, and that it runs.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, TransactionTrait};
use trellis::registry::{self, PURPOSES, Parents, Sample};

use crate::harness::World;
use crate::mutations::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_registered_statement_runs_on_a_sample_and_has_a_purpose() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stage = Stage::set(&world, &[(ada, "owner")], ada, "").await;
    world.fill(stage.workspace, ada, [3, 20, 2]).await;
    for parents in [Parents::Ordinary(50), Parents::Largest] {
        let sample = Sample::of(&world.sql, parents).await.unwrap();
        let (mut names, mut titles, mut found) = (BTreeSet::new(), BTreeSet::new(), 0);
        for registered in registry::representative(&sample) {
            let transaction = world.sql.begin().await.unwrap();
            let rows = transaction.query_all_raw(registered.statement.clone().into()).await;
            found += rows.unwrap_or_else(|error| panic!("{}: {error}", registered.title())).len();
            transaction.rollback().await.unwrap();
            names.insert(registered.name());
            assert!(titles.insert(registered.title()), "two statements are called {}", registered.title());
            assert_ne!(registered.purpose(), "", "{}", registered.name());
        }
        assert!(titles.len() > 600, "saw {} variants", titles.len());
        assert!(found > 2_000, "saw {found} rows");
        assert_eq!(names, PURPOSES.iter().map(|(name, _)| *name).collect());
    }
}
