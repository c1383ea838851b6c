//! Events of other interfaces: answered once, by the active instance alone, and brought again where it is not known.

use std::time::Duration;

use rustix::process::Signal;
use twinhub_contract::constants::EVENT_PAYLOAD_BYTES_MAX;
use twinhub_contract::{EventRef, code, event_flag, extension};
use twinhub_loader::Role;

use super::failover::{alone, calm, faults, send, standby, takes_over};
use super::{Group, Outcome, Stop, Test, hold, skipped};
use crate::bench::{Bench, Unit, name};

pub(super) const ROBUSTNESS: &[Test] = &[
    robust(
        "events",
        "events of any content are answered once, and those of no stream of its are not done",
        odd,
    ),
    robust("inactive_events", "an instance that does not act does nothing with an event", inactive),
    robust("strange_answers", "it takes what nobody says of events that it never gave", strange),
];

pub(super) const FAILOVER: &[Test] = &[Test::new(
    Group::Failover,
    "events",
    "what a killed process had not done is brought to the other one under the same id, and answered there",
    failover,
)];

const fn robust(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Robustness, name, about, run)
}

/// What it takes.
fn takes(bench: &Bench) -> Result<&[String], Stop> {
    let takes = &bench.manifest().events.takes;
    if takes.is_empty() { skipped("it declares no streams of events that it takes") } else { Ok(takes) }
}

fn offers(unit: &Unit<'_>) -> Result<(), Stop> {
    hold(unit.instance.has_extension(extension::EVENTS), || {
        "its manifest declares events, and it does not offer twinhub.events/1".to_owned()
    })
}

fn event<'a>(unit: &Unit<'_>, number: u64, stream: &'a str, id: &'a str, payload: &'a [u8]) -> EventRef<'a> {
    EventRef { flags: 0, epoch: unit.epoch(), number, source: "kit", stream, id, key: "", payload }
}

/// Brings an event; the answer, `None` if it may still come.
fn bring(unit: &Unit<'_>, event: &EventRef<'_>) -> Option<i32> {
    unit.host.record().brought.insert(event.number);
    let answer = unit.instance.deliver(event);
    if answer == code::PENDING {
        let number = event.number;
        return unit.host.wait(ANSWER, |record| record.events.get(&number).copied());
    }
    unit.host.record().brought.remove(&event.number);
    Some(answer)
}

fn odd(bench: &Bench) -> Outcome {
    let takes = takes(bench)?;
    let unit = bench.active()?;
    offers(&unit)?;
    bench.step("deliver");
    let longest = vec![b'x'; EVENT_PAYLOAD_BYTES_MAX];
    let payloads: [&[u8]; 4] = [b"", b"{\"kit\":1}", &[0xff, 0, 0x80], &longest];
    let (mut number, mut open) = (0, 0);
    for stream in takes {
        for payload in payloads {
            number += 1;
            open += usize::from(
                bring(&unit, &event(&unit, number, stream, &format!("kit-{number}"), payload)).is_none(),
            );
        }
    }
    let stranger = bring(&unit, &event(&unit, number + 1, "kit.no-stream", "kit", b""));
    hold(stranger != Some(code::OK), || {
        "it calls an event done of a stream that it does not take".to_owned()
    })?;
    super::abi::works(&unit)?;
    unit.stop()?;
    Ok(format!("{number} events brought, {open} not answered within {} ms", ANSWER.as_millis()))
}

fn inactive(bench: &Bench) -> Outcome {
    let takes = takes(bench)?;
    let unit = bench.started()?;
    offers(&unit)?;
    let mut number = 0;
    for role in bench.roles().into_iter().filter(|role| *role != Role::Active) {
        unit.role(role)?;
        number += 1;
        let answer = bring(&unit, &event(&unit, number, &takes[0], "kit", b"{}"));
        hold(answer.is_some_and(is_refused), || {
            format!(
                "an event that is brought while {} has to be answered with E_NOT_ACTIVE, and was with {}",
                name(role),
                said(answer)
            )
        })?;
    }
    unit.role(Role::Active)?;
    let stale = EventRef { epoch: unit.epoch() - 1, ..event(&unit, number + 1, &takes[0], "kit", b"{}") };
    let answer = bring(&unit, &stale);
    hold(answer.is_some_and(is_refused), || {
        format!(
            "an event of an epoch that is over has to be answered with E_STALE_EPOCH, and was with {}",
            said(answer)
        )
    })?;
    Ok(String::new())
}

fn strange(bench: &Bench) -> Outcome {
    if bench.manifest().events.are_none() {
        return skipped("it declares no events");
    }
    let unit = bench.active()?;
    offers(&unit)?;
    for (number, code) in [(0, code::OK), (u64::MAX, code::AGAIN), (7, 12_345), (7, i32::MIN)] {
        unit.instance.taken(number, code);
    }
    super::abi::works(&unit)?;
    unit.stop()?;
    Ok(String::new())
}

fn failover(bench: &Bench) -> Outcome {
    let takes = takes(bench)?;
    let bench = bench.apart()?;
    let (main, process) = alone(&bench)?;
    let backup = standby(&bench)?;
    offers(&main)?;
    bench.step("deliver");
    let mut left = Vec::new();
    for (number, stream) in (1..).zip(takes) {
        let id = format!("kit-{number}");
        let event = event(&main, number, stream, &id, b"{\"kit\":1}");
        main.host.record().brought.insert(number);
        if main.instance.deliver(&event) == code::PENDING {
            left.push((number, stream, id));
        }
    }
    bench.step("kill -9");
    send(process, Signal::KILL)?;
    faults(&main)?;
    let done = |number: &u64| main.host.record().events.get(number) == Some(&code::OK);
    left.retain(|(number, ..)| !done(number));
    takes_over(&backup, 2)?;
    for (number, stream, id) in &left {
        let again = event(&backup, *number, stream, id, b"{\"kit\":1}");
        let again = EventRef { flags: event_flag::REDELIVERED, ..again };
        let answer = bring(&backup, &again);
        hold(answer != Some(code::INVALID), || {
            format!("event `{id}` that the killed process had is called invalid when it comes again")
        })?;
    }
    super::abi::works(&backup)?;
    calm(&bench, 1)?;
    Ok(format!("{} of {} events were not done by the killed process", left.len(), takes.len()))
}

/// Codes that say that nothing was done since the instance does not act.
fn is_refused(code: i32) -> bool {
    matches!(code, code::NOT_ACTIVE | code::STALE_EPOCH | code::STOPPED | code::AGAIN | code::UNSUPPORTED)
}

fn said(answer: Option<i32>) -> String {
    answer.map_or_else(|| "nothing".to_owned(), |code| format!("E_{}", code::name(code)))
}

/// An answer that takes longer is not waited for: the device of the kit may be absent.
const ANSWER: Duration = Duration::from_millis(500);
