//! The example in plain C loads and runs.

use std::path::Path;
use std::sync::atomic::Ordering;

use twinhub_contract::code;
use twinhub_loader::{Role, ValueRef, exported_symbols};

use crate::support::{Recorder, active, c_plugin, finish, item, open, write};

#[test]
fn the_example_in_c_echoes_what_is_written() {
    let path = example("hello_c");
    assert_eq!(exported_symbols(&path).unwrap(), ["twinhub_plugin_entry"]);
    let host = Recorder::new();
    let instance = active(&open(&path), "{}", &[item(0, "a"), item(1, "b")], &host);
    assert_eq!(host.read(|record| record.updates.len()), 2);
    assert_eq!(host.value("hello from C").epoch, 1);

    instance.write(1, &[write(10, 1, ValueRef::Str("back")), write(11, 0, ValueRef::F64(2.5))]).unwrap();
    assert_eq!((host.written(10), host.written(11)), (code::OK, code::OK));
    assert_eq!(host.value("back").item, 1);
    assert_eq!(host.value("2.5").item, 0);

    // The lease ends: nothing goes out, and the writer is told.
    host.lease_end.store(0, Ordering::SeqCst);
    instance.write(1, &[write(12, 1, ValueRef::Str("late"))]).unwrap();
    assert_eq!(host.written(12), code::NOT_ACTIVE);
    assert_eq!(instance.write(0, &[write(13, 1, ValueRef::Null)]).unwrap_err().code, code::STALE_EPOCH);
    assert_eq!(instance.set_role(4, Role::Active, 0, 0).unwrap_err().code, code::STALE_EPOCH);

    finish(&host, 5, instance.items(5, &[], &[1])).unwrap();
    finish(&host, 6, instance.stop(6)).unwrap();
    instance.destroy();
    assert!(host.read(|record| record.updates.iter().all(|seen| seen.value != "late")));
}

#[test]
fn the_example_in_c_built_for_another_contract_is_refused() {
    let path = c_plugin(&source(), "hello_c2", &["ABI_MAJOR=2"]);
    let error = twinhub_loader::Library::open(&path, crate::support::cache()).unwrap_err().to_string();
    assert!(error.contains("speaks contract version 2.0 and this hub 1.0"), "{error}");
}

fn example(output: &str) -> std::path::PathBuf {
    c_plugin(&source(), output, &[])
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/c-plugin/hello.c")
}
