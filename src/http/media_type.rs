//! Media types of requests and answers: what a client takes, and what it may send.

use axum::http::{HeaderMap, StatusCode, header};
use mediatype::{MediaType as Parsed, MediaTypeList, ReadParams, names};

use super::response::Refused;
use crate::error::Code;

/// What an answer is sent as. They differ in the status of an answer to a document that cannot be run, by the draft of
/// [GraphQL over HTTP](https://graphql.github.io/graphql-over-http/draft/#sec-Responses).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// `application/json`: what clients get that do not ask for the other one.
    Json,
    /// `application/graphql-response+json`.
    GraphqlResponse,
}

impl MediaType {
    /// The one that the Accept header prefers; of equals the one that it names first, and JSON where it names neither.
    ///
    /// # Errors
    /// It takes neither.
    pub(super) fn negotiate(headers: &HeaderMap) -> Result<Self, Refused> {
        let lines: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
        if lines.iter().all(|line| line.trim().is_empty()) {
            return Ok(Self::Json);
        }
        // What cannot be read accepts nothing.
        let ranges: Vec<Range> = lines
            .iter()
            .flat_map(|line| MediaTypeList::new(line))
            .flatten()
            .filter_map(|parsed| Range::of(&parsed))
            .collect();
        let wanted = |media_type: Self| {
            let applies = |(place, range): (usize, &Range)| {
                let precision = media_type.precision_of(range)?;
                Some((precision, range.weight, std::cmp::Reverse(place)))
            };
            let (_, weight, place) = ranges.iter().enumerate().filter_map(applies).max()?;
            (weight > 0).then_some((weight, place))
        };
        match (wanted(Self::Json), wanted(Self::GraphqlResponse)) {
            (None, None) => {
                let message = "Accept application/graphql-response+json or application/json.";
                Err(Refused::new(StatusCode::NOT_ACCEPTABLE, Code::BadUserInput, message))
            }
            (json, graphql) => Ok(if json >= graphql { Self::Json } else { Self::GraphqlResponse }),
        }
    }

    /// How precisely a range of the Accept header means this type; none where it does not.
    fn precision_of(self, range: &Range) -> Option<u8> {
        let name = match self {
            Self::Json => "application/json",
            Self::GraphqlResponse => "application/graphql-response+json",
        };
        match range.name.as_str() {
            "*/*" => Some(0),
            "application/*" => Some(1),
            given if given == name => Some(2),
            _ => None,
        }
    }

    /// The value of the Content-Type header.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// The status of an answer to a request that is well formed, and whose document cannot be run.
    pub(super) fn status_of_unexecuted(self) -> StatusCode {
        match self {
            Self::Json => StatusCode::OK,
            Self::GraphqlResponse => StatusCode::BAD_REQUEST,
        }
    }
}

/// A part of the Accept header, such as `application/*;q=0.8`.
struct Range {
    /// In lower case, without parameters.
    name: String,
    /// From 0 to 1,000.
    weight: u16,
}

impl Range {
    fn of(parsed: &Parsed<'_>) -> Option<Self> {
        let weight = parsed.get_param(names::Q).map_or(Some(1.0), |weight| weight.as_str().parse::<f32>().ok())?;
        if !(0.0..=1.0).contains(&weight) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1,000")]
        let weight = (weight * 1_000.0).round() as u16;
        Some(Self { name: parsed.essence().to_string().to_ascii_lowercase(), weight })
    }
}

/// Whether the Content-Type header is `application/json`, in UTF-8 where it says so. A form can be sent by any page that
/// a browser shows; JSON cannot without this server's consent.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Some(Ok(parsed)) = line.to_str().ok().map(Parsed::parse) else { return false };
    let is_utf_8 = |(name, value): (mediatype::Name, mediatype::Value)| {
        name == names::CHARSET && value.unquoted_str().eq_ignore_ascii_case("utf-8")
    };
    parsed.essence() == Parsed::new(names::APPLICATION, names::JSON) && parsed.params().all(is_utf_8)
}
