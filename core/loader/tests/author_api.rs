//! What the author API promises, seen from the hub: the plugin below is linked instead of loaded, everything else is as
//! with a library.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "loading/support.rs"]
#[allow(dead_code, reason = "shared with the tests of loaded libraries")]
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use twinhub_contract::constants::inquiry;
use twinhub_contract::{Entry, code};
use twinhub_loader::{HostSink, Instance, Library, Role, Status, ValueRef};
use twinhub_plugin::{
    Browse, Code, Ctx, Deadline, Discover, Epoch, Error, Found, InterfaceState, Item, ItemDef, Message,
    MessageLog, Monitor, Node, Page, Place, Plugin, Result, Step, Test, Update, Value, ValuesIn, WriteBatch,
    WriteId,
};

use support::{Recorder, finish, item, value_in, write};

/// Does what its configuration says.
struct Drill {
    cx: Ctx,
    mode: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Config {
    mode: String,
}

impl Plugin for Drill {
    type Config = Config;
    const MANIFEST: &'static str = r#"{
        "manifest": 1, "id": "org.example.drill", "name": "Drill", "vendor": "Example", "version": "0.1.0",
        "license": "MIT", "abi": {"min": "1.0", "max": "1.0"}, "kind": "module",
        "config_schema": {"type": "object", "properties": {"mode": {"type": "string", "minLength": 1}}},
        "item_address_schema": {},
        "mb": {
            "relevant": false, "possible": "yes", "default_standby": "cold",
            "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
            "state": "none", "fence": "none", "recovery": "none", "parallel_input": false
        },
        "capabilities": [{"name": "drills"}],
        "hosting": {"allowed": ["inproc"], "recommended": "inproc"}
    }"#;

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        assert!(config.mode != "create-panics", "no instance today");
        if config.mode == "create-fails" {
            return Err(Error::config("mode: no instance today"));
        }
        Ok(Self { cx, mode: config.mode })
    }

    async fn start(&mut self) -> Result<()> {
        match self.mode.as_str() {
            "start-fails" => return Err(Error::new(Code::Busy, "the port is taken")),
            "start-hangs" => std::future::pending().await,
            "start-panics" => panic!("no start today"),
            "task-panics" => drop(self.cx.spawn(async { panic!("no task today") })),
            "task-fails" => drop(self.cx.spawn(async { Err(Error::device("gone for good")) })),
            "status" => {
                for _ in 0..3 {
                    self.cx.status(InterfaceState::Connecting, "dialing");
                }
                self.cx.status(InterfaceState::Ok, "");
            }
            "talks-on" => {
                let publisher = self.cx.publisher();
                drop(self.cx.spawn(async move {
                    loop {
                        publisher.push(Update::new(Item(0), 1_i64));
                        publisher.flush();
                        tokio::task::yield_now().await;
                    }
                }));
            }
            "drains" => {
                let cx = self.cx.clone();
                drop(self.cx.spawn(async move {
                    let publisher = cx.publisher();
                    publisher.push(Update::new(Item(0), 1_i64));
                    publisher.flush();
                    assert_eq!(publisher.waiting(), 1);
                    publisher.drained().await;
                    cx.count("drained", 1);
                    Ok(())
                }));
            }
            "store" => self.use_store()?,
            "values" => {
                let publisher = self.cx.publisher();
                let values: [Value; 5] = [
                    Value::Null,
                    Value::Time(5),
                    vec![1_u8, 2].into(),
                    Value::Json("{}".into()),
                    Value::Array(twinhub_plugin::Array::F64(vec![1.0, 2.0])),
                ];
                for (item, value) in (0..).zip(values) {
                    publisher.push(Update::new(Item(item), value));
                }
                publisher.push(Update::new(Item(9), "x".repeat((1 << 20) + 1)));
            }
            _ => {}
        }
        Ok(())
    }

    async fn items(&mut self, _add: Vec<ItemDef>, _remove: Vec<Item>) -> Result<()> {
        Ok(())
    }

    async fn role(&mut self, _to: twinhub_plugin::Role, _epoch: Epoch, _deadline: Deadline) -> Result<()> {
        if self.mode == "role-hangs" { std::future::pending().await } else { Ok(()) }
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        self.cx.count("write.begun", 1);
        match self.mode.as_str() {
            "write-hangs" => std::future::pending().await,
            "write-fails" => return Err(Error::timeout("no answer")),
            "write-forgets" => {
                let first = batch.iter().next().map(|entry| entry.id);
                if let Some(first) = first {
                    batch.done(first, Code::Ok);
                    batch.done(first, Code::Device);
                }
            }
            "write-many" => {
                let ids: Vec<_> = batch.iter().map(|entry| entry.id).collect();
                assert!(batch.refs().map(|write| write.to_entry()).eq(batch.iter().cloned()));
                batch.done(ids[1], Code::Busy);
                // One answered already, one twice, one of nobody.
                let some = [ids[0], ids[1], ids[2], ids[2], WriteId(99)];
                batch.done_many(some, Code::Invalid);
                batch.done_many([ids[0]], Code::Device);
                assert_eq!(batch.unanswered(), ids.len() - 3);
                batch.done_many(ids.iter().rev().copied(), Code::Ok);
                assert_eq!(batch.unanswered(), 0);
            }
            "write-later" => {
                self.cx.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    batch.done_all(Code::Ok);
                    Ok(())
                });
            }
            "write-publishes" => {
                self.cx.publisher().push(Update::new(Item(0), 7));
                batch.done_all(Code::Ok);
            }
            "write-permitted" => {
                let permit = self.cx.gate().permit(batch.epoch())?;
                self.cx.count("write.permitted", 1);
                while permit.is_valid() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                permit.recheck()?;
            }
            _ => batch.done_all(Code::Ok),
        }
        Ok(())
    }

    fn browse(&mut self, browse: Browse) {
        assert!(self.mode != "browse-panics", "no list today");
        let nodes = match (self.mode.as_str(), browse.parent().as_str()) {
            ("browse-forgets", _) => return,
            ("browse-long", _) => vec![Node::new("x".repeat(300 * 1024))],
            (_, None) => vec![Node::new("Boiler").parent("boiler").description(browse.limit().to_string())],
            (_, Some(parent)) => vec![Node::new(browse.cursor()).column("path", format!("{parent}/flow"))],
        };
        if self.mode == "browse-hangs" {
            drop(self.cx.spawn(async move {
                std::future::pending::<()>().await;
                browse.answer(&Page::of(nodes));
                Ok(())
            }));
            return;
        }
        self.cx.spawn(async move {
            tokio::task::yield_now().await;
            browse.answer(&Page { nodes, cursor: Some("next".to_owned()) });
            Ok(())
        });
    }

    fn test(&mut self, test: Test) {
        let took = Duration::from_millis(3);
        self.cx.spawn(async move {
            test.answer(&[Step::ok("connect").detail("version 2").took(took), Step::failed("read")]);
            Ok(())
        });
    }

    fn discover(&mut self, discover: Discover) {
        if self.mode != "inquiry" {
            return;
        }
        let wait = u64::try_from(discover.wait().as_millis()).unwrap();
        discover.answer(&[Found::new("10.0.0.5").name("Gateway").setting("wait_ms", wait)]);
    }

    fn monitor(&mut self, monitor: Monitor) {
        let mut log = MessageLog::new(2);
        for number in 1..=3 {
            log.push(Message::incoming().sender("1.1.5").target("1/2/3").raw(&[12, number]).time_ns(77));
        }
        monitor.answer(&log);
    }

    async fn watch(&mut self, add: Vec<ItemDef>, _remove: Vec<Item>) -> Result<()> {
        if self.mode == "values-none" {
            return Err(Error::unsupported("no values today"));
        }
        self.cx.count("watched", u64::try_from(add.len()).unwrap_or(0));
        Ok(())
    }

    fn values_in(&mut self, values: ValuesIn) {
        match self.mode.as_str() {
            "values-forgotten" => {}
            "values-refused" => values.refuse(&Error::device("not now")),
            "values-panic" => panic!("no values today"),
            _ => {
                let publisher = self.cx.publisher();
                for value in &values {
                    assert_eq!((value.place, value.source_ns), (values.place(), 77));
                    publisher.push(Update::new(value.item, value.value.clone()).quality(value.quality));
                }
                assert_eq!(values.since(values.place()).count(), 0);
                assert_eq!(values.since(Place::default()).count(), values.iter().count() - 1, "no pictures");
                values.done();
            }
        }
    }

    fn diagnose(&self) -> Result<serde_json::Value> {
        if self.mode == "diag" {
            Ok(serde_json::json!({"mode": self.mode}))
        } else {
            Err(Error::device("gone"))
        }
    }

    async fn stop(&mut self) {
        assert!(self.mode != "stop-panics", "no stop today");
    }
}

impl Drill {
    /// Tries everything that its store can do.
    fn use_store(&self) -> Result<()> {
        let store = self.cx.store().unwrap();
        assert_eq!(store.get("before")?.as_deref(), Some(&b"left"[..]));
        assert_eq!(store.get("nothing")?, None);
        let longest = vec![7; 64 * 1024];
        store.put("a", &longest)?;
        store.put("b", b"")?;
        store.remove("before")?;
        store.remove("nothing")?;
        assert_eq!((store.get("a")?, store.get("b")?), (Some(longest), Some(Vec::new())));
        assert_eq!(store.keys()?, ["a", "b"]);
        for refused in
            [store.put("", b"1"), store.put(&"k".repeat(129), b"1"), store.put("c", &vec![0; 65_537])]
        {
            assert_eq!(refused.unwrap_err().code(), Code::Invalid);
        }
        assert_eq!(store.get(&"k".repeat(129)).unwrap_err().code(), Code::Invalid);
        let large = vec![0; 65_000];
        let mut fill = (0..).map(|number: u32| store.put(&number.to_string(), &large));
        assert_eq!(fill.find_map(Result::err).unwrap().code(), Code::Full);
        Ok(())
    }
}

static ENTRY: Entry =
    twinhub_plugin::__private::entry(Drill::MANIFEST, twinhub_plugin::__private::create::<Drill>);

#[test]
fn a_hanging_write_is_cut_off_by_the_role_and_reported_as_unknown() {
    let (host, instance) = active("write-hangs");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    begun(&host);
    let begun = Instant::now();
    let deadline = twinhub_plugin::boottime_ns() + 200_000_000;
    finish(&host, 4, instance.set_role(4, Role::Hot, 2, deadline)).unwrap();
    assert_eq!(host.written(1), code::TIMEOUT);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Given later, it would pass for something that the standby has heard.
#[test]
fn what_the_hub_had_no_room_for_is_forgotten_with_the_role_by_a_plugin_that_is_silent_while_inactive() {
    for role in [Role::Cold, Role::Warm, Role::Hot] {
        let (host, instance) = active("write-publishes");
        host.refuse_next.store(usize::MAX, Ordering::SeqCst);
        instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
        host.wait("the value is refused", |record| record.refused.first().cloned());
        finish(&host, 4, instance.set_role(4, role, 2, i64::MIN)).unwrap();
        host.refuse_next.store(0, Ordering::SeqCst);
        host.wait("it is forgotten", |record| {
            record.counts.iter().find(|count| count.0 == "publish.not_active").cloned()
        });
        finish(&host, 5, instance.stop(5)).unwrap();
        assert_eq!(host.read(|record| record.updates.len()), 0, "{role:?}");
    }
}

/// As a task does that was busy when the role fell.
#[test]
fn what_a_task_says_in_a_role_without_traffic_is_not_told_to_the_hub() {
    for role in [Role::Cold, Role::Warm] {
        let (host, instance) = active("talks-on");
        host.value("1");
        finish(&host, 4, instance.set_role(4, role, 2, i64::MIN)).unwrap();
        host.wait("it is dropped", |record| {
            record.counts.iter().find(|count| count.0 == "publish.not_active").cloned()
        });
        let said = host.read(|record| record.updates.iter().filter(|update| update.epoch > 1).count());
        assert_eq!(said, 0, "{role:?}");
        finish(&host, 5, instance.stop(5)).unwrap();
    }
}

/// Operations 11 and 12.
fn give(host: &Recorder, instance: &Instance) -> std::result::Result<(), (i32, String)> {
    finish(host, 11, instance.watch(11, &[item(0, "x"), item(1, "y")], &[]))?;
    finish(host, 12, instance.values(12, 1, &[value_in(0, "a", 0), value_in(1, "b", 1)]))
}

#[test]
fn values_of_other_interfaces_are_completed_behind_what_was_made_of_them() {
    let (host, instance) = active("values-taken");
    host.refuse_next.store(3, Ordering::SeqCst);
    give(&host, &instance).unwrap();
    assert_eq!(host.counted("watched"), 2);
    let (done, updates) =
        host.read(|record| (record.ops.iter().any(|op| op.0 == 12), record.updates.clone()));
    let values: Vec<&str> = updates.iter().map(|update| update.value.as_str()).collect();
    assert!(done && values == ["a", "b"], "{updates:?}");
    // Late ones, of another role or epoch, are given back.
    let late = [value_in(0, "c", 0)];
    assert_eq!(instance.values(13, 9, &late).unwrap_err().code, code::STALE_EPOCH);
    finish(&host, 14, instance.set_role(14, Role::Hot, 2, i64::MIN)).unwrap();
    assert_eq!(instance.values(15, 2, &late).unwrap_err().code, code::NOT_ACTIVE);
    finish(&host, 16, instance.stop(16)).unwrap();
    assert_eq!(instance.values(17, 2, &late).unwrap_err().code, code::STOPPED);
}

#[test]
fn values_that_are_refused_or_forgotten_are_told() {
    for (mode, told) in [
        ("values-refused", code::DEVICE),
        ("values-forgotten", code::STOPPED),
        ("values-none", code::UNSUPPORTED),
    ] {
        let (host, instance) = active(mode);
        assert_eq!(give(&host, &instance).unwrap_err().0, told, "{mode}");
    }
    let (host, instance) = active("values-panic");
    assert!(give(&host, &instance).is_err());
    host.wait("the fault", |record| record.faults.first().cloned());
}

#[test]
fn a_hanging_write_does_not_keep_an_instance_alive() {
    let (host, instance) = active("write-hangs");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    begun(&host);
    instance.write(1, &[write(2, 0, ValueRef::Null)]).unwrap();
    finish(&host, 4, instance.stop(4)).unwrap();
    instance.destroy();
    assert_eq!(host.written(1), code::TIMEOUT, "it may have been sent");
    assert_eq!(host.written(2), code::STOPPED, "it was never sent");
}

#[test]
fn a_permit_ends_with_the_role_even_while_a_write_runs() {
    let (host, instance) = active("write-permitted");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    permitted(&host);
    finish(&host, 4, instance.set_role(4, Role::Hot, 2, i64::MIN)).unwrap();
    // The role falls before the epoch changes, so either may be seen first.
    assert!([code::STALE_EPOCH, code::NOT_ACTIVE].contains(&host.written(1)));
    let refused = host.counted("suppressed.stale_epoch") + host.counted("suppressed.not_active");
    assert_eq!(refused, 2, "is_valid and recheck, each refused once");
}

#[test]
fn a_permit_ends_with_the_lease_even_while_a_write_runs() {
    let (host, instance) = active("write-permitted");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    permitted(&host);
    host.lease_end.store(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(host.written(1), code::NOT_ACTIVE);
}

#[test]
fn writes_are_answered_once_however_they_end() {
    let (host, instance) = active("write-fails");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    assert_eq!(host.written(1), code::TIMEOUT, "the error that was returned");
    let (host, instance_of_forgetful) = active("write-forgets");
    instance_of_forgetful.write(1, &[write(1, 0, ValueRef::Null), write(2, 0, ValueRef::Null)]).unwrap();
    assert_eq!((host.written(1), host.written(2)), (code::OK, code::DEVICE));
    let (later, instance_of_later) = active("write-later");
    instance_of_later.write(1, &[write(1, 0, ValueRef::Null), write(2, 0, ValueRef::Null)]).unwrap();
    assert_eq!((later.written(1), later.written(2)), (code::OK, code::OK));
    assert_eq!(host.read(|record| record.writes.len()), 2, "a second answer is ignored");
}

#[test]
fn leaving_the_role_waits_for_writes_that_a_task_answers() {
    let (host, instance) = active("write-later");
    instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap();
    begun(&host);
    finish(&host, 4, instance.set_role(4, Role::Hot, 2, i64::MIN)).unwrap();
    assert_eq!(host.read(|record| record.writes.first().map(|result| result.code)), Some(code::OK));
}

#[test]
fn writes_that_a_role_change_or_a_stop_overtakes_are_answered_before_it_is_done() {
    for ends in ["role", "stop"] {
        let (host, instance) = active("write-hangs");
        // The first one is under way, the others stand in line.
        for id in 1..=3 {
            instance.write(1, &[write(id, 0, ValueRef::Null)]).unwrap();
        }
        begun(&host);
        let done =
            if ends == "role" { instance.set_role(4, Role::Hot, 2, i64::MIN) } else { instance.stop(4) };
        finish(&host, 4, done).unwrap();
        let answered = host.read(|record| record.writes.iter().map(|it| it.code).collect::<Vec<_>>());
        let refusal = if ends == "role" { code::NOT_ACTIVE } else { code::STOPPED };
        assert_eq!(answered, [code::TIMEOUT, refusal, refusal], "{ends}");
    }
}

#[test]
fn what_the_manifest_forbids_never_reaches_the_plugin() {
    for (config, said) in [
        ("[\"idle\"]", "configuration: expected object, found a list"),
        ("{\"mode\":7}", "configuration: `mode`: expected string, found 7"),
        ("{\"mode\":\"\"}", "configuration: `mode`: expected a length of at least 1"),
        ("{", "configuration: EOF while parsing"),
    ] {
        let error = Library::linked(&ENTRY).unwrap().create("drill", config, Recorder::new()).unwrap_err();
        assert_eq!(error.code, code::CONFIG);
        assert!(error.detail.starts_with(said), "{}", error.detail);
    }
}

#[test]
fn a_role_change_that_hangs_ends_at_its_deadline_with_the_gate_closed() {
    let (host, instance) = created("role-hangs");
    let deadline = twinhub_plugin::boottime_ns() + 20_000_000;
    let changed = finish(&host, 1, instance.set_role(1, Role::Active, 1, deadline));
    assert_eq!(changed.unwrap_err().0, code::TIMEOUT);
    let refused = instance.write(1, &[write(1, 0, ValueRef::Null)]).unwrap_err();
    assert_eq!(refused.code, code::NOT_ACTIVE, "the lower one of the two roles is in force");
}

#[test]
fn faults_of_tasks_and_calls_are_told() {
    for (mode, code, text) in [
        ("task-panics", code::PANIC, "no task today"),
        ("task-fails", code::DEVICE, "gone for good"),
        ("start-panics", code::PANIC, "no start today"),
        ("create-panics", code::PANIC, "no instance today"),
    ] {
        let (host, instance) = created(mode);
        drop(instance.start(1));
        let fault = host.wait(mode, |record| record.faults.first().cloned());
        assert_eq!(fault.0, code, "{mode}");
        assert!(fault.1.contains(text), "{mode}: {}", fault.1);
        assert_eq!(instance.start(2).unwrap_err().code, code::PANIC, "{mode}");
        instance.destroy();
        assert_eq!(host.read(|record| record.faults.len()), 1, "{mode}: told once");
    }
    let (host, instance) = created("stop-panics");
    assert_eq!(finish(&host, 1, instance.stop(1)).unwrap_err().0, code::PANIC);
}

#[test]
fn several_writes_are_answered_in_one_call_and_each_of_them_once() {
    let (host, instance) = active("write-many");
    let writes: Vec<_> = (1..=6).map(|id| write(id, 0, ValueRef::Null)).collect();
    instance.write(1, &writes).unwrap();
    assert_eq!(host.written(6), code::OK);
    let results: Vec<_> = host.read(|record| record.writes.iter().map(|r| (r.write_id, r.code)).collect());
    let (busy, invalid, ok) = (code::BUSY, code::INVALID, code::OK);
    assert_eq!(results, [(2, busy), (1, invalid), (3, invalid), (6, ok), (5, ok), (4, ok)]);
    assert!(host.read(|record| record.faults.is_empty()));
}

#[test]
fn a_refused_start_says_why() {
    let (host, instance) = created("start-fails");
    let refused = finish(&host, 1, instance.start(1)).unwrap_err();
    assert_eq!(refused, (code::BUSY, "the port is taken".to_owned()));
}

#[test]
fn what_only_the_plugin_can_judge_is_told_by_the_first_start() {
    let (host, instance) = created("create-fails");
    let refused = finish(&host, 1, instance.start(1)).unwrap_err();
    assert_eq!(refused, (code::CONFIG, "mode: no instance today".to_owned()));
}

#[test]
fn a_hanging_start_is_cut_off_by_a_stop() {
    let (host, instance) = created("start-hangs");
    assert_eq!(instance.start(1), Ok(Status::Pending));
    finish(&host, 2, instance.stop(2)).unwrap();
    assert_eq!(host.op(1).0, code::STOPPED);
}

#[test]
fn the_same_status_is_reported_once() {
    let (host, instance) = created("status");
    finish(&host, 1, instance.start(1)).unwrap();
    assert_eq!(host.read(|record| record.states.clone()), [(1, "dialing".to_owned()), (2, String::new())]);
}

#[test]
fn every_kind_of_value_arrives_and_a_too_long_one_is_marked_bad() {
    let (host, instance) = created("values");
    finish(&host, 1, instance.start(1)).unwrap();
    let values: Vec<_> = host.read(|record| record.updates.iter().map(|seen| seen.value.clone()).collect());
    assert_eq!(values, ["null", "5", "2 bytes", "{}", "16 bytes", "null"]);
}

#[test]
fn what_is_put_is_there_at_once_within_limits_and_goes_to_the_hub_in_order() {
    let (host, instance) = created("store");
    host.kept.fill([("before".to_owned(), b"left"[..].into())]);
    finish(&host, 1, instance.start(1)).unwrap();
    let puts = host.read(|record| record.puts.iter().map(|put| put.0.clone()).collect::<Vec<_>>());
    assert_eq!(puts[..4], ["a", "b", "before", "0"]);
    assert_eq!(host.counted("store.refused"), 2, "the empty key, and what is too much");
    let (stale, instance) = created("store");
    stale.epoch.store(9, std::sync::atomic::Ordering::SeqCst);
    stale.kept.fill([("before".to_owned(), b"left"[..].into())]);
    let refused = finish(&stale, 1, instance.start(1)).unwrap_err();
    assert!(refused.1.contains("STALE_EPOCH"), "{refused:?}");
}

#[test]
fn what_waits_for_room_goes_on_when_the_hub_has_some_and_who_waits_for_that_is_told() {
    let (host, instance) = created("drains");
    host.refuse_next.store(3, std::sync::atomic::Ordering::SeqCst);
    finish(&host, 1, instance.start(1)).unwrap();
    instance.room();
    host.value("1");
    host.wait("it is told", |record| record.counts.iter().find(|count| count.0 == "drained").cloned());
    assert!(instance.has_extension(twinhub_contract::extension::FLOW));
}

#[test]
fn questions_are_answered_from_tasks_and_each_of_them_once() {
    let (host, instance) = created("browse");
    let top = host.answer_to(11, instance.browse(11, "", "", 5)).unwrap();
    assert_eq!(top, r#"{"nodes":[{"name":"Boiler","description":"5","parent":"boiler"}],"cursor":"next"}"#);
    let below = host.answer_to(12, instance.browse(12, "\"boiler\"", "next", 0)).unwrap();
    assert_eq!(below, r#"{"nodes":[{"name":"next","row":{"path":"boiler/flow"}}],"cursor":"next"}"#);
    assert_eq!(instance.browse(13, "no JSON", "", 5).unwrap_err().code, code::INVALID);
    let (host, instance) = created("diag");
    assert_eq!(host.answer_to(11, instance.diagnose(11)).unwrap(), r#"{"mode":"diag"}"#);
    assert_eq!(host.counted("answer.unexpected") + host.counted("op_done.unexpected"), 0);
}

#[test]
fn questions_that_the_plugin_does_not_answer_are_refused() {
    for (mode, expected) in [("browse-forgets", code::STOPPED), ("browse-long", code::FULL)] {
        let (host, instance) = created(mode);
        assert_eq!(host.answer_to(11, instance.browse(11, "", "", 5)), Err(expected), "{mode}");
    }
    let (host, instance) = created("gone");
    assert_eq!(host.answer_to(11, instance.diagnose(11)), Err(code::DEVICE));
    let (host, instance) = created("browse-hangs");
    assert_eq!(instance.browse(11, "", "", 5), Ok(Status::Pending));
    finish(&host, 12, instance.stop(12)).unwrap();
    assert_eq!(host.op(11).0, code::STOPPED, "it ends with the instance");
    let (host, instance) = created("browse-panics");
    assert_eq!(instance.browse(11, "", "", 5), Ok(Status::Pending));
    assert!(host.wait("the fault", |record| record.faults.first().cloned()).1.contains("no list today"));
    assert_eq!(host.op(11).0, code::STOPPED);
    drop(instance);
    assert!(host.read(|record| record.answers.is_empty()));
}

#[test]
fn whoever_puts_an_interface_into_service_is_answered() {
    let (host, instance) = created("inquiry");
    let ask = |op, question, request: &str| host.answer_to(op, instance.inquire(op, question, request));
    assert_eq!(
        ask(11, inquiry::TEST, "{}").unwrap(),
        r#"{"steps":[{"name":"connect","outcome":"ok","detail":"version 2","took_ms":3.0},{"name":"read","outcome":"failed"}]}"#
    );
    assert_eq!(
        ask(12, inquiry::DISCOVER, r#"{"wait_ms":50}"#).unwrap(),
        r#"{"found":[{"address":"10.0.0.5","name":"Gateway","settings":{"wait_ms":50}}]}"#
    );
    let message = |number: u64| {
        format!(
            r#"{{"number":{number},"time_ns":77,"direction":"in","from":"1.1.5","to":"1/2/3","raw":"0c{number:02x}"}}"#
        )
    };
    let both = format!(r#"{{"last":3,"messages":[{},{}]}}"#, message(2), message(3));
    assert_eq!(ask(13, inquiry::MONITOR, "{}").unwrap(), both);
    let one = format!(r#"{{"last":3,"messages":[{}]}}"#, message(3));
    assert_eq!(ask(14, inquiry::MONITOR, r#"{"after":2,"limit":9}"#).unwrap(), one);
    assert_eq!(ask(15, 4, "{}"), Err(code::UNSUPPORTED));
    assert_eq!(ask(16, inquiry::TEST, "no JSON"), Err(code::INVALID));
    let (host, instance) = created("forgets");
    assert_eq!(host.answer_to(11, instance.inquire(11, inquiry::DISCOVER, "{}")), Err(code::STOPPED));
}

fn begun(host: &Recorder) {
    host.wait("the write begins", |record| record.counts.iter().find(|c| c.0 == "write.begun").cloned());
}

/// Waits until the write holds its permit: before that, the end of the role is refused at the gate instead.
fn permitted(host: &Recorder) {
    host.wait("the write is permitted", |record| {
        record.counts.iter().find(|count| count.0 == "write.permitted").cloned()
    });
}

fn created(mode: &str) -> (Arc<Recorder>, Instance) {
    let host = Recorder::new();
    let library = Library::linked(&ENTRY).unwrap();
    let config = format!("{{\"mode\": \"{mode}\"}}");
    let instance = library.create("drill", &config, Arc::clone(&host) as Arc<dyn HostSink>).unwrap();
    (host, instance)
}

fn active(mode: &str) -> (Arc<Recorder>, Instance) {
    let (host, instance) = created(mode);
    finish(&host, 1, instance.items(1, &[item(0, "x")], &[])).unwrap();
    finish(&host, 2, instance.start(2)).unwrap();
    finish(&host, 3, instance.set_role(3, Role::Active, 1, i64::MIN)).unwrap();
    (host, instance)
}
