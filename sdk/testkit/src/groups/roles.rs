//! Roles and epochs.

use std::time::Duration;

use twinhub_contract::code;
use twinhub_contract::manifest::{Listeners, Publish, Writes};
use twinhub_loader::Role;

use super::abi::is_done;
use super::{Group, Outcome, Test, failed, hold, skipped};
use crate::bench::{Bench, name, said};
use crate::holdings::sockets;

pub(super) const TESTS: &[Test] = &[
    test(
        "every_edge",
        "each change from each role to each other one succeeds, 20 times in changing order",
        every_edge,
    ),
    test("falling_epoch", "a smaller epoch is refused and changes nothing", falling_epoch),
    test("again", "the role that it has already is taken again", again),
    test("writes_inactive", "writes while inactive meet what it declares", writes_inactive),
    test("values_inactive", "values while inactive are as it declares", values_inactive),
    test("closed_when_cold", "nothing is open while it is cold", closed_when_cold),
    test("listeners", "ports others connect to are as it declares while inactive", listeners),
    test("other_epochs", "writes of another epoch are refused", other_epochs),
    test("down_in_flight", "each write under way is answered when it stops acting", down_in_flight),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Roles, name, about, run)
}

fn every_edge(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    let roles = bench.roles();
    let mut edges: Vec<(Role, Role)> =
        roles.iter().flat_map(|from| roles.iter().map(move |to| (*from, *to))).collect();
    let mut random = Random(SEED);
    let mut done = 0_u32;
    for _ in 0..20 {
        random.shuffle(&mut edges);
        for (from, to) in &edges {
            unit.role(*from)?;
            unit.role(*to)?;
            done += 1;
        }
    }
    Ok(format!("{done} changes"))
}

fn falling_epoch(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    unit.role_in(Role::Active, 100)?;
    for (role, epoch) in [(Role::Active, 99), (Role::Cold, 1), (Role::Active, 0)] {
        let answer = unit
            .control(&format!("set_role({}) in an older epoch", name(role)), |instance, op| {
                instance.set_role(op, role, epoch, twinhub_contract::constants::TIME_NONE)
            })?;
        match answer {
            Err(error) if error.code == code::STALE_EPOCH => {}
            Err(error) => {
                return failed(format!(
                    "a smaller epoch is answered with {}, not E_STALE_EPOCH",
                    said(&error)
                ));
            }
            Ok(()) => return failed(format!("set_role({}) took epoch {epoch} after 100", name(role))),
        }
    }
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn again(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    for role in bench.roles() {
        unit.role(role)?;
        for _ in 0..3 {
            unit.role_in(role, unit.epoch())?;
        }
    }
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn writes_inactive(bench: &Bench) -> Outcome {
    let declared = bench.manifest().mb.inactive.writes;
    let (mut refused, mut kept) = (0_u32, 0_u32);
    for role in bench.roles().into_iter().filter(|role| *role != Role::Active) {
        let unit = bench.active()?;
        unit.role(role)?;
        for (item, value) in unit.writable()? {
            let Ok(id) = unit.write(unit.epoch(), item, value) else {
                refused += 1;
                continue;
            };
            unit.let_run(Duration::from_millis(100));
            let answer = unit.host.record().writes.get(&id).copied();
            match (declared, answer) {
                (Writes::Reject, Some(result)) if result.code != code::OK => refused += 1,
                (Writes::Reject, Some(_)) => {
                    return failed(format!(
                        "a write while {} succeeded, and it declares `mb.inactive.writes` `reject`",
                        name(role)
                    ));
                }
                (Writes::Reject, None) => {
                    let result = unit.answer(id)?;
                    hold(!is_done(result), || format!("a write while {} succeeded", name(role)))?;
                    refused += 1;
                }
                (Writes::Queue | Writes::ForwardToActive, None) => kept += 1,
                (Writes::Queue, Some(result)) if result.code == code::OK => {
                    return failed(format!(
                        "a write while {} was carried out, and it declares `queue`",
                        name(role)
                    ));
                }
                (Writes::Queue | Writes::ForwardToActive, Some(_)) => refused += 1,
            }
        }
        unit.role(Role::Active)?;
        unit.all_answered()?;
    }
    Ok(format!("{refused} refused, {kept} kept until active"))
}

fn values_inactive(bench: &Bench) -> Outcome {
    let declared = bench.manifest().mb.inactive.publish;
    let unit = bench.active()?;
    unit.let_run(Duration::from_millis(500));
    let active = unit.host.record().taken_count;
    let mut inactive = 0;
    for role in bench.roles().into_iter().filter(|role| *role != Role::Active) {
        unit.role(role)?;
        let before = unit.host.record().taken_count;
        unit.let_run(Duration::from_millis(500));
        inactive += unit.host.record().taken_count - before;
    }
    // What is not as declared was noted as it came.
    let words = if declared == Publish::Drop { "none" } else { "each with its flag" };
    Ok(format!("{active} values while active, {inactive} while not ({words} allowed)"))
}

fn closed_when_cold(bench: &Bench) -> Outcome {
    let unit = bench.cold()?;
    let made = sockets().len();
    hold(made == 0, || format!("{made} internet sockets are open before start(): create() opens nothing"))?;
    unit.done("start", twinhub_loader::Instance::start)?;
    unit.role(Role::Active)?;
    unit.let_run(Duration::from_millis(500));
    let active = sockets().len();
    for role in bench.roles() {
        unit.role(role)?;
        unit.let_run(Duration::from_millis(200));
        unit.role(Role::Cold)?;
        let left = sockets();
        hold(left.is_empty(), || {
            format!("{} internet sockets are open while COLD, after {}: {left:?}", left.len(), name(role))
        })?;
    }
    Ok(format!("{active} internet sockets while active"))
}

fn listeners(bench: &Bench) -> Outcome {
    let inactive = bench.manifest().mb.inactive;
    let unit = bench.active()?;
    unit.let_run(Duration::from_millis(500));
    let is_listening = || sockets().iter().filter(|socket| socket.is_listening).count();
    let active = is_listening();
    for role in bench.roles().into_iter().filter(|role| *role != Role::Active) {
        unit.role(role)?;
        let count = is_listening();
        hold(count == 0 || inactive.listeners != Listeners::Closed, || {
            format!(
                "{count} ports are open while {}, and it declares `mb.inactive.listeners` `closed`",
                name(role)
            )
        })?;
    }
    if active == 0 {
        return skipped("nobody connects to it");
    }
    Ok(format!("{active} ports while active"))
}

fn other_epochs(bench: &Bench) -> Outcome {
    let unit = bench.started()?;
    unit.role_in(Role::Active, 100)?;
    for epoch in [99, 0, 101, u64::MAX] {
        for (item, value) in unit.writable()? {
            if let Ok(id) = unit.write(epoch, item, value) {
                let result = unit.answer(id)?;
                hold(!is_done(result), || {
                    format!("it carried out a write of epoch {epoch} while it is ACTIVE in 100")
                })?;
            }
        }
    }
    super::abi::works(&unit)?;
    Ok(String::new())
}

fn down_in_flight(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let writable = unit.writable()?;
    let mut taken = 0_u32;
    let standby: Vec<Role> = bench.roles().into_iter().filter(|role| *role != Role::Active).collect();
    for role in standby.iter().cycle().take(50) {
        for (item, value) in writable.iter().cycle().take(20) {
            taken += u32::from(unit.write(unit.epoch(), *item, *value).is_ok());
        }
        unit.role(*role)?;
        let open = unit.host.record().asked.len();
        hold(open == 0, || {
            format!(
                "{open} writes were unanswered when the change down was done: finish them, or answer E_TIMEOUT"
            )
        })?;
        unit.role(Role::Active)?;
    }
    Ok(format!("{taken} writes taken, all answered"))
}

/// Numbers in an order that looks like chance and is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap_or(0)
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.below(index + 1));
        }
    }
}

const SEED: u64 = 1;
