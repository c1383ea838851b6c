//! The parts of a project, in the form that each version of the ETS gives them.

use super::{Cipher, key_of_ets6, pack};

/// What differs between the projects.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a> {
    /// Number of the schema: 11 is ETS 4, 14 and 20 ETS 5, 21 and more ETS 6.
    pub schema: u32,
    /// `ThreeLevel`, `TwoLevel` or `Free`.
    pub style: &'a str,
    /// The password, if there is one.
    pub password: Option<&'a str>,
}

/// A project file.
pub fn project(form: Form<'_>) -> Vec<u8> {
    let folder = if form.password.is_some() { "" } else { "P-0815/" };
    let project_name = if form.schema <= 11 { "Project.xml" } else { "project.xml" };
    let own = [
        (format!("{folder}{project_name}"), document(form, &about(form))),
        (format!("{folder}0.xml"), document(form, &installation(form))),
    ];
    let mut files = vec![
        ("knx_master.xml".to_owned(), document(form, MASTER)),
        ("M-0083/Hardware.xml".to_owned(), document(form, HARDWARE)),
        ("M-0083/M-0083_A-0001-10-AAAA.xml".to_owned(), document(form, APPLICATION)),
        ("P-0815.signature".to_owned(), b"unsigned".to_vec()),
    ];
    match form.password {
        None => files.extend(own),
        Some(password) if form.schema < 21 => {
            files.push(("P-0815.zip".to_owned(), pack(&own, Cipher::Old(password.as_bytes()))));
        }
        Some(password) => {
            files.push(("P-0815.zip".to_owned(), pack(&own, Cipher::Aes(&key_of_ets6(password)))));
        }
    }
    pack(&files, Cipher::None)
}

fn document(form: Form<'_>, content: &str) -> Vec<u8> {
    let head = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n";
    let root = format!(
        "<KNX xmlns=\"http://knx.org/xml/project/{}\" CreatedBy=\"ETS\" ToolVersion=\"{}\">",
        form.schema,
        if form.schema <= 11 { "4.2.0" } else { "6.1.0" }
    );
    format!("{head}{root}{content}</KNX>").into_bytes()
}

fn about(form: Form<'_>) -> String {
    format!(
        "<Project Id=\"P-0815\"><ProjectInformation Name=\"Rathaus Süd\" GroupAddressStyle=\"{}\" \
         LastModified=\"2026-01-02T03:04:05Z\" Guid=\"815\"/></Project>",
        form.style
    )
}

fn installation(form: Form<'_>) -> String {
    let (segment, segment_end) = if form.schema >= 21 {
        ("<Segment Id=\"P-0815-0_S-1\" MediumTypeRefId=\"MT-0\" Number=\"0\">", "</Segment>")
    } else {
        ("", "")
    };
    let objects: String = OBJECTS.iter().map(|object| link(form, object)).collect();
    let (locations, space) =
        if form.schema <= 11 { ("Buildings", "BuildingPart") } else { ("Locations", "Space") };
    let function = if form.schema >= 20 { FUNCTION } else { "" };
    format!(
        "<Project Id=\"P-0815\"><Installations><Installation Name=\"\" InstallationId=\"0\">\
         <Topology><Area Id=\"P-0815-0_A-1\" Address=\"1\" Name=\"Haus\"><Line Id=\"P-0815-0_L-1\" Address=\"2\" Name=\"EG\">{segment}\
         <DeviceInstance Id=\"P-0815-0_DI-1\" Address=\"3\" Name=\"\" ProductRefId=\"M-0083_H-1-1_P-1\" \
         Hardware2ProgramRefId=\"M-0083_H-1-1_HP-1\" Description=\"im Verteiler\">\
         <ComObjectInstanceRefs>{objects}</ComObjectInstanceRefs></DeviceInstance>\
         <DeviceInstance Id=\"P-0815-0_DI-2\" Name=\"Netzteil\" ProductRefId=\"M-0083_H-1-1_P-1\"/>\
         {segment_end}</Line></Area></Topology>\
         <{locations}><{space} Id=\"P-0815-0_BP-1\" Type=\"Building\" Name=\"Haus\">\
         <{space} Id=\"P-0815-0_BP-2\" Type=\"Room\" Name=\"Küche\"><DeviceInstanceRef RefId=\"P-0815-0_DI-1\"/>{function}\
         </{space}></{space}></{locations}>\
         <GroupAddresses><GroupRanges>{GROUPS}</GroupRanges></GroupAddresses>\
         </Installation></Installations></Project>"
    )
}

/// A link as the schema has it: up to 19 in elements, from 20 on in an attribute; ETS 4 names the whole object.
fn link(form: Form<'_>, (object, further, groups): &(&str, &str, &[&str])) -> String {
    let prefix = if form.schema <= 11 { "M-0083_A-0001-10-AAAA_" } else { "" };
    // Modules came with the newer schemas.
    let object = if form.schema >= 20 {
        object.replace("O-3_R-4", "MD-1_M-1_MI-1_O-3_R-4")
    } else {
        (*object).to_owned()
    };
    let head = format!("<ComObjectInstanceRef RefId=\"{prefix}{object}\" {further}");
    if form.schema >= 20 {
        return format!("{head} Links=\"{}\"/>", groups.join(" "));
    }
    let kinds = std::iter::once("Send").chain(std::iter::repeat("Receive"));
    let links: String = kinds.zip(*groups).fold(String::new(), |links, (kind, group)| {
        links + &format!("<{kind} GroupAddressRefId=\"P-0815-0_{group}\"/>")
    });
    format!("{head}><Connectors>{links}</Connectors></ComObjectInstanceRef>")
}

/// Reference, attributes of the instance, links.
const OBJECTS: [(&str, &str, &[&str]); 5] = [
    ("O-0_R-1", "", &["GA-1", "GA-6"]),
    ("O-1_R-2", "ReadFlag=\"Enabled\"", &["GA-2"]),
    ("O-2_R-3", "", &["GA-3"]),
    ("O-3_R-4", "", &["GA-4"]),
    ("O-4_R-5", "", &["GA-5"]),
];

const GROUPS: &str = "<GroupRange Id=\"P-0815-0_GR-1\" RangeStart=\"2048\" RangeEnd=\"4095\" Name=\"Beleuchtung\">\
    <GroupRange Id=\"P-0815-0_GR-2\" RangeStart=\"2048\" RangeEnd=\"2303\" Name=\"Küche &amp; Flur\">\
    <GroupAddress Id=\"P-0815-0_GA-2\" Address=\"2050\" Name=\"Decke Rückmeldung\"/>\
    <GroupAddress Id=\"P-0815-0_GA-1\" Address=\"2049\" Name=\"Decke&#xD;&#xA;schalten\" Description=\"über dem &quot;Tisch&quot;\" DatapointType=\"DPST-1-1\"/>\
    <GroupAddress Id=\"P-0815-0_GA-3\" Address=\"2051\" Name=\"Decke dimmen\"/>\
    <GroupAddress Id=\"P-0815-0_GA-6\" Address=\"2054\" Name=\"Alles aus\" DatapointType=\"DPST-1-1 DPT-1\"/>\
    </GroupRange></GroupRange>\
    <GroupRange Id=\"P-0815-0_GR-3\" RangeStart=\"4096\" RangeEnd=\"6143\" Name=\"Heizung\">\
    <GroupRange Id=\"P-0815-0_GR-4\" RangeStart=\"4096\" RangeEnd=\"4351\" Name=\"Ist\">\
    <GroupAddress Id=\"P-0815-0_GA-4\" Address=\"4097\" Name=\"Küche\"/>\
    <GroupAddress Id=\"P-0815-0_GA-5\" Address=\"4098\" Name=\"Küche\"/>\
    <GroupAddress Id=\"P-0815-0_GA-7\" Address=\"4099\" Name=\"Reserve\" DatapointType=\"DPT-9\"/>\
    <GroupAddress Id=\"P-0815-0_GA-8\" Address=\"4100\" Name=\"\"/>\
    </GroupRange></GroupRange>";

const FUNCTION: &str = "<Function Id=\"P-0815-0_F-1\" Name=\"Licht\" Type=\"FT-1\">\
    <GroupAddressRef Id=\"P-0815-0_GF-1\" RefId=\"P-0815-0_GA-1\" Name=\"\" Role=\"SwitchOnOff\"/>\
    <GroupAddressRef Id=\"P-0815-0_GF-2\" RefId=\"P-0815-0_GA-2\" Name=\"\" Role=\"InfoOnOff\"/></Function>";

const MASTER: &str = "<MasterData><Manufacturers><Manufacturer Id=\"M-0083\" Name=\"Muster GmbH\"/></Manufacturers></MasterData>";

const HARDWARE: &str = "<ManufacturerData><Manufacturer RefId=\"M-0083\"><Hardware><Hardware Id=\"M-0083_H-1-1\" Name=\"Aktor\">\
    <Products><Product Id=\"M-0083_H-1-1_P-1\" Text=\"Schaltaktor 8-fach\" OrderNumber=\"AKS-0816\"/></Products>\
    <Hardware2Programs><Hardware2Program Id=\"M-0083_H-1-1_HP-1\"><ApplicationProgramRef RefId=\"M-0083_A-0001-10-AAAA\"/>\
    </Hardware2Program></Hardware2Programs></Hardware></Hardware></Manufacturer></ManufacturerData>";

/// Object 3 is there twice, alone and in a module; object 1 gets its flag R from the instance, object 2 has a size only.
const APPLICATION: &str = "<ManufacturerData><Manufacturer RefId=\"M-0083\"><ApplicationPrograms>\
    <ApplicationProgram Id=\"M-0083_A-0001-10-AAAA\"><Static><ComObjectTable>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_O-0\" Name=\"s\" Text=\"Schalten\" Number=\"0\" FunctionText=\"Ein/Aus\" ObjectSize=\"1 Bit\" ReadFlag=\"Disabled\" WriteFlag=\"Enabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Disabled\" UpdateFlag=\"Disabled\" DatapointType=\"DPST-1-1\"/>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_O-1\" Name=\"r\" Text=\"Status\" Number=\"1\" FunctionText=\"Ein/Aus\" ObjectSize=\"1 Bit\" ReadFlag=\"Disabled\" WriteFlag=\"Disabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Enabled\" UpdateFlag=\"Disabled\" DatapointType=\"DPST-1-1\"/>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_O-2\" Name=\"d\" Text=\"Dimmen\" Number=\"2\" FunctionText=\"heller\" ObjectSize=\"4 Bit\" ReadFlag=\"Disabled\" WriteFlag=\"Enabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Disabled\" UpdateFlag=\"Disabled\"/>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_O-3\" Name=\"t\" Text=\"Temperatur\" Number=\"3\" FunctionText=\"Ist\" ObjectSize=\"2 Bytes\" ReadFlag=\"Disabled\" WriteFlag=\"Disabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Enabled\" UpdateFlag=\"Disabled\" DatapointType=\"DPST-9-1\"/>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_MD-1_O-3\" Name=\"t\" Text=\"Temperatur\" Number=\"3\" FunctionText=\"Ist\" ObjectSize=\"2 Bytes\" ReadFlag=\"Disabled\" WriteFlag=\"Disabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Enabled\" UpdateFlag=\"Disabled\" DatapointType=\"DPST-9-1\"/>\
    <ComObject Id=\"M-0083_A-0001-10-AAAA_O-4\" Name=\"f\" Text=\"Feuchte\" Number=\"4\" FunctionText=\"Ist\" ObjectSize=\"2 Bytes\" ReadFlag=\"Enabled\" WriteFlag=\"Enabled\" CommunicationFlag=\"Enabled\" TransmitFlag=\"Enabled\" UpdateFlag=\"Disabled\"/>\
    </ComObjectTable><ComObjectRefs>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_O-0_R-1\" RefId=\"M-0083_A-0001-10-AAAA_O-0\"/>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_O-1_R-2\" RefId=\"M-0083_A-0001-10-AAAA_O-1\" DatapointType=\"DPST-1-11\"/>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_O-2_R-3\" RefId=\"M-0083_A-0001-10-AAAA_O-2\"/>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_O-3_R-4\" RefId=\"M-0083_A-0001-10-AAAA_O-3\"/>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_MD-1_O-3_R-4\" RefId=\"M-0083_A-0001-10-AAAA_MD-1_O-3\"/>\
    <ComObjectRef Id=\"M-0083_A-0001-10-AAAA_O-4_R-5\" RefId=\"M-0083_A-0001-10-AAAA_O-4\" WriteFlag=\"Disabled\" DatapointType=\"DPST-9-7\"/>\
    </ComObjectRefs></Static></ApplicationProgram></ApplicationPrograms></Manufacturer></ManufacturerData>";
