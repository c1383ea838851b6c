//! EDE files as sheets of a workbook.

mod project;

use proptest::prelude::*;
use twinhub_commissioning::{Error, Options, read};

#[test]
fn sheets_are_read_as_the_files_would_be() {
    let imported = read("ede", &[("P.xlsx", &workbook(OBJECTS))], &Options::default()).unwrap();
    let rows: Vec<_> = imported
        .rows
        .iter()
        .map(|row| [&row.path, &row.address, &row.unit, row.cell("states")].map(str::to_owned))
        .collect();
    assert_eq!(
        rows,
        [
            ["Vorlauf & Rücklauf", "1002/analog-input:1", "°C", ""],
            ["Mode", "1002/multi-state-value:7", "", "1=Aus|2=Ein"]
        ]
    );
    assert_eq!(imported.project.name, "Rathaus");
    let [finding] = imported.findings.as_slice() else { panic!("{:?}", imported.findings) };
    assert_eq!((finding.place.file.as_str(), finding.place.line), ("P.xlsx!EDE", Some(9)));
}

#[test]
fn a_wide_sheet_is_refused() {
    let wide = "<row r=\"1\"><c r=\"ZZZ1\"><v>1</v></c></row>";
    let error = read("ede", &[("P.xlsx", &workbook(wide))], &Options::default()).unwrap_err();
    assert!(matches!(error, Error::TooMuch { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_workbook_is_read_or_refused(
        text in "(<row r=\"[0-9]{0,9}\">|</row>|<c r=\"[A-Z]{0,5}[0-9]?\" t=\"[sn]?\">|</c>|<v>[0-9]{0,3}</v>|&amp;|&#[0-9]{1,9};|[<>&a]){0,20}",
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = workbook(&text);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(read("ede", &[("P.xlsx", &bytes)], &Options::default()));
    }
}

fn workbook(objects: &str) -> Vec<u8> {
    let sheet = |rows: &str| {
        format!(
            "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>{rows}</sheetData></worksheet>"
        )
    };
    let files = [
        ("xl/workbook.xml", "<workbook xmlns:r=\"urn:r\"><sheets><sheet name=\"Cover\" sheetId=\"9\" r:id=\"rId9\"/><sheet name=\"EDE\" sheetId=\"1\" r:id=\"rId1\"/><sheet name=\"State-Texts\" sheetId=\"2\" r:id=\"rId2\"/></sheets></workbook>".to_owned()),
        ("xl/_rels/workbook.xml.rels", "<Relationships><Relationship Id=\"rId1\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"rId2\" Target=\"/xl/worksheets/sheet2.xml\"/><Relationship Id=\"rId9\" Target=\"worksheets/sheet9.xml\"/></Relationships>".to_owned()),
        ("xl/sharedStrings.xml", "<sst><si><t>Vorlauf </t><r><t>&amp; R&#252;cklauf</t></r><rPh><t>sound</t></rPh></si></sst>".to_owned()),
        ("xl/worksheets/sheet1.xml", sheet(objects)),
        ("xl/worksheets/sheet2.xml", sheet("<row><c t=\"inlineStr\"><is><t># Reference</t></is></c></row><row><c><v>3</v></c><c t=\"str\"><v>Aus</v></c><c t=\"str\"><v>Ein</v></c></row>")),
        ("xl/worksheets/sheet9.xml", sheet("<row><c t=\"str\"><v>a cover</v></c></row>")),
    ];
    project::pack(&files.map(|(name, text)| (name.to_owned(), text.into_bytes())), project::Cipher::None)
}

/// The header has its names as texts of their own; a cell that is empty is left out of its row.
const OBJECTS: &str = "<row r=\"2\"><c r=\"A2\" t=\"str\"><v>PROJECT_NAME</v></c><c r=\"B2\" t=\"str\"><v>Rathaus</v></c></row>\
    <row r=\"6\"><c r=\"A6\" t=\"str\"><v># keyname</v></c><c r=\"B6\" t=\"str\"><v>device obj.-instance</v></c>\
    <c r=\"C6\" t=\"str\"><v>object-name</v></c><c r=\"D6\" t=\"str\"><v>object-type</v></c><c r=\"E6\" t=\"str\"><v>object-instance</v></c>\
    <c r=\"F6\" t=\"str\"><v>state-text-reference</v></c><c r=\"G6\" t=\"str\"><v>unit-code</v></c></row>\
    <row r=\"7\"><c r=\"B7\"><v>1002</v></c><c r=\"C7\" t=\"s\"><v>0</v></c><c r=\"D7\"><v>0</v></c><c r=\"E7\"><v>1</v></c><c r=\"G7\"><v>62</v></c></row>\
    <row r=\"8\"><c r=\"B8\"><v>1002</v></c><c r=\"C8\" t=\"str\"><v>Mode</v></c><c r=\"D8\"><v>19</v></c><c r=\"E8\"><v>7</v></c><c r=\"F8\"><v>3</v></c></row>\
    <row r=\"9\"><c r=\"B9\"><v>1002</v></c><c r=\"D9\"><f>1/0</f><v>#DIV/0!</v></c></row>";
