//! Where the parts of a project file are, and how it is opened.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;

use crate::error::Error;
use crate::imported::Place;
use crate::text::decode;
use crate::xml::{Step, Xml};
use crate::zip::{Archive, Budget};

/// The parts that the project itself is made of, each with its name in messages.
pub(super) struct Contents {
    /// The number of the schema.
    pub(super) schema: u32,
    /// `project.xml`
    pub(super) project: (String, Vec<u8>),
    /// `0.xml`
    pub(super) installation: (String, Vec<u8>),
    /// Whether there is `1.xml`, too.
    pub(super) has_more: bool,
}

/// Unpacks the project.
pub(super) fn open(
    archive: &Archive<'_>,
    password: Option<&str>,
    budget: &mut Budget,
) -> Result<Contents, Error> {
    let master = archive.unpack(MASTER, None, budget)?;
    let schema = schema_of(&archive.place(MASTER), &decode(&master).0, budget)?;
    drop(master);
    let protected = archive.paths().find(|path| is_protected_project(path)).map(str::to_owned);
    let Some(path) = protected else {
        return take(archive, schema, None, budget);
    };
    let inner = archive.unpack(&path, None, budget)?;
    let inner = Archive::open(&archive.place(&path), &inner)?;
    let password = password.map(|password| {
        if schema >= SCHEMA_ETS6 { key_of_ets6(password) } else { password.as_bytes().to_vec() }
    });
    take(&inner, schema, password.as_deref(), budget)
}

/// The password that ETS 6 gives the archive, made of that of the project.
pub(super) fn key_of_ets6(password: &str) -> Vec<u8> {
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut key = [0; 32];
    pbkdf2_hmac::<Sha256>(&utf16, ETS6_SALT, ETS6_ROUNDS, &mut key);
    STANDARD.encode(key).into_bytes()
}

fn take(
    archive: &Archive<'_>,
    schema: u32,
    password: Option<&[u8]>,
    budget: &mut Budget,
) -> Result<Contents, Error> {
    let find = |wanted: &str| {
        let is_it = |path: &&str| {
            path.rsplit('/').next().is_some_and(|file| file.eq_ignore_ascii_case(wanted))
                && path.split_once('/').is_none_or(|(folder, _)| folder.starts_with("P-"))
        };
        archive.paths().find(is_it).map(str::to_owned)
    };
    let mut unpack = |wanted: &str| {
        let Some(path) = find(wanted) else {
            let place = Place::file(&archive.place(wanted));
            let remedy =
                "export the project from the ETS once more; archives of whole databases are not read";
            return Err(Error::malformed(place, "the project file does not have this part", remedy));
        };
        Ok((archive.place(&path), archive.unpack(&path, password, budget)?))
    };
    let project = unpack("project.xml")?;
    let installation = unpack("0.xml")?;
    Ok(Contents { schema, project, installation, has_more: find("1.xml").is_some() })
}

fn is_protected_project(path: &str) -> bool {
    path.strip_prefix("P-").and_then(|rest| rest.strip_suffix(".zip")).is_some_and(|id| !id.contains('/'))
}

/// The schema's number is the end of the name space.
fn schema_of(name: &str, text: &str, budget: &Budget) -> Result<u32, Error> {
    let mut xml = Xml::new(name, text, budget.limits().depth_max);
    let Some(Step::Start(root)) = xml.step()? else { return Err(xml.wrong("this is no XML")) };
    let attributes = xml.attributes(&root)?;
    let space = attributes.get("xmlns");
    let number = space.strip_prefix("http://knx.org/xml/project/").and_then(|number| number.parse().ok());
    number.ok_or_else(|| xml.wrong(&format!("`{space}` is not the name space of a project")))
}

const MASTER: &str = "knx_master.xml";
const SCHEMA_ETS6: u32 = 21;
const ETS6_SALT: &[u8] = b"21.project.ets.knx.org";
const ETS6_ROUNDS: u32 = 65_536;
