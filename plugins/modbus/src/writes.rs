//! Writes on their way to the device: what waits, and what can share a request.

use std::collections::VecDeque;
use std::rc::Rc;

use twinhub_plugin::{Code, Deadline, Epoch, WriteBatch, WriteId};

use crate::address::Area;
use crate::config::{EXCHANGE_REGISTERS_MAX, Settings};
use crate::point::{Point, WriteMode};

/// One write that waits for its turn.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Option<Rc<WriteBatch>>,
    pub(crate) id: WriteId,
    pub(crate) epoch: Epoch,
    pub(crate) deadline: Deadline,
    pub(crate) point: Point,
    pub(crate) payload: Payload,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// State of a coil.
    Coil(bool),
    /// Registers.
    Words(Vec<u16>),
    /// State of one bit of a register.
    RegisterBit {
        /// The bit.
        mask: u16,
        /// Its state.
        state: bool,
    },
}

impl Job {
    /// Answers the write.
    pub(crate) fn done(&self, code: Code) {
        if let Some(batch) = &self.batch {
            batch.done(self.id, code);
        }
    }

    fn travels_alone(&self) -> bool {
        self.point.is_non_idempotent || self.point.write == WriteMode::Single
    }
}

/// Writes that one request carries.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) jobs: Vec<Job>,
    pub(crate) unit: u8,
    pub(crate) start: u16,
    pub(crate) content: Content,
}

/// What the request of a group writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Function code 5.
    Coil(bool),
    /// Function code 15.
    Coils(Vec<bool>),
    /// Function code 6.
    Register(u16),
    /// Function code 16, or 23.
    Registers(Vec<u16>),
    /// Function code 22: the bits in `mask` become those in `value`.
    Bits {
        /// Bits that change.
        mask: u16,
        /// Their new state.
        value: u16,
    },
}

/// Takes the writes from the front of the queue that one request can carry.
///
/// Only what stands next to each other in the queue is joined, whatever its order in there, and only if it covers a
/// stretch without a gap: so writes to one register stay in order, and nothing overtakes a write to another place.
pub(crate) fn take_group(queue: &mut VecDeque<Job>, settings: &Settings) -> Option<Group> {
    let first = queue.front()?;
    let count = match first.payload {
        Payload::RegisterBit { .. } => joined_bits(queue),
        Payload::Coil(_) | Payload::Words(_) => joined_entries(queue, settings),
    };
    let jobs: Vec<Job> = queue.drain(..count).collect();
    let (unit, start) = (jobs[0].point.unit, jobs.iter().map(|job| job.point.start).min()?);
    let content = content(&jobs, start);
    Some(Group { jobs, unit, start, content })
}

fn joined_bits(queue: &VecDeque<Job>) -> usize {
    let mut seen = 0;
    let first = &queue[0].point;
    let joined = queue
        .iter()
        .take_while(|job| match job.payload {
            Payload::RegisterBit { mask, .. } => {
                let fits = (job.point.unit, job.point.start) == (first.unit, first.start) && seen & mask == 0;
                let fits = fits && (seen == 0 || !job.travels_alone() && !queue[0].travels_alone());
                seen |= mask;
                fits
            }
            Payload::Coil(_) | Payload::Words(_) => false,
        })
        .count();
    joined.max(1)
}

/// Length of the longest stretch at the front whose entries, taken together, have no gap.
fn joined_entries(queue: &VecDeque<Job>, settings: &Settings) -> usize {
    let first = &queue[0];
    if first.travels_alone() {
        return 1;
    }
    let limit = u32::from(match first.point.area {
        Area::Coil | Area::Discrete => settings.config.max_write_bits,
        Area::Holding | Area::Input if settings.config.use_fc23 => {
            settings.config.max_write_registers.min(EXCHANGE_REGISTERS_MAX)
        }
        Area::Holding | Area::Input => settings.config.max_write_registers,
    });
    let (mut low, mut high, mut total, mut longest) = (u32::from(first.point.start), first.point.end(), 0, 1);
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for (place, job) in queue.iter().enumerate() {
        let point = &job.point;
        let is_bit = matches!(job.payload, Payload::RegisterBit { .. });
        if (point.unit, point.area) != (first.point.unit, first.point.area) || job.travels_alone() || is_bit {
            break;
        }
        let (start, end) = (u32::from(point.start), point.end());
        if spans.iter().any(|(low, high)| start < *high && *low < end) {
            break;
        }
        (low, high, total) = (low.min(start), high.max(end), total + (end - start));
        if high - low > limit {
            break;
        }
        spans.push((start, end));
        if high - low == total {
            longest = place + 1;
        }
    }
    longest
}

fn content(jobs: &[Job], start: u16) -> Content {
    let multiple = jobs.len() > 1 || jobs[0].point.write == WriteMode::Multiple;
    match &jobs[0].payload {
        Payload::Coil(state) if !multiple => Content::Coil(*state),
        Payload::Words(words) if !multiple && words.len() == 1 => Content::Register(words[0]),
        Payload::RegisterBit { .. } => {
            let (mut all, mut value) = (0, 0);
            for job in jobs {
                if let Payload::RegisterBit { mask, state } = job.payload {
                    all |= mask;
                    value |= if state { mask } else { 0 };
                }
            }
            Content::Bits { mask: all, value }
        }
        Payload::Coil(_) => {
            let mut states = vec![false; jobs.len()];
            for job in jobs {
                if let Payload::Coil(state) = job.payload {
                    states[usize::from(job.point.start - start)] = state;
                }
            }
            Content::Coils(states)
        }
        Payload::Words(_) => {
            let mut registers = vec![0; jobs.iter().map(|job| usize::from(job.point.count)).sum()];
            for job in jobs {
                if let Payload::Words(words) = &job.payload {
                    let at = usize::from(job.point.start - start);
                    registers[at..at + words.len()].copy_from_slice(words);
                }
            }
            Content::Registers(registers)
        }
    }
}

/// Writes that wait at most.
pub(crate) const WRITES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn settings() -> Settings {
        Settings::new(serde_json::from_value(json!({"address": "plc"})).unwrap()).unwrap()
    }

    fn job(row: &Json, words: &[u16]) -> Job {
        let mut row = row.clone();
        row["access"] = "rw".into();
        let point = Point::parse(0, &row, &settings()).unwrap();
        let payload = if point.area.is_bits() {
            Payload::Coil(words[0] == 1)
        } else if point.is_register_bit {
            Payload::RegisterBit { mask: point.codec.bit_mask(), state: words[0] == 1 }
        } else {
            Payload::Words(words.to_vec())
        };
        let (id, epoch, deadline) = (WriteId(0), Epoch(0), Deadline::NONE);
        Job { batch: None, id, epoch, deadline, point, payload }
    }

    fn groups(jobs: impl IntoIterator<Item = Job>) -> Vec<(u16, Content)> {
        let mut queue: VecDeque<Job> = jobs.into_iter().collect();
        std::iter::from_fn(|| take_group(&mut queue, &settings()))
            .map(|group| (group.start, group.content))
            .collect()
    }

    fn register(address: u16, word: u16) -> Job {
        job(&json!({"address": format!("hr:{address}")}), &[word])
    }

    #[test]
    fn a_single_write_uses_the_single_function_and_neighbors_share_one() {
        assert_eq!(groups([register(5, 1)]), [(5, Content::Register(1))]);
        assert_eq!(groups([register(5, 1), register(6, 2)]), [(5, Content::Registers(vec![1, 2]))]);
        let out_of_order = [register(5, 1), register(3, 2), register(4, 3)];
        assert_eq!(groups(out_of_order), [(3, Content::Registers(vec![2, 3, 1]))]);
        let coils = [0, 1, 2].map(|coil| job(&json!({"address": format!("co:{coil}")}), &[coil % 2]));
        assert_eq!(groups(coils), [(0, Content::Coils(vec![false, true, false]))]);
    }

    #[test]
    fn the_write_column_and_the_non_idempotent_flag_are_kept() {
        let multiple = job(&json!({"address": "hr:1", "write": "multiple"}), &[7]);
        assert_eq!(groups([multiple]), [(1, Content::Registers(vec![7]))]);
        let single = |address: &str| job(&json!({"address": address, "write": "single"}), &[7]);
        assert_eq!(groups([single("hr:1"), single("hr:2")]).len(), 2);
        let pulse = job(&json!({"address": "hr:2", "non_idempotent": "true"}), &[1]);
        assert_eq!(groups([register(1, 1), pulse, register(3, 1)]).len(), 3);
    }

    #[test]
    fn nothing_overtakes_a_write_to_another_place() {
        let trigger = register(0, 1);
        let expected =
            [(10, Content::Register(5)), (0, Content::Register(1)), (10, Content::Registers(vec![6, 7]))];
        assert_eq!(groups([register(10, 5), trigger, register(10, 6), register(11, 7)]), expected);
        assert_eq!(
            groups([register(1, 1), register(1, 2)]),
            [(1, Content::Register(1)), (1, Content::Register(2))]
        );
    }

    #[test]
    fn bits_of_one_register_share_a_mask() {
        let bit = |bit: u8, state| job(&json!({"address": format!("hr:9.{bit}")}), &[state]);
        assert_eq!(
            groups([bit(0, 1), bit(3, 0), bit(4, 1)]),
            [(9, Content::Bits { mask: 0b11001, value: 0b10001 })]
        );
        assert_eq!(groups([bit(0, 1), bit(0, 0)]).len(), 2);
    }

    proptest! {
        #[test]
        fn groups_carry_each_write_once_in_order_within_the_limits(
            writes in prop::collection::vec((0u16..300, any::<u16>(), 0u8..3), 1..200),
        ) {
            let jobs = writes.iter().map(|(address, word, kind)| match kind {
                0 => register(*address, *word),
                1 => job(&json!({"address": format!("co:{address}")}), &[word % 2]),
                _ => job(&json!({"address": format!("hr:{address}"), "type": "uint32"}), &[*word, 1]),
            });
            let mut queue: VecDeque<Job> = jobs.collect();
            let mut image = std::collections::BTreeMap::new();
            let mut expected = std::collections::BTreeMap::new();
            let mut carried = 0;
            for (address, word, kind) in &writes {
                match kind {
                    0 => { expected.insert((0, *address), *word); }
                    1 => { expected.insert((1, *address), word % 2); }
                    _ => { expected.insert((0, *address), *word); expected.insert((0, *address + 1), 1); }
                }
            }
            while let Some(group) = take_group(&mut queue, &settings()) {
                carried += group.jobs.len();
                match group.content {
                    Content::Coil(state) => { image.insert((1, group.start), u16::from(state)); }
                    Content::Register(word) => { image.insert((0, group.start), word); }
                    Content::Coils(states) => for (address, state) in (group.start..).zip(&states) {
                        image.insert((1, address), u16::from(*state));
                    },
                    Content::Registers(words) => {
                        prop_assert!(words.len() <= 123);
                        for (address, word) in (group.start..).zip(&words) {
                            image.insert((0, address), *word);
                        }
                    }
                    Content::Bits { .. } => unreachable!("no bits were written"),
                }
            }
            prop_assert_eq!(carried, writes.len());
            prop_assert_eq!(image, expected);
        }
    }
}
