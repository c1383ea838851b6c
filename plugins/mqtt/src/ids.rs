//! Numbers of writes that are answered together. Those of one message follow each other nearly always.

use std::ops::Range;

/// Numbers in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    runs: Vec<Range<u64>>,
    len: usize,
}

impl Ids {
    /// Puts a number behind the others.
    #[inline]
    pub fn push(&mut self, id: u64) {
        self.push_run(id..id.saturating_add(1));
    }

    /// Puts others behind these.
    pub fn append(&mut self, others: Self) {
        for run in others.runs {
            self.push_run(run);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(Clone::clone)
    }

    #[inline]
    fn push_run(&mut self, run: Range<u64>) {
        self.len += usize::try_from(run.end - run.start).unwrap_or(usize::MAX);
        match self.runs.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            Some(_) | None => self.runs.push(run),
        }
    }
}

impl From<u64> for Ids {
    fn from(id: u64) -> Self {
        Self::from_iter([id])
    }
}

impl FromIterator<u64> for Ids {
    fn from_iter<T: IntoIterator<Item = u64>>(ids: T) -> Self {
        let mut all = Self::default();
        for id in ids {
            all.push(id);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_take_the_room_of_one() {
        let mut ids: Ids = (5..130).collect();
        ids.append((130..200).collect());
        assert_eq!((ids.runs.len(), ids.len()), (1, 195));
        assert!(ids.iter().eq(5..200));
    }

    #[test]
    fn numbers_in_any_order_stay_in_theirs() {
        let order = [7, 8, 3, 3, 9, 10];
        let mut ids = Ids::default();
        assert!(ids.is_empty());
        ids.append(order[..2].iter().copied().collect());
        ids.append(order[2..].iter().copied().collect());
        assert_eq!(ids.iter().collect::<Vec<_>>(), order);
        assert_eq!((ids.len(), ids.is_empty(), Ids::from(7).len()), (6, false, 1));
    }
}
