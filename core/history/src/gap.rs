//! Records of a journal whose values a history may lack, and how far they came from elsewhere.

use twinhub_model::{Epoch, NodeRank, Position, Timestamp};

use crate::RowId;
use crate::bytes::{Broken, Reader, put_i64, put_sized, put_u64};
use crate::file::hash_of;

/// What is kept of gaps; beyond it neighbors become one, which asks for more than is missing.
pub const GAPS_MAX: usize = 64;

/// Records whose values may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The group whose journal it is.
    pub group: String,
    /// The record before the first missing one; [`Position::START`] if nothing is before.
    pub after: Position,
    /// The last one that may be missing.
    pub through: Position,
    /// How far a copy of it has come.
    pub copied: Option<Place>,
    /// What the nodes lacked that this copy is from: it is missing still when the copy has come to its end.
    pub lacking: Vec<(Position, Position)>,
    /// How far what nodes have of it was taken though they lack it, too; `None` is to the end.
    pub remains_of: Vec<(NodeRank, Option<Place>)>,
}

/// How far a gap is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// The records up to here were taken.
    Through(Position),
    /// A copy has come up to this place, from a node that lacks what is between these positions.
    Copied(Place, Vec<(Position, Position)>),
    /// A copy has come to its end: nothing is missing any more but what is between these positions.
    CopiedBut(Vec<(Position, Position)>),
    /// What this node has of it was taken up to this place, or to the end, though it lacks it, too.
    Remains(NodeRank, Option<Place>),
    /// The journal has all but what is between these positions; a copy goes on where it is.
    ReadBut(Vec<(Position, Position)>),
}

/// A place in the order in which a history is copied: by the hash of the item, its key, and then by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The item's key.
    pub item: String,
    /// The last row of it.
    pub row: RowId,
}

impl Place {
    /// Whether a copy comes here later than at the other place, or at all.
    pub fn is_behind(&self, other: Option<&Place>) -> bool {
        let order = |place: &Place| (hash_of(&place.item), place.item.clone(), place.row);
        other.is_none_or(|other| order(self) > order(other))
    }
}

impl Gap {
    pub(crate) fn put(&self, out: &mut Vec<u8>, has_remains: bool) {
        put_sized(out, self.group.as_bytes());
        put_position(out, self.after);
        put_position(out, self.through);
        put_place(out, self.copied.as_ref());
        put_u64(out, self.lacking.len() as u64);
        for (after, through) in &self.lacking {
            put_position(out, *after);
            put_position(out, *through);
        }
        if !has_remains {
            return;
        }
        put_u64(out, self.remains_of.len() as u64);
        for (node, place) in &self.remains_of {
            out.push(node.0);
            put_place(out, place.as_ref());
        }
    }

    /// `has_remains` says what was written.
    pub(crate) fn read(reader: &mut Reader<'_>, has_remains: bool) -> Result<Gap, Broken> {
        let mut gap = Gap {
            group: reader.text(WHAT)?.to_owned(),
            after: read_position(reader)?,
            through: read_position(reader)?,
            copied: read_place(reader)?,
            lacking: Vec::new(),
            remains_of: Vec::new(),
        };
        for _ in 0..reader.u64(WHAT)? {
            gap.lacking.push((read_position(reader)?, read_position(reader)?));
        }
        if has_remains {
            for _ in 0..reader.u64(WHAT)? {
                gap.remains_of.push((NodeRank(reader.u8(WHAT)?), read_place(reader)?));
            }
        }
        Ok(gap)
    }

    /// What is missing still when the last part of a copy comes from a node that lacks `lack`.
    pub fn rest(&self, lack: &[(Position, Position)]) -> Vec<(Position, Position)> {
        joined(inside(self.lacking.iter().chain(lack).copied(), self.after, self.through))
    }
}

/// A gap of which nothing was copied.
fn unknown(group: &str, after: Position, through: Position) -> Gap {
    let group = group.to_owned();
    Gap { group, after, through, copied: None, lacking: Vec::new(), remains_of: Vec::new() }
}

/// Adds what is missing; what touches a gap that is known becomes one with it.
pub(crate) fn add(gaps: &mut Vec<Gap>, group: &str, after: Position, through: Position) {
    if through <= after {
        return;
    }
    let mut new = unknown(group, after, through);
    gaps.retain(|known| {
        let is_apart = known.group != group || known.through < new.after || known.after > new.through;
        if !is_apart {
            let is_inside = new.after >= known.after && new.through <= known.through;
            // A copy that came a part of the way knows nothing of what is added.
            new = if is_inside {
                known.clone()
            } else {
                unknown(group, new.after.min(known.after), new.through.max(known.through))
            };
        }
        is_apart
    });
    gaps.push(new);
    gaps.sort_by(|one, two| (&one.group, one.after).cmp(&(&two.group, two.after)));
    while gaps.len() > GAPS_MAX {
        let Some(at) = (1..gaps.len()).find(|at| gaps[*at].group == gaps[*at - 1].group) else { return };
        let later = gaps.remove(at);
        let earlier = &mut gaps[at - 1];
        *earlier = unknown(&later.group, earlier.after, later.through);
    }
}

/// Takes what was found of a gap; nothing happens if it is not known.
pub(crate) fn fill(gaps: &mut Vec<Gap>, group: &str, through: Position, filled: Filled) {
    let Some(at) = gaps.iter().position(|gap| gap.group == group && gap.through == through) else { return };
    match filled {
        Filled::Through(position) if position < through => gaps[at].after = gaps[at].after.max(position),
        Filled::Through(_) => {
            gaps.remove(at);
        }
        Filled::Copied(place, lack) => {
            gaps[at].lacking = gaps[at].rest(&lack);
            gaps[at].copied = Some(place);
        }
        Filled::CopiedBut(rest) => {
            let gap = gaps.remove(at);
            for (after, through) in inside(rest, gap.after, gap.through) {
                add(gaps, group, after, through);
            }
        }
        Filled::Remains(node, place) => {
            gaps[at].remains_of.retain(|(known, _)| *known != node);
            gaps[at].remains_of.push((node, place));
        }
        Filled::ReadBut(rest) => {
            let gap = gaps.remove(at);
            for (after, through) in joined(inside(rest, gap.after, gap.through)) {
                add(gaps, group, after, through);
                let is_new =
                    |new: &&mut Gap| new.group == group && (new.after, new.through) == (after, through);
                if let Some(new) = gaps.iter_mut().find(is_new) {
                    new.copied.clone_from(&gap.copied);
                    new.lacking = inside(gap.lacking.iter().copied(), after, through);
                    new.remains_of.clone_from(&gap.remains_of);
                }
            }
        }
    }
}

/// Ranges in order, with those that touch as one; beyond [`GAPS_MAX`] neighbors become one.
pub(crate) fn joined(mut ranges: Vec<(Position, Position)>) -> Vec<(Position, Position)> {
    ranges.sort_unstable();
    let mut joined: Vec<(Position, Position)> = Vec::new();
    for (after, through) in ranges {
        match joined.len() {
            count if count > 0 && (joined[count - 1].1 >= after || count >= GAPS_MAX) => {
                joined[count - 1].1 = joined[count - 1].1.max(through);
            }
            _ => joined.push((after, through)),
        }
    }
    joined
}

/// The part of some ranges that is inside another.
pub(crate) fn inside(
    ranges: impl IntoIterator<Item = (Position, Position)>,
    after: Position,
    through: Position,
) -> Vec<(Position, Position)> {
    let cut = ranges.into_iter().map(|(one, two)| (one.max(after), two.min(through)));
    cut.filter(|(after, through)| after < through).collect()
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    put_u64(out, position.epoch.0);
    put_u64(out, position.seq);
}

pub(crate) fn read_position(reader: &mut Reader<'_>) -> Result<Position, Broken> {
    let epoch = Epoch(reader.u64(WHAT)?);
    Ok(Position::new(epoch, reader.u64(WHAT)?))
}

pub(crate) fn put_place(out: &mut Vec<u8>, place: Option<&Place>) {
    out.push(u8::from(place.is_some()));
    let Some(place) = place else { return };
    put_sized(out, place.item.as_bytes());
    put_i64(out, place.row.source.0);
    put_position(out, place.row.position);
    put_u64(out, u64::from(place.row.place));
}

pub(crate) fn read_place(reader: &mut Reader<'_>) -> Result<Option<Place>, Broken> {
    Ok(match reader.u8(WHAT)? {
        0 => None,
        1 => {
            let item = reader.text(WHAT)?.to_owned();
            let source = Timestamp(reader.i64(WHAT)?);
            let position = read_position(reader)?;
            Some(Place { item, row: RowId { source, position, place: reader.u32(WHAT)? } })
        }
        _ => return Err(Broken { what: WHAT }),
    })
}

const WHAT: &str = "a gap";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position::new(Epoch(epoch), seq)
    }

    fn ranges(gaps: &[Gap]) -> Vec<(Position, Position)> {
        gaps.iter().map(|gap| (gap.after, gap.through)).collect()
    }

    #[test]
    fn gaps_that_touch_are_one_and_empty_ones_are_none() {
        let mut gaps = Vec::new();
        add(&mut gaps, "site", at(1, 5), at(1, 5));
        add(&mut gaps, "site", at(1, 5), at(1, 4));
        assert_eq!(gaps, []);
        add(&mut gaps, "site", at(1, 5), at(1, 9));
        add(&mut gaps, "site", at(1, 20), at(1, 30));
        add(&mut gaps, "energy", at(1, 9), at(1, 20));
        assert_eq!(ranges(&gaps), [(at(1, 9), at(1, 20)), (at(1, 5), at(1, 9)), (at(1, 20), at(1, 30))]);
        add(&mut gaps, "site", at(1, 9), at(1, 20));
        assert_eq!(ranges(&gaps), [(at(1, 9), at(1, 20)), (at(1, 5), at(1, 30))]);
    }

    #[test]
    fn many_gaps_become_fewer_and_none_is_forgotten() {
        let mut gaps = Vec::new();
        for number in 0..GAPS_MAX as u64 * 2 {
            add(&mut gaps, "site", at(1, number * 10), at(1, number * 10 + 5));
        }
        assert_eq!(gaps.len(), GAPS_MAX);
        for number in 0..GAPS_MAX as u64 * 2 {
            let is_there =
                |gap: &Gap| gap.after <= at(1, number * 10) && gap.through >= at(1, number * 10 + 5);
            assert!(gaps.iter().any(is_there), "{number}");
        }
    }

    #[test]
    fn what_was_copied_of_a_gap_holds_while_it_does_not_grow() {
        let row = RowId::at(Timestamp(7));
        let copied = Some(Place { item: "plc/a".to_owned(), row });
        let lacking = vec![(at(1, 2), at(1, 4)), (at(1, 7), at(1, 9))];
        let remains_of = vec![(NodeRank(3), None), (NodeRank(1), copied.clone())];
        let whole = Gap { copied, lacking, remains_of, ..unknown("site", at(1, 0), at(1, 9)) };
        let mut gaps = vec![whole.clone()];
        add(&mut gaps, "site", at(1, 3), at(1, 4));
        assert_eq!(gaps.first(), Some(&whole));
        add(&mut gaps, "site", at(1, 9), at(1, 12));
        assert_eq!(gaps, [unknown("site", at(1, 0), at(1, 12))]);
        for has_remains in [true, false] {
            let mut bytes = Vec::new();
            whole.put(&mut bytes, has_remains);
            let remains_of = if has_remains { whole.remains_of.clone() } else { Vec::new() };
            let read = |bytes| Gap::read(&mut Reader::new(bytes), has_remains);
            assert_eq!(read(&bytes), Ok(Gap { remains_of, ..whole.clone() }));
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).is_err());
            }
        }
    }
}
