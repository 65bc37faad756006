//! Stands before the GraphQL library: refuses what would cost too much to parse, to validate or to run.
//!
//! The order matters: the bytes of the text, its parse, its values, its size, its cost. Each step is bounded by the one
//! before it, so that the worst request is answered or refused for some milliseconds of CPU. Every way in passes through
//! [`Guard::parse`], which the documents of a manifest have passed at the start, and [`Guard::admit`].

mod introspection;
mod measure;
mod text;
mod types;
mod values;

use async_graphql::Variables;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::parser::{parse_query, parse_schema};

use crate::config::Limits;
use crate::error::{Error, shortened};
use introspection::Description;
use measure::{Measure, Size};
use types::Types;

/// The limits of a request, and what has to be known of the schema to keep them.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    introspection: Introspection,
    types: Types,
    description: Description,
}

/// Whether clients may ask for the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introspection {
    /// They may, and messages suggest the names that come nearest to unknown ones.
    On,
    /// Neither.
    Off,
}

/// A request that may go on to the library.
#[derive(Debug)]
pub struct Admitted {
    /// The document, parsed.
    pub document: ExecutableDocument,
    /// The name of the operation to execute, where it has one.
    pub name: Option<String>,
    /// Whether it reads or writes.
    pub kind: OperationType,
    /// What it asks for.
    pub cost: Cost,
}

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How many fields the answer may hold: what is selected in a list counts for each row of its page.
    pub complexity: u64,
    /// How deep its fields nest.
    pub depth: u64,
}

impl Guard {
    /// A guard of the schema whose text is `sdl`.
    ///
    /// # Errors
    /// The text is no schema.
    pub fn new(sdl: &str, limits: Limits, introspection: Introspection) -> anyhow::Result<Self> {
        let schema = parse_schema(sdl)?;
        Ok(Self { limits, introspection, types: Types::read(&schema), description: Description::read(&schema)? })
    }

    /// The limits that it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether clients may ask for the schema.
    #[must_use]
    pub fn introspection(&self) -> Introspection {
        self.introspection
    }

    /// Chooses the operation that is asked for, and checks it with the variables. Of these, the ones that the operation
    /// does not declare go, and its defaults come.
    ///
    /// # Errors
    /// A limit is passed, or a variable is missing or of a wrong shape.
    pub fn admit(
        &self,
        document: ExecutableDocument,
        asked: Option<&str>,
        variables: &mut Variables,
    ) -> Result<Admitted, Error> {
        let (name, executed) = operation(&document, asked)?;
        values::check_variables(variables, &self.limits)?;
        values::check_declarations(&document, &self.limits, &self.types)?;
        values::complete_variables(variables, executed, &self.types)?;
        let mut measure = Measure::new(self, &document, variables);
        let cost = self.check_size(&mut measure, &document, executed)?.cost();
        self.check_cost(&mut measure, executed, cost)?;
        let (name, kind) = (name.map(str::to_owned), executed.ty);
        Ok(Admitted { document, name, kind, cost })
    }

    /// What the one operation of a document would cost, be it more than is allowed.
    ///
    /// # Errors
    /// The document is not GraphQL, or passes a limit that is not one of its cost.
    pub fn estimate(&self, text: &str, mut variables: Variables) -> Result<Cost, Error> {
        let document = self.parse(text)?;
        let (_, executed) = operation(&document, None)?;
        values::check_variables(&variables, &self.limits)?;
        values::fit_variables(&mut variables, executed);
        let mut measure = Measure::new(self, &document, &variables);
        Ok(self.check_size(&mut measure, &document, executed)?.cost())
    }

    /// Checks how many estimates a request has asked for.
    ///
    /// # Errors
    /// They are too many.
    pub fn check_estimates(&self, estimates: u64) -> Result<(), Error> {
        let mend = "Send the others in requests of their own.";
        within("maxEstimates", estimates, self.limits.max_estimates, mend, || {
            format!("the request asks for {estimates} estimates")
        })
    }

    /// Checks how many bytes the long texts of an answer have.
    ///
    /// # Errors
    /// They are too many.
    pub fn check_answer(&self, bytes: u64) -> Result<(), Error> {
        within("maxAnswerBytes", bytes, self.limits.max_answer_bytes, "Ask for fewer rows at once.", || {
            format!("the long texts of the answer have {bytes} bytes")
        })
    }

    /// Parses a document, and checks each of its operations as far as that does not depend on variables.
    ///
    /// # Errors
    /// It is not GraphQL, or no request for it would be admitted.
    pub fn inspect(&self, text: &str) -> Result<ExecutableDocument, Error> {
        let document = self.parse(text)?;
        values::check_declarations(&document, &self.limits, &self.types)?;
        for (_, operation) in document.operations.iter() {
            let mut variables = Variables::default();
            values::fit_variables(&mut variables, &operation.node);
            let mut measure = Measure::new(self, &document, &variables);
            self.check_size(&mut measure, &document, &operation.node)?;
        }
        Ok(document)
    }

    /// Parses a document whose text is not too large.
    ///
    /// # Errors
    /// The document is not GraphQL, or its text passes a limit.
    pub fn parse(&self, text: &str) -> Result<ExecutableDocument, Error> {
        text::check(text, &self.limits)?;
        let document = parse_query(text).map_err(|error| {
            Error::GraphqlParseFailed(shortened(&format!("The document is not GraphQL:\n{error}")).into_owned())
        })?;
        let operations = count(document.operations.iter().len());
        let mend = "Send those that you do not run in another document.";
        let tell = || format!("the document has {operations} operations");
        within("maxOperations", operations, self.limits.max_operations, mend, tell)?;
        Ok(document)
    }

    /// Checks how much a document asks for, whatever that costs to answer.
    fn check_size<'a>(
        &self,
        measure: &mut Measure<'a>,
        document: &'a ExecutableDocument,
        executed: &'a OperationDefinition,
    ) -> Result<Size, Error> {
        let limits = &self.limits;
        // The one that is executed comes first, as long as nothing else of the schema's own description is counted.
        let size = measure.operation(executed)?;
        // Each operation may use each variable once, as requests do whose operations have a variable of one name.
        let own = measure.size_of_variables();
        let (mut selections, mut copied) = (size.selections, size.variables.saturating_sub(own));
        // The library validates every operation.
        for (_, operation) in document.operations.iter() {
            if !std::ptr::eq(&raw const operation.node, executed) {
                let size = measure.operation(&operation.node)?;
                selections = selections.saturating_add(size.selections);
                copied = copied.saturating_add(size.variables.saturating_sub(own));
            }
        }
        measure.check_fragments()?;
        if size.introspection > 0 && self.introspection == Introspection::Off {
            let message = "Introspection is switched off; whoever runs this server has the schema.";
            return Err(Error::GraphqlValidationFailed(message.to_owned()));
        }
        within("maxSelections", selections, limits.max_selections, LESS, || {
            let path = measure.dearest(executed, |size| size.selections);
            format!("the document has {selections} selections, its fragments written out, most of them at {path}")
        })?;
        within("maxBodyBytes", copied, limits.max_body_bytes(), "Use large variables less often.", || {
            format!("the variables come to {copied} bytes more, each written out wherever it is used")
        })?;
        within("maxIntrospection", size.introspection, limits.max_introspection, LESS, || {
            format!("the answer about the schema may hold {} fields", size.introspection)
        })?;
        within("maxRootFields", size.fields, limits.max_root_fields, LESS, || {
            format!("the operation selects {} root fields", size.fields)
        })?;
        within(
            "maxAliases",
            size.aliases,
            limits.max_aliases,
            "Ask for many rows by one field, such as nodes.",
            || {
                let path = measure.dearest(executed, |size| size.aliases);
                format!("the operation has {} aliases, most of them at {path}", size.aliases)
            },
        )?;
        Ok(size)
    }

    /// Checks what an operation costs to answer.
    fn check_cost<'a>(
        &self,
        measure: &mut Measure<'a>,
        executed: &'a OperationDefinition,
        Cost { complexity, depth }: Cost,
    ) -> Result<(), Error> {
        let limits = &self.limits;
        within("maxDepth", depth, limits.max_depth, "Ask for what is deeper in another request, by id.", || {
            format!("the fields nest {depth} deep, at {}", measure.dearest(executed, |size| size.depth))
        })?;
        within(
            "maxComplexity",
            complexity,
            limits.max_complexity,
            "Ask for smaller pages, or for fewer fields.",
            || {
                let path = measure.dearest(executed, Size::complexity);
                format!("the answer may hold {complexity} fields, most of them at {path}")
            },
        )
    }
}

const LESS: &str = "Ask for less at once, or in several requests.";

/// The operation that a request asks for, and its name, where it has one.
fn operation<'a>(
    document: &'a ExecutableDocument,
    asked: Option<&str>,
) -> Result<(Option<&'a str>, &'a OperationDefinition), Error> {
    let found = match (&document.operations, asked) {
        (DocumentOperations::Single(operation), None) => Some((None, &operation.node)),
        (DocumentOperations::Multiple(operations), asked) => {
            let is_asked = |name: &str| asked.map_or(operations.len() == 1, |asked| asked == name);
            let found = operations.iter().find(|(name, _)| is_asked(name));
            found.map(|(name, operation)| (Some(name.as_str()), &operation.node))
        }
        (DocumentOperations::Single(_), Some(_)) => None,
    };
    let message = "operationName must name one of the document's operations; it can be left out where there is one.";
    found.ok_or_else(|| Error::BadUserInput(message.to_owned()))
}

/// Refuses what is beyond a limit. The message tells what it is, what the limit is called, and how to mend it.
fn within(
    limit: &str,
    value: u64,
    max: impl Into<u64>,
    mend: &str,
    tell: impl FnOnce() -> String,
) -> Result<(), Error> {
    let max = max.into();
    if value <= max {
        return Ok(());
    }
    let message = format!("{limit} is {max}; {}. {mend}", tell());
    Err(Error::LimitExceeded(shortened(&message).into_owned()))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
