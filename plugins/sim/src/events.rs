//! Events of the simulation: what is written to a `give` item is given to the stream `note`, and what is taken from there
//! shows in `took` items.

use std::collections::VecDeque;

use twinhub_plugin::{Code, Delivery, Error, Event, Flags, Update, Value, WriteEntry, unix_ns};

use crate::Sim;
use crate::generator::Generator;

/// Events that are not answered yet, oldest first.
pub(crate) type Held = VecDeque<Delivery>;

impl Sim {
    /// Gives what is written, under the text of it as its id, and waits until it is safe.
    pub(crate) async fn give(&self, write: &WriteEntry) -> Code {
        let (Some(events), Some(path)) = (self.cx.events(), self.path(write.item)) else {
            return Code::Unsupported;
        };
        let Some(text) = text(&write.value).filter(|text| !text.is_empty()) else { return Code::Invalid };
        let event = Event::new(STREAM, text.as_str()).id(text).key(path).need_ack();
        match events.give(&event) {
            Ok(given) => given.taken().await.into(),
            Err(error) => error.into(),
        }
    }

    /// Shows an event, and answers it unless it is to be held.
    pub(crate) fn take(&self, event: Delivery) {
        if event.stream() != STREAM {
            event.refuse(&Error::invalid("the simulation takes the stream `note` only"));
            return;
        }
        let Ok(permit) = self.cx.gate().permit(event.epoch()) else {
            event.later();
            return;
        };
        let shown = format!("{}{}", event.id(), if event.is_redelivered() { " again" } else { "" });
        let publisher = self.cx.publisher();
        let site = &mut *self.site.borrow_mut();
        for point in site.points.iter().filter(|point| point.generator == Generator::Took) {
            publisher.push(Update::new(point.item, shown.as_str()).source_ns(unix_ns()).flags(Flags::EVENT));
        }
        publisher.flush();
        if self.config.holds_events {
            site.held.push_back(event);
        } else if permit.is_valid() {
            event.done();
        } else {
            event.later();
        }
    }

    /// Answers the oldest event that is held, with the word that is written.
    pub(crate) fn answer(&self, write: &WriteEntry) -> Code {
        let word = text(&write.value);
        let Some(word @ ("done" | "later" | "refuse")) = word.as_deref() else { return Code::Invalid };
        let Some(event) = self.site.borrow_mut().held.pop_front() else { return Code::NotFound };
        match word {
            "done" => event.done(),
            "later" => event.later(),
            _ => event.refuse(&Error::device("an operator refused it")),
        }
        Code::Ok
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.clone()),
        Value::I64(number) => Some(number.to_string()),
        Value::U64(number) => Some(number.to_string()),
        Value::Null
        | Value::Bool(_)
        | Value::F64(_)
        | Value::Bytes(_)
        | Value::Time(_)
        | Value::Json(_)
        | Value::Array(_) => None,
    }
}

/// The stream that it gives and takes.
const STREAM: &str = "note";
