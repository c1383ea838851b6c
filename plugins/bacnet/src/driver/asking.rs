//! Questions of people: which devices are there, and which objects a device has.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use twinhub_bacnet_protocol::link::Reach;
use twinhub_bacnet_protocol::names::PropertyIdentifier;
use twinhub_bacnet_protocol::services::{ReadProperty, WhoIs};
use twinhub_bacnet_protocol::shapes::object_list;
use twinhub_bacnet_protocol::value::{ObjectId, Value as Wire};
use twinhub_plugin::{Browse, Code, Error, Node, Page};

use super::Driver;
use super::polling::{PlanKind, Read, read};
use crate::item::Place;
use crate::values::is_binary;

/// A question that is being answered.
#[derive(Debug)]
pub(super) struct Question {
    number: u64,
    browse: Option<Browse>,
    until: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Devices say that they are there.
    Devices,
    /// The list of a device's objects is read.
    List(u32),
    /// Names and units of objects are read; the objects, where in the list they begin, and how long it is.
    Objects(u32, Vec<ObjectId>, usize, usize),
}

impl Question {
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn refuse(mut self, code: Code, why: &str) {
        if let Some(browse) = self.browse.take() {
            browse.refuse(&Error::new(code, why));
        }
    }
}

impl Driver {
    /// Begins new questions, and ends those whose time is over.
    pub(super) fn go_on_questions(&mut self) {
        let new: Vec<Browse> = self.inbox.questions.borrow_mut().drain(..).collect();
        for browse in new {
            self.begin_question(browse);
        }
        let now = Instant::now();
        let (over, open) =
            std::mem::take(&mut self.questions).into_iter().partition(|q: &Question| q.until <= now);
        self.questions = open;
        for question in over {
            match question.state {
                State::Devices => {
                    let page = self.devices_page();
                    if let Some(browse) = question.browse {
                        browse.answer(&page);
                    }
                }
                State::List(_) | State::Objects(..) => {
                    question.refuse(Code::Device, "the device does not answer in time");
                }
            }
        }
    }

    fn begin_question(&mut self, browse: Browse) {
        let number = self.number();
        let parent = browse.parent().clone();
        if parent.is_null() {
            self.send_who_is(WhoIs { range: None }, Reach::AllNetworks);
            let until = Instant::now() + LISTEN;
            self.questions.push(Question { number, browse: Some(browse), until, state: State::Devices });
            return;
        }
        let instance = parent.as_u64().or_else(|| parent.as_str()?.parse().ok());
        let Some(instance) = instance.and_then(|instance| u32::try_from(instance).ok()) else {
            return browse.refuse(&Error::invalid("a parent is the instance of a device, for example 1002"));
        };
        if !self.devices.get(&instance).is_some_and(crate::device::Device::is_present) {
            let text = format!("device {instance} is not there, or no item of this interface is of it");
            return browse.refuse(&Error::new(Code::Device, text));
        }
        let until = Instant::now() + ANSWER_MAX;
        self.questions.push(Question { number, browse: Some(browse), until, state: State::List(instance) });
        let list = read(ObjectId::device(instance), PropertyIdentifier::OBJECT_LIST);
        self.start_plan(instance, PlanKind::Question(number), vec![list], Vec::new());
    }

    fn devices_page(&self) -> Page {
        let known = self.devices.iter().filter_map(|(instance, device)| Some((*instance, device.peer?)));
        let heard = self.heard.iter().map(|(instance, peer)| (*instance, *peer));
        let all: BTreeMap<u32, _> = heard.chain(known).collect();
        let node = |(instance, peer): (u32, twinhub_bacnet_protocol::engine::Peer)| {
            let node = Node::new(instance.to_string()).description(peer.to_string());
            // Only of these it is known what they can take.
            if self.devices.contains_key(&instance) { node.parent(instance) } else { node }
        };
        Page::of(all.into_iter().map(node))
    }

    /// What was read for a question.
    pub(super) fn on_question_read(&mut self, number: u64, outcomes: &[(ReadProperty, Option<Read>)]) {
        let Some(place) = self.questions.iter().position(|question| question.number == number) else {
            return;
        };
        let mut question = self.questions.swap_remove(place);
        match question.state {
            State::Devices => {}
            State::List(instance) => {
                let list = match outcomes.first() {
                    Some((_, Some(Ok(values)))) => object_list(values),
                    _ => None,
                };
                let Some(list) = list else {
                    return question.refuse(Code::Device, "the device does not give the list of its objects");
                };
                let Some(browse) = &question.browse else { return };
                let begin: usize = browse.cursor().parse().unwrap_or(0).min(list.len());
                let end = list.len().min(begin + browse.limit().min(OBJECTS_PER_PAGE));
                let objects = list[begin..end].to_vec();
                let reads = objects
                    .iter()
                    .flat_map(|object| {
                        [
                            PropertyIdentifier::OBJECT_NAME,
                            PropertyIdentifier::DESCRIPTION,
                            PropertyIdentifier::UNITS,
                        ]
                        .map(|property| read(*object, property))
                    })
                    .collect();
                question.state = State::Objects(instance, objects, begin, list.len());
                self.questions.push(question);
                self.start_plan(instance, PlanKind::Question(number), reads, Vec::new());
            }
            State::Objects(instance, objects, begin, all) => {
                let found: BTreeMap<ReadProperty, &Vec<Wire>> = outcomes
                    .iter()
                    .filter_map(|(read, outcome)| Some((*read, outcome.as_ref()?.as_ref().ok()?)))
                    .collect();
                let end = begin + objects.len();
                let mut page = Page::of(objects.iter().map(|object| node(instance, *object, &found)));
                page.cursor = (end < all).then(|| end.to_string());
                if let Some(browse) = question.browse {
                    browse.answer(&page);
                }
            }
        }
    }
}

fn node(instance: u32, object: ObjectId, found: &BTreeMap<ReadProperty, &Vec<Wire>>) -> Node {
    let first = |property| found.get(&read(object, property)).and_then(|values| values.first());
    let text = |property| first(property).and_then(Wire::as_text).map(|text| text.to_str().into_owned());
    let name = text(PropertyIdentifier::OBJECT_NAME).unwrap_or_else(|| object.to_string());
    let reference = read(object, PropertyIdentifier::PRESENT_VALUE).reference;
    let place = Place { device: instance, object, reference };
    let mut node = Node::new(name).description(text(PropertyIdentifier::DESCRIPTION).unwrap_or_default());
    if crate::values::Kind::of(object.kind(), reference).is_none() {
        return node;
    }
    node = node.column("address", place.to_string());
    if is_binary(object.kind()) {
        node = node.column("type", "bool");
    }
    if let Some(units) = first(PropertyIdentifier::UNITS).and_then(Wire::as_unsigned)
        && let Ok(units) = u32::try_from(units)
    {
        let units = twinhub_bacnet_protocol::names::EngineeringUnits::new(units);
        node = node.column("unit", units.to_string());
    }
    node
}

/// How long devices have to say that they are there.
const LISTEN: Duration = Duration::from_millis(1500);
/// The hub waits 30 s for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(25);
const OBJECTS_PER_PAGE: usize = 200;
