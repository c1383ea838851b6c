use proptest::prelude::*;

use super::*;

fn row(path: &str, address: &str, description: &str, dpt: &str) -> Row {
    let mut row =
        Row { path: path.into(), address: address.into(), description: description.into(), ..Row::default() };
    row.set("dpt", dpt);
    row
}

fn shown(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            format!("{} {} {} {}", row.path, row.address, row.description, row.cell("dpt")).trim().to_owned()
        })
        .collect()
}

#[test]
fn edits_by_hand_and_changes_of_the_source_are_joined_cell_by_cell() {
    let base = [
        row("a", "1", "old", "1.001"),
        row("b", "2", "old", ""),
        row("c", "3", "", ""),
        row("d", "4", "", ""),
        row("e", "5", "", ""),
    ];
    let list = [
        row("mine", "9", "", ""),            // made by hand
        row("renamed", "1", "old", "1.001"), // its path edited
        row("b", "2", "mine", ""),           // its description edited
        row("d", "4", "edited", ""),         // c was deleted
        row("e", "5", "", ""),
    ];
    let source = [
        row("a", "1", "new", "1.002"),
        row("x", "6", "", ""),
        row("b", "2", "theirs", "5.001"),
        row("c", "3", "", ""),
        row("mine", "7", "", ""),
    ];
    let merged = merge(Some(&base), &list, &source, Absent::Removed);
    assert_eq!(
        shown(&merged.rows),
        ["mine 9", "renamed 1 new 1.002", "x 6", "b 2 mine 5.001", "mine (7) 7", "d 4 edited"]
    );
    let changed = |path: &str, column: &str, from: &str, to: &str| Change::Changed {
        path: path.into(),
        column: column.into(),
        from: from.into(),
        to: to.into(),
    };
    let conflict = Change::Conflict {
        path: "b".into(),
        column: "description".into(),
        kept: "mine".into(),
        offered: "theirs".into(),
    };
    let of = |path: &str, address: &str| (path.to_owned(), address.to_owned());
    let added = |(path, address)| Change::Added { path, address };
    let (deleted, kept, gone) = (of("c", "3"), of("d", "4"), of("e", "5"));
    let expected = [
        changed("renamed", "description", "old", "new"),
        changed("renamed", "dpt", "1.001", "1.002"),
        added(of("x", "6")),
        conflict,
        changed("b", "dpt", "", "5.001"),
        Change::StaysDeleted { path: deleted.0, address: deleted.1 },
        added(of("mine (7)", "7")),
        Change::KeptEdited { path: kept.0, address: kept.1 },
        Change::Removed { path: gone.0, address: gone.1 },
    ];
    assert_eq!((merged.changes.as_slice(), merged.conflicts()), (&expected[..], 2));
    assert_eq!(merged.base, source);

    let again = merge(Some(&merged.base), &merged.rows, &source, Absent::Removed);
    assert_eq!(again.rows, merged.rows);
    let quiet = |change: &Change| matches!(change, Change::StaysDeleted { .. });
    assert!(again.changes.iter().all(quiet), "{:?}", again.changes);
}

#[test]
fn a_row_that_gets_another_address_keeps_its_path() {
    let base = [row("a", "1", "", "")];
    let merged = merge(Some(&base), &base, &[row("a", "2", "", "")], Absent::Removed);
    assert_eq!(shown(&merged.rows), ["a 2"]);
    assert!(matches!(merged.changes[..], [Change::Added { .. }, Change::Removed { .. }]));
}

#[test]
fn lists_of_two_devices_come_one_after_the_other() {
    let (one, other) = ([row("a", "1/1", "", "")], [row("b", "2/1", "old", "")]);
    let first = merge(None, &[], &one, Absent::Stays);
    let second = merge(Some(&first.base), &first.rows, &other, Absent::Stays);
    assert_eq!(shown(&second.rows), ["b 2/1 old", "a 1/1"]);
    let absent = Change::Absent { path: "a".into(), address: "1/1".into() };
    assert!(second.changes.contains(&absent) && second.conflicts() == 0, "{:?}", second.changes);
    // The base still knows who wrote what of both.
    let newer = [row("a", "1/1", "new", "")];
    let third = merge(Some(&second.base), &second.rows, &newer, Absent::Stays);
    assert_eq!((shown(&third.rows), third.conflicts()), (vec!["b 2/1 old".into(), "a 1/1 new".into()], 0));
}

#[test]
fn without_a_base_empty_cells_are_filled_and_others_stay() {
    let list = [row("mine", "1", "", ""), row("b", "2", "", "1.001")];
    let source = [row("a", "1", "text", "1.001"), row("b", "2", "", "1.002")];
    let merged = merge(None, &list, &source, Absent::Removed);
    assert_eq!(shown(&merged.rows), ["mine 1 text 1.001", "b 2  1.001"]);
    assert_eq!((merged.conflicts(), merged.changes.len()), (2, 4));
}

#[test]
fn a_path_of_the_source_that_is_taken_by_hand_is_a_conflict() {
    let base = [row("a", "1", "", "")];
    let merged = merge(
        Some(&base),
        &[row("a", "1", "", ""), row("b", "9", "", "")],
        &[row("b", "1", "", "")],
        Absent::Removed,
    );
    assert_eq!((shown(&merged.rows), merged.conflicts()), (vec!["a 1".to_owned(), "b 9".to_owned()], 1));
}

fn lists() -> impl Strategy<Value = Vec<Row>> {
    let rows = prop::collection::btree_map("[1-9]", ("[ab]{0,1}", "[ab]{0,1}", "[a-e]"), 0..7);
    rows.prop_map(|rows| {
        let mut taken = BTreeSet::new();
        let mut list = Vec::new();
        for (address, (description, dpt, path)) in rows {
            let mut row = row(&path, &address, &description, &dpt);
            row.path = free_path(&row, &taken);
            taken.insert(row.path.clone());
            list.push(row);
        }
        list
    })
}

fn absents() -> impl Strategy<Value = Absent> {
    prop_oneof![Just(Absent::Stays), Just(Absent::Removed)]
}

fn paths(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row.path.as_str()).collect()
}

proptest! {
    #[test]
    fn a_source_that_did_not_change_changes_nothing(base in lists(), list in lists(), absent in absents()) {
        let merged = merge(Some(&base), &list, &base, absent);
        prop_assert_eq!(merged.rows, list);
    }

    #[test]
    fn a_list_that_nobody_edited_follows_the_source(base in lists(), source in lists()) {
        let merged = merge(Some(&base), &base, &source, Absent::Removed);
        prop_assert_eq!(paths(&merged.rows).len(), merged.rows.len());
        let mut found: Vec<Row> = merged.rows.clone();
        found.sort_by(|one, other| one.address.cmp(&other.address));
        prop_assert_eq!(found.len(), source.len());
        for (found, source) in found.iter_mut().zip(&source) {
            // Paths may wait for each other: two rows that swap them are told as conflicts.
            found.path.clone_from(&source.path);
        }
        prop_assert_eq!(found, source);
    }

    #[test]
    fn nothing_made_by_hand_is_lost_and_a_second_time_changes_nothing(
        base in lists(), list in lists(), source in lists(), absent in absents(),
    ) {
        let merged = merge(Some(&base), &list, &source, absent);
        prop_assert_eq!(paths(&merged.rows).len(), merged.rows.len());
        for row in &list {
            let is_known = base.iter().any(|old| old == row);
            let is_there = merged.rows.iter().any(|found| found.address == row.address);
            prop_assert!(is_there || is_known && absent == Absent::Removed, "{row:?}");
        }
        let again = merge(Some(&merged.base), &merged.rows, &source, absent);
        prop_assert_eq!(&again.rows, &merged.rows);
        prop_assert_eq!(again.conflicts(), 0);
    }
}
