//! Calls, threads and what is left behind.

use std::sync::Arc;
use std::time::Duration;

use twinhub_contract::manifest::Runtime;
use twinhub_loader::Role;

use super::{Group, Outcome, Test, failed, hold, skipped};
use crate::bench::{Bench, name};
use crate::holdings::Holdings;

pub(super) const TESTS: &[Test] = &[
    test("short_calls", "control calls return within a millisecond, half of them at least", short_calls),
    test("called_back", "it may be called from inside each of its own calls", called_back),
    test("overlap", "writes may overlap control calls", overlap),
    test("destroy", "destroy() works in every role, also without a stop(), and takes less than 2 s", destroy),
    test("nothing_left", "a hundred instances leave no thread, no file and no memory behind", nothing_left),
    test("threads", "it has as many threads as it declares", threads),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Threading, name, about, run)
}

fn short_calls(bench: &Bench) -> Outcome {
    for _ in 0..20 {
        let unit = bench.active()?;
        for role in bench.roles() {
            unit.role(role)?;
        }
        unit.stop()?;
    }
    let times = bench.call_times();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let (half, most) = (at(50), times.last().copied().unwrap_or_default());
    let said = format!(
        "p50 {} µs, p99 {} µs, longest {} µs",
        half.as_micros(),
        at(99).as_micros(),
        most.as_micros()
    );
    hold(half < SHORT, || format!("{said}: a call returns within 1 ms, what takes longer is PENDING"))?;
    Ok(said)
}

fn called_back(bench: &Bench) -> Outcome {
    let unit = bench.cold()?;
    unit.host.call_back(Arc::downgrade(&unit.instance));
    bench.step("calls from inside callbacks (a lock is held across a callback if nothing comes back)");
    unit.done("start, called back from inside", twinhub_loader::Instance::start)?;
    for role in bench.roles() {
        unit.role(role)?;
    }
    for _ in 0..50 {
        super::abi::works(&unit)?;
    }
    unit.stop()?;
    Ok(String::new())
}

fn overlap(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let writable = unit.writable()?;
    let (instance, host, epoch) = (Arc::clone(&unit.instance), Arc::clone(&unit.host), unit.epoch());
    bench.step("write beside control calls");
    let handed = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut handed = 0_u32;
            for (id, (item, value)) in (1..=WRITES).zip(writable.into_iter().cycle()) {
                host.expect_write(id);
                let write = twinhub_loader::WriteReq {
                    write_id: id,
                    item,
                    deadline_ns: twinhub_contract::constants::TIME_NONE,
                    flags: 0,
                    value,
                };
                // Roles change meanwhile, so that some are refused.
                match instance.write(epoch, [write]) {
                    Ok(()) => handed += 1,
                    Err(_) => host.forget_write(id),
                }
            }
            handed
        });
        for _ in 0..20 {
            for role in bench.roles() {
                unit.role(role)?;
            }
        }
        Ok(writer.join().unwrap_or_default())
    })?;
    unit.all_answered()?;
    Ok(format!("{handed} of {WRITES} writes taken, all answered"))
}

fn destroy(bench: &Bench) -> Outcome {
    let mut longest = bench.cold()?.destroy();
    for role in bench.roles() {
        for stops in [true, false] {
            let unit = bench.started()?;
            unit.role(role)?;
            if stops {
                unit.stop()?;
            }
            let took = unit.destroy();
            hold(took < DESTROY, || {
                format!("destroy() of an instance that was {} took {} ms", name(role), took.as_millis())
            })?;
            longest = longest.max(took);
        }
    }
    Ok(format!("longest {} ms", longest.as_millis()))
}

fn nothing_left(bench: &Bench) -> Outcome {
    let round = || -> Result<(), super::Stop> {
        let unit = bench.active()?;
        unit.role(Role::Cold)?;
        unit.stop()?;
        unit.destroy();
        Ok(())
    };
    // What is made once, such as tables of a library, is there after the first ones.
    (0..20).try_for_each(|_| round())?;
    let Some(before) = Holdings::now() else {
        return skipped("this system does not say what a process holds");
    };
    (0..100).try_for_each(|_| round())?;
    // A thread that has ended may be seen for a moment longer.
    let mut after = Holdings::now().unwrap_or(before);
    for _ in 0..200 {
        if after.threads <= before.threads {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        after = Holdings::now().unwrap_or(before);
    }
    hold(after.threads <= before.threads, || {
        format!("{} threads are left of 100 instances", after.threads - before.threads)
    })?;
    hold(after.files <= before.files, || {
        format!("{} open files or sockets are left of 100 instances", after.files - before.files)
    })?;
    let grown = after.memory_kib.saturating_sub(before.memory_kib);
    hold(grown <= MEMORY_KIB, || format!("100 instances left {grown} KiB of memory behind"))?;
    Ok(format!("{grown} KiB of memory after 100 instances"))
}

fn threads(bench: &Bench) -> Outcome {
    let Some(before) = Holdings::now() else {
        return skipped("this system does not say what a process holds");
    };
    let units = (0..3).map(|_| bench.active()).collect::<Result<Vec<_>, _>>()?;
    let grown = Holdings::now().map_or(0, |now| now.threads.saturating_sub(before.threads));
    let (most, declared) = match bench.manifest().runtime {
        Runtime::Dedicated => (3, "dedicated"),
        Runtime::Shared => (1, "shared"),
        Runtime::Multi(count) => (3 * usize::from(count), "multi"),
        Runtime::None => (0, "none"),
    };
    drop(units);
    if grown > most {
        return failed(format!(
            "three instances have {grown} threads, and it declares `runtime` `{declared}`: {most} at most"
        ));
    }
    Ok(format!("{grown} threads for three instances"))
}

const SHORT: Duration = Duration::from_millis(1);
const DESTROY: Duration = Duration::from_secs(2);
const WRITES: u64 = 2_000;
/// Of a hundred instances; the hub itself keeps some hundred bytes for each.
const MEMORY_KIB: u64 = 1_024;
