//! Two instances in processes of their own, of which one takes over from the other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use twinhub_contract::manifest::{Delivery, State};
use twinhub_loader::Role;

use super::{Group, Outcome, Stop, Test, failed, hold, skipped};
use crate::bench::{BACKUP, Bench, Unit, name, role_of, said};

pub(super) const TESTS: &[Test] = &[
    test("isolated", "it works in a process of its own, with what it declares to need", isolated),
    test("planned", "20 planned moves between two processes leave both working", planned),
    test("killed", "a killed process is a fault, and the other one takes over", killed),
    test("frozen", "a process that was frozen while its lease ended causes no effect when it wakes", frozen),
    test("replaced", "a new process takes the place of one that was killed", replaced),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Failover, name, about, run)
}

fn isolated(bench: &Bench) -> Outcome {
    let bench = bench.apart()?;
    let unit = bench.active()?;
    super::abi::works(&unit)?;
    unit.let_run(Duration::from_millis(300));
    unit.stop()?;
    unit.destroy();
    hold(bench.processes().is_empty(), || "its process is still there after destroy()".to_owned())?;
    calm(&bench, 0)
}

fn planned(bench: &Bench) -> Outcome {
    let bench = bench.apart()?;
    let (main, backup) = (bench.active()?, standby(&bench)?);
    let mut times = Vec::new();
    let (mut from, mut to) = (&main, &backup);
    let mut epoch = 1;
    for _ in 0..MOVES {
        epoch += 1;
        from.role_in(role_of(bench.manifest().mb.default_standby), epoch)?;
        if bench.manifest().mb.state != State::None {
            let (version, bytes) =
                from.instance.snapshot().or_else(|error| failed(format!("snapshot: {}", said(&error))))?;
            to.instance.apply(version, &bytes).or_else(|error| failed(format!("apply: {}", said(&error))))?;
        }
        times.push(takes_over(to, epoch)?);
        super::abi::works(to)?;
        refuses(from)?;
        (from, to) = (to, from);
    }
    times.sort_unstable();
    let (half, longest) = (times[times.len() / 2], times[times.len() - 1]);
    calm(&bench, 0)?;
    Ok(format!("active after p50 {} ms, longest {} ms{}", ms(half), ms(longest), declared(&bench)))
}

fn killed(bench: &Bench) -> Outcome {
    let bench = bench.apart()?;
    let (main, process) = alone(&bench)?;
    let backup = standby(&bench)?;
    super::abi::works(&main)?;
    bench.step("kill -9");
    send(process, Signal::KILL)?;
    faults(&main)?;
    let took = takes_over(&backup, 2)?;
    super::abi::works(&backup)?;
    calm(&bench, 1)?;
    Ok(format!("active after {} ms{}", ms(took), declared(&bench)))
}

fn frozen(bench: &Bench) -> Outcome {
    let bench = bench.apart()?;
    let (main, process) = alone(&bench)?;
    let backup = standby(&bench)?;
    let writable = main.writable()?;
    super::abi::works(&main)?;
    bench.step("SIGSTOP");
    send(process, Signal::STOP)?;
    let mut asked = Vec::new();
    for (item, value) in writable {
        asked.extend(main.write(main.epoch(), item, value).ok());
    }
    main.host.set_lease_end(0);
    bench.step("SIGCONT");
    send(process, Signal::CONT)?;
    for id in &asked {
        let answer = main.answer(*id)?;
        hold(!super::abi::is_done(answer), || {
            "a write that it was given before, and read after its lease had ended, was carried out: the gate has to be \
             asked right before each effect"
                .to_owned()
        })?;
    }
    takes_over(&backup, 2)?;
    super::abi::works(&backup)?;
    main.role_in(Role::Cold, 3)?;
    calm(&bench, 0)?;
    Ok(format!("{} writes refused after it woke", asked.len()))
}

fn replaced(bench: &Bench) -> Outcome {
    let bench = bench.apart()?;
    let mut times = Vec::new();
    for _ in 0..REPLACED {
        let (unit, process) = alone(&bench)?;
        send(process, Signal::KILL)?;
        faults(&unit)?;
        unit.destroy();
        let begun = Instant::now();
        let next = bench.active()?;
        times.push(begun.elapsed());
        super::abi::works(&next)?;
        next.destroy();
    }
    times.sort_unstable();
    calm(&bench, REPLACED)?;
    Ok(format!("active again after p50 {} ms", ms(times[times.len() / 2])))
}

/// An active instance, and its process.
pub(super) fn alone(bench: &Bench) -> Result<(Unit<'_>, i32), Stop> {
    let before: BTreeSet<i32> = bench.processes().into_iter().collect();
    let unit = bench.active()?;
    match bench.processes().into_iter().find(|process| !before.contains(process)) {
        Some(process) => Ok((unit, process)),
        None => skipped("this system does not say which process is whose"),
    }
}

/// An instance in the role of a standby, as long as epoch 1 lasts.
pub(super) fn standby(bench: &Bench) -> Result<Unit<'_>, Stop> {
    standby_on(bench, BACKUP)
}

/// The same on the node of that name.
pub(super) fn standby_on<'a>(bench: &'a Bench, node: &str) -> Result<Unit<'a>, Stop> {
    let unit = bench.started_on(node)?;
    unit.role_in(role_of(bench.manifest().mb.default_standby), 1)?;
    Ok(unit)
}

/// How long it takes to become active.
pub(super) fn takes_over(unit: &Unit<'_>, epoch: u64) -> Result<Duration, Stop> {
    let begun = Instant::now();
    unit.role_in(Role::Active, epoch)?;
    Ok(begun.elapsed())
}

/// Whoever does not act carries nothing out.
fn refuses(unit: &Unit<'_>) -> Result<(), Stop> {
    if unit.delivery() == Delivery::Stream {
        return Ok(());
    }
    for (item, value) in unit.writable()? {
        let Ok(id) = unit.write(unit.epoch(), item, value) else { continue };
        unit.let_run(Duration::from_millis(20));
        let answer = unit.host.record().writes.get(&id).copied();
        hold(!super::abi::is_done(answer), || {
            format!("a write was carried out while the other instance is {}", name(Role::Active))
        })?;
    }
    Ok(())
}

pub(super) fn faults(unit: &Unit<'_>) -> Result<(), Stop> {
    let seen = unit.host.wait(PATIENCE, |record| (!record.faults.is_empty()).then_some(()));
    seen.map_or_else(|| failed("nobody noticed that its process was killed"), Ok)
}

pub(super) fn send(process: i32, signal: Signal) -> Result<(), Stop> {
    let sent = Pid::from_raw(process).and_then(|process| kill_process(process, signal).ok());
    sent.map_or_else(|| failed("its process has ended by itself"), Ok)
}

/// Nothing but the faults that were meant.
pub(super) fn calm(bench: &Bench, meant: usize) -> Outcome {
    let (faults, offenses) = bench.faults_and_violations();
    hold(offenses.is_empty(), || offenses.join("; "))?;
    hold(faults.len() == meant, || format!("it faulted {} times: {}", faults.len(), faults.join("; ")))?;
    Ok(String::new())
}

/// What it declares of the time, which holds with a device and is not judged here.
fn declared(bench: &Bench) -> String {
    let mb = &bench.manifest().mb;
    let target = mb.takeover_target_ms.get(&mb.default_standby);
    target.map_or_else(String::new, |target| format!("; it declares {target} ms"))
}

pub(super) fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

/// Planned moves.
const MOVES: usize = 20;
/// Processes that are killed one after the other.
const REPLACED: usize = 5;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
