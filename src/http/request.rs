//! Reads a request: from the body of a POST, or from the parameters of a GET. A body is received up to its limit and
//! within its time, and not at all where its type is not JSON.

use std::io::Read;
use std::time::Duration;

use async_graphql::{Value, Variables};
use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::App;
use super::execution::{Document, Received};
use super::json::Object;
use super::media_type::is_json;
use super::response::Refused;
use crate::error::Code;

/// The parameters of a request, as the body names them. Others mean nothing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<Object>,
    extensions: Option<Object>,
}

/// Receives the body of a request, where its method has one.
pub(super) async fn receive(app: &App, parts: &Parts, body: Body) -> Result<Vec<u8>, Refused> {
    match parts.method {
        Method::POST => {
            check_type(&parts.headers)?;
            unpacked(app, &parts.headers, body).await
        }
        Method::GET => {
            // A browser sends some types without asking first. It needs none here.
            if parts.headers.contains_key(header::CONTENT_TYPE) {
                check_type(&parts.headers)?;
            }
            Ok(Vec::new())
        }
        _ => {
            let message = "Send queries by GET or POST, and mutations by POST.";
            let refused = Refused::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, message);
            Err(refused.telling(header::ALLOW, "GET, POST"))
        }
    }
}

/// Reads a request, of its body or of its URL.
pub(super) fn read(app: &App, parts: &Parts, body: &[u8]) -> Result<Received, Refused> {
    let parameters = match parts.method {
        Method::POST => of_body(body)?,
        _ => of_query(parts.uri.query().unwrap_or_default())?,
    };
    let Parameters { query, document_id, operation_name, variables, extensions } = parameters;
    let document = match (query, document_id.or_else(|| hash_of_apollo(extensions))) {
        (Some(query), None) => {
            app.trusted_documents.by_text(&query)?.map_or_else(|| Document::Text(query), Document::Trusted)
        }
        (None, Some(id)) => Document::Trusted(app.trusted_documents.by_id(&id)?),
        (Some(_), Some(_)) => return Err(malformed("Send query or documentId, and not both.")),
        (None, None) => return Err(malformed("The request has no query, and no documentId.")),
    };
    let operation_name = operation_name.filter(|name| !name.is_empty());
    let variables = variables.map_or_else(Variables::default, |Object(variables)| Variables::from_value(variables));
    Ok(Received { document, operation_name, variables })
}

/// How Apollo's clients send the id of a document.
fn hash_of_apollo(extensions: Option<Object>) -> Option<String> {
    let Some(Object(Value::Object(mut extensions))) = extensions else { return None };
    let Some(Value::Object(mut persisted)) = extensions.swap_remove("persistedQuery") else { return None };
    match persisted.swap_remove("sha256Hash") {
        Some(Value::String(hash)) => Some(hash),
        _ => None,
    }
}

fn malformed(message: impl Into<String>) -> Refused {
    Refused::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
}

fn check_type(headers: &HeaderMap) -> Result<(), Refused> {
    if is_json(headers) {
        return Ok(());
    }
    let message = "Send JSON in UTF-8, with the header Content-Type: application/json.";
    let refused = Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message);
    Err(refused.telling(header::ACCEPT, "application/json"))
}

/// Receives the body and unpacks it.
async fn unpacked(app: &App, headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refused> {
    let max_bytes = usize::try_from(app.guard.limits().max_body_bytes()).unwrap_or(usize::MAX);
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = codings.next().map_or(b"identity" as &[u8], |coding| coding.as_bytes());
    let is_packed = coding.eq_ignore_ascii_case(b"gzip");
    if codings.next().is_some() || !is_packed && !coding.eq_ignore_ascii_case(b"identity") {
        // Brotli is not taken: a body of a few bytes can make its reader set aside 16 MiB.
        let message = "Send the body as it is, or packed by gzip.";
        let refused = Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadUserInput, message);
        return Err(refused.telling(header::ACCEPT_ENCODING, "gzip"));
    }
    let deadline = Duration::from_millis(app.http.body_timeout_ms);
    let bytes = tokio::time::timeout(deadline, collect(body, max_bytes)).await.map_err(|_| {
        let message = format!("The body did not arrive within {} ms.", deadline.as_millis());
        Refused::new(StatusCode::REQUEST_TIMEOUT, Code::Timeout, message)
    })??;
    if is_packed { unpack(&bytes, max_bytes) } else { Ok(bytes) }
}

/// It has `bytes`, or more than it may where nobody has counted them all.
fn too_large(max_bytes: usize, bytes: Option<u64>) -> Refused {
    let bytes = bytes.map_or_else(|| "more".to_owned(), |bytes| format!("{bytes} bytes"));
    let message =
        format!("maxBodyBytes is {max_bytes}; the body has {bytes}. Ask for less at once, or in several requests.");
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, Code::LimitExceeded, message)
}

/// Reads a body, no further than its limit, and not at all where its length tells that it is too large.
async fn collect(body: Body, max_bytes: usize) -> Result<Vec<u8>, Refused> {
    let length = body.size_hint().lower();
    if usize::try_from(length).map_or(true, |length| length > max_bytes) {
        return Err(too_large(max_bytes, Some(length)));
    }
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| malformed("The body ended early, or its chunks are damaged."))?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(too_large(max_bytes, None));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Unpacks a body, no further than its limit.
fn unpack(packed: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(packed).take(max_bytes as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|_| malformed("The body is not what gzip makes."))?;
    if bytes.len() > max_bytes { Err(too_large(max_bytes, None)) } else { Ok(bytes) }
}

fn of_body(body: &[u8]) -> Result<Parameters, Refused> {
    // The list of an object's values would be read as the object.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(malformed("The body is a list; send one request at a time."));
    }
    serde_json::from_slice(body).map_err(|error| {
        malformed(format!(
            "The body is not {{\"query\": \"…\", \"variables\": {{…}}, \"operationName\": \"…\"}}, with each name \
             once: line {}, column {}.",
            error.line(),
            error.column()
        ))
    })
}

/// Reads the parameters of a URL. An empty one counts as none.
fn of_query(query: &str) -> Result<Parameters, Refused> {
    // What is not UTF-8 would be replaced without a word.
    if percent_decode_str(query).decode_utf8().is_err() {
        return Err(malformed("The URL is not in UTF-8."));
    }
    let mut parameters = Parameters::default();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "documentId" => parameters.document_id = Some(value.into_owned()),
            "query" => parameters.query = Some(value.into_owned()),
            "operationName" => parameters.operation_name = Some(value.into_owned()),
            "variables" => parameters.variables = of_parameter("variables", &value)?,
            "extensions" => parameters.extensions = of_parameter("extensions", &value)?,
            _ => continue,
        }
        if seen.contains(&name) {
            return Err(malformed(format!("The URL has the parameter {name} twice.")));
        }
        seen.push(name);
    }
    Ok(parameters)
}

fn of_parameter(name: &str, value: &str) -> Result<Option<Object>, Refused> {
    if value.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(value).map_err(|error| {
        let column = error.column();
        malformed(format!("The parameter {name} is not an object in JSON, with each name once: column {column}."))
    })
}
