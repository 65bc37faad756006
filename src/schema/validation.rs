//! Whether a document fits the schema, without executing it.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Request, ServerError, ValidationResult, async_trait};

use super::{Schema, builder};

/// The schema, as far as its validation.
pub struct Validator(Schema);

impl Default for Validator {
    fn default() -> Self {
        Self::new()
    }
}

impl Validator {
    /// A validator of the whole schema.
    #[must_use]
    pub fn new() -> Self {
        Self(builder().extension(NothingMore).finish())
    }

    /// What is wrong with a document, whatever its variables.
    pub async fn faults(&self, document: ExecutableDocument) -> Vec<String> {
        let mut request = Request::new("");
        request.set_parsed_query(document);
        self.0.execute(request).await.errors.into_iter().map(|error| error.message).collect()
    }
}

/// Ends a request once it has been validated, with its faults and no other.
struct NothingMore;

impl ExtensionFactory for NothingMore {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for NothingMore {
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        Err(next.run(context).await.err().unwrap_or_default())
    }
}
