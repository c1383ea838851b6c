//! Instances that break the contract become error values.

use std::sync::Arc;
use std::sync::OnceLock;

use twinhub_contract::code;
use twinhub_loader::{HostSink, Instance, Library, Role, Status, ValueRef};

use crate::support::{Recorder, finish, item, misfit, open, write};

#[test]
fn larger_elements_of_a_newer_plugin_are_read_by_their_stride() {
    let (host, started) = start("stride-48");
    assert_eq!(started, Ok(()));
    let values: Vec<_> = host.read(|record| record.updates.iter().map(|seen| seen.value.clone()).collect());
    assert_eq!(values, ["0", "1", "2"]);
}

#[test]
fn frames_that_make_no_sense_are_refused_and_counted() {
    for mode in [
        "stride-44",
        "stride-32",
        "stride-0",
        "stride-huge",
        "count-huge",
        "batch-null",
        "batch-small",
        "items-null",
        "items-odd",
    ] {
        let (host, started) = start(mode);
        assert_eq!(started.map_err(|error| error.0), Err(code::INVALID), "{mode}");
        assert_eq!(host.counted("publish.malformed"), 1, "{mode}");
        assert!(host.read(|record| record.updates.is_empty()), "{mode}");
    }
    assert_eq!(start("count-0").1, Ok(()), "an empty batch is fine");
}

#[test]
fn values_that_make_no_sense_are_refused_with_what_is_wrong() {
    for (mode, expected) in [
        ("kind-99", "update 0 of item 1: value kind 99 is unknown"),
        ("bool-2", "boolean has the value 2"),
        ("text-null", "value of 5 bytes has a null pointer"),
        ("text-bytes", "text is not UTF-8"),
        ("text-long", "value of 4294967295 bytes is longer than 1048576"),
        ("array-odd", "array of 12 bytes does not hold elements of kind 2"),
        ("array-of-text", "array of 8 bytes does not hold elements of kind 5"),
    ] {
        let (host, started) = start(mode);
        assert_eq!(started.map_err(|error| error.0), Err(code::INVALID), "{mode}");
        let refused = host.read(|record| record.refused.clone());
        assert!(refused.len() == 1 && refused[0].contains(expected), "{mode}: {refused:?}");
    }
    let (host, started) = start("text-null-empty");
    assert_eq!(started, Ok(()));
    host.value("");
}

#[test]
fn answers_to_writes_are_bounded() {
    for mode in ["results-null", "results-huge"] {
        let (host, started) = start(mode);
        assert_eq!(started.map_err(|error| error.0), Err(code::INVALID), "{mode}");
        assert_eq!(host.counted("write_done.malformed"), 1);
    }
}

#[test]
fn unknown_extensions_are_null_and_known_ones_arrive() {
    assert_eq!(start("extension-unknown").1, Ok(()));
    let host = Recorder::new();
    host.lease_end.store(0, std::sync::atomic::Ordering::SeqCst);
    let instance = create("extensions", &host).unwrap();
    assert_eq!(finish(&host, 1, instance.start(1)), Ok(()));
    assert_eq!(host.read(|record| record.states.clone()), [(3, "half".to_owned())]);
    assert_eq!(host.counted("my.counter"), 5);
}

#[test]
fn a_call_is_completed_once_whatever_the_plugin_does() {
    let (host, started) = start("done-twice");
    assert_eq!(started, Ok(()));
    assert_eq!(host.counted("op_done.unexpected"), 2);
    assert!(host.read(|record| record.ops.is_empty()), "the return value was the completion");
    let (host, started) = start("done-and-ok");
    assert_eq!(started, Ok(()));
    assert_eq!(host.counted("op_done.unexpected"), 1);
}

#[test]
fn codes_outside_the_contract_become_errors() {
    assert_eq!(start("code-77").1.unwrap_err().0, code::INVALID);
    let error = start("code-minus-77").1.unwrap_err().0;
    assert_eq!((error, code::name(error)), (-77, "DEVICE"));
    let host = Recorder::new();
    let instance = create("", &host).unwrap();
    let error = instance.write(0, &[write(1, 1, ValueRef::Null)]).unwrap_err();
    assert_eq!(error.code, code::INVALID);
}

#[test]
fn a_pending_call_is_completed_by_destroying() {
    let host = Recorder::new();
    let instance = create("pending-for-ever", &host).unwrap();
    assert_eq!(instance.start(5), Ok(Status::Pending));
    assert_eq!(instance.start(5).unwrap_err().code, code::INVALID, "the number is in use");
    instance.destroy();
    assert_eq!(host.op(5), (code::STOPPED, "the instance was destroyed".to_owned()));
}

#[test]
fn adding_and_removing_in_one_operation_completes_once_with_the_error() {
    let host = Recorder::new();
    let instance = create("items-half", &host).unwrap();
    assert_eq!(
        instance.items(5, &[item(1, "")], &[7]),
        Ok(Status::Pending),
        "the removal is still under way"
    );
    instance.destroy();
    assert_eq!(host.op(5).0, code::STOPPED);
    let instance = create("", &host).unwrap();
    assert_eq!(instance.items(6, &[item(1, "")], &[7]), Ok(Status::Done));
    assert_eq!(instance.items(7, &[], &[]), Ok(Status::Done));
}

#[test]
fn a_fault_is_told_once_and_closes_the_gate() {
    let host = Recorder::new();
    let instance = create("fault", &host).unwrap();
    finish(&host, 1, instance.start(1)).unwrap();
    assert!(instance.is_faulted());
    assert_eq!(host.read(|record| record.faults.clone()), [(code::DEVICE, "\u{fffd}broken".to_owned())]);
}

#[test]
fn null_texts_are_empty() {
    let (host, started) = start("log-null");
    assert_eq!(started, Ok(()));
    assert_eq!(host.read(|record| record.logs.clone()), [(42, String::new(), String::new(), String::new())]);
}

#[test]
fn bad_tables_are_refused() {
    for (mode, code, expected) in [
        ("create-refuses", code::CONFIG, "no such thing"),
        ("create-77", code::INVALID, ""),
        ("create-nothing", code::INVALID, "the plugin gave no instance"),
        ("table-odd", code::INVALID, "the plugin gave no instance"),
        ("table-small", code::INVALID, "smaller than that of contract version 1.0"),
        ("table-abi", code::INVALID, "another contract version than its library"),
        ("table-no-write", code::INVALID, "a function of the instance is missing"),
        ("table-no-destroy", code::INVALID, "a function of the instance is missing"),
    ] {
        let host = Recorder::new();
        let error = create(mode, &host).unwrap_err();
        assert_eq!(error.code, code, "{mode}");
        assert!(error.detail.contains(expected), "{mode}: {error}");
        assert!(host.read(|record| record.faults.is_empty()), "{mode}: the error says it all");
        assert_eq!(Arc::strong_count(&host), 1, "{mode}: the host is let go");
    }
    let host = Recorder::new();
    let instance = create("table-no-extensions", &host).unwrap();
    assert_eq!(instance.snapshot().unwrap_err().code, code::UNSUPPORTED);
}

#[test]
fn state_is_bounded_and_its_table_checked() {
    let host = Recorder::new();
    let (version, bytes) = create("", &host).unwrap().snapshot().unwrap();
    assert_eq!((version, bytes.len()), (3, 131_072));
    create("", &host).unwrap().apply(3, &bytes).unwrap();
    assert_eq!(create("", &host).unwrap().apply(4, &bytes).unwrap_err().code, code::STATE_VERSION);
    for (mode, code) in [
        ("state-huge", code::INVALID),
        ("state-null", code::INVALID),
        ("state-none", code::UNSUPPORTED),
        ("state-small", code::UNSUPPORTED),
        ("state-odd", code::UNSUPPORTED),
        ("state-empty", code::UNSUPPORTED),
    ] {
        assert_eq!(create(mode, &host).unwrap().snapshot().unwrap_err().code, code, "{mode}");
    }
}

#[test]
fn nothing_is_taken_from_a_stopped_instance() {
    let host = Recorder::new();
    let instance = create("publish-at-the-end", &host).unwrap();
    finish(&host, 1, instance.set_role(1, Role::Active, 1, 0)).unwrap();
    finish(&host, 2, instance.stop(2)).unwrap();
    instance.destroy();
    assert!(host.read(|record| record.updates.is_empty()));
    assert_eq!(Arc::strong_count(&host), 1, "the host is let go");
}

#[test]
fn a_panic_of_the_hub_stays_in_the_hub() {
    struct Panicking;
    impl HostSink for Panicking {
        fn publish(&self, _: u64, _: twinhub_loader::RawBatch<'_>) -> twinhub_loader::PublishOutcome {
            panic!("a defect of the hub")
        }
        fn write_done(&self, _: &[twinhub_loader::WriteResult]) {}
        fn op_done(&self, _: u64, _: i32, _: &str) {}
        fn fault(&self, _: i32, _: &str) {}
        fn log(&self, _: u32, _: &str, _: &str, _: &str) {}
        fn state(&self, _: u32, _: &str) {}
        fn lease_end(&self, _: u64) -> i64 {
            0
        }
        fn count(&self, _: &str, _: u64) {}
    }
    let instance = library().create("demo", "stride-48", Arc::new(Panicking)).unwrap();
    assert_eq!(instance.start(1).unwrap_err().code, code::STOPPED);
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| open(&misfit("misfit", &[])))
}

fn create(mode: &str, host: &Arc<Recorder>) -> Result<Instance, twinhub_loader::PluginError> {
    library().create("demo", mode, Arc::clone(host) as Arc<dyn HostSink>)
}

fn start(mode: &str) -> (Arc<Recorder>, Result<(), (i32, String)>) {
    let host = Recorder::new();
    let instance = create(mode, &host).unwrap();
    let started = finish(&host, 1, instance.start(1));
    (host, started)
}
