//! The Rust plugins of this workspace load and run, and their faults stay with them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use twinhub_contract::{code, flag};
use twinhub_loader::{HostSink, Role, ValueRef, WriteReq, exported_symbols};

use crate::support::{Recorder, active, finish, item, open, rust_plugin, write};

const HELLO: &str = "libtwinhub_hello";
const SIM: &str = "libtwinhub_sim";

#[test]
fn every_library_exports_its_entry_and_nothing_else() {
    for name in [HELLO, SIM] {
        assert_eq!(exported_symbols(rust_plugin(name)).unwrap(), ["twinhub_plugin_entry"], "{name}");
    }
}

#[test]
fn hello_runs_through_its_whole_life() {
    let host = Recorder::new();
    let library = open(&rust_plugin(HELLO));
    let config = r#"{"greeting": "hi", "interval_ms": 1}"#;
    let instance = active(&library, config, &[item(0, "counter"), item(1, "greeting")], &host);
    let greeting = host.value("hi");
    assert_eq!((greeting.item, greeting.epoch, greeting.flags), (1, 1, 0), "while active, as it declares");
    let count = host.value("3");
    assert_eq!((count.item, count.epoch, count.flags), (0, 1, 0));
    let log = host.read(|record| record.logs.first().cloned()).unwrap();
    assert_eq!((log.0, log.2.as_str(), log.3.as_str()), (3, "hello started", r#"{"greeting":"hi"}"#));
    assert_eq!(host.read(|record| record.states[0].clone()), (2, "counting when active".to_owned()));

    instance.write(1, &[write(7, 1, ValueRef::Str("good day")), write(8, 1, ValueRef::I64(1))]).unwrap();
    assert_eq!((host.written(7), host.written(8)), (code::OK, code::INVALID));
    host.value("good day");

    finish(&host, 4, instance.set_role(4, Role::Hot, 2, i64::MIN)).unwrap();
    assert_eq!(instance.write(2, &[write(9, 1, ValueRef::Null)]).unwrap_err().code, code::NOT_ACTIVE);
    finish(&host, 5, instance.stop(5)).unwrap();
    let counted = host.read(|record| record.updates.len());
    assert_eq!(instance.set_role(6, Role::Active, 3, 0).unwrap_err().code, code::STOPPED);
    assert_eq!(instance.write(2, &[write(9, 1, ValueRef::Null)]).unwrap_err().code, code::STOPPED);
    instance.destroy();
    assert_eq!(host.read(|record| record.updates.len()), counted);
    assert_eq!(Arc::strong_count(&host), 1, "nothing of the instance is left");
    let sequence: Vec<_> = host.read(|record| record.updates.iter().map(|seen| seen.seq).collect());
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1), "no gap: {sequence:?}");
}

#[test]
fn a_wrong_configuration_is_named() {
    let host = Recorder::new();
    let library = open(&rust_plugin(SIM));
    let create = |config| library.create("demo", config, Arc::clone(&host) as Arc<dyn HostSink>);
    let error = create(r#"{"intervall_ms": 1}"#).unwrap_err();
    assert_eq!(error.code, code::CONFIG);
    assert!(error.to_string().contains("unknown field `intervall_ms`, expected one of"), "{error}");
    assert_eq!(create("{").unwrap_err().code, code::CONFIG);
    let error = create(r#"{"batch": 0}"#).unwrap_err();
    assert!(error.to_string().contains("`batch`: expected at least 1 and at most 1024, found 0"), "{error}");
    let instance = create("").unwrap();
    let refused = finish(&host, 2, instance.items(2, &[item(1, "sinus")], &[])).unwrap_err();
    assert_eq!(refused.0, code::CONFIG);
    assert!(refused.1.starts_with("item site/1, column address: `sinus` is no generator"), "{}", refused.1);
}

#[test]
fn a_panic_is_contained_and_told() {
    let library = open(&rust_plugin(SIM));
    let (host, sibling_host) = (Recorder::new(), Recorder::new());
    let instance = active(&library, "{}", &[item(0, "panic"), item(1, "echo")], &host);
    let sibling = active(&library, "{}", &[item(1, "echo")], &sibling_host);

    instance.write(1, &[write(1, 0, ValueRef::Bool(true)), write(2, 1, ValueRef::I64(5))]).unwrap();
    assert_eq!(host.written(1), code::PANIC);
    assert_eq!(host.written(2), code::PANIC);
    let (code, detail) = host.wait("fault", |record| record.faults.first().cloned());
    assert_eq!(code, code::PANIC);
    assert!(detail.contains("panic at plugins/sim/src/lib.rs:"), "{detail}");
    assert!(detail.ends_with("a write to a `panic` item"), "{detail}");
    assert!(instance.is_faulted());
    assert_eq!(instance.set_role(9, Role::Hot, 2, 0).unwrap_err().code, code::PANIC);
    assert_eq!(instance.write(1, &[write(3, 1, ValueRef::I64(5))]).unwrap_err().code, code::PANIC);

    sibling.write(1, &[write(1, 1, ValueRef::Str("alive"))]).unwrap();
    assert_eq!(sibling_host.written(1), code::OK);
    sibling_host.value("alive");

    instance.destroy();
    let host = Recorder::new();
    let replacement = active(&library, "{}", &[item(1, "echo")], &host);
    replacement.write(1, &[write(1, 1, ValueRef::Str("again"))]).unwrap();
    host.value("again");
}

#[test]
fn a_stuck_write_does_not_keep_the_role() {
    let host = Recorder::new();
    let instance = active(&open(&rust_plugin(SIM)), "{}", &[item(0, "stall")], &host);
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    host.wait("the device is stuck", |record| {
        record.counts.iter().find(|count| count.0 == "writes.stalled").cloned()
    });
    finish(&host, 4, instance.set_role(4, Role::Hot, 2, i64::MIN)).unwrap();
    assert_eq!(host.written(1), code::TIMEOUT, "reported as unfinished before the role was left");
}

#[test]
fn nothing_is_sent_without_a_lease() {
    let host = Recorder::new();
    let instance = active(&open(&rust_plugin(SIM)), "{}", &[item(0, "echo")], &host);
    host.lease_end.store(1, Ordering::SeqCst);
    instance.write(1, &[write(1, 0, ValueRef::I64(5))]).unwrap();
    assert_eq!(host.written(1), code::NOT_ACTIVE);
    assert_eq!(host.counted("suppressed.lease_ended"), 1);
    assert!(host.read(|record| record.updates.is_empty()));
}

#[test]
fn a_write_whose_time_is_over_is_not_sent() {
    let host = Recorder::new();
    let instance = active(&open(&rust_plugin(SIM)), "{}", &[item(0, "echo")], &host);
    let late = WriteReq { deadline_ns: 1, ..write(1, 0, ValueRef::I64(5)) };
    instance.write(1, &[late, write(2, 0, ValueRef::I64(6))]).unwrap();
    assert_eq!((host.written(1), host.written(2)), (code::EXPIRED, code::OK));
    host.wait("the echo of the second write", |record| (!record.updates.is_empty()).then_some(()));
    assert_eq!(host.read(|record| record.updates.len()), 1);
}

#[test]
fn an_old_epoch_is_refused_everywhere() {
    let host = Recorder::new();
    let instance = active(&open(&rust_plugin(SIM)), "{}", &[item(0, "echo")], &host);
    finish(&host, 4, instance.set_role(4, Role::Active, 9, i64::MIN)).unwrap();
    assert_eq!(instance.set_role(5, Role::Active, 8, 0).unwrap_err().code, code::STALE_EPOCH);
    assert_eq!(instance.write(8, &[write(1, 0, ValueRef::Null)]).unwrap_err().code, code::STALE_EPOCH);

    // The hub has moved on, the instance has not been told: its values wait, and leave under the new epoch.
    host.epoch.store(10, Ordering::SeqCst);
    instance.write(9, &[write(2, 0, ValueRef::Str("kept"))]).unwrap();
    host.wait("a refusal", |record| record.refused.iter().find(|why| *why == "stale epoch 9").cloned());
    finish(&host, 6, instance.set_role(6, Role::Active, 10, i64::MIN)).unwrap();
    assert_eq!(host.value("kept").epoch, 10);
}

#[test]
fn without_room_values_are_conflated_and_events_are_not() {
    let host = Recorder::new();
    host.refuse_next.store(usize::MAX, Ordering::SeqCst);
    let config = r#"{"interval_ms": 1}"#;
    let items = [item(0, "counter"), item(1, "echo")];
    let instance = active(&open(&rust_plugin(SIM)), config, &items, &host);
    let writes: Vec<_> = (0..100).map(|id| write(id, 1, ValueRef::U64(id + 1_000_000))).collect();
    instance.write(1, &writes).unwrap();
    host.written(99);
    host.wait("refusals", |record| (record.refused.len() > 10).then_some(()));
    host.refuse_next.store(0, Ordering::SeqCst);
    host.value("1000099");
    let (counts, echoes) = host.read(|record| {
        let (counts, echoes): (Vec<_>, Vec<_>) = record.updates.iter().partition(|seen| seen.item == 0);
        (counts.len(), echoes.iter().map(|seen| seen.value.clone()).collect::<Vec<_>>())
    });
    let expected: Vec<_> = (0..100).map(|id| (1_000_000 + id).to_string()).collect();
    assert_eq!(echoes, expected, "every event, in order");
    let refused = host.read(|record| record.refused.len());
    assert!(counts < refused, "{counts} counts after {refused} refusals");
}

#[test]
fn a_hot_standby_tags_its_values() {
    let host = Recorder::new();
    let library = open(&rust_plugin(SIM));
    let config = r#"{"interval_ms": 1, "standby_generates": true}"#;
    let instance = library.create("demo", config, Arc::clone(&host) as Arc<dyn HostSink>).unwrap();
    finish(&host, 1, instance.items(1, &[item(0, "counter")], &[])).unwrap();
    finish(&host, 2, instance.start(2)).unwrap();
    finish(&host, 3, instance.set_role(3, Role::Hot, 1, i64::MIN)).unwrap();
    assert_eq!(host.value("1").flags, flag::STANDBY);
    finish(&host, 4, instance.set_role(4, Role::Active, 2, i64::MIN)).unwrap();
    host.wait("an active value", |record| {
        record.updates.iter().find(|seen| seen.epoch == 2 && seen.flags == 0).cloned()
    });
}

#[test]
fn state_moves_to_the_other_instance() {
    let library = open(&rust_plugin(SIM));
    let (host, other_host) = (Recorder::new(), Recorder::new());
    let config = r#"{"interval_ms": 1}"#;
    let instance = active(&library, config, &[item(0, "counter")], &host);
    host.value("20");
    finish(&host, 4, instance.set_role(4, Role::Hot, 2, i64::MIN)).unwrap();
    let (version, bytes) = instance.snapshot().unwrap();
    let last = host.read(|record| record.updates.last().unwrap().value.parse::<u64>().unwrap());

    let other = library.create("other", config, Arc::clone(&other_host) as Arc<dyn HostSink>).unwrap();
    other.apply(version, &bytes).unwrap();
    assert_eq!(other.apply(version + 1, &bytes).unwrap_err().code, code::STATE_VERSION);
    assert_eq!(other.apply(version, b"nonsense").unwrap_err().code, code::INVALID);
    finish(&other_host, 1, other.items(1, &[item(0, "counter")], &[])).unwrap();
    finish(&other_host, 2, other.start(2)).unwrap();
    finish(&other_host, 3, other.set_role(3, Role::Active, 3, i64::MIN)).unwrap();
    other_host.value(&(last + 1).to_string());
    let first = other_host.read(|record| record.updates[0].value.clone());
    assert_eq!(first, (last + 1).to_string(), "no count is left out or doubled");
    let hello = library_without_state();
    assert_eq!(hello.snapshot().unwrap_err().code, code::UNSUPPORTED);
}

#[test]
fn items_come_and_go_while_values_flow() {
    let host = Recorder::new();
    let config = r#"{"interval_ms": 1}"#;
    let instance = active(&open(&rust_plugin(SIM)), config, &[item(0, "counter")], &host);
    host.value("2");
    finish(&host, 4, instance.items(4, &[item(1, "const:seven")], &[0])).unwrap();
    host.value("seven");
    let counts = host.read(|record| record.updates.iter().filter(|seen| seen.item == 0).count());
    let sevens =
        |record: &crate::support::Record| record.updates.iter().filter(|seen| seen.item == 1).count();
    let now = host.read(sevens);
    host.wait("more values", |record| (sevens(record) > now + 3).then_some(()));
    assert_eq!(host.read(|record| record.updates.iter().filter(|seen| seen.item == 0).count()), counts);
}

fn library_without_state() -> twinhub_loader::Instance {
    open(&rust_plugin(HELLO)).create("hello", "", Recorder::new()).unwrap()
}

#[test]
fn the_simulation_lists_what_it_has_and_says_how_it_is() {
    let host = Recorder::new();
    let instance = active(&open(&rust_plugin(SIM)), "{}", &[item(0, "counter")], &host);
    let top = host.answer_to(11, instance.browse(11, "", "", 2)).unwrap();
    assert!(top.contains(r#""parent":"values""#) && top.contains(r#""cursor":"2""#), "{top}");
    let below = host.answer_to(12, instance.browse(12, "\"values\"", "", 100)).unwrap();
    assert!(below.contains(r#""address":"counter""#) && !below.contains("cursor"), "{below}");
    assert_eq!(host.answer_to(13, instance.browse(13, "[1]", "", 100)), Err(code::INVALID));
    let diag = host.answer_to(14, instance.diagnose(14)).unwrap();
    assert!(diag.contains(r#""role":"active""#) && diag.contains(r#""counter":1"#), "{diag}");
}
