//! How many values of other interfaces came, over all nodes.

use twinhub_plugin::{Error, Place, Result, Store, ValuesIn};

/// The count, and the place of the last value that is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) count: u64,
    place: Place,
}

impl Heard {
    /// What was counted so far, on whichever node.
    pub(crate) fn of(store: &Store) -> Result<Heard> {
        store.get(KEY)?.map_or(Ok(Heard::default()), |bytes| Heard::read(&bytes))
    }

    fn read(bytes: &[u8]) -> Result<Heard> {
        let parts =
            bytes.split_first_chunk::<8>().and_then(|(count, place)| Some((count, place.try_into().ok()?)));
        let (count, place) = parts.ok_or_else(|| Error::internal("what is kept is no count"))?;
        Ok(Heard { count: u64::from_be_bytes(*count), place: Place::from_bytes(place) })
    }

    /// Together with these.
    pub(crate) fn and(self, values: &ValuesIn) -> Heard {
        let (mut count, mut place) = (self.count, self.place);
        for value in values.since(self.place) {
            (count, place) = (count + 1, value.place);
        }
        Heard { count, place }
    }

    pub(crate) fn keep(self, store: &Store) -> Result<()> {
        store.put(KEY, &[&self.count.to_be_bytes()[..], &self.place.to_bytes()[..]].concat())
    }
}

/// No path of an item has a control character in it.
const KEY: &str = "\u{1}heard";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_what_is_none_is_refused() {
        let heard = Heard { count: 7, place: Place::from_bytes([9; 16]) };
        let bytes = [&heard.count.to_be_bytes()[..], &heard.place.to_bytes()[..]].concat();
        assert_eq!(Heard::read(&bytes).unwrap(), heard);
        for length in [0, 7, 8, 23, 25, 64] {
            assert!(Heard::read(&vec![1; length]).is_err(), "{length} bytes");
        }
    }
}
