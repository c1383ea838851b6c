//! Hostile text ends in an answer, and what is written is read back.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use twinhub_config::items::{parse_csv, write_csv};
use twinhub_config::{Access, Item, ItemSource, ItemSourceError, parse};
use twinhub_model::ItemKey;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in ".{0,400}", items in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(&text, "x.toml", &Fixed(items)).map_err(|failure| failure.render()));
    }

    #[test]
    fn a_broken_configuration_gets_an_answer(cut in 0usize..1500, with in "[\\[\\]{}=\",.*/a-z0-9\n ]{0,12}", rest in 0usize..40) {
        let base = include_str!("../../../examples/pair/twinhub.toml");
        let floor = |at: usize| (0..=at.min(base.len())).rev().find(|at| base.is_char_boundary(*at)).unwrap();
        let (start, end) = (floor(cut), floor(cut + rest));
        let text = format!("{}{with}{}", &base[..start], &base[end..]);
        drop(parse(&text, "x.toml", &Fixed(ITEMS.to_vec())).map_err(|failure| failure.render()));
    }

    #[test]
    fn any_bytes_as_items_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(parse_csv("plc1", "x.csv", &bytes).map_err(|failure| failure.render()));
    }

    #[test]
    fn any_rows_get_an_answer(rows in "[a-z,\"\r\n/*ä ]{0,200}") {
        let text = format!("path,address,type,access\n{rows}");
        drop(parse_csv("plc1", "x.csv", text.as_bytes()).map_err(|failure| failure.render()));
    }

    #[test]
    fn items_come_back_from_their_file(items in proptest::collection::vec(item(), 0..20)) {
        let mut keys = std::collections::BTreeSet::new();
        let items: Vec<Item> = items.into_iter().filter(|item| keys.insert(item.key.clone())).collect();
        let text = write_csv(&items);
        let back = parse_csv("plc1", "x.csv", text.as_bytes()).map_err(|failure| failure.render()).unwrap();
        prop_assert_eq!(without_lines(&back), without_lines(&items));
        prop_assert_eq!(write_csv(&back), text.clone(), "export of an import is the same text");

        let mut other = csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = other.records().map(Result::unwrap).collect();
        prop_assert_eq!(rows.len(), items.len());
        for (row, item) in rows.iter().zip(&items) {
            prop_assert_eq!((&row[0], &row[1], &row[5]), (item.key.path(), item.address.as_str(), item.description.as_str()));
        }
    }
}

#[test]
fn ten_thousand_items_are_read_in_no_time() {
    let mut text = String::from("path,address,type,access,unit,description,scale,poll\n");
    text.extend((0..10_000).map(|number| {
        let area = number / 100;
        format!("area{area}/register{number},hr:{number},uint16,rw,kW,Register {number},0.1,fast\n")
    }));
    let start = Instant::now();
    let items = parse_csv("plc1", "x.csv", text.as_bytes()).unwrap();
    let took = start.elapsed();
    assert_eq!(items.len(), 10_000);
    // Release builds need 100 ms at most, on a quiet machine a tenth of it; debug builds are an order slower.
    let limit = if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(100) };
    assert!(took < limit, "{took:?}");
}

#[test]
fn thousands_of_faults_are_counted_and_few_are_shown() {
    let text = format!("path,address,type,access\n{}", "a,b,c,d\n".repeat(5000));
    let failure = parse_csv("plc1", "x.csv", text.as_bytes()).unwrap_err();
    assert_eq!(failure.diagnostics.len(), twinhub_config::Failure::SHOWN_MAX);
    assert!(failure.left_out > 100, "{}", failure.left_out);
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("a = {}1{}", open.repeat(20_000), close.repeat(20_000));
        let failure = parse(&text, "x.toml", &Fixed(Vec::new())).unwrap_err();
        assert!(failure.errors().count() > 0);
    }
    let dotted = format!("{}a = 1", "a.".repeat(20_000));
    assert!(parse(&dotted, "x.toml", &Fixed(Vec::new())).is_err());
}

fn item() -> impl Strategy<Value = Item> {
    let cell = "[a-zA-Z0-9äöü°,;\"'\n./ -]{0,12}".prop_map(|text: String| text.trim().to_owned());
    let path = proptest::collection::vec("[a-z0-9ä,\" ]{0,5}[a-z]", 1..4)
        .prop_map(|parts| parts.join("/").trim().to_owned());
    let columns = proptest::collection::btree_map(
        "[a-d]",
        cell.clone().prop_filter("empty cells are left out", |text| !text.is_empty()),
        0..3,
    );
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::ReadWrite)];
    let words = prop_oneof![Just(""), Just("uint16"), Just("string(20)"), Just("dpt9.001"), Just("DPST-9-1")];
    (path, cell.clone(), words, access, cell.clone(), cell, columns, any::<(bool, bool, bool)>()).prop_map(
        |(
            path,
            address,
            type_name,
            access,
            unit,
            description,
            columns,
            (edge, non_idempotent, historize),
        )| Item {
            key: ItemKey::new("plc1", &path).expect("the strategy makes paths"),
            address,
            type_name: type_name.to_owned(),
            access,
            unit,
            description,
            columns: columns.into_iter().map(|(name, text)| (name.into(), text)).collect(),
            line: 0,
            edge,
            non_idempotent,
            historize,
        },
    )
}

fn without_lines(items: &[Item]) -> Vec<Item> {
    items.iter().map(|item| Item { line: 0, ..item.clone() }).collect()
}

struct Fixed(Vec<u8>);

impl ItemSource for Fixed {
    fn read(&self, _: &str) -> Result<Vec<u8>, ItemSourceError> {
        Ok(self.0.clone())
    }
}

const ITEMS: &[u8] = b"path,address,type,access\nboiler/temperature,a,bool,rw\n";
