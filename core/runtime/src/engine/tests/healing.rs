//! What damage took from one node's journal comes back from another.

use std::path::PathBuf;

use super::bench::{Bench, Spec, carry, carry_until, epoch, follow, pair};

#[test]
fn a_standby_gets_back_what_damage_took_from_its_journal() {
    let specs = [Spec::new("plc")];
    let (mut main, mut backup) = pair(&specs);
    fill(&mut main, &mut backup);
    let written = main.journaled(0);
    flip(&backup);
    let mut backup = backup.restarted(&specs);
    assert!(backup.journaled(0).len() < written.len(), "a value is damaged");
    follow(&mut main, &mut backup, epoch(0, 1));
    carry_until(&mut main, &mut backup, "the journal is whole", |_, backup| backup.journaled(0) == written);
    told(&mut main, &mut backup, |_, backup| backup.events());
    assert!(backup.engine.journal.holes().is_empty());
    assert_eq!(backup.engine.healing.mended(), 1, "the history looks for what it missed");
}

#[test]
fn the_active_node_gets_back_from_a_standby_what_damage_took_from_its_journal() {
    let specs = [Spec::new("plc")];
    let (mut main, mut backup) = pair(&specs);
    fill(&mut main, &mut backup);
    let written = main.journaled(0);
    flip(&main);
    let mut main = main.restarted(&specs);
    main.become_active(epoch(0, 2));
    assert!(main.journaled(0).len() < written.len(), "a value is damaged");
    follow(&mut main, &mut backup, epoch(0, 2));
    carry_until(&mut main, &mut backup, "the journal is whole", |main, _| {
        main.journaled(0).starts_with(&written)
    });
    told(&mut main, &mut backup, |main, _| main.events());
}

#[test]
fn what_nobody_has_stays_a_hole_and_everything_else_goes_on() {
    let specs = [Spec::new("plc")];
    let (mut main, mut backup) = pair(&specs);
    fill(&mut main, &mut backup);
    flip(&main);
    // A new node in place of the one that had it.
    let (mut main, mut backup) = (main.restarted(&specs), Bench::new(1, &specs));
    main.become_active(epoch(0, 2));
    follow(&mut main, &mut backup, epoch(0, 2));
    main.publish(0, 77);
    carry_until(&mut main, &mut backup, "the next value", |main, backup| main.last() == backup.last());
    assert_eq!(backup.value(0), twinhub_model::Value::I64(77));
    let is_told = |text: &String| text.contains("other nodes are asked for them");
    carry_until(&mut main, &mut backup, "the word of it", |main, _| main.events().iter().any(is_told));
    assert_eq!(main.engine.journal.holes().len(), 1);
}

fn fill(main: &mut Bench, backup: &mut Bench) {
    for value in 1..=20 {
        main.publish(0, value);
    }
    carry_until(main, backup, "all is stored", |main, backup| {
        backup.engine.journal.durable() == main.last() && main.engine.journal.durable() == main.last()
    });
}

/// Flips a byte in the middle of the newest file.
fn flip(bench: &Bench) {
    let dir = bench.engine.journal.dir();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "journal"));
    files.sort();
    let file = files.last().unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// The operator hears of the damage and of its end.
fn told(main: &mut Bench, backup: &mut Bench, events: impl Fn(&Bench, &Bench) -> Vec<String>) {
    carry(main, backup);
    let texts = events(main, backup);
    for sentence in ["other nodes are asked for them", "are back in this node's journal, from"] {
        assert!(texts.iter().any(|text| text.contains(sentence)), "{sentence}: {texts:?}");
    }
}
