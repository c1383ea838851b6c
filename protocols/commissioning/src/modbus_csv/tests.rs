use proptest::prelude::*;

use super::*;

fn import(text: &str) -> Imported {
    read(&[("m.csv", text.as_bytes())], &Options::default()).unwrap()
}

fn shown(imported: &Imported) -> Vec<String> {
    let columns = ["path", "address", "type", "access", "order", "scale", "unit"];
    imported
        .rows
        .iter()
        .map(|row| columns.map(|column| row.cell(column)).join(" ").trim_end().to_owned())
        .collect()
}

#[test]
fn every_notation_of_an_address_is_read() {
    let (hr, ir, co) = (Some(Area::Holding), Some(Area::Input), Some(Area::Coil));
    for (text, table, is_register, expected) in [
        ("40001", None, false, "hr:0"),
        ("400001", None, false, "hr:0"),
        ("465536", None, false, "hr:65535"),
        ("4x00001", None, false, "hr:0"),
        ("3X00010", None, false, "ir:9"),
        ("0x00001", None, false, "co:0"),
        ("1:00002", None, false, "di:1"),
        ("00017", None, false, "co:16"),
        ("hr:100.3", None, false, "hr:100.3"),
        ("40101.15", None, false, "hr:100.15"),
        ("0x0064", hr, false, "hr:100"),
        ("64h", ir, false, "ir:100"),
        ("100", hr, false, "hr:100"),
        ("100", hr, true, "hr:99"),
        ("00100", co, false, "co:100"),
        ("40001", hr, false, "hr:0"),
        ("30001", hr, false, "hr:30001"),
    ] {
        let spot = spot(text, "", table, is_register).unwrap();
        let bit = spot.bit.map(|bit| format!(".{bit}")).unwrap_or_default();
        assert_eq!(format!("{}:{}{bit}", spot.area.word(), spot.start), expected, "{text} {table:?}");
    }
    for text in [
        "", "x", "100", "40000", "400000", "465537", "4x0", "0x64", "20001", "40001.16", "-1", "1e3",
        "hr:70000", "0xzz",
    ] {
        assert!(spot(text, "", None, false).is_err(), "{text}");
    }
}

#[test]
fn lists_of_several_makers_become_rows() {
    let meter = "Address;Register;Action;Size;Type;Units;Description\n\
        0x0BB7;3000;R;2;Float32;A;Current\n0x0BB8;3001;R/WC;1;UINT16;;Mode\n";
    // The table is not named.
    assert_eq!(
        import(meter).findings.iter().filter(|found| found.severity == crate::Severity::Error).count(),
        2
    );
    let tool = "StationNumber,Name,Element,Count,Function,Writable,StType,ByteOrder,K,Q\n\
        1,Vorlauf,1201,1,InputRegister,0,Int,,0.1,\n2,Zähler,501,2,HoldingRegister,1,Real,CDAB,,\n";
    assert_eq!(shown(&import(tool)), ["Vorlauf 1/ir:1201 int16 r  0.1", "Zähler 2/hr:501 float32 rw CDAB"]);
    let other = "# points of the boiler\nName\tRegister\tFC\tData type\tFaktor\tEinheit\tRW\n\
        Kessel/Temperatur\t101\t3\tint16\t0,1\t°C\tR\nSollwert\t102\t6\tuint32 DCBA\t\t\t\nPumpe\t5\t05\t\t\t\t\n\
        Seriennummer\t200\t3\tstring\t\t\tr\n";
    let imported = import(other);
    assert_eq!(
        shown(&imported),
        [
            "Kessel-Temperatur hr:100 int16 r  0.1 °C",
            "Sollwert hr:101 uint32 rw DCBA",
            "Pumpe co:4 bool rw",
            "Seriennummer hr:199  r",
        ]
    );
    let told: Vec<_> =
        imported.findings.iter().map(|found| (found.severity.word(), found.place.line)).collect();
    assert_eq!(told, [("note", Some(3)), ("warning", Some(6)), ("warning", None)]);
}

#[test]
fn a_file_without_addresses_is_refused() {
    let error = read(&[("m.csv", b"a;b\n1;2\n")], &Options::default()).unwrap_err();
    assert!(error.to_string().starts_with("m.csv: no line has a column for the address"), "{error}");
}

proptest! {
    #[test]
    fn hostile_bytes_are_rows_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        text in "([0-9xXh.:/]|[,\n\"]|hr:|[a-zä]){0,120}",
    ) {
        let head = b"name,address,bit,fc,type,count,order,scale,poll\n".as_slice();
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            drop(read(&[("x", bytes)], &Options::default()));
            drop(read(&[("x", &[head, bytes].concat())], &Options::default()));
        }
    }

    #[test]
    fn any_text_is_an_address_or_none(text in "(?s).{0,12}", bit in ".{0,3}", is_register in any::<bool>()) {
        for table in [None, Some(Area::Holding), Some(Area::Coil)] {
            if let Ok(found) = spot(&text, &bit, table, is_register) {
                let again = spot(&format!("{}:{}", found.area.word(), found.start), "", None, false);
                prop_assert_eq!(again.map(|again| (again.area, again.start)), Ok((found.area, found.start)));
            }
        }
    }
}
