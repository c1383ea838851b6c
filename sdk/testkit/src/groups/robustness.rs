//! A hub and a world that are not as wished.

use std::time::Duration;

use twinhub_contract::code;
use twinhub_contract::constants::TIME_NONE;
use twinhub_loader::Role;

use super::abi::is_done;
use super::{Group, Outcome, Test, failed, hold};
use crate::bench::{Bench, said};

pub(super) const TESTS: &[Test] = &[
    test(
        "no_room",
        "a hub without room is asked again, not hammered, and gets the latest value of each item",
        no_room,
    ),
    test("stale_epoch", "publishing in an epoch that is over does no harm", stale_epoch),
    test("ended_lease", "without a lease nothing is written, and with a new one it is", ended_lease),
    test("past_deadline", "after its deadline a write is not sent", past_deadline),
    test("many_writes", "a thousand writes in one batch are all answered", many_writes),
    test("siblings", "an instance works on while another one comes and goes", siblings),
    test("as_it_is", "with the device as it is, also absent, it stays usable for 3 s", as_it_is),
    test("flood", "it publishes no more than an item table takes", flood),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Robustness, name, about, run)
}

fn no_room(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    unit.host.refuse(code::AGAIN);
    unit.role(Role::Active)?;
    // Writes make some plugins publish.
    for (item, value) in unit.writable().unwrap_or_default() {
        let _taken = unit.write(unit.epoch(), item, value);
    }
    unit.let_run(WITHOUT_ROOM);
    let (calls, items) = {
        let record = unit.host.record();
        (record.publish_calls, record.refused_items.clone())
    };
    hold(calls <= HAMMERED, || {
        format!(
            "publish() was called {calls} times in {} s although the hub had no room",
            WITHOUT_ROOM.as_secs()
        )
    })?;
    unit.host.refuse(code::OK);
    // Who has no thread of its own gets a chance.
    super::abi::works(&unit)
        .or_else(|stop| if matches!(stop, super::Stop::Skipped(_)) { Ok(()) } else { Err(stop) })?;
    bench.step("waiting for values after there was room again");
    let came = unit.host.wait(PATIENCE, |record| {
        items.iter().all(|item| record.taken.iter().any(|taken| taken.item == *item)).then_some(())
    });
    hold(came.is_some() || items.is_empty(), || {
        "values for which there was no room did not come when there was".to_owned()
    })?;
    Ok(if items.is_empty() {
        "it had nothing to publish".to_owned()
    } else {
        format!("{calls} calls without room, {} items caught up", items.len())
    })
}

fn stale_epoch(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    unit.host.refuse(code::STALE_EPOCH);
    for (item, value) in unit.writable().unwrap_or_default() {
        let _taken = unit.write(unit.epoch(), item, value);
    }
    unit.let_run(Duration::from_secs(1));
    let calls = unit.host.record().publish_calls;
    hold(calls <= HAMMERED, || {
        format!("publish() was called {calls} times in 1 s although the epoch was over")
    })?;
    unit.host.refuse(code::OK);
    unit.role(Role::Cold)?;
    unit.role(Role::Active)?;
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn ended_lease(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let writable = unit.writable()?;
    unit.host.set_lease_end(0);
    for (item, value) in &writable {
        if let Ok(id) = unit.write(unit.epoch(), *item, *value) {
            let result = unit.answer(id)?;
            hold(!is_done(result), || {
                "it wrote although the lease had ended: twinhub.gate/1 is asked right before each send"
                    .to_owned()
            })?;
            hold(result.is_none_or(|result| result.code != code::TIMEOUT), || {
                "a write after the end of the lease is answered with E_TIMEOUT, as if it might have been sent"
                    .to_owned()
            })?;
        }
    }
    unit.host.set_lease_end(i64::MAX);
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn past_deadline(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    for (item, value) in unit.writable()? {
        // A nanosecond after the machine was switched on.
        if let Ok(id) = unit.write_until(unit.epoch(), item, value, 1) {
            let result = unit.answer(id)?;
            let refusals = [code::EXPIRED, code::NOT_ACTIVE, code::DEVICE];
            let other = result.map(|result| result.code).filter(|code| !refusals.contains(code));
            if let Some(other) = other {
                let what = "a write whose deadline had passed is answered with code";
                return failed(format!("{what} {other}, not E_EXPIRED"));
            }
        }
    }
    Ok(String::new())
}

fn many_writes(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let writable = unit.writable()?;
    let writes: Vec<_> = writable
        .iter()
        .cycle()
        .take(1_000)
        .map(|(item, value)| {
            let write_id = unit.write_id();
            unit.host.expect_write(write_id);
            twinhub_loader::WriteReq {
                write_id,
                item: *item,
                deadline_ns: TIME_NONE,
                flags: 0,
                value: *value,
            }
        })
        .collect();
    bench.step("write of 1,000 values");
    match unit.instance.write(unit.epoch(), &writes) {
        Ok(()) => unit.all_answered()?,
        Err(error) if error.code == code::AGAIN => {
            for write in &writes {
                unit.host.forget_write(write.write_id);
            }
        }
        Err(error) => return failed(format!("1,000 writes: {}", said(&error))),
    }
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn siblings(bench: &Bench) -> Outcome {
    let stays = bench.active()?;
    for _ in 0..10 {
        let goes = bench.active()?;
        super::abi::works(&stays)?;
        goes.destroy();
        super::abi::works(&stays)?;
    }
    let wrong = bench.create("[0").map(drop);
    hold(wrong.is_err() || bench.manifest().config_schema.get("properties").is_none(), || {
        "a sibling with a text that is no JSON was made".to_owned()
    })?;
    super::abi::works(&stays)?;
    Ok(String::new())
}

fn as_it_is(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    unit.let_run(Duration::from_secs(3));
    let faults = unit.host.record().faults.clone();
    hold(faults.is_empty(), || {
        format!(
            "it declared itself unusable ({}): a device that is absent is a state, no fault",
            faults.join("; ")
        )
    })?;
    super::abi::works(&unit)?;
    unit.role(Role::Cold)?;
    Ok(format!("{} values", unit.host.record().taken_count))
}

fn flood(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let before = unit.host.record().taken_count;
    unit.let_run(FLOOD);
    let values = unit.host.record().taken_count - before;
    let rate = values / FLOOD.as_secs();
    hold(rate <= RATE_MAX, || format!("{rate} values/s, unasked: more than {RATE_MAX}/s is a flood"))?;
    Ok(format!("{rate} values/s"))
}

const WITHOUT_ROOM: Duration = Duration::from_secs(2);
/// Calls of `publish` that are too many in a second or two.
const HAMMERED: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
const FLOOD: Duration = Duration::from_secs(2);
/// More than a whole site is made for: an interface that gives as much leaves nothing for the others.
const RATE_MAX: u64 = 200_000;
