//! What helps to find a fault: what the driver noted on its way, by unit and block. No request is made for it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_modbus::ExceptionCode;
use twinhub_plugin::Role;

use crate::config::Settings;
use crate::image::Class;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) is_connected: bool,
    connections: u64,
    requests: u64,
    timeouts: u64,
    exceptions: u64,
    polls_missed: u64,
    last_fault: Option<(Instant, String)>,
    units: BTreeMap<u8, UnitNotes>,
    blocks: Vec<BlockNotes>,
    reads_together: usize,
}

#[derive(Debug, Default)]
struct UnitNotes {
    answers: u64,
    timeouts: u64,
    last_answer: Option<Instant>,
    /// By its number.
    exceptions: BTreeMap<u8, u64>,
    last_exception: Option<(Instant, String)>,
    trouble: Option<String>,
}

/// Blocks of one poll class.
#[derive(Debug)]
struct BlockNotes {
    period: Duration,
    blocks: usize,
    items: usize,
    items_refused: usize,
}

impl Notes {
    pub(crate) fn connected(&mut self) {
        self.connections += 1;
    }

    pub(crate) fn asked(&mut self, requests: usize) {
        self.requests += requests as u64;
    }

    pub(crate) fn answered(&mut self, unit: u8) {
        let unit = self.units.entry(unit).or_default();
        unit.answers += 1;
        unit.last_answer = Some(Instant::now());
    }

    pub(crate) fn refused(&mut self, unit: u8, code: ExceptionCode) {
        self.answered(unit);
        self.exceptions += 1;
        let unit = self.units.entry(unit).or_default();
        *unit.exceptions.entry(code.into()).or_default() += 1;
        unit.last_exception = Some((Instant::now(), code.to_string()));
    }

    pub(crate) fn timed_out(&mut self, unit: u8) {
        self.timeouts += 1;
        self.units.entry(unit).or_default().timeouts += 1;
    }

    pub(crate) fn missed(&mut self, polls: u64) {
        self.polls_missed += polls;
    }

    pub(crate) fn faulted(&mut self, cause: &str) {
        self.last_fault = Some((Instant::now(), cause.chars().take(TEXT_CHARS_MAX).collect()));
    }

    /// How units and poll classes are.
    pub(crate) fn looks<'a>(
        &mut self,
        classes: &[Class],
        troubles: impl Iterator<Item = (u8, Option<&'a str>)>,
        reads_together: usize,
    ) {
        let noted = |class: &Class| BlockNotes {
            period: class.period,
            blocks: class.blocks.len(),
            items: class.blocks.iter().map(|block| block.members.len()).sum(),
            items_refused: class.refused_items(),
        };
        self.blocks = classes.iter().map(noted).collect();
        self.reads_together = reads_together;
        for (unit, trouble) in troubles {
            self.units.entry(unit).or_default().trouble = trouble.map(str::to_owned);
        }
    }

    /// The diagnosis.
    pub(crate) fn document(&self, settings: &Settings, role: Role, writes_waiting: usize) -> Value {
        let seconds = |at: Instant| at.elapsed().as_secs();
        let units: serde_json::Map<String, Value> = self
            .units
            .iter()
            .map(|(number, unit)| {
                let exceptions: BTreeMap<String, u64> =
                    unit.exceptions.iter().map(|(code, count)| (code.to_string(), *count)).collect();
                let document = json!({
                    "trouble": unit.trouble,
                    "answers": unit.answers,
                    "last_answer_ago_s": unit.last_answer.map(seconds),
                    "timeouts": unit.timeouts,
                    "exceptions": exceptions,
                    "last_exception": unit.last_exception.as_ref().map(|(_, text)| text),
                    "last_exception_ago_s": unit.last_exception.as_ref().map(|(at, _)| seconds(*at)),
                });
                (number.to_string(), document)
            })
            .collect();
        let blocks: Vec<Value> = self
            .blocks
            .iter()
            .map(|class| {
                json!({
                    "period_ms": u64::try_from(class.period.as_millis()).unwrap_or(u64::MAX),
                    "blocks": class.blocks,
                    "items": class.items,
                    "items_refused": class.items_refused,
                })
            })
            .collect();
        json!({
            "role": format!("{role:?}").to_lowercase(),
            "device": settings.endpoint,
            "is_connected": self.is_connected,
            "connections": self.connections,
            "requests": self.requests,
            "timeouts": self.timeouts,
            "exceptions": self.exceptions,
            "polls_missed": self.polls_missed,
            "writes_waiting": writes_waiting,
            "reads_together": self.reads_together,
            "last_fault": self.last_fault.as_ref().map(|(_, text)| text),
            "last_fault_ago_s": self.last_fault.as_ref().map(|(at, _)| seconds(*at)),
            "units": units,
            "polls": blocks,
        })
    }
}

/// Texts made of what a device sent are bounded.
const TEXT_CHARS_MAX: usize = 200;
