//! What plugins publish, and what becomes of it.

use twinhub_contract::role;
use twinhub_model::{Quality, Record, Sample, SampleFlags, Value};

use super::bench::{Bench, Spec, carry_until, epoch, pair};

/// What a plugin says when it becomes active, as it stands in the journal.
fn journal_of(says: &'static str) -> (Bench, Vec<(Value, Quality, bool)>) {
    let mut bench = Bench::new(0, &[Spec { config: says, ..Spec::new("plc") }]);
    bench.become_active(epoch(0, 1));
    let samples = bench.records().into_iter().filter_map(|record| match record {
        Record::Samples(samples) => Some(samples.to_vec()),
        Record::Dictionary(_)
        | Record::Intent(_)
        | Record::Result(_)
        | Record::Delivered(_)
        | Record::Event(_)
        | Record::Part(_)
        | Record::Merged(_)
        | Record::Role(_) => None,
    });
    let brief =
        |sample: Sample| (sample.value, sample.quality, sample.flags.contains(SampleFlags::QUALITY_ONLY));
    let samples = samples.flatten().map(brief).collect();
    (bench, samples)
}

#[test]
fn a_quality_alone_keeps_the_value_is_journaled_and_drives_nothing() {
    let bad = Quality(twinhub_contract::quality::BAD);
    let (mut bench, samples) = journal_of(",\"says\":\"7bg\"");
    let seven = || Value::I64(7);
    assert_eq!(
        samples,
        [(seven(), Quality::GOOD, false), (seven(), bad, true), (seven(), Quality::GOOD, true)]
    );
    bench.wait("the output of the value", |bench| bench.calls().contains(&"plc write 1=7".to_owned()));
    bench.turn();
    let writes = bench.calls().into_iter().filter(|call| call.contains("write")).count();
    assert_eq!(writes, 1, "a quality drives no link: {:?}", bench.calls());

    let (bench, samples) = journal_of(",\"says\":\"7b\"");
    assert_eq!(samples, [(seven(), Quality::GOOD, false), (seven(), bad, true)]);
    let shown = bench.engine.table.read(twinhub_model::ItemId(0));
    assert_eq!((shown.value, shown.quality), (seven(), bad));
}

#[test]
fn a_quality_alone_says_nothing_of_an_item_without_a_value() {
    let (bench, samples) = journal_of(",\"says\":\"b\"");
    assert_eq!(samples, []);
    assert_eq!(bench.value(0), Value::Null);
    let (_, samples) = journal_of(",\"says\":\"b7b\"");
    assert_eq!(samples.len(), 2, "{samples:?}");
}

#[test]
fn a_plugin_does_not_say_what_only_the_hub_knows() {
    let spec = Spec { config: ",\"says\":\"7\",\"flags\":3616", ..Spec::new("plc") };
    assert_eq!(
        3616,
        [SampleFlags::EVENT, SampleFlags::OLD, SampleFlags::OVERTAKEN, SampleFlags::TWIN]
            .iter()
            .fold(0, |all, flag| all | flag.0)
    );
    let mut bench = Bench::new(0, &[spec]);
    bench.become_active(epoch(0, 1));
    let flags: Vec<_> = bench
        .records()
        .iter()
        .filter_map(
            |record| if let Record::Samples(samples) = record { Some(samples.to_vec()) } else { None },
        )
        .flatten()
        .map(|sample| sample.flags)
        .collect();
    assert_eq!(flags, [SampleFlags::EVENT]);
}

/// The items of a standby are those of the active node.
#[test]
fn a_quality_alone_from_a_standby_changes_nothing() {
    let spec = Spec { standby: role::HOT, config: ",\"says\":\"7b\"", ..Spec::new("mqtt") };
    let mut bench = Bench::new(1, &[spec]);
    bench.turn();
    let shown = bench.engine.table.read(twinhub_model::ItemId(0));
    assert_eq!((shown.value, shown.quality), (Value::Null, Quality::BAD_WAITING));
}

#[test]
fn values_go_the_same_way_whether_somebody_reads_them_or_not() {
    let mut bench = Bench::new(0, &[Spec::new("plc")]);
    bench.become_active(epoch(0, 1));
    bench.publish(0, 5);
    bench.wait("the output of the first", |bench| bench.calls().contains(&"plc write 1=5".to_owned()));
    let mut reader = bench.engine.shared.listen();
    bench.publish(0, 6);
    bench.wait("the output of the second", |bench| bench.calls().contains(&"plc write 1=6".to_owned()));
    assert_eq!(bench.journaled(0), [Value::I64(5), Value::I64(6)]);
    let read = reader.try_recv().unwrap().samples;
    assert_eq!(read.iter().map(|sample| sample.value.clone()).collect::<Vec<_>>(), [Value::I64(6)]);
}

/// Each node counts for itself: what the successor counts is no echo of what the node before it counted.
#[test]
fn equal_values_of_two_nodes_all_count_where_the_plugin_does_not_hear_the_same_on_both() {
    let counted = |parallel_input: bool| {
        let spec = || Spec { standby: role::HOT, parallel_input, ..Spec::new("plc") };
        let (mut main, mut backup) = pair(&[spec()]);
        for value in 1..=3 {
            main.publish(0, value);
        }
        carry_until(&mut main, &mut backup, "the values", |main, backup| main.last() == backup.last());
        backup.become_active(epoch(1, 2));
        for value in 2..=4 {
            backup.publish(0, value);
        }
        backup.journaled(0)
    };
    let values = |values: &[i64]| values.iter().map(|value| Value::I64(*value)).collect::<Vec<_>>();
    assert_eq!(counted(false), values(&[1, 2, 3, 2, 3, 4]));
    // Where both hear the same, the second 2 and 3 are those that the node before had journaled.
    assert_eq!(counted(true), values(&[1, 2, 3, 4]));
}

/// As a task does that is still at work when a node wakes which was stopped: the hub would take it for what its standby has
/// heard, and values of the next active instance for late ones.
#[test]
fn what_an_interface_says_in_a_role_without_traffic_is_not_heard() {
    for standby in [role::COLD, role::WARM] {
        let spec = Spec { standby, config: ",\"says\":\"7\",\"tells\":true", ..Spec::new("plc") };
        let mut bench = Bench::new(0, &[spec]);
        bench.become_active(epoch(0, 1));
        bench.lose(epoch(0, 1));
        let word = if standby == role::COLD { "plc cold" } else { "plc warm" };
        bench.wait("it stands by", |bench| {
            let port = &bench.engine.interfaces[0].port;
            bench.calls().iter().rev().any(|call| call == word)
                && port.role() == standby
                && port.epoch() > epoch(0, 0)
        });
        let said = bench.calls().len();
        let instance = bench.engine.interfaces[0].instance().unwrap();
        instance.diagnose(1 << 40).unwrap();
        assert_eq!(bench.calls()[said..], ["plc refused"]);
    }
}
