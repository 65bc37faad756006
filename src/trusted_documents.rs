//! The documents that clients were built with: read from a manifest at the start, checked against the schema, parsed once,
//! and asked for by their ids.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_graphql::parser::types::ExecutableDocument;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::config::Trust;
use crate::error::Error;
use crate::guard::Guard;
use crate::schema::validation::Validator;

/// How many faulty documents of a manifest are told of.
const TOLD_FAULTS: usize = 10;

/// How many operations the log is told of that are not in the manifest. Their names come from clients.
const TOLD_OPERATIONS: usize = 1_000;

/// A manifest, as build tools write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    /// Of Apollo's `generate-persisted-query-manifest`.
    List { operations: Vec<Listed> },
    /// Of graphql-codegen's client preset and of relay-compiler: texts by ids.
    Map(BTreeMap<String, String>),
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    body: String,
}

/// The documents of a manifest, and what is done with others.
#[derive(Debug, Default)]
pub struct TrustedDocuments {
    by_id: HashMap<String, Arc<ExecutableDocument>>,
    trust: Trust,
    told: Mutex<HashSet<String>>,
}

impl TrustedDocuments {
    /// Reads a manifest. Each document must pass `guard`, and fit the schema.
    ///
    /// # Errors
    /// The file cannot be read, is no manifest, or holds a document that could never be answered; the error names its id.
    pub async fn read(path: &Path, trust: Trust, guard: &Guard) -> anyhow::Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("the manifest {name} cannot be read"))?;
        let texts: Vec<(String, String)> = match serde_json::from_str(&text) {
            Ok(Manifest::List { operations }) => operations.into_iter().map(|Listed { id, body }| (id, body)).collect(),
            Ok(Manifest::Map(texts)) => texts.into_iter().collect(),
            Err(_) => anyhow::bail!(
                "{name} is no manifest of documents: it should be {{\"<id>\": \"<document>\", …}}, as graphql-codegen and \
                 relay-compiler write it, or {{\"operations\": [{{\"id\": …, \"body\": …}}, …]}}, as Apollo's tools do"
            ),
        };
        anyhow::ensure!(!texts.is_empty(), "the manifest {name} is empty");
        let validator = Validator::new();
        let (mut by_id, mut faults) = (HashMap::new(), Vec::new());
        for (id, text) in texts {
            match check(&text, guard, &validator).await {
                Ok(document) => {
                    let document = Arc::new(document);
                    by_id.insert(hash_id(&text), Arc::clone(&document));
                    if by_id.insert(id.clone(), document).is_some() && id != hash_id(&text) {
                        faults.push(format!("{id}: the id stands twice"));
                    }
                }
                Err(fault) => faults.push(format!("{id}: {fault}")),
            }
        }
        if faults.is_empty() {
            return Ok(Self { by_id, trust, told: Mutex::default() });
        }
        let count = faults.len();
        faults.truncate(TOLD_FAULTS);
        anyhow::bail!("{count} of the documents in {name} cannot be served:\n  {}", faults.join("\n  "))
    }

    /// The document with this id: the manifest's, or `sha256:` and the hash of the text.
    ///
    /// # Errors
    /// There is none.
    pub fn by_id(&self, id: &str) -> Result<Arc<ExecutableDocument>, Error> {
        self.by_id.get(id).cloned().ok_or(Error::DocumentNotTrusted(
            "No document has this id: the client was built with another manifest than this server has.",
        ))
    }

    /// The document with this text; none where it is not in the manifest, and may be answered all the same.
    ///
    /// # Errors
    /// It may not.
    pub fn by_text(&self, text: &str) -> Result<Option<Arc<ExecutableDocument>>, Error> {
        if self.by_id.is_empty() {
            return Ok(None);
        }
        match (self.by_id.get(&hash_id(text)), self.trust) {
            (Some(document), _) => Ok(Some(Arc::clone(document))),
            (None, Trust::Off | Trust::Log) => Ok(None),
            (None, Trust::Enforce) => Err(Error::DocumentNotTrusted(
                "This server answers the documents of its manifest only. Send documentId, and no query.",
            )),
        }
    }

    /// The names of all their operations.
    pub fn operation_names(&self) -> impl Iterator<Item = &str> {
        let operations = self.by_id.values().flat_map(|document| document.operations.iter());
        operations.filter_map(|(name, _)| Some(name?.as_str()))
    }

    /// Tells the log of an operation that is not in the manifest, once for each name.
    pub fn tell_of(&self, operation: &str) {
        if self.trust != Trust::Log {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_OPERATIONS && told.insert(operation.to_owned()) {
            tracing::warn!(operation, "not in the manifest of trusted documents");
        }
    }
}

/// Parses a document that could be answered.
async fn check(text: &str, guard: &Guard, validator: &Validator) -> Result<ExecutableDocument, String> {
    let document = guard.inspect(text).map_err(|error| error.to_string())?;
    let faults = validator.faults(document.clone()).await;
    if faults.is_empty() { Ok(document) } else { Err(faults.join(" ")) }
}

/// The id that a document has without a manifest, by the appendix of GraphQL over HTTP on persisted documents.
fn hash_id(text: &str) -> String {
    let hash = Sha256::digest(text);
    hash.iter().fold(String::from("sha256:"), |id, byte| id + &format!("{byte:02x}"))
}
