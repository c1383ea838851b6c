//! Which one a value is of several of its item in one record.

use twinhub_model::{ItemId, Position};

/// Counts while a journal is read in order. What is read again counts anew, so that its rows are the same.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// For each handle the last record with it, by where that stood first, and how often it was in it.
    items: Vec<(Position, u32)>,
    /// The last record that was read.
    last: Position,
}

impl Places {
    /// For so many handles, which mean something else from now on.
    pub(super) fn begin_with(&mut self, handles: usize) {
        self.items = vec![(Position::START, 0); handles];
    }

    /// Records follow, from this one on.
    pub(super) fn read_on(&mut self, first: Position) {
        if first <= self.last {
            self.items.fill((Position::START, 0));
        }
    }

    /// A record is read.
    pub(super) fn begin(&mut self, at: Position) {
        self.last = at;
    }

    /// The place of the next value of this item in a record that stood at `origin` first; `None` of a handle that is none.
    pub(super) fn place_of(&mut self, item: ItemId, origin: Position) -> Option<u32> {
        let (known, place) = self.items.get_mut(item.index())?;
        *place = if *known == origin { *place + 1 } else { 0 };
        *known = origin;
        Some(*place)
    }
}

#[cfg(test)]
mod tests {
    use twinhub_model::Epoch;

    use super::*;

    fn at(seq: u64) -> Position {
        Position::new(Epoch(256), seq)
    }

    #[test]
    fn what_is_read_again_has_the_same_places() {
        let mut places = Places::default();
        places.begin_with(2);
        // Item 0 stands twice in the first record, which is the last one with it.
        let records = [
            (at(1), at(1), &[0, 0, 1][..]),
            (at(2), at(2), &[1]),
            (at(3), Position::new(Epoch(5), 7), &[1, 1]),
        ];
        let mut read = |from: usize| -> Vec<u32> {
            let mut found = Vec::new();
            places.read_on(records[from].0);
            for (position, origin, items) in &records[from..] {
                places.begin(*position);
                found.extend(items.iter().filter_map(|item| places.place_of(ItemId(*item), *origin)));
            }
            found
        };
        let all = [0, 1, 0, 0, 0, 1];
        assert_eq!(read(0), all);
        for _ in 0..3 {
            assert_eq!(read(0), all, "after records were set aside, or a gap is looked for in the journal");
        }
        assert_eq!(read(2), all[4..]);
        assert_eq!(places.place_of(ItemId(2), at(4)), None);
    }
}
