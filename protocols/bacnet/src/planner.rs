//! Reading many properties with few requests.
//!
//! A [`ReadPlan`] packs reads into ReadPropertyMultiple so that each answer should fit in one APDU of the device,
//! and hands them out one by one; the caller sends them and brings the results back. What goes wrong is mended:
//!
//! ```text
//!   several reads --too long, or an error for all of them--> two halves --...--> one read
//!   one read in ReadPropertyMultiple --too long--> ReadProperty
//!   ReadProperty of a whole array --too long--> its length (element 0), then its elements, packed again
//!   device does not know ReadPropertyMultiple --> ReadProperty for everything, also in later plans
//! ```
//!
//! What was learned of a device ([`ReadAbility`]) is kept by the caller, so that the next plan begins with it. How
//! many reads a device takes at once is halved when it takes fewer, and raised by one with each full success.
//!
//! The properties all, required and optional stand for many, and are not read here.

use std::collections::{BTreeMap, VecDeque};

use crate::Error;
use crate::engine::{Failure, PeerLimits, Reply};
use crate::names::{AbortReason, ConfirmedService, ErrorClass, ErrorCode, PropertyIdentifier, RejectReason};
use crate::services::{
    PropertyReference, ReadAccess, ReadProperty, ReadPropertyAck, ReadPropertyMultiple,
    ReadPropertyMultipleAck, ServiceError,
};
use crate::tag::Message;
use crate::value::Value;

/// The most elements of an array that are read one by one.
pub const ELEMENTS_MAX: usize = 10_000;
/// The most reads in one request.
pub const READS_PER_REQUEST_MAX: usize = 64;

/// What was learned of how a device is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAbility {
    /// Whether it knows ReadPropertyMultiple.
    pub takes_multiple: bool,
    /// How many reads it takes at once.
    pub reads_max: usize,
}

impl Default for ReadAbility {
    fn default() -> ReadAbility {
        ReadAbility { takes_multiple: true, reads_max: READS_PER_REQUEST_MAX }
    }
}

/// What a request of a plan is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(u64);

/// A request to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What it is called.
    pub id: AskId,
    /// Which service.
    pub service: ConfirmedService,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Why a property was not read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFailure {
    /// The device says that it cannot be read.
    #[error("{0}")]
    Refused(ServiceError),
    /// The request failed.
    #[error(transparent)]
    Request(Failure),
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Unreadable(#[source] Error),
    /// The answer says nothing about it.
    #[error("the answer does not have it")]
    Missing,
    /// The array has more elements than are read.
    #[error("the array has {count} elements, more than {max}")]
    TooManyElements {
        /// How many.
        count: u64,
        /// How many are read.
        max: usize,
    },
}

/// What became of a read.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The place of the read in the list that the plan was made of.
    pub place: usize,
    /// The value.
    pub values: Result<Vec<Value>, ReadFailure>,
}

/// Reads of one device.
#[derive(Debug)]
pub struct ReadPlan {
    reads: Vec<ReadProperty>,
    limits: PeerLimits,
    ability: ReadAbility,
    waiting: VecDeque<Group>,
    under_way: BTreeMap<AskId, Group>,
    arrays: BTreeMap<usize, Array>,
    outcomes: VecDeque<Outcome>,
    next_id: u64,
}

/// A read, or a part of one.
#[derive(Debug, Clone, Copy)]
struct Item {
    place: usize,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// As it was wanted.
    Whole,
    /// How many elements the array has.
    Length,
    /// One element of it.
    Element(u32),
}

/// What is read with one request.
#[derive(Debug)]
struct Group {
    items: Vec<Item>,
    /// ReadProperty, because the device does not take ReadPropertyMultiple for it.
    is_single: bool,
}

/// An array that is read element by element.
#[derive(Debug)]
struct Array {
    elements: Vec<Option<Vec<Value>>>,
    missing: usize,
}

impl ReadPlan {
    /// Of these reads.
    pub fn new(reads: Vec<ReadProperty>, limits: PeerLimits, ability: ReadAbility) -> ReadPlan {
        let mut plan = ReadPlan {
            limits,
            ability,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            arrays: BTreeMap::new(),
            outcomes: VecDeque::new(),
            next_id: 0,
            reads,
        };
        let items: Vec<Item> = (0..plan.reads.len()).map(|place| Item { place, part: Part::Whole }).collect();
        plan.pack(&items);
        plan
    }

    /// The reads, in the order of their places.
    pub fn reads(&self) -> &[ReadProperty] {
        &self.reads
    }

    /// What was learned so far.
    pub fn ability(&self) -> ReadAbility {
        self.ability
    }

    /// Whether every read has its outcome, and all were taken.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty() && self.outcomes.is_empty()
    }

    /// The next request to send, which may be sent before the ones before it are answered.
    pub fn next_ask(&mut self) -> Option<Ask> {
        let mut group = self.waiting.pop_front()?;
        let reads_max = if self.ability.takes_multiple { self.ability.reads_max.max(1) } else { 1 };
        if group.items.len() > reads_max {
            let items = group.items.split_off(reads_max);
            self.waiting.push_front(Group { items, is_single: group.is_single });
        }
        group.is_single |= !self.ability.takes_multiple;
        let id = AskId(self.next_id);
        self.next_id += 1;
        let ask = match group.items.as_slice() {
            [item] if group.is_single => {
                let payload = self.read_of(*item).encode();
                Ask { id, service: ConfirmedService::READ_PROPERTY, payload }
            }
            items => {
                let payload = self.read_multiple(items).encode();
                Ask { id, service: ConfirmedService::READ_PROPERTY_MULTIPLE, payload }
            }
        };
        self.under_way.insert(id, group);
        Some(ask)
    }

    /// What became of a request.
    pub fn on_result(&mut self, id: AskId, result: Result<Reply, Failure>) {
        let Some(group) = self.under_way.remove(&id) else { return };
        match result {
            Ok(Reply::Complex(bytes)) => self.on_answer(group, &bytes),
            Ok(Reply::Simple) => self.fail(&group.items, &ReadFailure::Missing),
            Err(failure) => self.on_failure(group, failure),
        }
    }

    /// What became of a read.
    pub fn next_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    fn on_answer(&mut self, group: Group, bytes: &[u8]) {
        if group.is_single {
            match (ReadPropertyAck::decode(bytes), group.items.as_slice()) {
                (Ok(answer), [item]) => self.on_values(*item, Ok(answer.values)),
                (Ok(_), items) => self.fail(items, &ReadFailure::Missing),
                (Err(error), items) => self.fail(items, &ReadFailure::Unreadable(error)),
            }
            return;
        }
        let answer = match ReadPropertyMultipleAck::decode(bytes) {
            Ok(answer) => answer,
            // One value that cannot be read is not to hide the others.
            Err(_) if group.items.len() > 1 => return self.halve(&group),
            Err(error) => return self.fail(&group.items, &ReadFailure::Unreadable(error)),
        };
        if group.items.len() == self.ability.reads_max {
            self.ability.reads_max = READS_PER_REQUEST_MAX.min(self.ability.reads_max + 1);
        }
        let mut found = BTreeMap::new();
        for result in answer.results {
            for outcome in result.outcomes {
                let read = ReadProperty { object: result.object, reference: outcome.reference };
                found.insert(read, outcome.values);
            }
        }
        for item in group.items {
            let values = match found.get(&self.read_of(item)) {
                Some(Ok(values)) => Ok(values.clone()),
                Some(Err(error)) => Err(ReadFailure::Refused(*error)),
                None => Err(ReadFailure::Missing),
            };
            self.on_values(item, values);
        }
    }

    fn on_failure(&mut self, group: Group, failure: Failure) {
        let is_single = group.is_single;
        if !is_single && is_service_unknown(&failure) {
            self.ability.takes_multiple = false;
            self.waiting.push_front(group);
        } else if group.items.len() > 1 && (is_too_long(&failure) || matches!(failure, Failure::Error(_))) {
            if is_too_long(&failure) {
                self.ability.reads_max = self.ability.reads_max.min(group.items.len() / 2).max(1);
            }
            self.halve(&group);
        } else if !is_single && is_too_long(&failure) {
            self.waiting.push_front(Group { is_single: true, ..group });
        } else if is_single && is_too_long(&failure) && self.is_whole_array(&group) {
            let items = group.items.into_iter().map(|item| Item { part: Part::Length, ..item }).collect();
            self.waiting.push_front(Group { items, is_single });
        } else {
            let failure = if let Failure::Error(detail) = &failure {
                ReadFailure::Refused(detail.error)
            } else {
                ReadFailure::Request(failure)
            };
            self.fail(&group.items, &failure);
        }
    }

    /// Whether it is one read without an index, which may be an array.
    fn is_whole_array(&self, group: &Group) -> bool {
        let is_whole =
            |item: &Item| item.part == Part::Whole && self.reads[item.place].reference.index.is_none();
        group.items.len() == 1 && group.items.iter().all(is_whole)
    }

    fn on_values(&mut self, item: Item, values: Result<Vec<Value>, ReadFailure>) {
        let place = item.place;
        match (item.part, values) {
            (Part::Whole, values) => self.outcomes.push_back(Outcome { place, values }),
            (_, Err(failure)) => self.fail(&[item], &failure),
            (Part::Length, Ok(values)) => match values.first().and_then(Value::as_unsigned) {
                Some(count) => self.begin_array(place, count),
                None => self.fail(&[item], &ReadFailure::Missing),
            },
            (Part::Element(index), Ok(values)) => {
                let Some(array) = self.arrays.get_mut(&place) else { return };
                let element = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
                let Some(slot) = element.and_then(|element| array.elements.get_mut(element)) else { return };
                if slot.replace(values).is_none() {
                    array.missing -= 1;
                }
                if array.missing == 0 {
                    self.finish_array(place);
                }
            }
        }
    }

    fn begin_array(&mut self, place: usize, count: u64) {
        let Some(length) = usize::try_from(count).ok().filter(|count| *count <= ELEMENTS_MAX) else {
            let values = Err(ReadFailure::TooManyElements { count, max: ELEMENTS_MAX });
            self.outcomes.push_back(Outcome { place, values });
            return;
        };
        self.arrays.insert(place, Array { elements: vec![None; length], missing: length });
        if length == 0 {
            return self.finish_array(place);
        }
        let last = u32::try_from(length).expect("at most ten thousand");
        let items: Vec<Item> = (1..=last).map(|index| Item { place, part: Part::Element(index) }).collect();
        self.pack(&items);
    }

    fn finish_array(&mut self, place: usize) {
        let Some(array) = self.arrays.remove(&place) else { return };
        let values = array.elements.into_iter().flatten().flatten().collect();
        self.outcomes.push_back(Outcome { place, values: Ok(values) });
    }

    /// An array fails once, with the first of its elements that does.
    fn fail(&mut self, items: &[Item], failure: &ReadFailure) {
        for item in items {
            let is_told = match item.part {
                Part::Whole | Part::Length => true,
                Part::Element(_) => self.arrays.remove(&item.place).is_some(),
            };
            if is_told {
                self.outcomes.push_back(Outcome { place: item.place, values: Err(failure.clone()) });
            }
        }
    }

    fn halve(&mut self, group: &Group) {
        let (first, second) = group.items.split_at(group.items.len() / 2);
        for half in [second, first] {
            self.waiting.push_front(Group { items: half.to_vec(), is_single: group.is_single });
        }
    }

    /// Puts reads into groups whose requests and answers should fit.
    fn pack(&mut self, items: &[Item]) {
        let room = self.limits.apdu_bytes() - HEADER_BYTES;
        let mut group: Vec<Item> = Vec::new();
        let (mut ask_bytes, mut answer_bytes) = (0, 0);
        for item in items {
            let read = self.read_of(*item);
            let is_same_object = group.last().is_some_and(|last| self.read_of(*last).object == read.object);
            let object_bytes = if is_same_object { 0 } else { OBJECT_BYTES };
            let reference_bytes = read.reference.encode().len();
            let value_bytes = value_bytes(read.reference, item.part) + 2;
            let is_full = answer_bytes + object_bytes + reference_bytes + value_bytes > room
                || ask_bytes + object_bytes + reference_bytes > room
                || group.len() >= READS_PER_REQUEST_MAX;
            if is_full && !group.is_empty() {
                self.waiting.push_back(Group { items: std::mem::take(&mut group), is_single: false });
                (ask_bytes, answer_bytes) = (0, 0);
            }
            let object_bytes = if group.is_empty() { OBJECT_BYTES } else { object_bytes };
            ask_bytes += object_bytes + reference_bytes;
            answer_bytes += object_bytes + reference_bytes + value_bytes;
            group.push(*item);
        }
        if !group.is_empty() {
            self.waiting.push_back(Group { items: group, is_single: false });
        }
    }

    fn read_of(&self, item: Item) -> ReadProperty {
        let read = self.reads[item.place];
        let index = match item.part {
            Part::Whole => read.reference.index,
            Part::Length => Some(0),
            Part::Element(index) => Some(index),
        };
        ReadProperty { reference: PropertyReference { index, ..read.reference }, ..read }
    }

    fn read_multiple(&self, items: &[Item]) -> ReadPropertyMultiple {
        let mut accesses: Vec<ReadAccess> = Vec::new();
        for item in items {
            let read = self.read_of(*item);
            match accesses.last_mut().filter(|access| access.object == read.object) {
                Some(access) => access.properties.push(read.reference),
                None => {
                    accesses.push(ReadAccess { object: read.object, properties: vec![read.reference] });
                }
            }
        }
        ReadPropertyMultiple { accesses }
    }
}

/// Bytes of the header of a request in one piece, which is longer than that of an answer.
const HEADER_BYTES: usize = 4;
/// Bytes of an object and the tags of its list.
const OBJECT_BYTES: usize = 7;

/// How long the value of a property usually is. What is wrong here costs a request or two, and nothing else.
fn value_bytes(reference: PropertyReference, part: Part) -> usize {
    if reference.index == Some(0) || part == Part::Length {
        return 3;
    }
    let is_element = reference.index.is_some() || part != Part::Whole;
    match reference.property {
        PropertyIdentifier::PRESENT_VALUE | PropertyIdentifier::RELINQUISH_DEFAULT => 6,
        PropertyIdentifier::STATUS_FLAGS
        | PropertyIdentifier::EVENT_STATE
        | PropertyIdentifier::RELIABILITY
        | PropertyIdentifier::OUT_OF_SERVICE
        | PropertyIdentifier::UNITS => 3,
        PropertyIdentifier::OBJECT_LIST if is_element => 5,
        PropertyIdentifier::PRIORITY_ARRAY if is_element => 6,
        PropertyIdentifier::PRIORITY_ARRAY => 60,
        PropertyIdentifier::OBJECT_NAME
        | PropertyIdentifier::DESCRIPTION
        | PropertyIdentifier::ACTIVE_TEXT
        | PropertyIdentifier::INACTIVE_TEXT => 34,
        PropertyIdentifier::OBJECT_LIST
        | PropertyIdentifier::STATE_TEXT
        | PropertyIdentifier::WEEKLY_SCHEDULE
        | PropertyIdentifier::EXCEPTION_SCHEDULE
        | PropertyIdentifier::PROPERTY_LIST
            if !is_element =>
        {
            usize::from(u16::MAX)
        }
        _ => 16,
    }
}

/// Whether fewer reads, or shorter ones, could do.
fn is_too_long(failure: &Failure) -> bool {
    let is_length = |reason: &AbortReason| {
        matches!(
            *reason,
            AbortReason::BUFFER_OVERFLOW
                | AbortReason::SEGMENTATION_NOT_SUPPORTED
                | AbortReason::APDU_TOO_LONG
                | AbortReason::OUT_OF_RESOURCES
        )
    };
    match failure {
        Failure::Aborted(reason) | Failure::GivenUp(reason) => is_length(reason),
        Failure::Rejected(reason) => {
            matches!(*reason, RejectReason::BUFFER_OVERFLOW | RejectReason::TOO_MANY_ARGUMENTS)
        }
        Failure::TooLong { .. } => true,
        Failure::Error(_)
        | Failure::UnreadableError
        | Failure::Silent { .. }
        | Failure::QueueFull { .. }
        | Failure::TooManyPeers { .. }
        | Failure::Stopped => false,
    }
}

/// Whether the device does not know the service.
fn is_service_unknown(failure: &Failure) -> bool {
    match failure {
        Failure::Rejected(reason) => *reason == RejectReason::UNRECOGNIZED_SERVICE,
        Failure::Error(detail) => {
            let denials =
                [ErrorCode::SERVICE_REQUEST_DENIED, ErrorCode::OPTIONAL_FUNCTIONALITY_NOT_SUPPORTED];
            detail.error.class == ErrorClass::SERVICES && denials.contains(&detail.error.code)
        }
        Failure::UnreadableError
        | Failure::Aborted(_)
        | Failure::GivenUp(_)
        | Failure::Silent { .. }
        | Failure::QueueFull { .. }
        | Failure::TooLong { .. }
        | Failure::TooManyPeers { .. }
        | Failure::Stopped => false,
    }
}
