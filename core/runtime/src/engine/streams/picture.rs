//! What a stream that begins is given of the time before: each of its items once, as it is then.

use std::collections::{BTreeMap, BTreeSet};

use twinhub_model::{ItemId, Moment, Position, Timestamp, Value};

use super::super::Engine;
use super::{STREAM_VALUES_MAX, Stream};

/// Values of a picture that are handed over at once.
const PICTURE_VALUES_MAX: usize = 4_096;

/// What a stream is shown between what the journal has up to a place and what comes behind that.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(super) at: Position,
    values: Vec<(ItemId, Value)>,
    /// How many of them were handed over.
    pub(super) given: usize,
}

impl Picture {
    pub(super) const fn is_given(&self) -> bool {
        self.given == self.values.len()
    }
}

impl Stream {
    /// Items that come from the journal before the picture show there what the picture has of them, or something newer.
    pub(super) fn leave_out_of_picture(&mut self, records: &[(Position, Vec<(ItemId, Value)>)]) {
        let Some(picture) = &mut self.picture else { return };
        let items: BTreeSet<u32> =
            records.iter().flat_map(|(_, values)| values).map(|(item, _)| item.0).collect();
        if !items.is_empty() {
            picture.values.retain(|(item, _)| !items.contains(&item.0));
        }
    }

    /// The sink has answered: the picture is over when nothing of it is under way.
    pub(super) fn end_picture(&mut self) {
        let is_given = self.picture.as_ref().is_some_and(Picture::is_given);
        if is_given && self.batches.iter().all(|batch| batch.picture.is_none()) {
            self.picture = None;
        }
    }

    /// What the sink shows already is left out; what it shows of the rest is over with the picture.
    fn compare_picture(&mut self) {
        let Some(picture) = &mut self.picture else { return };
        let (cover, covered) = (&mut self.cover, &mut self.covered);
        picture.values.retain(|(item, value)| {
            let is_shown = cover.remove(&item.0).is_some_and(|shown| shown.is_equivalent(value));
            *covered += u64::from(is_shown);
            !is_shown
        });
    }
}

impl Engine {
    /// What links carry to a stream, as it is; none if there is nothing. Of several items that drive one the newest counts.
    pub(super) fn picture(&mut self, target: usize, at: Position) -> Option<Picture> {
        let mut newest: BTreeMap<u32, (Timestamp, Value)> = BTreeMap::new();
        let ways = self.routes.iter().filter(|(_, route)| route.way.stream && route.way.target == target);
        for (number, route) in ways {
            let sample = self.table.read(route.from);
            let is_older = newest.get(&route.to.0).is_some_and(|(server, _)| *server > sample.server);
            if is_older || sample.quality.is_bad() || sample.value == Value::Null {
                continue;
            }
            if let Some(value) = self.routes.show(number, &sample.value) {
                newest.insert(route.to.0, (sample.server, value));
            }
        }
        let values: Vec<_> = newest.into_iter().map(|(item, (_, value))| (ItemId(item), value)).collect();
        (!values.is_empty()).then_some(Picture { at, values, given: 0 })
    }

    /// Hands over the picture, or a part of it, if what comes before it was; says whether the stream can go on.
    pub(super) fn show_picture(&mut self, target: usize, now: Moment) -> bool {
        loop {
            let Some(stream) = self.streams.get_mut(&target) else { return false };
            if now < stream.retry_at {
                return false;
            }
            let cursor = stream.cursor;
            if stream.picture.as_ref().is_none_or(|picture| cursor < picture.at || picture.is_given()) {
                return true;
            }
            if stream.picture.as_ref().is_some_and(|picture| picture.given == 0) {
                stream.compare_picture();
            }
            stream.end_picture();
            let Some(picture) = &mut stream.picture else { return true };
            let part: Vec<_> =
                picture.values[picture.given..].iter().take(PICTURE_VALUES_MAX).cloned().collect();
            if stream.values + part.len() > STREAM_VALUES_MAX {
                return false;
            }
            let first = picture.given;
            picture.given += part.len();
            self.hand_over(target, cursor, &part, Some(first), now);
        }
    }
}
