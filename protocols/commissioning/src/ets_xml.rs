//! Group addresses as the ETS exports them to XML (`GroupAddress-Export`).
//!
//! Groups (`GroupRange`) hold groups and addresses; an address is written in the style of the project, and its datapoint
//! types stand in `DPTs`. Name space and attributes are those of published exports of ETS 5 and 6.

use crate::dpt;
use crate::error::Error;
use crate::ets_csv::{NO_TYPE, without_flags};
use crate::format::{Collector, Options};
use crate::group;
use crate::imported::{Imported, Place, Row};
use crate::text::one_line;
use crate::xml::{Attributes, Step, Xml};

/// Reads the text of a file called `name`.
pub(crate) fn read(name: &str, text: &str, options: &Options) -> Result<Imported, Error> {
    let mut xml = Xml::new(name, text, options.limits.depth_max);
    let mut collector = Collector::new(options);
    // Names of groups, and none for elements that are no group.
    let mut levels: Vec<Option<String>> = Vec::new();
    while let Some(step) = xml.step()? {
        let Step::Start(element) = step else {
            levels.pop();
            continue;
        };
        let found = element.name();
        if levels.is_empty() && found != "GroupAddress-Export" {
            return Err(xml.wrong(&format!("`{found}` is not the root of an export of group addresses")));
        }
        let mut level = None;
        match found.as_ref() {
            "GroupRange" => level = Some(xml.attributes(&element)?.get("Name").to_owned()),
            "GroupAddress" => group_row(&xml.attributes(&element)?, &levels, &xml, &mut collector)?,
            _ => {}
        }
        levels.push(level);
    }
    without_flags(name, &mut collector);
    Ok(collector.finish())
}

fn group_row(
    attributes: &Attributes,
    levels: &[Option<String>],
    xml: &Xml<'_>,
    collector: &mut Collector,
) -> Result<(), Error> {
    let written = attributes.get("Address");
    let Some((raw, style)) = group::parse(written) else {
        let place = Place { element: Some("GroupAddress".to_owned()), ..xml.place() };
        let what = format!("`{}` is no group address", one_line(written));
        collector.error(place, what, "write an address such as 1/2/3, or remove the element");
        return Ok(());
    };
    collector.style_of(style);
    let address = style.show(raw);
    let place = Place { element: Some(format!("GroupAddress {address}")), ..Place::file(xml.name()) };
    let mut row = Row { address, description: one_line(attributes.get("Description")), ..Row::default() };
    match dpt::first_of(&dpt::parse_list(attributes.get("DPTs")).0) {
        Some(dpt) => dpt.put_into(&mut row),
        None => collector.warn(place.clone(), format!("{} has no datapoint type", row.address), NO_TYPE),
    }
    let names: Vec<&str> =
        levels.iter().flatten().map(String::as_str).chain([attributes.get("Name")]).collect();
    collector.row(&place, &names, row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_within_groups_become_paths() {
        let text = "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"?>\r\n\
            <GroupAddress-Export xmlns=\"http://knx.org/xml/ga-export/01\">\
            <GroupRange Name=\"Licht\" RangeStart=\"2048\" RangeEnd=\"4095\"><GroupRange Name=\"K&#252;che\">\
            <GroupAddress Name=\"Decke&#xA;1\" Address=\"1/0/1\" Description=\"&lt;neu&gt;\" DPTs=\"DPST-1-1,DPST-1-6\"/>\
            <GroupAddress Name=\"Decke 2\" Address=\"1/0/2\"/></GroupRange></GroupRange>\
            <GroupRange Name=\"Heizung\"><GroupAddress Name=\"x\" Address=\"9/9/9\"/></GroupRange></GroupAddress-Export>";
        let imported = read("ga.xml", text, &Options::default()).unwrap();
        let rows: Vec<_> = imported
            .rows
            .iter()
            .map(|row| (row.path.as_str(), row.address.as_str(), row.cell("dpt")))
            .collect();
        assert_eq!(rows, [("Licht/Küche/Decke 1", "1/0/1", "1.001"), ("Licht/Küche/Decke 2", "1/0/2", "")]);
        assert_eq!(imported.rows[0].description, "<neu>");
        let told: Vec<String> = imported
            .findings
            .iter()
            .map(|found| format!("{} {}", found.severity.word(), found.place))
            .collect();
        assert_eq!(
            told,
            ["warning ga.xml (GroupAddress 1/0/2)", "error ga.xml:2 (GroupAddress)", "note ga.xml"]
        );
        let error = read("ga.xml", "<KNX/>", &Options::default()).unwrap_err();
        assert!(error.to_string().contains("`KNX` is not the root"), "{error}");
        assert!(read("ga.xml", &text[..400], &Options::default()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_text_is_rows_or_an_error(
            text in "(<GroupRange Name=\"a\">|</GroupRange>|<GroupAddress Address=\"[0-9/]{1,7}\"/>|[<>&;\"a /]){0,30}",
            any in "(?s).{0,60}",
        ) {
            for inner in [text, any] {
                let text = format!("<GroupAddress-Export>{inner}</GroupAddress-Export>");
                drop(read("x", &text, &Options::default()));
                drop(read("x", &inner, &Options::default()));
            }
        }
    }
}
