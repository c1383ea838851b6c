//! What became of the records that one node had alone.

use minicbor::{Decode, Encode};
use twinhub_model::{Merged, Outcome, Position, Record, SampleFlags};

use super::MergeId;
use crate::message::OFFERED_FILES_MAX;

/// Lines that a report keeps; of more only the number is known.
const LINES_MAX: usize = 500;
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 300;
/// Commands without a result that a report names.
const UNANSWERED_MAX: usize = 200;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// Whose records, and from where on.
    #[n(0)]
    pub id: MergeId,
    /// Names of the files in which that node keeps them.
    #[n(1)]
    pub files: Vec<String>,
    /// Bytes of those files.
    #[n(2)]
    pub bytes: u64,
    /// The node that takes them in.
    #[n(3)]
    pub active: String,
    /// Where the journal of that node stood: what it has up to there is kept as it is.
    #[n(4)]
    pub kept: Position,
    /// When it began, in nanoseconds since 1970.
    #[n(5)]
    pub began: i64,
    /// When it was complete.
    #[n(6)]
    pub ended: Option<i64>,
    /// The last record that was looked at.
    #[n(7)]
    pub through: Position,
    /// How much of what.
    #[n(8)]
    pub counts: Counts,
    /// What an operator should read.
    #[n(9)]
    pub lines: Vec<String>,
    /// Lines that are not kept.
    #[n(10)]
    pub more_lines: u64,
    /// Commands whose result has not come: where they stood, and what they were.
    #[n(11)]
    pub unanswered: Vec<(Position, String)>,
    /// Whether what documents kept was taken in.
    #[n(12)]
    #[cbor(default)]
    pub has_parts: bool,
    /// The record of the journal with which it was complete; none is known of what an older version took in.
    #[n(13)]
    #[cbor(default)]
    pub ended_at: Option<Position>,
}

/// Numbers of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Counts {
    /// Values that joined the history.
    #[n(0)]
    pub values: u64,
    /// Events.
    #[n(1)]
    pub events: u64,
    /// Changes of roles.
    #[n(2)]
    pub roles: u64,
    /// Commands.
    #[n(3)]
    pub commands: u64,
    /// Of these, those that were carried out.
    #[n(4)]
    pub done: u64,
    /// Of these, those whose result is not known: they are not repeated.
    #[n(5)]
    pub in_doubt: u64,
    /// Records about alarms.
    #[n(6)]
    pub alarms: u64,
    /// Alarms that both sides had raised for one condition, which are one occurrence of it.
    #[n(7)]
    pub alarms_joined: u64,
    /// Documents that joined.
    #[n(8)]
    pub documents: u64,
    /// Documents that are kept as conflicts.
    #[n(9)]
    pub conflicts: u64,
    /// Entries of the audit list.
    #[n(10)]
    pub audit: u64,
    /// Records that were there already.
    #[n(11)]
    pub known: u64,
    /// Records that say nothing to other nodes, such as how far something was delivered: they stay in the files.
    #[n(12)]
    pub left: u64,
    /// Values and commands of items that the active node does not have: they stay in the files.
    #[n(13)]
    pub unknown: u64,
    /// Damaged places in the files.
    #[n(14)]
    pub damaged: u64,
    /// Places where records are missing in the files.
    #[n(15)]
    pub gaps: u64,
    /// Values that both sides heard: one telegram, which is kept once.
    #[n(16)]
    #[cbor(default)]
    pub twins: u64,
}

impl Counts {
    /// Adds these numbers.
    pub fn add(&mut self, more: &Counts) {
        let Counts {
            values,
            events,
            roles,
            commands,
            done,
            in_doubt,
            alarms,
            alarms_joined,
            documents,
            conflicts,
            audit,
            known,
            left,
            unknown,
            damaged,
            gaps,
            twins,
        } = self;
        let pairs = [
            (values, more.values),
            (events, more.events),
            (roles, more.roles),
            (commands, more.commands),
            (done, more.done),
            (in_doubt, more.in_doubt),
            (alarms, more.alarms),
            (alarms_joined, more.alarms_joined),
            (documents, more.documents),
            (conflicts, more.conflicts),
            (audit, more.audit),
            (known, more.known),
            (left, more.left),
            (unknown, more.unknown),
            (damaged, more.damaged),
            (gaps, more.gaps),
            (twins, more.twins),
        ];
        for (number, more) in pairs {
            *number = number.saturating_add(more);
        }
    }
}

fn short(mut text: String) -> String {
    if text.len() > LINE_BYTES_MAX + '…'.len_utf8() {
        let end = (0..=LINE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Report {
    /// Of one that begins.
    pub fn new(id: MergeId, active: String, kept: Position, time: i64) -> Report {
        Report {
            through: id.common,
            id,
            files: Vec::new(),
            bytes: 0,
            active,
            kept,
            began: time,
            ended: None,
            counts: Counts::default(),
            lines: Vec::new(),
            more_lines: 0,
            unanswered: Vec::new(),
            has_parts: false,
            ended_at: None,
        }
    }

    /// What comes from elsewhere does not make it grow without end.
    pub(super) fn cut(&mut self) {
        self.files.truncate(OFFERED_FILES_MAX);
        self.lines.truncate(LINES_MAX);
        self.unanswered.truncate(UNANSWERED_MAX);
        for text in self
            .files
            .iter_mut()
            .chain(&mut self.lines)
            .chain(self.unanswered.iter_mut().map(|(_, text)| text))
        {
            *text = short(std::mem::take(text));
        }
    }

    /// Another active node goes on with it, or the same one after a pause.
    pub(super) fn begin_again(&mut self, report: Report) {
        self.active = report.active;
        self.files = report.files;
        self.bytes = report.bytes;
        (self.ended, self.ended_at) = (None, None);
    }

    pub(super) fn say(&mut self, lines: Vec<String>) {
        for line in lines {
            if self.lines.len() >= LINES_MAX {
                self.more_lines += 1;
                continue;
            }
            self.lines.push(short(line));
        }
    }

    pub(super) fn take(&mut self, merged: &Merged, events: u64, say: &dyn Fn(&Record) -> String) {
        self.through = self.through.max(merged.origin);
        let counts = &mut self.counts;
        match &*merged.record {
            Record::Samples(samples) => {
                let twins = samples.iter().filter(|sample| sample.flags.contains(SampleFlags::TWIN)).count();
                counts.values += (samples.len() - twins) as u64;
                counts.twins += twins as u64;
            }
            Record::Event(_) => counts.events += 1,
            Record::Role(_) => counts.roles += 1,
            Record::Part(_) if events > 0 => counts.events += events,
            Record::Part(_) => counts.alarms += 1,
            Record::Intent(_) => {
                counts.commands += 1;
                counts.in_doubt += 1;
                if self.unanswered.len() < UNANSWERED_MAX {
                    self.unanswered.push((merged.origin, short(say(&merged.record))));
                }
            }
            Record::Result(result) => {
                let answered = self.unanswered.iter().position(|(intent, _)| *intent == result.intent);
                if let Some(number) = answered {
                    self.unanswered.remove(number);
                }
                match result.outcome {
                    Outcome::Done | Outcome::Confirmed => {
                        counts.done += 1;
                        counts.in_doubt = counts.in_doubt.saturating_sub(1);
                    }
                    Outcome::Refused(_) | Outcome::Fenced | Outcome::Superseded => {
                        counts.in_doubt = counts.in_doubt.saturating_sub(1);
                    }
                    Outcome::InDoubt => {}
                }
            }
            Record::Dictionary(_) | Record::Delivered(_) | Record::Merged(_) => {}
        }
    }

    pub(super) fn end(&mut self, time: i64) {
        self.ended = Some(time);
        let open = std::mem::take(&mut self.unanswered);
        self.say(
            open.into_iter()
                .map(|(at, what)| format!("command {at}, {what}: no result is known, it is not repeated"))
                .collect(),
        );
    }
}
