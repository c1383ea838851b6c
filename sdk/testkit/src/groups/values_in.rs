//! Values of other interfaces, for a plugin that takes them.

use twinhub_contract::constants::TIME_NONE;
use twinhub_contract::{access, code, extension, flag, quality};
use twinhub_loader::{ItemSpec, PluginError, UpdateRef, ValueIn, ValueRef};

use super::{Group, Outcome, Test, failed, skipped};
use crate::bench::{Bench, said};

pub(super) const TESTS: &[Test] = &[Test::new(
    Group::Robustness,
    "values_in",
    "it ends each batch of values of other interfaces, also odd ones and such that come again",
    values_in,
)];

fn values_in(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    if !unit.instance.has_extension(extension::VALUES_IN) {
        return skipped("it does not offer twinhub.values-in/1");
    }
    let specs: Vec<ItemSpec> = (0..ITEMS).map(watched).collect();
    match unit.control("watch", |instance, op| instance.watch(op, &specs, &[]))? {
        Ok(()) => {}
        Err(error) if error.code == code::UNSUPPORTED => {
            return skipped("it answers twinhub.values-in/1 with E_UNSUPPORTED");
        }
        // It may want items of another kind.
        Err(error) => return Ok(format!("the items of the kit are refused with {}", said(&error))),
    }
    let long = "x".repeat(100_000);
    let odd = [
        ValueRef::Null,
        ValueRef::Bool(true),
        ValueRef::I64(i64::MIN),
        ValueRef::U64(u64::MAX),
        ValueRef::F64(f64::NAN),
        ValueRef::Time(TIME_NONE),
        ValueRef::Str(""),
        ValueRef::Str(&long),
        ValueRef::Bytes(&[0, 255]),
        ValueRef::Json("[[[]]]"),
        ValueRef::Array { elem: twinhub_contract::kind::BOOL, bytes: &[0, 1] },
    ];
    let mut given = 0;
    for flags in [flag::REPLAY, flag::SNAPSHOT, 0, flag::EVENT | flag::QUALITY_ONLY] {
        // The last handle is nobody's.
        let items = (0..=ITEMS).cycle();
        let values: Vec<ValueIn<'_>> = odd
            .iter()
            .zip(items)
            .zip(1..)
            .map(|((value, item), seq)| value_in(item, *value, flags, seq))
            .collect();
        // As after a crash: the same again, and together with others.
        for part in [&values[..], &values[..1], &values[..]] {
            given += 1;
            let ended = unit.control("values", |instance, op| instance.values(op, unit.epoch(), part))?;
            if let Err(PluginError { code: code::PANIC | code::TIMEOUT, .. }) = &ended {
                return failed(format!(
                    "values: {}",
                    ended.map_or_else(|error| said(&error), |()| String::new())
                ));
            }
        }
    }
    let handles: Vec<u32> = (0..ITEMS).collect();
    unit.done("watch(remove)", |instance, op| instance.watch(op, &[], &handles))?;
    super::abi::works(&unit)?;
    Ok(format!("{given} batches"))
}

fn watched(handle: u32) -> ItemSpec {
    let row = serde_json::json!({
        "key": format!("kit/{handle}"),
        "type": "float64",
        "access": "r",
        "unit": "",
        "description": "",
    });
    ItemSpec { handle, access: access::READ, address_json: row.to_string(), type_hint: 0, group: 0 }
}

fn value_in(item: u32, value: ValueRef<'_>, flags: u32, seq: u64) -> ValueIn<'_> {
    let (status, source_ns) = (quality::GOOD, TIME_NONE);
    ValueIn { update: UpdateRef { item, status, source_ns, value, wire: 0, flags, seq: 0 }, place: (1, seq) }
}

const ITEMS: u32 = 3;
