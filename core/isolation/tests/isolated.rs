//! Plugins in processes of their own: what works as in the hub's process, and what only works there.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::process::{Pid, Signal, kill_process};
use twinhub_contract::{code, event_flag};
use twinhub_isolation::{GateWords, HostProgram, Isolated};
use twinhub_loader::{EventRef, HostSink, Instance, Library, Role, ValueRef};

#[path = "../../loader/tests/loading/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the loader")]
mod support;

use support::{Recorder, c_plugin, finish, item, rust_plugin, value_in, write};

fn library(path: &Path) -> Library {
    let host = HostProgram { program: env!("CARGO_BIN_EXE_isolation-host").into(), arguments: Vec::new() };
    Library::elsewhere(path, support::cache(), |copy, manifest| Arc::new(Isolated::new(host, copy, manifest)))
        .unwrap()
}

fn hello() -> PathBuf {
    c_plugin(&root().join("examples/c-plugin/hello.c"), "isolated_hello_c", &[])
}

/// The C example with one fault.
fn drill(fault: &str) -> PathBuf {
    let define = format!("FAULT={fault}");
    c_plugin(&root().join("core/hub/tests/fixtures/drill.c"), &format!("isolated_{fault}"), &[&define])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Child processes of this one that host plugins.
fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let is_child = |stat: &str| {
        // proc(5): the name in parentheses may hold anything; state and parent follow it.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)) == Some(&*own)
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter(|number| {
            std::fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| is_child(&stat))
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// An instance in epoch 1 with the gate open for it.
fn active(
    library: &Library,
    config: &str,
    addresses: &[&str],
    host: &Arc<Recorder>,
    gate: &GateWords,
) -> Instance {
    host.gate.set(gate.file().unwrap().try_clone_to_owned().unwrap()).unwrap();
    gate.extend(1, u64::MAX >> 1);
    let items: Vec<_> = (0..).zip(addresses).map(|(handle, address)| item(handle, address)).collect();
    support::active(library, config, &items, host)
}

#[test]
fn values_and_writes_go_through_as_in_one_process() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library(&rust_plugin("libtwinhub_sim")), "{}", &["echo", "const:7"], &host, &gate);
    assert_eq!(host.value("7").item, 1);
    instance.write(1, [write(1, 0, ValueRef::Str("grün"))]).unwrap();
    assert_eq!(host.written(1), code::OK);
    assert_eq!(host.value("grün").epoch, 1);
    finish(&host, 9, instance.stop(9)).unwrap();
    assert_eq!(children().len(), 1);
    instance.destroy();
    assert!(children().is_empty(), "its process has ended and is reaped");
    assert!(host.read(|record| record.faults.is_empty()));
}

#[test]
fn values_longer_than_the_shared_memory_go_both_ways() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library(&rust_plugin("libtwinhub_sim")), "{}", &["echo"], &host, &gate);
    let long: String = ('a'..='z').cycle().take(1 << 20).collect();
    for round in 0..3 {
        instance.write(1, [write(round, 0, ValueRef::Str(&long))]).unwrap();
        assert_eq!(host.written(round), code::OK);
    }
    assert_eq!(host.value(&long).item, 0);
}

#[test]
fn what_the_plugin_refuses_is_told_in_its_words() {
    let (host, library) = (Recorder::new(), library(&rust_plugin("libtwinhub_sim")));
    let sink = || Arc::clone(&host) as Arc<dyn HostSink>;
    let error = library.create("demo", r#"{"batch": 0}"#, sink()).unwrap_err();
    assert_eq!(error.code, code::CONFIG, "{error}");
    assert!(error.detail.contains("batch"), "{error}");
    let instance = library.create("demo", "{}", sink()).unwrap();
    let refused = finish(&host, 1, instance.items(1, &[item(0, "nonsense")], &[])).unwrap_err();
    assert!(refused.1.contains("nonsense"), "{refused:?}");
    assert!(instance.apply(99, b"?").is_err());
}

#[test]
fn state_moves_from_one_process_to_another() {
    let library = library(&rust_plugin("libtwinhub_sim"));
    let (first, gate) = (Recorder::new(), GateWords::new());
    let main = active(&library, r#"{"interval_ms": 1}"#, &["counter"], &first, &gate);
    first.value("3");
    let (version, state) = main.snapshot().unwrap();
    assert!(!state.is_empty());
    let (second, gate) = (Recorder::new(), GateWords::new());
    let backup = active(&library, "{}", &["counter"], &second, &gate);
    backup.apply(version, &state).unwrap();
    drop((main, backup));
}

#[test]
fn what_a_child_keeps_by_key_comes_in_order_with_its_values_and_is_there_for_the_next_one() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    host.kept.fill([("site/1".to_owned(), b"41"[..].into())]);
    let instance = active(&library_of_sim(), "{}", &["keep", "keep"], &host, &gate);
    assert_eq!(host.value("41").item, 1, "what was kept before");
    for round in 0..20_u64 {
        instance.write(1, [write(round, 0, ValueRef::U64(100 + round))]).unwrap();
        assert_eq!(host.written(round), code::OK);
        let value = host.value(&(100 + round).to_string());
        assert_eq!(value.item, 0);
    }
    let (puts, updates) = host.read(|record| (record.puts.clone(), record.updates.clone()));
    for (number, (key, updates_before)) in puts.iter().enumerate() {
        let place = updates.iter().position(|seen| seen.value == (100 + number).to_string()).unwrap();
        assert!(key == "site/0" && *updates_before <= place, "{puts:?} {updates:?}");
    }
    assert_eq!(host.kept.get("site/0").as_deref(), Some(&b"119"[..]));
    // Too long a value is refused where it is put, and so is one while another node acts.
    let long = "x".repeat(70_000);
    instance.write(1, [write(50, 0, ValueRef::Str(&long))]).unwrap();
    assert_eq!(host.written(50), code::INVALID);
    finish(&host, 20, instance.set_role(20, Role::Hot, 2, i64::MIN)).unwrap();
    assert_eq!(puts.len(), host.read(|record| record.puts.len()));
    // What another node kept meanwhile is there before the instance acts.
    host.kept.fill([("site/0".to_owned(), b"7777"[..].into())]);
    gate.extend(3, u64::MAX >> 1);
    finish(&host, 21, instance.set_role(21, Role::Active, 3, i64::MIN)).unwrap();
    assert_eq!(host.value("7777").epoch, 3);
}

#[test]
fn a_child_whose_change_the_hub_refuses_sees_what_the_hub_has_with_its_next_role() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library_of_sim(), "{}", &["keep"], &host, &gate);
    // The hub has gone on, and the child does not know yet.
    host.epoch.store(9, Ordering::SeqCst);
    instance.write(1, [write(1, 0, ValueRef::U64(5))]).unwrap();
    host.written(1);
    host.kept.fill([("site/0".to_owned(), b"6"[..].into())]);
    gate.extend(9, u64::MAX >> 1);
    finish(&host, 20, instance.set_role(20, Role::Active, 9, i64::MIN)).unwrap();
    assert_eq!(host.value("6").epoch, 9);
    assert!(host.read(|record| record.puts.is_empty()));
}

/// A write to an item `give` is done when the event is safe.
#[test]
fn events_of_a_child_come_in_order_and_it_hears_what_becomes_of_them() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library_of_sim(), "{}", &["give", "echo"], &host, &gate);
    instance.write(1, [write(1, 1, ValueRef::U64(7))]).unwrap();
    host.value("7");
    instance.write(1, [write(2, 0, ValueRef::Str("4711"))]).unwrap();
    let (number, id, before) = host.wait("the event", |record| record.given.first().cloned());
    assert_eq!((id.as_str(), before), ("4711", 1));
    assert!(host.read(|record| record.writes.iter().all(|done| done.write_id != 2)), "it is not safe yet");
    instance.taken(number, code::OK);
    assert_eq!(host.written(2), code::OK);
    instance.write(1, [write(3, 0, ValueRef::Str("full"))]).unwrap();
    assert_eq!(host.written(3), code::AGAIN, "and values go on meanwhile");
    instance.write(1, [write(4, 1, ValueRef::U64(8))]).unwrap();
    host.value("8");
}

#[test]
fn events_for_a_child_are_answered_once_also_when_that_comes_later() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let settings = r#"{"holds_events": true}"#;
    let instance = active(&library_of_sim(), settings, &["took", "answer"], &host, &gate);
    let long = vec![b'x'; 65_536];
    let event = EventRef {
        flags: 0,
        epoch: 1,
        number: 7,
        source: "pms",
        stream: "note",
        id: "4711",
        key: "room 12",
        payload: &long,
    };
    assert_eq!(instance.deliver(&event), code::PENDING);
    host.value("4711");
    let again = EventRef { number: 8, flags: event_flag::REDELIVERED, payload: b"", ..event };
    assert_eq!(instance.deliver(&again), code::PENDING);
    host.value("4711 again");
    assert!(host.read(|record| record.events.is_empty()));
    instance.write(1, [write(1, 1, ValueRef::Str("done"))]).unwrap();
    instance.write(1, [write(2, 1, ValueRef::Str("later"))]).unwrap();
    assert_eq!((host.written(1), host.written(2)), (code::OK, code::OK));
    let stale = EventRef { number: 9, epoch: 9, ..event };
    assert_eq!(instance.deliver(&stale), code::PENDING);
    host.wait("all answers", |record| (record.events.len() == 3).then_some(()));
    let expected = vec![(7, code::OK), (8, code::AGAIN), (9, code::STALE_EPOCH)];
    assert_eq!(host.read(|record| record.events.clone()), expected);
}

#[test]
fn questions_go_to_the_child_and_answers_come_back() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library_of_sim(), "{}", &["counter"], &host, &gate);
    let below = host.answer_to(11, instance.browse(11, "\"values\"", "", 3)).unwrap();
    assert!(below.contains(r#""address":"counter""#) && below.contains(r#""cursor":"3""#), "{below}");
    assert_eq!(host.answer_to(12, instance.browse(12, "7", "", 3)), Err(code::INVALID));
    assert!(host.answer_to(13, instance.diagnose(13)).unwrap().contains(r#""is_generating":true"#));
    drop(instance);
    // One that offers neither.
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library(&hello()), "{}", &["a"], &host, &gate);
    assert_eq!(instance.diagnose(11).unwrap_err().code, code::UNSUPPORTED);
    assert_eq!(instance.browse(12, "", "", 1).unwrap_err().code, code::UNSUPPORTED);
    assert_eq!(instance.inquire(13, 1, "{}").unwrap_err().code, code::UNSUPPORTED);
}

#[test]
fn values_of_other_interfaces_go_to_the_child_and_their_end_comes_behind_what_it_made_of_them() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library_of_sim(), "{}", &["heard"], &host, &gate);
    finish(&host, 11, instance.watch(11, &[item(0, "a"), item(1, "b")], &[])).unwrap();
    let long = "x".repeat(1 << 20);
    finish(&host, 12, instance.values(12, 1, &[value_in(0, "a", 0), value_in(1, &long, 0)])).unwrap();
    host.read(|record| {
        assert!(record.updates.iter().any(|update| update.value == "2"), "{:?}", record.updates);
        assert_eq!(record.puts.len(), 1);
    });
    // The same place again, a picture, an epoch that is over.
    finish(&host, 13, instance.values(13, 1, &[value_in(0, "a", 0)])).unwrap();
    assert_eq!(host.read(|record| record.puts.len()), 1);
    assert_eq!(
        finish(&host, 14, instance.values(14, 9, &[value_in(0, "a", 0)])).unwrap_err().0,
        code::STALE_EPOCH
    );
    drop(instance);
    // One that takes none.
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library(&hello()), "{}", &["a"], &host, &gate);
    assert_eq!(instance.watch(11, &[item(0, "a")], &[]).unwrap_err().code, code::UNSUPPORTED);
}

#[test]
fn the_gate_is_closed_for_the_child_in_the_moment_it_is_closed_here() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library(&hello()), "{}", &["a"], &host, &gate);
    let send = |id| {
        instance.write(1, [write(id, 0, ValueRef::U64(id))]).unwrap();
        host.written(id)
    };
    for round in 0..50 {
        assert_eq!(send(round * 2), code::OK);
        gate.close();
        assert_ne!(send(round * 2 + 1), code::OK, "the lease is over");
        gate.extend(2, u64::MAX >> 1);
        assert_ne!(send(1_000 + round), code::OK, "it is another epoch's");
        gate.extend(1, u64::MAX >> 1);
    }
}

#[test]
fn without_a_gate_nothing_is_permitted_and_without_need_of_one_everything_is() {
    let host = Recorder::new();
    let instance = support::active(&library(&hello()), "{}", &[item(0, "a")], &host);
    instance.write(1, [write(1, 0, ValueRef::U64(1))]).unwrap();
    assert_eq!(host.written(1), code::OK);
}

#[test]
fn no_value_is_lost_while_the_hub_has_no_room() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    host.refuse_next.store(100, Ordering::SeqCst);
    let config = r#"{"interval_ms": 1, "batch": 8}"#;
    let instance = active(&library(&rust_plugin("libtwinhub_sim")), config, &["counter"; 8], &host, &gate);
    host.value("200");
    assert_eq!(host.refuse_next.load(Ordering::SeqCst), 0);
    drop(instance);
    let gaps =
        host.read(|record| record.updates.windows(2).filter(|two| two[1].seq != two[0].seq + 1).count());
    assert_eq!(gaps, 0);
}

#[test]
fn a_child_that_is_hushed_is_heard_to_its_end_and_then_not_before_its_next_role() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let config = r#"{"interval_ms": 1}"#;
    let instance = active(&library_of_sim(), config, &["counter", "echo"], &host, &gate);
    host.value("3");
    finish(&host, 8, instance.hush(8)).unwrap();
    let heard = host.read(|record| record.updates.len());
    instance.write(1, [write(1, 1, ValueRef::U64(101))]).unwrap();
    assert_eq!(host.written(1), code::NOT_ACTIVE, "no more than it is heard it may act");
    assert_eq!(host.read(|record| record.updates.len()), heard);
    finish(&host, 9, instance.set_role(9, Role::Active, 1, i64::MAX)).unwrap();
    instance.write(1, [write(2, 1, ValueRef::U64(102))]).unwrap();
    host.value("102");
    drop(instance);

    let (host, gate) = (Recorder::new(), GateWords::new());
    host.refuse_next.store(200, Ordering::SeqCst);
    let instance = active(&flood(), "{}", &["a"], &host, &gate);
    host.wait("the flood", |record| record.logs.iter().find(|line| line.2 == "refused").cloned());
    finish(&host, 9, instance.hush(9)).unwrap();
    let heard = host.read(|record| record.updates.len());
    drop(instance);
    assert_eq!(host.read(|record| record.updates.len()), heard, "there was nothing left");
    assert!(heard > 512 && host.refuse_next.load(Ordering::SeqCst) == 0);
}

#[test]
fn a_child_without_room_hears_when_there_is_some() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    // Meanwhile the lane of values is full.
    host.refuse_next.store(200, Ordering::SeqCst);
    let instance = active(&flood(), "{}", &["a"], &host, &gate);
    let said = |word: &str| {
        let line = |record: &support::Record| {
            record.logs.iter().find(|line| line.1 == "flood" && line.2 == word).cloned()
        };
        host.wait(word, line);
    };
    said("refused");
    said("room");
    drop(instance);
    assert!(children().is_empty());
    assert!(host.read(|record| record.faults.is_empty()));
}

#[test]
fn a_crash_is_a_fault_that_says_why_and_concerns_nobody_else() {
    let (host, other, gates) = (Recorder::new(), Recorder::new(), [GateWords::new(), GateWords::new()]);
    let broken = library(&drill("CRASHES"));
    let instance = active(&broken, "{}", &["a"], &host, &gates[0]);
    let sane = active(&library(&hello()), "{}", &["a"], &other, &gates[1]);
    instance.write(1, [write(1, 0, ValueRef::U64(1))]).unwrap();
    let (code, detail) = host.wait("the fault", |record| record.faults.first().cloned());
    assert_eq!(code, code::STOPPED);
    assert!(detail.contains("SIGSEGV"), "{detail}");
    assert!(instance.is_faulted());
    assert!(instance.write(1, [write(2, 0, ValueRef::U64(1))]).is_err());
    assert!(instance.start(7).is_err(), "nobody is left to answer");
    sane.write(1, [write(1, 0, ValueRef::U64(5))]).unwrap();
    assert_eq!(other.written(1), code::OK);
    instance.destroy();
    let again = Recorder::new();
    let instance = active(&broken, "{}", &["a"], &again, &gates[0]);
    assert!(!instance.is_faulted(), "a new process takes its place");
}

#[test]
fn whatever_ends_the_process_is_told_and_answers_what_was_asked() {
    for (fault, word) in [
        ("EXITS", "code 3"),
        ("EXHAUSTS_STACK", "stack overflow"),
        ("EXHAUSTS_MEMORY", "MiB of memory, may have 1024, and was killed"),
    ] {
        let host = Recorder::new();
        let library = library(&drill(fault));
        let instance = library.create("demo", "{}", Arc::clone(&host) as Arc<dyn HostSink>).unwrap();
        finish(&host, 1, instance.start(1)).unwrap();
        let (code, detail) = finish(&host, 2, instance.set_role(2, Role::Active, 1, i64::MIN)).unwrap_err();
        assert_eq!(code, code::STOPPED);
        assert!(detail.contains(word), "{fault}: {detail}");
    }
}

#[test]
fn a_process_that_is_silent_is_killed() {
    let host = Recorder::new();
    let library = library(&drill("BLOCKS"));
    let instance = library.create("demo", "{}", Arc::clone(&host) as Arc<dyn HostSink>).unwrap();
    finish(&host, 1, instance.start(1)).unwrap();
    let (_, detail) = finish(&host, 2, instance.set_role(2, Role::Active, 1, i64::MIN)).unwrap_err();
    assert!(detail.contains("did not answer"), "{detail}");

    let (host, gate) = (Recorder::new(), GateWords::new());
    let instance = active(&library_of_sim(), "{}", &["counter"], &host, &gate);
    host.value("1");
    for child in children() {
        kill_process(child, Signal::STOP).unwrap();
    }
    let (_, detail) = host.wait("the fault", |record| record.faults.first().cloned());
    assert!(detail.contains("did not answer"), "{detail}");
    drop(instance);
    assert!(children().is_empty());
}

#[test]
fn what_was_published_before_a_kill_arrives_whole() {
    let (host, gate) = (Recorder::new(), GateWords::new());
    let config = r#"{"interval_ms": 1, "batch": 64}"#;
    let instance = active(&library_of_sim(), config, &["counter"; 64], &host, &gate);
    host.value("20");
    for child in children() {
        kill_process(child, Signal::KILL).unwrap();
    }
    host.wait("the fault", |record| record.faults.first().cloned());
    drop(instance);
    let (count, gaps) = host.read(|record| {
        let gaps = record.updates.windows(2).filter(|two| two[1].seq != two[0].seq + 1).count();
        (record.updates.len(), gaps)
    });
    assert!(count >= 64 * 20);
    assert_eq!(gaps, 0, "all of {count} are in order");
}

/// A plugin that tries what it may not; its line in the log names what worked.
fn burglar(needs: &[&str]) -> PathBuf {
    let mut manifest: serde_json::Value = serde_json::from_str(&support::manifest()).unwrap();
    manifest["hosting"] =
        serde_json::json!({"allowed": ["isolated"], "recommended": "isolated", "needs": needs});
    let source = root().join("core/isolation/tests/fixtures/burglar.c");
    let define = format!("MANIFEST={:?}", manifest.to_string());
    c_plugin(&source, &format!("isolated_burglar_{}", needs.len()), &[&define])
}

#[test]
fn a_child_can_do_what_its_plugin_declares_to_need_and_no_more() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    let named = tempfile::NamedTempFile::new().unwrap();
    let config =
        serde_json::json!({"key_file": named.path(), "try": secret.path().to_str().unwrap().get(1..)});
    let tried = |needs: &[&str]| {
        let (host, gate) = (Recorder::new(), GateWords::new());
        let _instance = active(&library(&burglar(needs)), &config.to_string(), &["a"], &host, &gate);
        let lacks = |record: &support::Record| {
            record.logs.iter().find(|line| line.1 == "sandbox").map(|line| line.2.clone())
        };
        if let Some(lacks) = host.read(lacks) {
            println!("this kernel cannot do all of it: {lacks}");
        }
        host.wait("what it tried", |record| {
            record.logs.iter().find(|line| line.1 == "burglar").map(|line| line.2.clone())
        })
    };
    assert_eq!(tried(&[]), "hosts");
    assert_eq!(tried(&["network"]), "hosts inet");
    assert_eq!(tried(&["network", "files"]), "hosts named inet");
    // Only root has raw sockets.
    let raw = if rustix::process::geteuid().is_root() { "hosts inet raw" } else { "hosts inet" };
    assert_eq!(tried(&["network", "raw-socket", "dns"]), raw);
}

#[test]
fn a_library_that_is_none_is_refused_before_a_process_is_made() {
    let missing = Library::elsewhere("/nowhere.so", support::cache(), |_, _| panic!("nothing to make"));
    assert!(missing.is_err());
}

#[test]
fn a_program_that_hosts_nothing_is_told() {
    let host = HostProgram { program: "/bin/true".into(), arguments: Vec::new() };
    let library = Library::elsewhere(hello(), support::cache(), |copy, manifest| {
        Arc::new(Isolated::new(host, copy, manifest))
    })
    .unwrap();
    let error = library.create("demo", "{}", Recorder::new()).unwrap_err();
    assert_eq!(error.code, code::STOPPED);
    assert!(error.detail.contains("code 0"), "{error}");
}

fn flood() -> Library {
    let source = root().join("core/isolation/tests/fixtures/flood.c");
    library(&c_plugin(&source, "isolated_flood", &[]))
}

fn library_of_sim() -> Library {
    library(&rust_plugin("libtwinhub_sim"))
}
