//! What can be read on a device: a question of people, as a walk of single reads that the driver makes when it has time.
//!
//! ```text
//! top      -> units that the settings and items name          no request
//! units    -> which of the unit identifiers answer            only where nothing is polled: each silent one costs a time-out
//! unit     -> which of the four tables it has                 four reads
//! table    -> its entries, page by page                       longer and longer reads, shorter where the device refuses
//! ```

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_modbus::ExceptionCode;
use twinhub_plugin::{Node, Page};

use crate::address::{Address, Area, Span};
use crate::config::{Limits, Settings};
use crate::image::Data;
use crate::inbox::Points;

/// Below what is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the top.
    Top,
    /// Which units answer.
    Units,
    /// In a unit.
    Unit(u8),
    /// In a table of a unit.
    Table(u8, Area),
}

impl Place {
    /// Reads what a node said of itself.
    pub(crate) fn parse(parent: &Value) -> Result<Self, String> {
        let unit = |text: &str| text.parse::<u8>().ok();
        let found = match parent {
            Value::Null => Some(Self::Top),
            Value::Number(number) => number.as_u64().and_then(|unit| u8::try_from(unit).ok()).map(Self::Unit),
            Value::String(text) if text == UNITS => Some(Self::Units),
            Value::String(text) => match text.split_once('/') {
                None => unit(text).map(Self::Unit),
                Some((text, prefix)) => {
                    let area = AREAS.into_iter().find(|area| area.prefix() == prefix);
                    unit(text).zip(area).map(|(unit, area)| Self::Table(unit, area))
                }
            },
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        found.ok_or_else(|| {
            "a parent is a unit such as 3, a table of it such as \"3/hr\", or \"units\"".to_owned()
        })
    }
}

/// What is known without asking: units, and how many items are on each.
pub(crate) fn units(settings: &Settings, points: &Points, begin: usize, limit: usize) -> Page {
    let named: BTreeSet<u8> = points.iter().map(|point| point.unit).chain([settings.config.unit]).collect();
    let mut nodes: Vec<Node> = named
        .into_iter()
        .map(|unit| {
            let items = points.iter().filter(|point| point.unit == unit).count();
            Node::new(format!("unit {unit}")).description(format!("{items} items")).parent(unit)
        })
        .collect();
    if polls_nothing(points) {
        let text = "looks which unit identifiers answer";
        nodes.push(Node::new("other units").description(text).parent(UNITS));
    }
    let end = nodes.len().min(begin.saturating_add(limit));
    let cursor = (end < nodes.len()).then(|| end.to_string());
    Page { nodes: nodes.get(begin..end).unwrap_or_default().to_vec(), cursor }
}

/// Whether a silent unit would hold nobody up.
pub(crate) fn polls_nothing(points: &Points) -> bool {
    points.iter().all(|point| point.period.is_none())
}

/// What became of a read.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The device answered.
    Data(Data),
    /// It refused.
    Refused(ExceptionCode),
    /// No answer came.
    Silence,
}

/// The reads of one question.
#[derive(Debug)]
pub(crate) struct Walk {
    place: Place,
    /// Of the unit that rows do not name.
    unit: u8,
    limits: Limits,
    limit: usize,
    /// Where it stands: a unit, a table, or an entry; and where that began.
    at: u32,
    begin: u32,
    /// So many entries are asked for.
    step: u16,
    asked: usize,
    nodes: Vec<Node>,
    /// The device has no such table.
    is_over: bool,
}

impl Walk {
    /// Begins, or goes on where a page ended.
    pub(crate) fn new(place: Place, cursor: &str, limit: usize, settings: &Settings) -> Result<Self, String> {
        let first = u32::from(place == Place::Units);
        let at = if cursor.is_empty() { Ok(first) } else { cursor.parse() };
        let at = at
            .ok()
            .filter(|at| (first..end_of(place)).contains(at))
            .ok_or_else(|| format!("the cursor is no number from {first} to {}", end_of(place) - 1))?;
        Ok(Self {
            place,
            unit: settings.config.unit,
            limits: settings.limits,
            limit,
            at,
            begin: at,
            step: FIRST_STEP,
            asked: 0,
            nodes: Vec::new(),
            is_over: false,
        })
    }

    /// The next read; `None` at the end of the page.
    pub(crate) fn next(&self) -> Option<(u8, Span)> {
        if self.is_over
            || self.at >= end_of(self.place)
            || self.nodes.len() >= self.limit
            || self.asked >= ASKED_MAX
        {
            return None;
        }
        let at = u16::try_from(self.at).ok()?;
        let one = |area| Span { area, start: 0, count: 1 };
        match self.place {
            Place::Top => None,
            Place::Units => Some((u8::try_from(at).ok()?, one(Area::Holding))),
            Place::Unit(unit) => Some((unit, one(*AREAS.get(usize::from(at))?))),
            Place::Table(unit, area) => Some((unit, Span { area, start: at, count: self.count(area) })),
        }
    }

    fn count(&self, area: Area) -> u16 {
        let most = if area.is_bits() { self.limits.bits } else { self.limits.registers };
        let left = u16::try_from(end_of(self.place) - self.at).unwrap_or(u16::MAX);
        let wanted = u16::try_from(self.limit - self.nodes.len()).unwrap_or(u16::MAX);
        self.step.min(most).min(left).min(wanted).max(1)
    }

    /// Takes what became of the read that [`Walk::next`] named.
    ///
    /// # Errors
    /// Why there is no use in going on.
    pub(crate) fn heard(&mut self, heard: Heard) -> Result<(), String> {
        let Some((unit, span)) = self.next() else { return Ok(()) };
        self.asked += 1;
        if self.place == Place::Units {
            self.heard_of_unit(unit, &heard);
            return Ok(());
        }
        match heard {
            Heard::Silence => return Err(format!("unit {unit} does not answer")),
            Heard::Refused(
                code @ (ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice),
            ) => {
                return Err(format!("the gateway does not reach unit {unit}: {code}"));
            }
            Heard::Refused(code) => match self.place {
                Place::Unit(_) => self.heard_of_table(unit, span.area, None, Some(code)),
                Place::Top | Place::Units | Place::Table(..) => self.refused(span, code),
            },
            Heard::Data(data) => match self.place {
                Place::Unit(_) => self.heard_of_table(unit, span.area, Some(&data), None),
                Place::Top | Place::Units | Place::Table(..) => self.entries(unit, span, &data),
            },
        }
        Ok(())
    }

    fn heard_of_unit(&mut self, unit: u8, heard: &Heard) {
        self.at += 1;
        let text = match heard {
            Heard::Silence
            | Heard::Refused(ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice) => {
                return;
            }
            Heard::Refused(code) => format!("answers: {code}"),
            Heard::Data(_) => "answers".to_owned(),
        };
        self.nodes.push(Node::new(format!("unit {unit}")).description(text).parent(unit));
    }

    fn heard_of_table(&mut self, unit: u8, area: Area, data: Option<&Data>, refusal: Option<ExceptionCode>) {
        self.at += 1;
        if refusal == Some(ExceptionCode::IllegalFunction) {
            return;
        }
        let what = match area {
            Area::Coil => "coils",
            Area::Discrete => "discrete inputs",
            Area::Input => "input registers",
            Area::Holding => "holding registers",
        };
        let first = data.map(|data| shown(data, 0)).or_else(|| refusal.map(|code| code.to_string()));
        let text = format!("{what}; entry 0: {}", first.unwrap_or_default());
        let parent = format!("{unit}/{}", area.prefix());
        self.nodes.push(Node::new(area.prefix()).description(text).parent(parent));
    }

    fn entries(&mut self, unit: u8, span: Span, data: &Data) {
        for place in 0..span.count {
            let start = span.start + place;
            let named = (unit != self.unit).then_some(unit);
            let address = Address { unit: named, area: span.area, start, bit: None };
            let name = format!("{}{start}", span.area.prefix());
            let path = named.map_or_else(|| name.clone(), |unit| format!("unit{unit}/{name}"));
            let kind = if span.area.is_bits() { "bool" } else { "uint16" };
            let node = Node::new(name).description(shown(data, place)).column("path", path);
            let node = node.column("address", address.to_string()).column("type", kind);
            self.nodes.push(node.column("access", "r"));
        }
        self.at += u32::from(span.count);
        self.step = self.step.saturating_mul(2);
    }

    fn refused(&mut self, span: Span, code: ExceptionCode) {
        if code == ExceptionCode::IllegalFunction {
            self.is_over = true;
        } else if span.count > 1 {
            self.step = span.count / 2;
        } else {
            self.step = 1;
            self.at += 1;
        }
    }

    /// The page as far as it came.
    pub(crate) fn page(mut self) -> Page {
        let is_more = !self.is_over && self.at < end_of(self.place);
        if is_more && self.nodes.is_empty() {
            let text = format!("nothing from {} to {}; ask on", self.begin, self.at.saturating_sub(1));
            self.nodes.push(Node::new("…").description(text));
        }
        Page { nodes: self.nodes, cursor: is_more.then(|| self.at.to_string()) }
    }

    /// Whether it looks for units.
    pub(crate) fn is_over_units(&self) -> bool {
        self.place == Place::Units
    }

    /// Whether anything was asked yet.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked > 0
    }
}

fn shown(data: &Data, place: u16) -> String {
    let place = usize::from(place);
    match data {
        Data::Bits(bits) => bits.get(place).map(bool::to_string).unwrap_or_default(),
        Data::Words(words) => words.get(place).map(u16::to_string).unwrap_or_default(),
    }
}

/// Behind the last number of a place: units are 1 to 247 (specification V1.1b3, 2.2 of "MODBUS over Serial Line" V1.02).
fn end_of(place: Place) -> u32 {
    match place {
        Place::Top => 1,
        Place::Units => 248,
        Place::Unit(_) => 4,
        Place::Table(..) => 0x1_0000,
    }
}

const UNITS: &str = "units";
const AREAS: [Area; 4] = [Area::Coil, Area::Discrete, Area::Input, Area::Holding];
/// Most devices have their first registers together.
const FIRST_STEP: u16 = 16;
/// Reads of one page.
pub(crate) const ASKED_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings::new(serde_json::from_value(json!({"address": "plc", "unit": 1})).unwrap()).unwrap()
    }

    fn walk(place: Place, cursor: &str, limit: usize) -> Walk {
        Walk::new(place, cursor, limit, &settings()).unwrap()
    }

    /// A device that has these registers and refuses everything else.
    fn answer(has: &BTreeSet<u16>, span: Span) -> Heard {
        let entries: Vec<u16> = (0..span.count).map(|place| span.start.wrapping_add(place)).collect();
        if entries.iter().all(|entry| has.contains(entry)) {
            Heard::Data(Data::Words(entries))
        } else {
            Heard::Refused(ExceptionCode::IllegalDataAddress)
        }
    }

    fn found(place: Place, has: &BTreeSet<u16>, limit: usize) -> (Vec<u16>, usize) {
        let (mut cursor, mut found, mut asked) = (String::new(), Vec::new(), 0);
        loop {
            let mut walk = walk(place, &cursor, limit);
            while let Some((_, span)) = walk.next() {
                walk.heard(answer(has, span)).unwrap();
                asked += 1;
                assert!(walk.nodes.len() <= limit);
            }
            let page = walk.page();
            let nodes = serde_json::to_value(&page).unwrap()["nodes"].as_array().unwrap().clone();
            let number =
                |node: &Value| node["row"]["address"].as_str()?.strip_prefix("hr:")?.parse::<u16>().ok();
            found.extend(nodes.iter().filter_map(number));
            match page.cursor {
                Some(next) => cursor = next,
                None => return (found, asked),
            }
        }
    }

    #[test]
    fn every_entry_is_found_across_holes_and_pages() {
        let has: BTreeSet<u16> = (0..40).chain([55, 56]).chain(65_500..=65_535).collect();
        let (found, asked) = found(Place::Table(1, Area::Holding), &has, 30);
        assert_eq!(found, has.iter().copied().collect::<Vec<_>>());
        assert!(asked < 67_000, "{asked}");
    }

    #[test]
    fn a_page_is_bounded_and_says_where_to_go_on() {
        let mut walk = walk(Place::Table(1, Area::Holding), "100", 50);
        let mut asked = 0;
        while walk.next().is_some() {
            walk.heard(Heard::Refused(ExceptionCode::IllegalDataAddress)).unwrap();
            asked += 1;
        }
        assert_eq!(asked, ASKED_MAX);
        let page = serde_json::to_value(walk.page()).unwrap();
        let cursor: u32 = page["cursor"].as_str().unwrap().parse().unwrap();
        assert_eq!(page["nodes"][0]["description"], format!("nothing from 100 to {}; ask on", cursor - 1));
    }

    #[test]
    fn tables_that_a_unit_does_not_know_are_left_out() {
        let mut walk = walk(Place::Unit(7), "", 10);
        for heard in [
            Heard::Refused(ExceptionCode::IllegalFunction),
            Heard::Data(Data::Bits(vec![true])),
            Heard::Refused(ExceptionCode::IllegalDataAddress),
            Heard::Data(Data::Words(vec![12])),
        ] {
            walk.heard(heard).unwrap();
        }
        assert_eq!(walk.next(), None);
        let page = serde_json::to_value(walk.page()).unwrap();
        let parents: Vec<_> =
            page["nodes"].as_array().unwrap().iter().map(|node| node["parent"].clone()).collect();
        assert_eq!(parents, [json!("7/di"), json!("7/ir"), json!("7/hr")]);
        assert_eq!(page["nodes"][2]["description"], "holding registers; entry 0: 12");
    }

    #[test]
    fn rows_name_the_unit_if_it_is_not_that_of_the_settings() {
        let mut walk = walk(Place::Table(3, Area::Coil), "8", 2);
        walk.heard(Heard::Data(Data::Bits(vec![true, false]))).unwrap();
        let page = serde_json::to_value(walk.page()).unwrap();
        let row = json!({"path": "unit3/co8", "address": "3/co:8", "type": "bool", "access": "r"});
        assert_eq!(page["nodes"][0]["row"], row);
        assert_eq!(page["cursor"], "10");
    }

    #[test]
    fn silence_ends_a_walk_but_for_that_over_the_units() {
        let error = walk(Place::Unit(3), "", 10).heard(Heard::Silence).unwrap_err();
        assert_eq!(error, "unit 3 does not answer");
        let mut walk = walk(Place::Units, "", 10);
        walk.heard(Heard::Silence).unwrap();
        walk.heard(Heard::Refused(ExceptionCode::IllegalDataAddress)).unwrap();
        walk.heard(Heard::Refused(ExceptionCode::GatewayTargetDevice)).unwrap();
        let page = serde_json::to_value(walk.page()).unwrap();
        assert_eq!((&page["nodes"][0]["name"], &page["nodes"][1]), (&json!("unit 2"), &Value::Null));
        assert_eq!(page["cursor"], "4");
    }

    #[test]
    fn what_nodes_say_of_themselves_is_read_back() {
        let parse = |parent: Value| Place::parse(&parent);
        assert_eq!(parse(json!(3)), Ok(Place::Unit(3)));
        assert_eq!(parse(json!("3/hr")), Ok(Place::Table(3, Area::Holding)));
        assert_eq!(parse(json!("units")), Ok(Place::Units));
        for wrong in [json!(256), json!("x"), json!("3/xx"), json!({}), json!(-1), json!(1.5)] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn hostile_answers_keep_a_page_within_its_limits(
            parent: u8,
            area in 0..4usize,
            cursor in "[0-9]{0,6}|\\PC{0,5}",
            limit in 1..300usize,
            answers in prop::collection::vec((0..4u8, prop::collection::vec(any::<u16>(), 0..20), any::<u8>()), 0..60),
        ) {
            for place in [Place::Units, Place::Unit(parent), Place::Table(parent, AREAS[area])] {
                let Ok(mut walk) = Walk::new(place, &cursor, limit, &settings()) else { continue };
                for (kind, words, code) in &answers {
                    let Some((_, span)) = walk.next() else { break };
                    prop_assert!(span.count >= 1 && u32::from(span.start) + u32::from(span.count) <= 0x1_0000);
                    let heard = match kind {
                        0 => Heard::Data(Data::Words(words.clone())),
                        1 => Heard::Data(Data::Bits(words.iter().map(|word| word % 2 == 0).collect())),
                        2 => Heard::Refused(ExceptionCode::new(*code)),
                        _ => Heard::Silence,
                    };
                    if walk.heard(heard).is_err() {
                        break;
                    }
                }
                let page = walk.page();
                prop_assert!(page.nodes.len() <= limit);
            }
        }
    }
}
