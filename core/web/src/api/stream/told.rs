//! What a client of the stream wants to be told of beside values: events, and what alarms tell.
//!
//! Nothing is queued for a client: it has a place in the list that the node keeps, and gets what follows when it has taken
//! what came before. One that is too slow for what is kept is told so.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use twinhub_events::{Filter, Following};
use twinhub_runtime::view::EventsFrame;

use crate::api::events::{EventsFilter, cursor};
use crate::problem::Problem;
use crate::web::Web;

/// Events in one message at most.
const AT_ONCE: usize = 100;
/// How often events are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// Codes of what alarms tell begin so.
const ALARMS: &str = "TH-ALARM-1";

/// What there is beside values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Topic {
    Events,
    Alarms,
}

impl Topic {
    const fn word(self) -> &'static str {
        match self {
            Topic::Events => "events",
            Topic::Alarms => "alarms",
        }
    }
}

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wish {
    Subscribe(Box<Subscription>),
    Unsubscribe(Topic),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscription {
    to: Topic,
    /// `cursor` of the last message of this kind, from this or another node; left out, all that is kept.
    #[serde(default)]
    from: String,
    #[serde(default)]
    filter: serde_json::Map<String, serde_json::Value>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told {
    readers: BTreeMap<Topic, Reader>,
    /// When events are looked for next.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Reader {
    from: Following,
    filter: Filter,
    /// That events are gone, so that it is said once.
    is_told: bool,
}

impl Told {
    /// Takes a message of the client; what is wrong with it goes back.
    pub(super) fn hear(&mut self, text: &str, web: &Web) -> Result<(), Problem> {
        let wish: Wish = serde_json::from_str(text).map_err(|error| {
            let help = r#"write {"subscribe": {"to": "events"}} or {"unsubscribe": "events"}; `alarms` is the other kind"#;
            let error: String = error.to_string().chars().take(200).collect();
            Problem::bad_request(format!("not understood: {error}; {help}"))
        })?;
        match wish {
            Wish::Unsubscribe(topic) => drop(self.readers.remove(&topic)),
            Wish::Subscribe(subscription) => {
                let Subscription { to, from, filter } = *subscription;
                let mut filter = read_filter(filter)?.read(web)?;
                if to == Topic::Alarms && filter.code.is_empty() {
                    ALARMS.clone_into(&mut filter.code);
                }
                if to == Topic::Alarms && !filter.code.starts_with(ALARMS) {
                    let detail = format!("`{}` is no code of alarms: they begin with {ALARMS}", filter.code);
                    return Err(Problem::bad_request(detail));
                }
                let from = Following { cursor: cursor(&from)?, limit: AT_ONCE, ..Following::default() };
                self.readers.insert(to, Reader { from, filter, is_told: false });
            }
        }
        self.due = (!self.readers.is_empty()).then(Instant::now);
        Ok(())
    }

    /// Waits until it is time to look; for ever if nothing is wanted.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// What there is to tell, of one kind at a time.
    pub(super) fn next(&mut self, web: &Web) -> Option<EventsFrame> {
        for (topic, reader) in &mut self.readers {
            let next = web.handle.events(&reader.from, &reader.filter);
            let missed = next.missed && !reader.is_told;
            reader.is_told = next.missed;
            reader.from = Following {
                after: next.after,
                cursor: next.cursor.clone(),
                ..std::mem::take(&mut reader.from)
            };
            if missed || !next.rows.is_empty() {
                // There may be more, of the other kind, too.
                self.due = Some(Instant::now());
                let (topic, cursor) = (topic.word().to_owned(), next.cursor.to_string());
                return Some(EventsFrame { topic, cursor, events: next.rows, missed });
            }
        }
        self.due = Some(Instant::now() + LOOK);
        None
    }
}

/// A misspelled filter would let everything through.
fn read_filter(filter: serde_json::Map<String, serde_json::Value>) -> Result<EventsFilter, Problem> {
    if let Some(name) = filter.keys().find(|name| !EventsFilter::NAMES.contains(&name.as_str())) {
        let name: String = name.chars().take(80).collect();
        let known = EventsFilter::NAMES.join(", ");
        return Err(Problem::bad_request(format!("`{name}` filters nothing: there is {known}")));
    }
    serde_json::from_value(filter.into()).map_err(|error| {
        let error: String = error.to_string().chars().take(200).collect();
        Problem::bad_request(format!("`filter` is not understood: {error}"))
    })
}
