//! `tracing` events of a plugin, sent to the hub's log.
//!
//! Every plugin library has its own copy of `tracing`, so the subscriber is installed once per library; the instance
//! is found by the thread.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::{Arc, Once};

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use twinhub_contract::constants::level;

use crate::shared::Shared;

thread_local! {
    static INSTANCE: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Makes the current thread one of an instance: its events go to that instance's host.
pub(crate) fn enter(shared: &Arc<Shared>) {
    INSTANCE.with(|cell| *cell.borrow_mut() = Some(Arc::clone(shared)));
}

/// Whether the current thread belongs to an instance.
pub(crate) fn is_instance_thread() -> bool {
    INSTANCE.try_with(|cell| cell.try_borrow().is_ok_and(|shared| shared.is_some())).unwrap_or(false)
}

/// Installs the forwarding subscriber of this library. In a test program that has one already, that one stays.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level =
            std::env::var("TWINHUB_PLUGIN_LOG").ok().and_then(|text| text.parse::<LevelFilter>().ok());
        let subscriber =
            tracing_subscriber::registry().with(level.unwrap_or(LevelFilter::INFO)).with(Forward);
        drop(tracing::subscriber::set_global_default(subscriber));
    });
}

struct Forward;

impl<S> Layer<S> for Forward
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(shared) = INSTANCE.try_with(|cell| cell.try_borrow().ok()?.clone()).ok().flatten() else {
            return;
        };
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                for (name, value) in &outer.map {
                    fields.map.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        event.record(&mut fields);
        let message = fields.message.take().unwrap_or_default();
        let json = if fields.map.is_empty() { String::new() } else { Json::Object(fields.map).to_string() };
        shared.host.log(level_number(*event.metadata().level()), event.metadata().target(), &message, &json);
    }
}

#[derive(Default)]
struct Fields {
    message: Option<String>,
    map: Map<String, Json>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Json) {
        if field.name() == "message" {
            self.message = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        } else {
            self.map.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Json::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Json::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Json::from(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Json::from(value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Json::from(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Json::from(format!("{value:?}")));
    }
}

fn level_number(level: Level) -> u32 {
    match level {
        Level::ERROR => level::ERROR,
        Level::WARN => level::WARN,
        Level::INFO => level::INFO,
        Level::DEBUG => level::DEBUG,
        Level::TRACE => level::TRACE,
    }
}
