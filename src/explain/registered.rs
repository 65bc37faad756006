//! The statements of the registry to explain: chosen by name and variant, with values from the database.

use anyhow::Context;
use sea_orm::{ConnectionTrait, DatabaseConnection};

use super::{Asked, Options};
use crate::database::{Database, Meter, Needs, Operation};
use crate::registry::{self, Kind, PURPOSES, Parents, Registered, Sample};

/// How many ordinary projects lists and reports are asked for.
const PROJECTS: u16 = 10;

/// Which statements.
#[derive(Debug)]
pub struct Selection {
    /// Of this name; of any, where there is none.
    name: Option<String>,
    /// Of variants that have this in their description.
    variant: Option<String>,
    parents: Parents,
}

/// The name of every statement and what it is for, a line each.
pub fn list() -> impl Iterator<Item = String> {
    let width = PURPOSES.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    PURPOSES.iter().map(move |(name, purpose)| format!("{name:width$}  {purpose}"))
}

impl Selection {
    pub(super) fn of(options: &Options) -> anyhow::Result<Self> {
        let (name, variant) = (options.statement.clone(), options.variant.clone());
        if let Some(name) = &name {
            let is_known = PURPOSES.iter().any(|(known, _)| known == name);
            anyhow::ensure!(is_known, "no statement is called {name}; `trellis explain --list` names them all");
        }
        let parents = if options.largest { Parents::Largest } else { Parents::Ordinary(PROJECTS) };
        Ok(Self { name, variant, parents })
    }

    /// Finds values for the statements, and the doors through which the server would send them.
    pub(super) async fn find(self, connection: &DatabaseConnection, database: &Database) -> anyhow::Result<Asked> {
        // Where an index is missing, what takes a moment otherwise would take minutes, and nothing to be seen.
        connection.execute_unprepared("SET statement_timeout = '60s'").await?;
        let sample = Sample::of(connection, self.parents).await.context(
            "no rows to run statements on were found; where it took a minute, ask `trellis doctor` for a missing index",
        )?;
        let route = database.route(Operation::Query, &Meter::default(), Needs::default()).await?;
        let selected = registry::representative(&sample).filter(|registered| self.selects(registered));
        let statements: Vec<_> = selected
            .map(|Registered { kind, variant, statement }| {
                let reader = if kind == Kind::Report { &route.reports.reader } else { &route.rows };
                ((!variant.is_empty()).then_some(variant), reader.sent(statement))
            })
            .collect();
        let variant = self.variant.unwrap_or_default();
        anyhow::ensure!(!statements.is_empty(), "no variant of the statement has \"{variant}\" in its description");
        Ok(Asked { user: sample.email().to_owned(), statements, errors: Vec::new() })
    }

    fn selects(&self, registered: &Registered) -> bool {
        self.name.as_deref().is_none_or(|name| registered.name() == name)
            && self.variant.as_deref().is_none_or(|variant| registered.variant.contains(variant))
    }
}
