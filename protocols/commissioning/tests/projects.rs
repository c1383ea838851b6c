//! Project files of every version of the ETS, with and without password.

mod project;

use project::parts::{Form, project};
use proptest::prelude::*;
use twinhub_commissioning::{Error, Imported, Limits, Options, Severity, read};

#[test]
fn every_version_gives_the_same_rows_with_and_without_password() {
    for schema in [11, 14, 20, 21, 23] {
        for password in [None, Some("Paßwort 1")] {
            let bytes = project(Form { schema, style: "ThreeLevel", password });
            let imported = import(&bytes, password).unwrap();
            let mut expected: Vec<String> = ROWS.map(str::to_owned).to_vec();
            if schema >= 20 {
                // A function names the address of the state.
                expected[0] = expected[0].replace(" w 1.001 ", " rw 1.001 1/0/2 ");
            }
            assert_eq!(rows(&imported), expected, "schema {schema}");
            assert_eq!(
                (imported.project.name.as_str(), imported.project.group_style.as_str()),
                ("Rathaus Süd", "three-level")
            );
            assert_eq!(imported.project.schema_version, schema.to_string());
            let [device] = imported.project.devices.as_slice() else { panic!("one device has an address") };
            let about =
                [&device.address, &device.name, &device.manufacturer, &device.order_number, &device.location];
            assert_eq!(about, ["1.2.3", "Schaltaktor 8-fach", "Muster GmbH", "AKS-0816", "Haus/Küche"]);
        }
    }
}

#[test]
fn addresses_are_written_in_the_style_of_the_project() {
    for (style, first, word) in [("TwoLevel", "1/1", "two-level"), ("Free", "2049", "free")] {
        let imported = import(&project(Form { schema: 21, style, password: None }), None).unwrap();
        assert_eq!((imported.rows[0].address.as_str(), imported.project.group_style.as_str()), (first, word));
    }
}

#[test]
fn guesses_and_gaps_are_told_with_the_element() {
    let imported = import(&project(Form { schema: 21, style: "ThreeLevel", password: None }), None).unwrap();
    let told: Vec<(Severity, &str)> = imported
        .findings
        .iter()
        .map(|found| (found.severity, found.place.element.as_deref().unwrap_or_default()))
        .collect();
    let (note, warning) = (Severity::Note, Severity::Warning);
    let expected = [
        (warning, "GroupAddress 1/0/3"), // type by size
        (note, "GroupAddress 2/0/2"),    // second of a name
        (warning, "GroupAddress 2/0/4"), // no type
        (note, "GroupAddress 2/0/4"),    // no name
        (note, ""),                      // without links
    ];
    assert_eq!(told, expected, "{:#?}", imported.findings);
    assert!(imported.findings[0].place.file.ends_with("x.knxproj!P-0815/0.xml"));
}

#[test]
fn a_password_that_is_missing_or_wrong_is_told_as_such() {
    for schema in [11, 14, 21] {
        let bytes = project(Form { schema, style: "ThreeLevel", password: Some("right") });
        let file = || "x.knxproj!P-0815.zip".to_owned();
        assert_eq!(import(&bytes, None).unwrap_err(), Error::PasswordNeeded { file: file() });
        for wrong in ["wrong", "Right", ""] {
            assert_eq!(import(&bytes, Some(wrong)).unwrap_err(), Error::PasswordWrong { file: file() });
        }
    }
}

#[test]
fn what_is_unpacked_is_bounded() {
    let bytes = project(Form { schema: 21, style: "ThreeLevel", password: None });
    for limits in [
        Limits { unpacked_file_bytes_max: 1000, ..Limits::default() },
        Limits { unpacked_bytes_max: 4000, ..Limits::default() },
        Limits { rows_max: 3, ..Limits::default() },
        Limits { depth_max: 6, ..Limits::default() },
        Limits { input_bytes_max: 100, ..Limits::default() },
    ] {
        let error =
            read("knxproj", &[("x.knxproj", &bytes)], &Options { limits, password: None }).unwrap_err();
        assert!(matches!(error, Error::TooMuch { .. }), "{limits:?}: {error}");
    }
}

#[test]
fn a_bomb_and_a_document_type_are_refused() {
    // A gigabyte of zeros in a megabyte; it says to be of ten bytes.
    let zeros = vec![0; 64 << 20];
    let mut bomb = project::pack(&[("knx_master.xml".to_owned(), zeros)], project::Cipher::None);
    let error = |bytes: &[u8]| import(bytes, None).unwrap_err().to_string();
    assert!(error(&bomb).contains("is no XML"), "{}", error(&bomb));
    let size = u32::to_le_bytes(64 << 20);
    let places: Vec<usize> = (0..bomb.len() - 4).filter(|at| bomb[*at..at + 4] == size).collect();
    for at in &places {
        bomb[*at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    assert_eq!(places.len(), 2, "the size stands in both headers");
    assert!(error(&bomb).contains("longer than it says"), "{}", error(&bomb));
    let laughs = "<!DOCTYPE k [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><KNX xmlns=\"http://knx.org/xml/project/21\"/>";
    let bytes = project::pack(&[("knx_master.xml".to_owned(), laughs.into())], project::Cipher::None);
    assert!(error(&bytes).contains("knx_master.xml:1: a document type is not allowed"), "{}", error(&bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_project_is_read_or_refused(
        schema in prop::sample::select(vec![11_u32, 20, 21]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = project(Form { schema, style: "ThreeLevel", password: None });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Ok(imported) = import(&bytes, None) {
            prop_assert!(imported.rows.len() <= 8);
        }
    }

    #[test]
    fn a_damaged_installation_is_read_or_refused(
        text in "(<GroupRange Name=\"a\">|</GroupRange>|<GroupAddress Id=\"P_GA-1\" Address=\"[0-9]{1,6}\"/>|<Area Address=\"1\"/>|<DeviceInstance>|[<>&\"a ]){0,30}",
    ) {
        let space = "<KNX xmlns=\"http://knx.org/xml/project/21\">";
        let files = [("knx_master.xml", format!("{space}</KNX>")), ("P-1/project.xml", format!("{space}</KNX>")), ("P-1/0.xml", format!("{space}{text}</KNX>"))];
        let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        drop(import(&project::pack(&files, project::Cipher::None), None));
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(import(&bytes, None).is_err());
    }
}

fn import(bytes: &[u8], password: Option<&str>) -> Result<Imported, Error> {
    let options = Options { password: password.map(str::to_owned), ..Options::default() };
    read("knxproj", &[("x.knxproj", bytes)], &options)
}

fn rows(imported: &Imported) -> Vec<String> {
    let shown = imported.rows.iter().map(|row| {
        let cells = ["path", "address", "access", "dpt", "status", "read_on_init", "unit", "description"];
        let cells = cells.map(|column| row.cell(column)).into_iter().filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(" ")
    });
    shown.collect()
}

const ROWS: [&str; 8] = [
    "Beleuchtung/Küche & Flur/Decke schalten 1/0/1 w 1.001 über dem \"Tisch\"",
    "Beleuchtung/Küche & Flur/Decke Rückmeldung 1/0/2 r 1.011 true",
    "Beleuchtung/Küche & Flur/Decke dimmen 1/0/3 w 3",
    "Beleuchtung/Küche & Flur/Alles aus 1/0/6 w 1.001",
    "Heizung/Ist/Küche 2/0/1 r 9.001 °C",
    "Heizung/Ist/Küche (2-0-2) 2/0/2 r 9.007 true %",
    "Heizung/Ist/Reserve 2/0/3 rw 9",
    "Heizung/Ist/2-0-4 2/0/4 rw",
];
