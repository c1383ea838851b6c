//! Every interface, module and client that the reference names has a row, with what the reference says of it.

use std::path::Path;

use twinhub_contract::manifest::Possible;
use twinhub_matrix::{Section, Seed};

#[test]
fn each_line_of_the_reference_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seed: Seed = serde_json::from_slice(&std::fs::read(root.join("seed.json")).unwrap()).unwrap();
    let rows: Vec<_> =
        seed.rows.iter().map(|row| (row.section, row.name.as_str(), row.relevant, row.possible)).collect();
    assert_eq!(rows, LINES);
    let page = std::fs::read_to_string(root.join("COMPATIBILITY.md")).unwrap();
    for (_, name, ..) in LINES {
        let is_there = page.contains(&format!("\n| {name} |")) || page.contains(&format!("\n| [{name}]("));
        assert!(is_there, "{name} has no row");
    }
}

/// In the order of the reference: clients, field level, modules.
const LINES: [(Section, &str, bool, Possible); 24] = [
    (Section::Client, "PC-based visualization", true, Possible::Yes),
    (Section::Client, "Web-based visualization", true, Possible::Yes),
    (Section::Client, "Web administration", true, Possible::Yes),
    (Section::Client, "Third-party clients (OPC, BACnet, MQTT, oBIX …)", true, Possible::VendorLimited),
    (Section::Field, "KNX", true, Possible::Yes),
    (Section::Field, "BACnet", true, Possible::Yes),
    (Section::Field, "Modbus", true, Possible::Yes),
    (Section::Field, "Fidelio/Opera", true, Possible::Yes),
    (Section::Field, "Protel", true, Possible::Untested),
    (Section::Field, "VingCard", true, Possible::VendorLimited),
    (Section::Field, "Kaba", true, Possible::VendorLimited),
    (Section::Field, "Salto", true, Possible::VendorLimited),
    (Section::Field, "GridVis", false, Possible::No),
    (Section::Field, "OPC DA client", true, Possible::Yes),
    (Section::Field, "OPC UA client", true, Possible::Yes),
    (Section::Field, "HTTP", true, Possible::Yes),
    (Section::Field, "MQTT", true, Possible::Yes),
    (Section::Field, "NexusRF", true, Possible::No),
    (Section::Field, "Infor", true, Possible::No),
    (Section::Field, "CharPMS", true, Possible::No),
    (Section::Module, "LaMPS", true, Possible::Yes),
    (Section::Module, "Metering", true, Possible::Yes),
    (Section::Module, "Messenger", true, Possible::Yes),
    (Section::Module, "Shutter control", true, Possible::No),
];
