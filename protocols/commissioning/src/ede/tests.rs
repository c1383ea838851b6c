use proptest::prelude::*;

use super::*;
use crate::imported::Project;

const OBJECTS: &str = "# Proposal_Engineering-Data-Exchange - B.I.G.-EU\r\n\
    PROJECT_NAME;Rathaus\r\nVERSION_OF_REFERENCEFILE;1\r\nTIMESTAMP_OF_LAST_CHANGE;19. Dec 2025\r\n\
    AUTHOR_OF_LAST_CHANGE;Somebody\r\nVERSION_OF_LAYOUT;2.2\r\n\
    #mandatory;mandator;mandatory;mandatory;mandatory;optional;optional;optional;optional;optional;optional;optional;optional;optional;optional;optional\r\n\
    # keyname;device obj.-instance;object-name;object-type;object-instance;description;present-value-default;min-present-value;max-present-value;settable;supports COV;hi-limit;low-limit;state-text-reference;unit-code;vendor-specific-addres\r\n\
    AS01;1002;AS 01;8;1002;Heizung;;;;;;;;;;\r\n\
    K1;1002;Vorlauf;0;1;\"Temperatur; primär\";;-50;150;N;Y;100;-40;;62;\r\n\
    K2;1002;Betriebsart;19;7;;1;;;Y;N;;;3;95;\r\n\
    # a comment;1;2;3\r\n\
    K3;1002;;5;2;;;;;Y;;;;4;;\r\n\
    K4;1002;Zeitprogramm;15;1;;;;;;;;;;;\r\n\
    K5;1003;Leistung;2;1;;;;;;;;;;9999;\r\n\
    K6;1003;Alt;x;1;;;;;;;;;;;\r\n";
const STATES: &str =
    "#State Text Reference\r\n#Reference Number;Text 1;Text 2;Text 3\r\n3;Aus;Ein;Auto;;\r\n4;zu;auf\r\n";
const UNITS: &str = "#Code;Unit Text\r\n62;degrees-celsius\r\n9999;Scheite je Tag\r\n";

fn import(files: &[File<'_>]) -> Imported {
    read(files, &Options::default()).unwrap()
}

fn shown(imported: &Imported) -> Vec<String> {
    let columns = ["path", "address", "access", "unit", "description", "mode", "states"];
    imported.rows.iter().map(|row| columns.map(|column| row.cell(column)).join(";")).collect()
}

#[test]
fn objects_become_rows_with_their_units_and_texts() {
    let files = [
        ("P_StateTexts.csv", STATES.as_bytes()),
        ("P_EDE.csv", OBJECTS.as_bytes()),
        ("P_Units.csv", UNITS.as_bytes()),
    ];
    let imported = import(&files);
    assert_eq!(
        shown(&imported),
        [
            "AS 01/Vorlauf;1002/analog-input:1;r;°C;Temperatur; primär;;",
            "AS 01/Betriebsart;1002/multi-state-value:7;rw;;;poll;1=Aus|2=Ein|3=Auto",
            "AS 01/K3;1002/binary-value:2;rw;;;;0=zu|1=auf",
            "1003/Leistung;1003/analog-value:1;r;Scheite je Tag;;;",
        ]
    );
    let project = &imported.project;
    assert_eq!((project.name.as_str(), project.schema_version.as_str()), ("Rathaus", "2.2"));
    let devices: Vec<_> =
        project.devices.iter().map(|device| (device.address.as_str(), device.name.as_str())).collect();
    assert_eq!(devices, [("1002", "AS 01"), ("1003", "")]);
    let told: Vec<_> =
        imported.findings.iter().map(|found| (found.severity.word(), found.place.line)).collect();
    assert_eq!(told, [("error", Some(16)), ("note", None)]);
}

#[test]
fn without_companions_what_is_missing_is_told() {
    let imported = import(&[("P_EDE.csv", OBJECTS.as_bytes())]);
    let told: Vec<_> =
        imported.findings.iter().map(|found| (found.severity.word(), found.place.line)).collect();
    assert_eq!(
        told,
        [("note", Some(11)), ("note", Some(13)), ("error", Some(16)), ("note", None), ("warning", None)]
    );
    assert!(matches!(read(&[("P_Units.csv", b"")], &Options::default()), Err(Error::NoFile { .. })));
    let error = read(&[("P_EDE.csv", b"PROJECT_NAME;x\n")], &Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("P_EDE.csv: there is no column `deviceobjinstance`"), "{error}");
}

#[test]
fn what_the_format_cannot_hold_is_told() {
    let mut row = Row { path: "a".into(), address: "1/analog-value:1/description".into(), ..Row::default() };
    let other = Row { path: "b".into(), address: "1/av:1".into(), unit: "Furlong".into(), ..Row::default() };
    assert_eq!(write(&[row.clone(), other], &Project::default()).findings.len(), 2);
    row.address = "1/2/3".into();
    let ede = write(&[row], &Project::default());
    assert_eq!((ede.findings.len(), ede.objects.lines().count()), (1, 8));
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let name = "[a-zA-Zäß#\";,'(][a-zä #;,\"().-]{0,8}[a-z#\";]";
    let row = (
        prop::collection::vec(name, 1..4),
        any::<(bool, bool, bool)>(),
        name,
        prop::sample::select(vec!["", "°C", "%", "kWh"]),
    );
    prop::collection::vec(row, 0..9).prop_map(|rows| {
        let mut paths = crate::path::Paths::default();
        let made = rows.into_iter().zip(1..).map(|(row, number)| {
            let (names, (is_settable, is_polled, has_states), description, unit) = row;
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let address = format!("{}/multi-state-value:{number}", 1 + number % 2);
            let mut row = Row {
                path: paths.make(&names, &address).path,
                address,
                unit: unit.into(),
                description: one_line(&description),
                ..Row::default()
            };
            row.access = if is_settable { Access::ReadWrite } else { Access::Read };
            row.set("mode", if is_polled { "poll" } else { "" });
            row.set("states", if has_states { format!("1=x {number}|2=y") } else { String::new() });
            row
        });
        made.collect()
    })
}

proptest! {
    #[test]
    fn rows_that_are_written_are_read_back(rows in rows(), name in "[a-zä;\" ]{0,9}") {
        let project = Project { name: one_line(&name), ..Project::default() };
        let ede = write(&rows, &project);
        prop_assert_eq!(&ede.findings, &[]);
        let files = [("P_EDE.csv", ede.objects.as_bytes()), ("P_StateTexts.csv", ede.state_texts.as_bytes())];
        let imported = import(&files);
        prop_assert_eq!(&imported.rows, &rows);
        prop_assert_eq!(imported.project.name, project.name);
        prop_assert_eq!(imported.findings, []);
    }

    #[test]
    fn hostile_bytes_are_rows_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "([0-9]{1,8}|[;,\t\n\"#a-zä])".prop_flat_map(|_| "([0-9;]|\n|\"|#|[a-z]){0,120}"),
        name in prop::sample::select(vec!["x.csv", "x_Units.csv", "x_StateTexts.csv"]),
    ) {
        let head = "#keyname;device obj.-instance;object-type;object-instance;state-text-reference;unit-code\n";
        for bytes in [bytes, format!("{head}{text}").into_bytes()] {
            drop(read(&[("y_EDE.csv", &bytes), (name, &bytes)], &Options::default()));
            drop(read(&[("y_EDE.csv", OBJECTS.as_bytes()), (name, &bytes)], &Options::default()));
        }
    }
}
