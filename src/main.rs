//! The command line of Trellis: `trellis --help` tells everything.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use trellis::config::{Arguments, Command, MigrateAction, MigrateCommand, Settings};
use trellis::deployment::{self, Deployment};
use trellis::identity::Signer;
use trellis::postgres::Durability;
use trellis::signals::Signals;
use trellis::{bench, doctor, explain, migrate, schema, seed, serve, telemetry, token};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::read()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "trellis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { command, settings }: Arguments) -> anyhow::Result<()> {
    telemetry::start(&settings.log, settings.log_json)?;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(settings).await,
        Command::Schema { check } => print_schema(check),
        Command::Cluster { temporary } => run_cluster(&settings, temporary).await,
        Command::Migrate { command: MigrateCommand::Lint(options) } => migrate::lint::run(&options, say).await,
        Command::Migrate { command: MigrateCommand::Rehearse(options) } => {
            with_database(&settings, async |deployment, signals| {
                migrate::rehearsal::run(deployment, &options, signals, say).await
            })
            .await
        }
        Command::Migrate { command: MigrateCommand::Action(action) } => {
            with_database(&settings, async |deployment, signals| {
                signals.unless(migrate::run(&deployment.addresses.primary, action, say)).await
            })
            .await
        }
        Command::Seed(options) => {
            with_database(&settings, async |deployment, signals| {
                signals.unless(fill(&settings, deployment, &options)).await
            })
            .await
        }
        Command::Doctor(options) => {
            with_database(&settings, async |deployment, signals| {
                signals.unless(doctor::run(&deployment.addresses, &settings.pools, &options, say)).await
            })
            .await
        }
        Command::Explain(options) => {
            if options.list {
                explain::list().for_each(say);
                return Ok(());
            }
            let subject = explain::Subject::read(&options)?;
            with_database(&settings, async |deployment, signals| {
                signals.unless(Box::pin(explain::run(&settings, deployment, &options, subject))).await
            })
            .await
        }
        Command::Bench { command } => {
            with_database(&settings, async |deployment, signals| bench::run(deployment, &command, signals, say).await)
                .await
        }
        Command::Token { email, hours } => {
            with_database(&settings, async |deployment, signals| {
                let signer = Signer::new(&deployment::secret(&settings, deployment)?);
                say(signals.unless(token::mint(&deployment.addresses.primary, &signer, &email, hours)).await?);
                Ok(())
            })
            .await
        }
    }
}

/// Writes a line of what the command is for. A reader that went away is no error.
fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// Does something with the database, which is started for as long as it takes where it is private.
async fn with_database(
    settings: &Settings,
    work: impl AsyncFnOnce(&mut Deployment, &mut Signals) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // Before a cluster is started: a signal that comes during the start is remembered, and stops it in order.
    let mut signals = Signals::listen()?;
    let mut deployment = Deployment::open(settings).await?;
    // Boxed: this process would otherwise set aside for each command what the largest of them needs.
    let done = Box::pin(work(&mut deployment, &mut signals)).await;
    let closed = deployment.close().await;
    done.and(closed)
}

/// Seeds the database, which is migrated first where nobody else does it.
async fn fill(settings: &Settings, deployment: &Deployment, options: &seed::Options) -> anyhow::Result<()> {
    let primary = &deployment.addresses.primary;
    if deployment.is_private() || settings.migrate {
        migrate::run(primary, MigrateAction::Up, |line| tracing::info!("{line}")).await?;
    }
    seed::run(primary, options, say).await
}

fn print_schema(check: bool) -> anyhow::Result<()> {
    let sdl = schema::sdl();
    if !check {
        say(sdl.trim_end());
        return Ok(());
    }
    let file =
        std::fs::read_to_string("schema.graphql").context("schema.graphql cannot be read from this directory")?;
    anyhow::ensure!(file == sdl, "schema.graphql differs from the code: run `trellis schema > schema.graphql`");
    say("schema.graphql is what the code says");
    Ok(())
}

/// Runs only the private cluster: until Ctrl-C or SIGTERM, a temporary one also until standard input ends.
async fn run_cluster(settings: &Settings, temporary: bool) -> anyhow::Result<()> {
    let durability = if temporary { Durability::Temporary } else { Durability::Kept };
    let mut signals = Signals::listen()?;
    let cluster = deployment::acquire(settings, durability).await?;
    say(format!("primary  {}", cluster.primary_url("postgres")));
    say(format!("replica  {}", cluster.replica_url("postgres")));
    let (input_ended, ended) = tokio::sync::oneshot::channel();
    if temporary {
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = input_ended.send(());
        });
    }
    tokio::select! {
        _ = signals.received() => {}
        Ok(()) = ended, if temporary => {}
    }
    let end = move || if temporary { cluster.remove() } else { cluster.release() };
    tokio::task::spawn_blocking(end).await??;
    Ok(())
}
