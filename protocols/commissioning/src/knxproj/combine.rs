//! From group addresses and the objects that are linked with them to rows.

use std::collections::{BTreeMap, BTreeSet};

use super::installation::{Device, Group, Installation, Traits};
use super::products::Products;
use crate::dpt::{self, Dpt};
use crate::error::Error;
use crate::ets_csv::NO_TYPE;
use crate::format::Collector;
use crate::group::Style;
use crate::imported::{self, Access, Place, Row};
use crate::path::Paths;

/// What objects say of a group address.
#[derive(Debug, Default)]
struct Linked {
    /// With how many objects.
    objects: u32,
    is_read: bool,
    is_written: bool,
    is_answered: bool,
    /// Types of objects that have one.
    types: BTreeSet<Dpt>,
    /// Types that follow from the size of objects that have none.
    by_size: BTreeSet<Dpt>,
}

/// Makes the rows, and the list of devices.
pub(super) fn rows(
    name: &str,
    style: Style,
    installation: &Installation,
    products: &Products,
    collector: &mut Collector,
) -> Result<(), Error> {
    let linked = links(installation, products);
    let status = statuses(style, installation);
    let mut groups: Vec<&Group> = installation.groups.iter().collect();
    groups.sort_by_key(|group| group.raw);
    let nothing = Linked::default();
    let mut without_links = 0;
    for (index, group) in groups.iter().enumerate() {
        let linked = linked.get(group.id.as_str()).unwrap_or(&nothing);
        let address = style.show(group.raw);
        let place = Place { element: Some(format!("GroupAddress {address}")), ..Place::file(name) };
        if index > 0 && groups[index - 1].raw == group.raw {
            let what = format!("{address} is there twice");
            collector.warn(place.clone(), what, "remove one of both from the ETS, or one row");
        }
        let mut row = Row {
            address,
            access: Access::from_ways(linked.is_read, linked.is_written),
            description: group.description.clone(),
            ..Row::default()
        };
        if let Some(dpt) = type_of(group, linked, &row.address, &place, collector) {
            dpt.put_into(&mut row);
        }
        if linked.is_answered {
            row.set("read_on_init", "true");
        }
        if let Some(status) = status.get(group.id.as_str()) {
            row.set("status", status);
            row.access = Access::ReadWrite;
        }
        without_links += u32::from(linked.objects == 0);
        let mut names = installation.ranges.names(group.range);
        names.push(&group.name);
        collector.row(&place, &names, row)?;
    }
    if without_links > 0 {
        let what = format!("{without_links} group addresses are linked with no object, so they are `rw`");
        collector.note(Place::file(name), what, "set `access` where it is known");
    }
    let secured = groups.iter().filter(|group| group.is_secure).count();
    if secured > 0 {
        let what = format!("{secured} group addresses are secured with keys that are not imported");
        collector.warn(
            Place::file(name),
            what,
            "export the keyring from the ETS and name it in the interface",
        );
    }
    devices(installation, products, collector);
    Ok(())
}

/// What the objects say, by the id of the group address.
fn links<'a>(installation: &'a Installation, products: &Products) -> BTreeMap<&'a str, Linked> {
    let mut linked: BTreeMap<&str, Linked> = BTreeMap::new();
    let nothing = Traits::default();
    for device in &installation.devices {
        for object in &device.objects {
            let known = products.object(device, &object.reference).unwrap_or(&nothing);
            let traits = object.traits.clone().or(known);
            for (index, link) in object.links.iter().enumerate() {
                let group = linked.entry(link).or_default();
                group.objects += 1;
                group.types.extend(&traits.types);
                if traits.types.is_empty() {
                    group.by_size.extend(type_of_size(&traits.size));
                }
                if traits.communication == Some(false) {
                    continue;
                }
                let (is_first, is) = (index == 0, |flag: Option<bool>| flag == Some(true));
                group.is_written |= is(traits.write);
                group.is_read |= is_first && (is(traits.transmit) || is(traits.read));
                group.is_answered |= is_first && is(traits.read);
            }
        }
    }
    linked
}

/// The address that tells the state of another, by the id of that one.
fn statuses(style: Style, installation: &Installation) -> BTreeMap<&str, String> {
    let raws: BTreeMap<&str, u16> =
        installation.groups.iter().map(|group| (group.id.as_str(), group.raw)).collect();
    let mut statuses = BTreeMap::new();
    for function in &installation.functions {
        for (command, state) in ROLES {
            let with = |role: &str| {
                let mut found = function.roles.iter().filter(|(known, _)| known == role);
                // Several of one role cannot be told apart.
                found.next().filter(|_| found.next().is_none()).map(|(_, id)| id.as_str())
            };
            if let (Some(command), Some(state)) = (with(command), with(state))
                && let (Some(_), Some(raw)) = (raws.get(command), raws.get(state))
            {
                statuses.entry(command).or_insert_with(|| style.show(*raw));
            }
        }
    }
    statuses
}

fn type_of(
    group: &Group,
    linked: &Linked,
    address: &str,
    place: &Place,
    collector: &mut Collector,
) -> Option<Dpt> {
    if group.dpt.is_some() {
        return group.dpt;
    }
    let all: BTreeSet<Dpt> = linked.types.union(&linked.by_size).copied().collect();
    // A type without sub number says no more than one of the same main number that has one.
    let has_exact = |main: u16| all.iter().any(|dpt| dpt.main == main && dpt.sub.is_some());
    let exact: Vec<Dpt> =
        all.iter().filter(|dpt| dpt.sub.is_some() || !has_exact(dpt.main)).copied().collect();
    let listed = || exact.iter().map(Dpt::to_string).collect::<Vec<_>>().join(", ");
    match exact.as_slice() {
        [] => {
            collector.warn(place.clone(), format!("{address} has no datapoint type"), NO_TYPE);
            None
        }
        [only] => {
            if linked.types.is_empty() {
                let what =
                    format!("{address}: datapoint type {only} is a guess from the size of its objects");
                collector.warn(place.clone(), what, NO_TYPE);
            }
            Some(*only)
        }
        [first, rest @ ..] if rest.iter().all(|dpt| dpt.main == first.main) => {
            let what = format!("{address} is linked with objects of the datapoint types {}", listed());
            collector.warn(place.clone(), format!("{what}; {} stands for all", first.main), NO_TYPE);
            Some(Dpt::of_main(first.main))
        }
        _ => {
            let what = format!("{address} is linked with objects of the datapoint types {}", listed());
            collector.warn(place.clone(), what, NO_TYPE);
            None
        }
    }
}

/// The type of an object that has only a size, where the size leaves little choice.
fn type_of_size(size: &str) -> Option<Dpt> {
    let bits = size.strip_suffix(" Bit")?.parse().ok().filter(|bits| [1, 2, 4].contains(bits))?;
    dpt::of_size(bits).map(|dpt| Dpt::of_main(dpt.main))
}

/// Building parts of a device from the outside to the inside, made by the rule of paths.
fn location(installation: &Installation, device: &Device) -> String {
    let mut names = installation.spaces.names(installation.locations.get(&device.id).copied());
    names.retain(|name| !name.trim().is_empty());
    if names.is_empty() { String::new() } else { Paths::default().make(&names, "").path }
}

fn devices(installation: &Installation, products: &Products, collector: &mut Collector) {
    let mut devices: Vec<&Device> = installation.devices.iter().collect();
    devices.sort_by_key(|device| device.address);
    let listed = devices.into_iter().map(|device| {
        let (product, order_number) = products.product(device);
        let (area, line, place) = device.address;
        imported::Device {
            address: format!("{area}.{line}.{place}"),
            name: if device.name.is_empty() { product.to_owned() } else { device.name.clone() },
            manufacturer: products.manufacturer(device).to_owned(),
            order_number: order_number.to_owned(),
            description: device.description.clone(),
            location: location(installation, device),
        }
    });
    collector.project().devices = listed.collect();
}

/// Roles of the function types of KNX's master data of which one tells the state that the other sets.
const ROLES: [(&str, &str); 3] = [
    ("SwitchOnOff", "InfoOnOff"),
    ("DimmingValue", "InfoDimmingValue"),
    ("AbsoluteSetvalueControl", "ActualDimmingValue"),
];
