//! Traces of requests: an operation, its batches, their statements, by OpenTelemetry's conventions. Never documents,
//! never values.
//!
//! Spans are made when the request has been answered, from what its meter has counted anyway: nothing is done for those
//! that are not traced, and nothing has to follow the request through its tasks.

use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Answered;
use super::export::Collector;
use crate::clock;
use crate::config::TelemetrySettings;
use crate::database::{Batched, Executed, Operation};

/// The header in which the caller is told of its trace, as W3C's draft of Trace Context names it.
pub const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// How long the last spans may take to be delivered when the server stops.
const FLUSH: Duration = Duration::from_secs(2);

/// The longest name of an operation in a comment, in characters.
const MAX_NAME: usize = 64;

/// What needs no encoding in the comment of a statement: what the name of an operation consists of.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_');

/// The traces of one server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Starts to deliver traces; none where the settings name no collector.
    ///
    /// # Errors
    /// The collector's address cannot be used.
    pub fn start(settings: &TelemetrySettings) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_ratio))))
            .with_resource(Resource::builder().with_service_name(settings.service_name.clone()).build())
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("trellis");
        Ok(Some(Self { provider, tracer }))
    }

    /// A request has come: in the trace that its header `traceparent` names, else in one of its own.
    #[must_use]
    pub fn open(&self, headers: &HeaderMap) -> Trace {
        let (began, at) = (Instant::now(), clock::now().into());
        let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let span = self.tracer.span_builder("GraphQL Operation").with_kind(SpanKind::Server).with_start_time(at);
        let operation = caller.with_span(span.start_with_context(&self.tracer, &caller));
        Trace { tracer: self.tracer.clone(), operation, began, at }
    }

    /// Delivers what there still is.
    pub async fn close(self) {
        // It waits for the thread that delivers.
        let closed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!("the last traces may not have been delivered");
        }
    }
}

/// The trace of one request, from the moment in which it came.
#[derive(Debug)]
pub struct Trace {
    tracer: SdkTracer,
    operation: Context,
    began: Instant,
    at: SystemTime,
}

impl Trace {
    /// Its id, by which it is found.
    #[must_use]
    pub fn id(&self) -> String {
        self.operation.span().span_context().trace_id().to_string()
    }

    /// What the caller is told of it.
    #[must_use]
    pub fn response_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&w3c(self.operation.span().span_context())).ok()
    }

    /// What the statements of an operation tell PostgreSQL of it, as a comment in SQL; nothing where it is not sampled.
    #[must_use]
    pub fn comment(&self, operation: &str) -> Option<String> {
        let span = self.operation.span();
        let name: String = operation.chars().take(MAX_NAME).collect();
        let (name, parent) = (utf8_percent_encode(&name, PLAIN), w3c(span.span_context()));
        span.span_context().is_sampled().then(|| format!("/*operation='{name}',traceparent='{parent}'*/"))
    }

    /// The request has been answered. Says what it took, where it is sampled.
    pub(super) fn end(&self, answered: &Answered) {
        let span = self.operation.span();
        if !span.is_recording() {
            return;
        }
        if let Some(kind) = answered.kind.map(Operation::name) {
            span.update_name(kind);
            span.set_attribute(KeyValue::new("graphql.operation.type", kind));
        }
        if answered.operation != "-" {
            span.set_attribute(KeyValue::new("graphql.operation.name", answered.operation.to_owned()));
        }
        span.set_attribute(KeyValue::new("trellis.request_id", answered.request_id.to_owned()));
        if answered.code != "OK" {
            span.set_attribute(KeyValue::new("error.type", answered.code));
            span.set_status(Status::error(""));
        }
        let batches: Vec<_> = answered.meter.batches().into_iter().map(|batch| (self.batch(&batch), batch)).collect();
        for executed in answered.meter.executed() {
            let parent = executed.batch.and_then(|batch| batches.get(batch)).map_or(&self.operation, |(span, _)| span);
            self.statement(&executed, parent);
        }
        for (span, batch) in batches {
            span.span().end_with_timestamp(self.time(batch.began + batch.elapsed));
        }
        span.end_with_timestamp(self.time(self.began + answered.total));
    }

    fn batch(&self, batch: &Batched) -> Context {
        let span = self.tracer.span_builder(batch.kind).with_kind(SpanKind::Internal);
        let span = span.with_start_time(self.time(batch.began)).with_attributes([number("trellis.keys", batch.keys)]);
        self.operation.with_span(span.start_with_context(&self.tracer, &self.operation))
    }

    fn statement(&self, executed: &Executed, parent: &Context) {
        let span = self.tracer.span_builder(executed.name).with_kind(SpanKind::Client);
        let mut attributes = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", executed.name),
            KeyValue::new("trellis.target", executed.target.name()),
            number("trellis.keys", executed.keys),
            number("db.response.returned_rows", executed.rows),
        ];
        if let Some(failure) = executed.failure.clone() {
            attributes.push(KeyValue::new("error.type", failure));
        }
        let span = span.with_start_time(self.time(executed.began)).with_attributes(attributes);
        let span = parent.with_span(span.start_with_context(&self.tracer, parent));
        if executed.failure.is_some() {
            span.span().set_status(Status::error(""));
        }
        span.span().end_with_timestamp(self.time(executed.began + executed.elapsed));
    }

    /// When it was, by the clock that the request began with: a clock that is set meanwhile changes no duration.
    fn time(&self, instant: Instant) -> SystemTime {
        self.at + instant.saturating_duration_since(self.began)
    }
}

/// A span as `traceparent` and `traceresponse` have it.
fn w3c(span: &SpanContext) -> String {
    let flags = u8::from(span.is_sampled());
    format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
}

fn number(name: &'static str, number: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX))
}
