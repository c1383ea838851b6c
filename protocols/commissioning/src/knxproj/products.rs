//! What manufacturers say of their devices: names, and the communication objects of application programs.

use std::collections::{BTreeMap, BTreeSet};

use super::installation::{Device, Installation, Traits};
use crate::error::Error;
use crate::format::Collector;
use crate::imported::Place;
use crate::text::{decode, one_line};
use crate::xml::{Step, Xml};
use crate::zip::{Archive, Budget};

/// What is known of products and programs.
#[derive(Debug, Default)]
pub(super) struct Products {
    manufacturers: BTreeMap<String, String>,
    /// Text and order number.
    named: BTreeMap<String, (String, String)>,
    /// The application program of a hardware with a program.
    programs: BTreeMap<String, String>,
    /// Objects by the reference that devices have to them.
    objects: BTreeMap<String, Traits>,
}

impl Products {
    /// Name and order number of a device's product.
    pub(super) fn product(&self, device: &Device) -> (&str, &str) {
        let found = self.named.get(&device.product);
        found.map_or(("", ""), |(text, number)| (text.as_str(), number.as_str()))
    }

    /// Who made a device.
    pub(super) fn manufacturer(&self, device: &Device) -> &str {
        let id = device.product.split('_').next().unwrap_or_default();
        self.manufacturers.get(id).map_or("", String::as_str)
    }

    /// What the application program says of an object of a device.
    pub(super) fn object(&self, device: &Device, reference: &str) -> Option<&Traits> {
        self.objects.get(&self.whole_reference(device, reference)?)
    }

    /// The reference as the application program has it: with the program in front, and without the instances of modules.
    fn whole_reference(&self, device: &Device, reference: &str) -> Option<String> {
        let program = self.programs.get(&device.program)?;
        if reference.starts_with(program.as_str()) {
            return Some(reference.to_owned());
        }
        Some(format!("{program}_{}", without_instances(reference)))
    }
}

/// Reads what the devices of an installation need.
pub(super) fn load(
    archive: &Archive<'_>,
    installation: &Installation,
    budget: &mut Budget,
    collector: &mut Collector,
) -> Result<Products, Error> {
    let mut products = Products::default();
    read_file(archive, "knx_master.xml", budget, |element, attributes| {
        if element == "Manufacturer" {
            products.manufacturers.insert(attributes.get("Id").to_owned(), one_line(attributes.get("Name")));
        }
    })?;
    let ids: BTreeSet<&str> =
        installation.devices.iter().filter_map(|device| device.product.split('_').next()).collect();
    for id in ids {
        let path = format!("{id}/Hardware.xml");
        if archive.has(&path) {
            hardware(archive, &path, budget, &mut products)?;
        }
    }
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for device in installation.devices.iter().filter(|device| !device.objects.is_empty()) {
        let Some(program) = products.programs.get(&device.program) else { continue };
        let references = wanted.entry(program.clone()).or_default();
        let whole =
            device.objects.iter().filter_map(|object| products.whole_reference(device, &object.reference));
        references.extend(whole);
    }
    for (program, references) in wanted {
        let manufacturer = program.split('_').next().unwrap_or_default();
        let path = format!("{manufacturer}/{program}.xml");
        if archive.has(&path) {
            application(archive, &path, &references, budget, &mut products)?;
        } else {
            let what = "the application program is missing: flags and types of its objects are not known";
            collector.warn(Place::file(&archive.place(&path)), what, "export the project with its products");
        }
    }
    Ok(products)
}

fn hardware(
    archive: &Archive<'_>,
    path: &str,
    budget: &mut Budget,
    products: &mut Products,
) -> Result<(), Error> {
    let mut current = String::new();
    read_file(archive, path, budget, |element, attributes| match element {
        "Product" => {
            let about = (one_line(attributes.get("Text")), one_line(attributes.get("OrderNumber")));
            products.named.insert(attributes.get("Id").to_owned(), about);
        }
        "Hardware2Program" => attributes.get("Id").clone_into(&mut current),
        "ApplicationProgramRef" if !current.is_empty() => {
            let program = attributes.get("RefId").to_owned();
            products.programs.entry(std::mem::take(&mut current)).or_insert(program);
        }
        _ => {}
    })
}

fn application(
    archive: &Archive<'_>,
    path: &str,
    references: &BTreeSet<String>,
    budget: &mut Budget,
    products: &mut Products,
) -> Result<(), Error> {
    let mut objects: BTreeMap<String, Traits> = BTreeMap::new();
    let mut found: Vec<(String, String, Traits)> = Vec::new();
    read_file(archive, path, budget, |element, attributes| match element {
        "ComObject" => {
            objects.insert(attributes.get("Id").to_owned(), Traits::of(attributes));
        }
        "ComObjectRef" if references.contains(attributes.get("Id")) => {
            let (id, object) = (attributes.get("Id").to_owned(), attributes.get("RefId").to_owned());
            found.push((id, object, Traits::of(attributes)));
        }
        _ => {}
    })?;
    let nothing = Traits::default();
    for (id, object, traits) in found {
        products.objects.insert(id, traits.or(objects.get(&object).unwrap_or(&nothing)));
    }
    Ok(())
}

/// Hands over the elements of a file that any of these readers wants.
fn read_file(
    archive: &Archive<'_>,
    path: &str,
    budget: &mut Budget,
    mut take: impl FnMut(&str, &crate::xml::Attributes),
) -> Result<(), Error> {
    let bytes = archive.unpack(path, None, budget)?;
    let (text, _) = decode(&bytes);
    let name = archive.place(path);
    let mut xml = Xml::new(&name, &text, budget.limits().depth_max);
    while let Some(step) = xml.step()? {
        if let Step::Start(element) = step {
            let name = element.name();
            if ELEMENTS.contains(&name.as_ref()) {
                take(&name, &xml.attributes(&element)?);
            }
        }
    }
    Ok(())
}

/// `MD-1_M-1_MI-1_O-2_R-3` is object `MD-1_O-2_R-3` of each instance of module 1; of a module within it, its definition
/// (`SM-1`) stays, too.
fn without_instances(reference: &str) -> String {
    let parts: Vec<&str> = reference.split('_').collect();
    let Some(object) = parts.iter().position(|part| part.starts_with("O-")) else {
        return reference.to_owned();
    };
    let module = parts.first().filter(|part| part.starts_with("MD-"));
    let inner = object.checked_sub(1).and_then(|at| parts.get(at)).filter(|part| part.starts_with("SM-"));
    let kept: Vec<&str> = module.into_iter().chain(inner).chain(&parts[object..]).copied().collect();
    kept.join("_")
}

const ELEMENTS: [&str; 6] =
    ["ApplicationProgramRef", "ComObject", "ComObjectRef", "Hardware2Program", "Manufacturer", "Product"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lose_their_instances() {
        for (reference, kept) in [
            ("O-2_R-3", "O-2_R-3"),
            ("MD-1_M-1_MI-1_O-2-0_R-3", "MD-1_O-2-0_R-3"),
            ("MD-4_M-15_MI-1_SM-1_M-1_MI-1-1-2_SM-1_O-3-1_R-2", "MD-4_SM-1_O-3-1_R-2"),
            ("strange", "strange"),
        ] {
            assert_eq!(without_instances(reference), kept);
        }
    }
}
