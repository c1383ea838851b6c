//! Where streams begin, and how their cursors are kept in the journal and forgotten.

use std::sync::Arc;
use std::time::Duration;

use twinhub_model::{Delivered, Moment, NamedStream, Position, Record};

use super::super::Engine;
use super::super::values_in::CONSUMER_BIT;
use super::Stream;

/// Cursors are journaled at most this often.
const CURSOR_INTERVAL: Duration = Duration::from_millis(20);
/// Cursors of streams that the configuration does not have are kept while a node acts for this long: nodes take a
/// revision one after the other, and may go back to the one before.
pub(crate) const ABSENT_KEPT: Duration = Duration::from_secs(3600);
/// No more of them are kept; the one that is the least far goes first.
pub(crate) const ABSENT_MAX: usize = 64;

/// What the journal says of a stream.
#[derive(Debug)]
pub(super) struct Noted {
    through: Position,
    wants_picture: bool,
    /// Where it says so; the start if it does not.
    place: Position,
    at: Moment,
}

impl Default for Noted {
    fn default() -> Noted {
        let (through, place) = (Position::START, Position::START);
        Noted { through, wants_picture: false, place, at: Moment::ZERO }
    }
}

impl Engine {
    /// An epoch begins, and the table is as the journal has it: each stream goes on at its cursor, or begins here.
    pub(crate) fn begin_streams(&mut self, now: Moment) {
        let end = self.journal.last();
        for target in self.streams.keys().copied().collect::<Vec<_>>() {
            let interface = self.interfaces[target].port.setup.id.as_str();
            let known = self.tracker.stream(interface, number(target));
            if known.is_none() {
                tracing::info!(interface, at = %end, "a stream begins");
            }
            let (through, wants_picture) =
                known.map_or((end, true), |cursor| (cursor.through, cursor.wants_picture));
            let picture = if wants_picture { self.picture(target, end) } else { None };
            if let Some(stream) = self.streams.get_mut(&target) {
                stream.resume(through, picture);
            }
            self.note_cursor(target, now);
        }
        self.absent_until = now + ABSENT_KEPT;
        let absent = self.absent_streams();
        let excess = absent.len().saturating_sub(ABSENT_MAX);
        self.forget_streams(&absent[..excess]);
    }

    /// Journals how far streams were delivered.
    pub(crate) fn journal_cursors(&mut self, now: Moment, at_once: bool) {
        let is_due = |engine: &Engine, stream: &Stream| {
            engine.owes_cursor(stream) && (at_once || now >= stream.noted.at + CURSOR_INTERVAL)
        };
        let due = self.streams.iter().filter(|(_, stream)| is_due(self, stream));
        for target in due.map(|(target, _)| *target).collect::<Vec<_>>() {
            self.note_cursor(target, now);
        }
        if self.is_acting() && now >= self.absent_until {
            self.absent_until = Moment::NEVER;
            self.forget_streams(&self.absent_streams());
            // A node that knows no names had no reason to forget.
            for nameless in self.tracker.nameless(CONSUMER_BIT) {
                self.append(&Record::Delivered(Delivered::by_number(nameless, Position::START)));
            }
        }
    }

    /// When the next cursor is to be journaled.
    pub(crate) fn cursors_due(&self) -> Option<Moment> {
        let owed = self.streams.values().filter(|stream| self.owes_cursor(stream));
        owed.map(|stream| stream.noted.at + CURSOR_INTERVAL).min()
    }

    /// Whether the journal lacks what there is to say of a stream. A cursor that was deleted with old records is not
    /// where a node looks that starts.
    fn owes_cursor(&self, stream: &Stream) -> bool {
        let noted = &stream.noted;
        let is_kept = noted.place >= self.journal.first();
        let is_true = noted.wants_picture == stream.picture.is_some();
        stream.through() > noted.through || self.is_acting() && self.journal_ok && !(is_kept && is_true)
    }

    fn note_cursor(&mut self, target: usize, now: Moment) {
        let interface = self.interfaces[target].port.setup.id.as_str().into();
        let Some(stream) = self.streams.get_mut(&target) else { return };
        let (through, wants_picture) = (stream.through(), stream.picture.is_some());
        let place = stream.noted.place;
        stream.noted = Noted { through, wants_picture, place, at: now };
        let named = NamedStream { interface, wants_picture };
        let delivered = Delivered { consumer: number(target), through, stream: Some(named) };
        if let Some(place) = self.append(&Record::Delivered(delivered))
            && let Some(stream) = self.streams.get_mut(&target)
        {
            stream.noted.place = place;
        }
    }

    fn absent_streams(&self) -> Vec<Arc<str>> {
        let is_here = |interface: &str| {
            self.streams.keys().any(|target| self.interfaces[*target].port.setup.id == interface)
        };
        self.tracker.other_streams(is_here)
    }

    fn forget_streams(&mut self, interfaces: &[Arc<str>]) {
        for interface in interfaces {
            tracing::info!(%interface, "the cursor of a stream that is not configured is forgotten");
            let named = NamedStream { interface: Arc::clone(interface), wants_picture: false };
            // Its number may be another one's.
            let consumer = Delivered::NOBODY;
            let through = Position::START;
            self.append(&Record::Delivered(Delivered { consumer, through, stream: Some(named) }));
        }
    }
}

/// By which nodes know a stream that know no names.
fn number(target: usize) -> u32 {
    u32::try_from(target).unwrap_or(Delivered::NOBODY)
}
