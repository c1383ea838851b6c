//! Which requests read the items: neighbors share a block, a refused block is taken apart.

use crate::address::Area;
use crate::config::Limits;
use crate::point::Point;

/// One read request and the points it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Unit identifier.
    pub unit: u8,
    /// Table.
    pub area: Area,
    /// First entry.
    pub start: u16,
    /// Entries.
    pub count: u16,
    /// Indexes into the table of points, by their first entry.
    pub members: Vec<usize>,
}

impl Block {
    /// Entry after the last one.
    fn end(&self) -> u32 {
        u32::from(self.start) + u32::from(self.count)
    }

    fn of(points: &[Point], members: Vec<usize>) -> Option<Self> {
        let first = &points[*members.first()?];
        let end = members.iter().map(|member| points[*member].end()).max()?;
        let count = u16::try_from(end - u32::from(first.start)).ok()?;
        Some(Self { unit: first.unit, area: first.area, start: first.start, count, members })
    }
}

/// Blocks for `members`, which are indexes into `points` and belong to one poll class.
///
/// No block spans two units or two tables, no point is split over two blocks, no block is longer than the limits
/// unless it is a single point.
pub(crate) fn plan(points: &[Point], members: impl IntoIterator<Item = usize>, limits: Limits) -> Vec<Block> {
    let mut sorted: Vec<usize> = members.into_iter().collect();
    sorted.sort_by_key(|member| {
        let point = &points[*member];
        (point.unit, point.area, point.start, point.count, *member)
    });
    let mut blocks: Vec<Block> = Vec::new();
    for member in sorted {
        let point = &points[member];
        if let Some(block) = blocks.last_mut()
            && let Some(count) = merged(block, point, limits)
        {
            block.count = count;
            block.members.push(member);
            continue;
        }
        blocks.push(Block {
            unit: point.unit,
            area: point.area,
            start: point.start,
            count: point.count,
            members: vec![member],
        });
    }
    blocks
}

/// Two blocks that together serve the members of a refused one; `None` if the refusal can be pinned on its members.
///
/// It is cut at the longest stretch without items, since that is what the device most probably refused, else near
/// the middle, so that `n` refused registers among `m` are found with about `n · log m` requests.
pub(crate) fn split(block: &Block, points: &[Point]) -> Option<(Block, Block)> {
    let middle = u32::from(block.start) + u32::from(block.count) / 2;
    let mut end = 0;
    let mut best: Option<(u32, u32, usize)> = None;
    for (place, member) in block.members.iter().enumerate() {
        let point = &points[*member];
        let start = u32::from(point.start);
        if place > 0 && start >= end {
            let (gap, distance) = (start - end, start.abs_diff(middle));
            if best.is_none_or(|(best_gap, best_distance, _)| {
                gap > best_gap || gap == best_gap && distance < best_distance
            }) {
                best = Some((gap, distance, place));
            }
        }
        end = end.max(point.end());
    }
    let place = match best {
        Some((_, _, place)) => place,
        None => overlap_cut(block, points)?,
    };
    let (left, right) = block.members.split_at(place);
    Some((Block::of(points, left.to_vec())?, Block::of(points, right.to_vec())?))
}

/// Points that overlap without being the same registers: some of them can be readable.
fn overlap_cut(block: &Block, points: &[Point]) -> Option<usize> {
    let span = |member: &usize| (points[*member].start, points[*member].count);
    let first = span(block.members.first()?);
    block.members.iter().position(|member| span(member) != first)
}

fn merged(block: &Block, point: &Point, limits: Limits) -> Option<u16> {
    if block.unit != point.unit || block.area != point.area {
        return None;
    }
    let (most, gap) =
        if point.area.is_bits() { (limits.bits, limits.gap_bits) } else { (limits.registers, limits.gap) };
    if u32::from(point.start) > block.end() + u32::from(gap) {
        return None;
    }
    let end = block.end().max(point.end());
    u16::try_from(end - u32::from(block.start)).ok().filter(|count| *count <= most)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::codec::{Codec, CodecSpec, Kind};
    use crate::point::WriteMode;

    const LIMITS: Limits = Limits { registers: 125, bits: 2000, gap: 8, gap_bits: 64 };

    fn point(unit: u8, area: Area, start: u16, kind: Kind) -> Point {
        let kind = if area.is_bits() { Kind::Bool } else { kind };
        let spec = CodecSpec { kind: Some(kind), ..CodecSpec::default() };
        Point {
            item: 0,
            unit,
            area,
            start,
            count: kind.registers(),
            is_register_bit: false,
            codec: Codec::new(area, &spec).unwrap(),
            is_readable: true,
            is_writable: false,
            period: None,
            write: WriteMode::Auto,
            is_non_idempotent: false,
        }
    }

    fn registers(starts: impl IntoIterator<Item = u16>) -> Vec<Point> {
        starts.into_iter().map(|start| point(1, Area::Holding, start, Kind::Uint16)).collect()
    }

    fn spans(points: &[Point], limits: Limits) -> Vec<(u16, u16)> {
        plan(points, 0..points.len(), limits).iter().map(|block| (block.start, block.count)).collect()
    }

    /// Reads like a device that refuses each request which touches one of `refused`; returns what was pinned down.
    fn isolate(points: &[Point], refused: &BTreeSet<u16>) -> (BTreeSet<usize>, BTreeSet<usize>, usize) {
        let mut queue = VecDeque::from(plan(points, 0..points.len(), LIMITS));
        let (mut good, mut bad, mut requests) = (BTreeSet::new(), BTreeSet::new(), 0);
        while let Some(block) = queue.pop_front() {
            requests += 1;
            if !(u32::from(block.start)..block.end())
                .any(|entry| u16::try_from(entry).is_ok_and(|entry| refused.contains(&entry)))
            {
                good.extend(block.members);
            } else if let Some((left, right)) = split(&block, points) {
                queue.extend([left, right]);
            } else {
                bad.extend(block.members);
            }
        }
        (good, bad, requests)
    }

    #[test]
    fn ten_thousand_registers_take_eighty_requests() {
        assert_eq!(plan(&registers(0..10_000), 0..10_000, LIMITS).len(), 80);
    }

    #[test]
    fn gaps_are_bridged_up_to_the_limit() {
        assert_eq!(spans(&registers([0, 9, 19]), LIMITS), [(0, 10), (19, 1)]);
        assert_eq!(spans(&registers([0, 1, 3]), Limits { gap: 0, ..LIMITS }), [(0, 2), (3, 1)]);
    }

    #[test]
    fn units_and_tables_are_kept_apart() {
        let points = [
            point(1, Area::Holding, 0, Kind::Uint16),
            point(2, Area::Holding, 1, Kind::Uint16),
            point(1, Area::Input, 1, Kind::Uint16),
            point(1, Area::Coil, 1, Kind::Bool),
        ];
        assert_eq!(plan(&points, 0..4, LIMITS).len(), 4);
    }

    #[test]
    fn a_value_is_never_torn_over_two_blocks() {
        let mut points = registers(0..124);
        points.push(point(1, Area::Holding, 124, Kind::Float32));
        assert_eq!(spans(&points, LIMITS), [(0, 124), (124, 2)]);
    }

    #[test]
    fn the_last_entry_of_a_table_is_reached() {
        let points = [point(1, Area::Holding, 65_532, Kind::Float64)];
        assert_eq!(spans(&points, LIMITS), [(65_532, 4)]);
    }

    #[test]
    fn a_refused_block_is_cut_at_its_widest_gap_first() {
        let points = registers([0, 1, 2, 8, 9, 11]);
        let block = plan(&points, 0..6, LIMITS).remove(0);
        let (left, right) = split(&block, &points).unwrap();
        assert_eq!((left.start, left.count, right.start, right.count), (0, 3, 8, 4));
    }

    #[test]
    fn one_refused_register_among_125_is_found_with_few_requests() {
        let points = registers(0..125);
        let (good, bad, requests) = isolate(&points, &BTreeSet::from([77]));
        assert_eq!(bad, BTreeSet::from([77]));
        assert_eq!(good.len(), 124);
        assert!(requests <= 15, "{requests}");
    }

    #[test]
    fn a_small_value_inside_a_refused_text_stays_good() {
        let points = [point(1, Area::Holding, 0, Kind::Text(20)), point(1, Area::Holding, 3, Kind::Uint16)];
        let (good, bad, _) = isolate(&points, &BTreeSet::from([9]));
        assert_eq!((good, bad), (BTreeSet::from([1]), BTreeSet::from([0])));
    }

    fn points() -> impl Strategy<Value = Vec<Point>> {
        let area =
            prop_oneof![Just(Area::Coil), Just(Area::Discrete), Just(Area::Input), Just(Area::Holding)];
        let kind = prop_oneof![
            Just(Kind::Uint16),
            Just(Kind::Uint32),
            Just(Kind::Float64),
            (1u16..=120).prop_map(Kind::Text),
        ];
        let start = prop_oneof![0u16..400, 65_000u16..65_475];
        prop::collection::vec((0u8..3, area, start, kind), 0..120).prop_map(|rows| {
            rows.into_iter().map(|(unit, area, start, kind)| point(unit, area, start, kind)).collect()
        })
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (60u16..=125, 1u16..=2000, 0u16..40, 0u16..100).prop_map(|(registers, bits, gap, gap_bits)| Limits {
            registers,
            bits,
            gap,
            gap_bits,
        })
    }

    proptest! {
        #[test]
        fn each_point_is_in_exactly_one_block_that_covers_it_and_keeps_the_limits(points in points(), limits in limits()) {
            let blocks = plan(&points, 0..points.len(), limits);
            let mut seen: Vec<usize> = blocks.iter().flat_map(|block| block.members.iter().copied()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..points.len()).collect::<Vec<_>>());
            for block in &blocks {
                let most = if block.area.is_bits() { limits.bits } else { limits.registers };
                prop_assert!(block.count <= most);
                prop_assert!(block.end() <= 1 << 16);
                for member in &block.members {
                    let point = &points[*member];
                    prop_assert_eq!((point.unit, point.area), (block.unit, block.area));
                    prop_assert!(point.start >= block.start && point.end() <= block.end());
                }
            }
        }

        #[test]
        fn splitting_pins_every_refusal_on_the_points_that_touch_it(
            points in points(),
            refused in prop::collection::btree_set(0u16..400, 0..12),
        ) {
            let (good, bad, _) = isolate(&points, &refused);
            for (index, point) in points.iter().enumerate() {
                let touches = (u32::from(point.start)..point.end()).any(|entry| u16::try_from(entry).is_ok_and(|entry| refused.contains(&entry)));
                prop_assert_eq!(touches, bad.contains(&index));
                prop_assert_eq!(!touches, good.contains(&index));
            }
        }
    }
}
