//! Group addresses, devices, building parts and functions of an installation (`0.xml`).

use std::collections::BTreeMap;

use crate::dpt::{self, Dpt};
use crate::error::Error;
use crate::format::{Collector, Options};
use crate::imported::Place;
use crate::text::one_line;
use crate::xml::{Attributes, Step, Xml};

/// What an installation has.
#[derive(Debug, Default)]
pub(super) struct Installation {
    /// Group addresses as they come.
    pub(super) groups: Vec<Group>,
    /// Devices that have an address, as they come.
    pub(super) devices: Vec<Device>,
    /// Functions with at least one group address.
    pub(super) functions: Vec<Function>,
    /// Groups of group addresses.
    pub(super) ranges: Tree,
    /// Building parts.
    pub(super) spaces: Tree,
    /// Building parts of devices by their id.
    pub(super) locations: BTreeMap<String, usize>,
}

/// Names within names. Each is kept once, however much is below it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<(Option<usize>, String)>,
    open: Vec<usize>,
}

impl Tree {
    fn enter(&mut self, name: &str) {
        self.nodes.push((self.open.last().copied(), name.to_owned()));
        self.open.push(self.nodes.len() - 1);
    }

    fn leave(&mut self) {
        self.open.pop();
    }

    fn current(&self) -> Option<usize> {
        self.open.last().copied()
    }

    /// The names down to a node, the innermost ones if there are many.
    pub(super) fn names(&self, node: Option<usize>) -> Vec<&str> {
        let parent = |at: &usize| self.nodes.get(*at).and_then(|(parent, _)| *parent);
        let up = std::iter::successors(node, parent).take(LEVELS_MAX);
        let mut names: Vec<&str> =
            up.filter_map(|at| self.nodes.get(at)).map(|(_, name)| name.as_str()).collect();
        names.reverse();
        names
    }
}

/// A group address.
#[derive(Debug)]
pub(super) struct Group {
    /// Its id without that of the installation.
    pub(super) id: String,
    pub(super) raw: u16,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) dpt: Option<Dpt>,
    /// The group above.
    pub(super) range: Option<usize>,
    pub(super) is_secure: bool,
}

/// A device.
#[derive(Debug, Default)]
pub(super) struct Device {
    pub(super) id: String,
    /// Area, line and place on the line.
    pub(super) address: (u16, u16, u16),
    pub(super) name: String,
    pub(super) description: String,
    pub(super) product: String,
    pub(super) program: String,
    /// Communication objects with links.
    pub(super) objects: Vec<Object>,
}

/// A communication object of a device.
#[derive(Debug, Default)]
pub(super) struct Object {
    pub(super) reference: String,
    pub(super) traits: Traits,
    /// Ids of group addresses without that of the installation, the one that is sent to first.
    pub(super) links: Vec<String>,
}

/// What may be said of an object in three places, of which the nearest counts.
#[derive(Debug, Default, Clone)]
pub(super) struct Traits {
    pub(super) communication: Option<bool>,
    pub(super) read: Option<bool>,
    pub(super) write: Option<bool>,
    pub(super) transmit: Option<bool>,
    pub(super) types: Vec<Dpt>,
    pub(super) size: String,
}

/// A function: group addresses by their role.
#[derive(Debug, Default)]
pub(super) struct Function {
    /// Role, and id of the group address without that of the installation.
    pub(super) roles: Vec<(String, String)>,
}

impl Traits {
    pub(super) fn of(attributes: &Attributes) -> Traits {
        let flag = |name: &str| attributes.find(name).map(|word| word == "Enabled");
        Traits {
            communication: flag("CommunicationFlag"),
            read: flag("ReadFlag"),
            write: flag("WriteFlag"),
            transmit: flag("TransmitFlag"),
            types: dpt::parse_list(attributes.get("DatapointType")).0,
            size: attributes.get("ObjectSize").to_owned(),
        }
    }

    /// What is not said here is taken from `other`.
    pub(super) fn or(mut self, other: &Traits) -> Traits {
        self.communication = self.communication.or(other.communication);
        self.read = self.read.or(other.read);
        self.write = self.write.or(other.write);
        self.transmit = self.transmit.or(other.transmit);
        if self.types.is_empty() {
            self.types.clone_from(&other.types);
        }
        if self.size.is_empty() {
            self.size.clone_from(&other.size);
        }
        self
    }
}

/// Reads the installation from the text of a file called `name`.
pub(super) fn parse(
    name: &str,
    text: &str,
    options: &Options,
    collector: &mut Collector,
) -> Result<Installation, Error> {
    let mut xml = Xml::new(name, text, options.limits.depth_max);
    let mut reader = Reader { limit: options.limits.rows_max, ..Reader::default() };
    while let Some(step) = xml.step()? {
        match step {
            Step::Start(element) => {
                let level = reader.start(&element.name(), || xml.attributes(&element), &xml, collector)?;
                reader.levels.push(level);
            }
            Step::End => reader.end(),
        }
    }
    Ok(reader.found)
}

/// What an element that is open is, as far as its end matters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Level {
    Range,
    Space,
    Device,
    Object,
    Function,
    Other,
}

#[derive(Debug, Default)]
struct Reader {
    found: Installation,
    levels: Vec<Level>,
    area: u16,
    line: u16,
    device: Option<Device>,
    object: Option<Object>,
    function: Option<Function>,
    limit: usize,
}

impl Reader {
    fn start(
        &mut self,
        element: &str,
        attributes: impl Fn() -> Result<Attributes, Error>,
        xml: &Xml<'_>,
        collector: &mut Collector,
    ) -> Result<Level, Error> {
        Ok(match element {
            "GroupRange" => {
                self.found.ranges.enter(attributes()?.get("Name"));
                Level::Range
            }
            "GroupAddress" => {
                self.group(&attributes()?, xml, collector)?;
                Level::Other
            }
            "Area" => {
                self.area = place(&attributes()?, xml, 15)?.unwrap_or_default();
                Level::Other
            }
            "Line" => {
                self.line = place(&attributes()?, xml, 15)?.unwrap_or_default();
                Level::Other
            }
            "DeviceInstance" => {
                let attributes = attributes()?;
                self.device = place(&attributes, xml, 255)?.map(|place| self.device_of(&attributes, place));
                Level::Device
            }
            "ComObjectInstanceRef" => {
                self.object = Some(object_of(&attributes()?));
                Level::Object
            }
            "Send" | "Receive" => {
                if let Some(object) = &mut self.object {
                    let link = without_installation(attributes()?.get("GroupAddressRefId")).to_owned();
                    object.links.push(link);
                    // The one that is sent to stands first, whatever the order in the file; of the others it is no matter.
                    if element == "Send" {
                        let last = object.links.len() - 1;
                        object.links.swap(0, last);
                    }
                }
                Level::Other
            }
            "Space" | "BuildingPart" => {
                self.found.spaces.enter(attributes()?.get("Name"));
                Level::Space
            }
            "DeviceInstanceRef" => {
                let id = attributes()?.get("RefId").to_owned();
                if let Some(space) = self.found.spaces.current() {
                    self.found.locations.entry(id).or_insert(space);
                }
                Level::Other
            }
            "Function" => {
                self.function = Some(Function::default());
                Level::Function
            }
            "GroupAddressRef" => {
                if let Some(function) = &mut self.function {
                    let attributes = attributes()?;
                    let id = without_installation(attributes.get("RefId")).to_owned();
                    function.roles.push((attributes.get("Role").to_owned(), id));
                }
                Level::Other
            }
            _ => Level::Other,
        })
    }

    fn end(&mut self) {
        match self.levels.pop().unwrap_or(Level::Other) {
            Level::Range => self.found.ranges.leave(),
            Level::Space => self.found.spaces.leave(),
            Level::Device => self.found.devices.extend(self.device.take()),
            Level::Object => {
                if let (Some(device), Some(object)) = (&mut self.device, self.object.take())
                    && !object.links.is_empty()
                {
                    device.objects.push(object);
                }
            }
            Level::Function => {
                let function = self.function.take().filter(|function| !function.roles.is_empty());
                self.found.functions.extend(function);
            }
            Level::Other => {}
        }
    }

    fn group(
        &mut self,
        attributes: &Attributes,
        xml: &Xml<'_>,
        collector: &mut Collector,
    ) -> Result<(), Error> {
        if self.found.groups.len() >= self.limit {
            return Err(Error::TooMuch {
                place: xml.place(),
                what: "the number of group addresses",
                limit: self.limit as u64,
                remedy: "split the project",
            });
        }
        let address = attributes.get("Address");
        let Some(raw) = address.parse::<u16>().ok().filter(|raw| *raw > 0) else {
            let place = Place { element: Some("GroupAddress".to_owned()), ..xml.place() };
            collector.error(
                place,
                format!("`{address}` is no group address"),
                "give it another address in the ETS",
            );
            return Ok(());
        };
        let (types, strange) = dpt::parse_list(attributes.get("DatapointType"));
        if !strange.is_empty() {
            let what = format!("`{}` is no datapoint type", one_line(&strange.join(" ")));
            collector.warn(xml.place(), what, "give the group address another one in the ETS");
        }
        self.found.groups.push(Group {
            id: without_installation(attributes.get("Id")).to_owned(),
            raw,
            name: attributes.get("Name").to_owned(),
            description: one_line(attributes.get("Description")),
            dpt: dpt::first_of(&types),
            range: self.found.ranges.current(),
            is_secure: attributes.find("Key").is_some_and(|key| !key.is_empty())
                || attributes.get("Security") == "On",
        });
        Ok(())
    }

    fn device_of(&self, attributes: &Attributes, place: u16) -> Device {
        Device {
            id: attributes.get("Id").to_owned(),
            address: (self.area, self.line, place),
            name: one_line(attributes.get("Name")),
            description: one_line(attributes.get("Description")),
            product: attributes.get("ProductRefId").to_owned(),
            program: attributes.get("Hardware2ProgramRefId").to_owned(),
            objects: Vec::new(),
        }
    }
}

/// The address within what is above; none if it is not assigned yet.
fn place(attributes: &Attributes, xml: &Xml<'_>, max: u16) -> Result<Option<u16>, Error> {
    let Some(text) = attributes.find("Address").filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse::<u16>().ok().filter(|number| *number <= max);
    number.map(Some).ok_or_else(|| xml.wrong(&format!("`{text}` is no part of an individual address")))
}

fn object_of(attributes: &Attributes) -> Object {
    let links = attributes.get("Links").split_whitespace().map(|link| without_installation(link).to_owned());
    Object {
        reference: attributes.get("RefId").to_owned(),
        traits: Traits::of(attributes),
        links: links.collect(),
    }
}

/// `P-0123-0_GA-1` and `GA-1` mean the same: references of newer schemas leave the installation out.
fn without_installation(id: &str) -> &str {
    match id.split_once('_') {
        Some((before, rest)) if before.starts_with("P-") => rest,
        Some(_) | None => id,
    }
}

/// Levels of groups and of building parts that are kept; the ETS has three of the one and seldom more than six of the
/// other.
const LEVELS_MAX: usize = 16;
