//! The guard: what it says of a request is always the same and soon said, and the library finishes with what it admits.
//!
//! An input is a document, variables in JSON and the name of an operation, with NUL between them; the latter two may be
//! missing.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{EmptySubscription, Request, Response, Variables};
use futures_util::FutureExt;
use libfuzzer_sys::{Corpus, fuzz_target};
use nix::time::{ClockId, clock_gettime};
use trellis::config::Arguments;
use trellis::error::Error;
use trellis::guard::{Admitted, Guard, Introspection};
use trellis::http::json::Object;
use trellis::schema::{self, Mutation, Query, Schema};

/// CPU time that a request may take before it is executed: several times as much as is promised of the server, because
/// this program is slowed by its instrumentation.
const MAX_CPU: Duration = Duration::from_millis(250);

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let settings = Arguments::from_words(&[]).expect("nothing need be said").settings;
    schema::guard(&settings.limits, Introspection::On).expect("the schema is GraphQL")
});

/// The server's, but for the execution.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let builder = Schema::build(Query::default(), Mutation::default(), EmptySubscription);
    builder.limit_recursive_depth(GUARD.limits().max_nesting.into()).extension(WithoutExecution).finish()
});

struct WithoutExecution;

impl ExtensionFactory for WithoutExecution {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for WithoutExecution {
    async fn execute(&self, _: &ExtensionContext<'_>, _: Option<&str>, _: NextExecute<'_>) -> Response {
        Response::default()
    }
}

/// What the guard says, as far as two of its answers can be compared.
fn verdict(admitted: &Result<Admitted, Error>, variables: &Variables) -> String {
    match admitted {
        Ok(Admitted { document: _, name, kind, cost }) => format!("{name:?} {kind:?} {cost:?} {variables:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("threads have clocks").into()
}

fuzz_target!(|text: &str| -> Corpus {
    let mut parts = text.splitn(3, '\0');
    let document = parts.next().unwrap_or_default();
    let Ok(Object(variables)) = serde_json::from_str(parts.next().unwrap_or("{}")) else { return Corpus::Reject };
    let (sent, asked) = (Variables::from_value(variables), parts.next());

    // What is made once is not this input's.
    let (guard, schema) = (&*GUARD, &*SCHEMA);
    let before = cpu();
    let mut variables = sent.clone();
    let admitted = guard.parse(document).and_then(|document| guard.admit(document, asked, &mut variables));
    let told = verdict(&admitted, &variables);
    if let Ok(Admitted { document, name, .. }) = admitted {
        let mut request = Request::new("").variables(variables);
        request.operation_name = name;
        request.set_parsed_query(document);
        // Nothing in it waits.
        schema.execute(request).now_or_never().expect("validation ends");
    }
    let taken = cpu() - before;
    assert!(taken < MAX_CPU, "{taken:?} of CPU");

    let mut variables = sent.clone();
    let again = guard.parse(document).and_then(|document| guard.admit(document, asked, &mut variables));
    assert_eq!(verdict(&again, &variables), told, "another verdict");
    if let (Ok(Admitted { name: None, cost, .. }), Ok(estimated)) = (again, guard.estimate(document, sent)) {
        assert_eq!(estimated, cost, "another estimate");
    }
    Corpus::Keep
});
