//! Project files of ETS 4, 5 and 6 (`.knxproj`).
//!
//! A project file is a ZIP archive: `knx_master.xml`, a folder for each manufacturer with its hardware and application
//! programs, and the project itself (`P-…/project.xml`, `P-…/0.xml`), which is an archive within the archive if it has
//! a password. The schema's number stands in the name space: 11 for ETS 4, 12 to 20 for ETS 5, 21 and more for ETS 6.
//! Elements and attributes are those of KNX's published schema; how the password of ETS 6 becomes that of the archive
//! is described by the open-source reader xknxproject, with which this one is compared in its tests.
//!
//! # What becomes of it
//! Each group address is a row, in the order of addresses. Its path is the names of its groups and its own.
//!
//! - **Datapoint type**: that of the group address; if it has none, that of the communication objects that are linked
//!   with it. If these have several of one main number, the main number alone; if they differ in the main number, none.
//!   Objects without a type have one by their size, if it is one, two or four bits, and this is told.
//! - **Access**: an address is written (`w`) if a linked object takes telegrams (flag W), and read (`r`) if it is the
//!   first address of an object that transmits (T) or answers (R). An object sends only to its first address. Objects
//!   without the flag C do not count. Addresses without links are `rw`.
//! - **`read_on_init`**: `true` if an object answers reads of the address.
//! - **`status`**: the address that tells the state, where a function of the project names both by their role. Nothing
//!   else is certain: names, neighboring addresses and equal types are not.

mod combine;
mod contents;
mod installation;
mod products;

use crate::error::Error;
use crate::format::{Collector, File, Options, only};
use crate::group::Style;
use crate::imported::{Imported, Place};
use crate::text::decode;
use crate::xml::{Step, Xml};
use crate::zip::{Archive, Budget};

/// Reads one file.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let (name, bytes) = only(files, "give the .knxproj file of the project")?;
    let archive = Archive::open(name, bytes)?;
    let mut budget = Budget::new(&options.limits);
    let contents = contents::open(&archive, options.password.as_deref(), &mut budget)?;
    let mut collector = Collector::new(options);
    let style = about(&contents, options, &mut collector)?;
    let (text, _) = decode(&contents.installation.1);
    let installation = installation::parse(&contents.installation.0, &text, options, &mut collector)?;
    drop(text);
    let products = products::load(&archive, &installation, &mut budget, &mut collector)?;
    if contents.has_more {
        let what = "the project has further installations, which are not read";
        collector.error(Place::file(name), what, "export each installation as a project of its own");
    }
    combine::rows(&contents.installation.0, style, &installation, &products, &mut collector)?;
    Ok(collector.finish())
}

/// What `project.xml` says.
fn about(
    contents: &contents::Contents,
    options: &Options,
    collector: &mut Collector,
) -> Result<Style, Error> {
    let (name, bytes) = &contents.project;
    let (text, _) = decode(bytes);
    let mut xml = Xml::new(name, &text, options.limits.depth_max);
    let mut style = Style::default();
    let project = collector.project();
    project.schema_version = contents.schema.to_string();
    while let Some(step) = xml.step()? {
        let Step::Start(element) = step else { continue };
        match element.name().as_ref() {
            "KNX" => {
                let attributes = xml.attributes(&element)?;
                let tool = [attributes.get("CreatedBy"), attributes.get("ToolVersion")];
                tool.join(" ").trim().clone_into(&mut project.tool);
            }
            "ProjectInformation" => {
                let attributes = xml.attributes(&element)?;
                attributes.get("Name").clone_into(&mut project.name);
                attributes.get("LastModified").clone_into(&mut project.last_modified);
                if let Some(word) = attributes.find("GroupAddressStyle") {
                    style = Style::from_project(word)
                        .ok_or_else(|| xml.wrong(&format!("`{word}` is no style of group addresses")))?;
                }
            }
            _ => {}
        }
    }
    collector.style_of(style);
    Ok(style)
}
