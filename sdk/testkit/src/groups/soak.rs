//! For long.

use std::time::Duration;

use twinhub_loader::Role;

use super::{Group, Outcome, Test, hold};
use crate::bench::Bench;
use crate::holdings::Holdings;

pub(super) const TESTS: &[Test] = &[Test {
    group: Group::Soak,
    name: "role_changes",
    about: "a thousand role changes under writes lose no answer and leave nothing behind",
    limit: Duration::from_secs(300),
    run: role_changes,
}];

fn role_changes(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let writable = unit.writable().unwrap_or_default();
    let roles = bench.roles();
    let mut taken = 0_u64;
    let mut before = None;
    for (change, role) in roles.iter().cycle().take(CHANGES).enumerate() {
        unit.role(*role)?;
        for (item, value) in &writable {
            taken += u64::from(unit.write(unit.epoch(), *item, *value).is_ok());
        }
        if change == CHANGES / 5 {
            unit.role(Role::Cold)?;
            before = Holdings::now();
        }
        // Answers are counted by their numbers; what is done with is let go.
        if change % 100 == 0 {
            unit.all_answered()?;
            let mut record = unit.host.record();
            record.writes.clear();
            record.ops.clear();
        }
    }
    unit.role(Role::Active)?;
    unit.all_answered()?;
    super::abi::works(&unit)?;
    unit.role(Role::Cold)?;
    if let (Some(before), Some(after)) = (before, Holdings::now()) {
        hold(after.threads <= before.threads && after.files <= before.files, || {
            format!(
                "threads went from {} to {}, files from {} to {}",
                before.threads, after.threads, before.files, after.files
            )
        })?;
        let grown = after.memory_kib.saturating_sub(before.memory_kib);
        hold(grown <= MEMORY_KIB, || format!("memory grew by {grown} KiB"))?;
    }
    Ok(format!("{CHANGES} changes, {taken} writes taken, all answered"))
}

const CHANGES: usize = 1_000;
const MEMORY_KIB: u64 = 4_096;
