//! State that moves to the other node.

use twinhub_contract::code;
use twinhub_contract::extension;
use twinhub_contract::manifest::State;
use twinhub_loader::Role;

use super::{Group, Outcome, Stop, Test, failed, hold, skipped};
use crate::bench::{Bench, Unit, said};

pub(super) const TESTS: &[Test] = &[
    test("declared", "it offers a state if and only if it declares one", declared),
    test("moves", "a state that another instance takes over is the same there", moves),
    test("versions", "a state of an unknown version is refused", versions),
    test("garbage", "bytes that are no state do no harm", garbage),
    test("under_traffic", "snapshots may be taken while values come and writes go", under_traffic),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::State, name, about, run)
}

fn has_state(bench: &Bench) -> bool {
    bench.manifest().mb.state != State::None
}

fn declared(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    bench.step("get_extension");
    let is_offered = unit.instance.has_extension(extension::STATE);
    if has_state(bench) {
        hold(is_offered, || "it declares `mb.state` and does not offer twinhub.state/1".to_owned())?;
        return Ok(String::new());
    }
    // The table may be there for all plugins of one author; what counts is what it gives.
    bench.step("snapshot");
    match unit.instance.snapshot() {
        Err(error) if error.code == code::UNSUPPORTED => Ok("none, as declared".to_owned()),
        Err(error) => {
            failed(format!("it declares `mb.state` `none`, and a snapshot is answered with {}", said(&error)))
        }
        Ok((version, bytes)) => failed(format!(
            "it declares `mb.state` `none` and gives a state of version {version} with {} bytes",
            bytes.len()
        )),
    }
}

fn snapshot(bench: &Bench, unit: &Unit<'_>) -> Result<(u32, Vec<u8>), Stop> {
    bench.step("snapshot");
    let (version, bytes) =
        unit.instance.snapshot().or_else(|error| failed(format!("snapshot: {}", said(&error))))?;
    let mb = &bench.manifest().mb;
    hold(Some(version) == mb.state_schema, || {
        format!("the state has version {version}, and it declares `mb.state_schema` {:?}", mb.state_schema)
    })?;
    hold(mb.state_bytes_max.is_none_or(|most| bytes.len() as u64 <= most), || {
        format!("the state has {} bytes, and it declares {:?} at most", bytes.len(), mb.state_bytes_max)
    })?;
    Ok((version, bytes))
}

fn moves(bench: &Bench) -> Outcome {
    if !has_state(bench) {
        return skipped("it declares no state");
    }
    let (first, second) = (bench.active()?, bench.started()?);
    super::abi::works(&first)?;
    first.role(Role::Cold)?;
    let (version, bytes) = snapshot(bench, &first)?;
    bench.step("apply");
    second.instance.apply(version, &bytes).or_else(|error| failed(format!("apply: {}", said(&error))))?;
    let (_, again) = snapshot(bench, &second)?;
    hold(bytes == again, || {
        format!(
            "{} bytes were taken over, and a snapshot right after has other ones ({})",
            bytes.len(),
            again.len()
        )
    })?;
    second.role(Role::Active)?;
    super::abi::works(&second)?;
    Ok(format!("{} bytes", bytes.len()))
}

fn versions(bench: &Bench) -> Outcome {
    if !has_state(bench) {
        return skipped("it declares no state");
    }
    let unit = bench.started()?;
    let (version, bytes) = snapshot(bench, &unit)?;
    for other in [version.wrapping_add(1), 0, u32::MAX] {
        bench.step("apply of another version");
        match unit.instance.apply(other, &bytes) {
            Err(error) if error.code == code::STATE_VERSION => {}
            // An older version may be understood.
            Ok(()) if other < version => {}
            Ok(()) => return failed(format!("it took a state of version {other}, its own is {version}")),
            Err(error) => {
                return failed(format!(
                    "a state of version {other} is answered with {}, not E_STATE_VERSION",
                    said(&error)
                ));
            }
        }
    }
    Ok(String::new())
}

fn garbage(bench: &Bench) -> Outcome {
    if !has_state(bench) {
        return skipped("it declares no state");
    }
    let unit = bench.started()?;
    let (version, bytes) = snapshot(bench, &unit)?;
    let mut odd: Vec<Vec<u8>> = vec![Vec::new(), vec![0], vec![0xFF; 1 << 20], b"{\"a\":".to_vec()];
    for cut in 0..bytes.len().min(200) {
        odd.push(bytes.iter().copied().take(cut).collect());
        let mut turned = bytes.clone();
        if let Some(byte) = turned.get_mut(cut) {
            *byte ^= 0x55;
        }
        odd.push(turned);
    }
    for bytes in &odd {
        bench.step("apply of bytes that are no state");
        // Refused, or understood: what counts is that it goes on.
        unit.instance.apply(version, bytes).ok();
    }
    unit.role(Role::Active)?;
    super::abi::works(&unit)?;
    Ok(format!("{} wrong states", odd.len()))
}

fn under_traffic(bench: &Bench) -> Outcome {
    if !has_state(bench) {
        return skipped("it declares no state");
    }
    let unit = bench.active()?;
    for _ in 0..50 {
        for (item, value) in unit.writable().unwrap_or_default() {
            unit.write(unit.epoch(), item, value).ok();
        }
        snapshot(bench, &unit)?;
    }
    unit.all_answered()?;
    Ok(String::new())
}
