//! Instances leave nothing behind. Alone in its file, and so in a process where no other test makes threads.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "loading/support.rs"]
#[allow(dead_code, reason = "shared with the tests of loaded libraries")]
mod support;

use std::sync::Arc;

use twinhub_loader::ValueRef;

use support::{Recorder, active, item, open, rust_plugin, write};

#[test]
fn a_hundred_instances_leave_no_threads_and_no_files_behind() {
    let library = open(&rust_plugin("libtwinhub_sim"));
    let items = [item(0, "echo"), item(1, "stall"), item(2, "counter")];
    let run = || {
        let host = Recorder::new();
        let instance = active(&library, r#"{"interval_ms": 1}"#, &items, &host);
        instance.write(1, &[write(1, 0, ValueRef::Null), write(2, 1, ValueRef::Null)]).unwrap();
        host.value("1");
        instance.destroy();
        assert_eq!(Arc::strong_count(&host), 1, "the host is let go");
        assert_eq!(host.read(|record| record.writes.len()), 2, "every write is answered");
    };
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    run();
    let before = (count("task"), count("fd"));
    for _ in 0..100 {
        run();
    }
    assert_eq!((count("task"), count("fd")), before);
}
