//! The C contract.

use std::sync::Arc;

use twinhub_contract::manifest::Hosting;
use twinhub_contract::{ENTRY_SYMBOL, ValueRef, code};
use twinhub_loader::{HostSink, OddValue, Role, WriteResult};

use super::{Group, Outcome, Test, failed, hold};
use crate::bench::{Bench, MAIN, Unit, said};

pub(super) const TESTS: &[Test] = &[
    test("symbols", "the library exports its entry and nothing else", symbols),
    test("manifest", "section and entry have the same manifest, which fits the contract", manifest),
    test("build_flags", "the flags say whether it may run in the hub's process", build_flags),
    test("newer_host", "it runs in a hub whose table is larger and whose minor version is later", newer_host),
    test("newer_elements", "it reads items and writes by their stride", newer_elements),
    test("unknown_extension", "it says NULL for an extension that it does not know", unknown_extension),
    test("unknown_words", "it refuses roles and item changes that no version knows", unknown_words),
    test("empty_texts", "it takes texts of length 0 with a NULL pointer", empty_texts),
    test("odd_writes", "it answers writes of every kind, of none, and to items it has not", odd_writes),
];

const fn test(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Test {
    Test::new(Group::Abi, name, about, run)
}

fn symbols(bench: &Bench) -> Outcome {
    let symbols = twinhub_loader::exported_symbols(&bench.kit.library)
        .or_else(|error| failed(format!("the symbols cannot be read: {error}")))?;
    let others: Vec<&str> = symbols.iter().map(String::as_str).filter(|name| *name != ENTRY_SYMBOL).collect();
    hold(others.is_empty(), || {
        format!("it also exports {}: two plugins with one name would disturb each other", others.join(", "))
    })?;
    Ok(String::new())
}

fn manifest(bench: &Bench) -> Outcome {
    // The loader has compared them when it loaded the library.
    let manifest = bench.manifest();
    let entry = bench.library.entry().version();
    let own = (u16::try_from(entry.0).unwrap_or(0), u16::try_from(entry.1).unwrap_or(0));
    hold(manifest.abi.bounds().is_some_and(|(min, max)| min <= own && own <= max), || {
        format!(
            "its entry has contract version {}.{}, which is not within that of its manifest",
            own.0, own.1
        )
    })?;
    Ok(format!("{} {}, contract {} to {}", manifest.id, manifest.version, manifest.abi.min, manifest.abi.max))
}

fn build_flags(bench: &Bench) -> Outcome {
    let entry = bench.library.entry();
    let unwinds = entry.build_flags & twinhub_contract::build::UNWIND != 0;
    let is_inproc = bench.manifest().hosting.allowed.contains(&Hosting::Inproc);
    hold(unwinds || !is_inproc, || {
        "it declares `hosting.allowed` `inproc`, and a panic would end the hub: build it with panic = \"unwind\""
            .to_owned()
    })?;
    Ok(if entry.build_flags & twinhub_contract::build::DEBUG != 0 {
        "built without optimization".to_owned()
    } else {
        String::new()
    })
}

fn newer_host(bench: &Bench) -> Outcome {
    bench.cold()?.destroy();
    bench.step("create by a newer hub");
    let host = bench.host();
    let config = bench.config_text(MAIN);
    let instance =
        bench.library.create_by_newer_hub("kit", &config, Arc::clone(&host) as Arc<dyn HostSink>).or_else(
            |error| failed(format!("a hub of contract 1.{} is refused: {}", MINOR_NEXT, said(&error))),
        )?;
    let unit = bench.unit(instance, host);
    unit.add(&bench.kit.specs())?;
    unit.done("start", twinhub_loader::Instance::start)?;
    unit.role(Role::Active)?;
    unit.stop()?;
    Ok(String::new())
}

fn newer_elements(bench: &Bench) -> Outcome {
    bench.cold()?.destroy();
    let unit = bench.create(&bench.config_text(MAIN)).or_else(|error| failed(said(&error)))?;
    let specs = bench.kit.specs();
    unit.host.expect_items(specs.iter().map(|spec| spec.handle));
    unit.done("items(add) with a stride of 40", |instance, op| instance.items_of_newer_hub(op, &specs))?;
    unit.done("start", twinhub_loader::Instance::start)?;
    unit.role(Role::Active)?;
    let writable = unit.writable()?;
    for (item, value) in &writable {
        // Two in one batch: the second one is found by the stride only.
        let ids = [unit.write_id(), unit.write_id()];
        for id in ids {
            unit.host.expect_write(id);
        }
        bench.step("write with a stride of 48");
        let handed = unit.instance.write_of_newer_hub(unit.epoch(), *item, &ids.map(|id| (id, *value)));
        handed.or_else(|error| failed(format!("write with a stride of 48: {}", said(&error))))?;
        for id in ids {
            unit.answer(id)?;
        }
    }
    Ok(String::new())
}

fn unknown_extension(bench: &Bench) -> Outcome {
    let unit = bench.cold()?;
    bench.step("get_extension");
    for id in [c"org.example.kit/1", c"", c"twinhub.state/999999"] {
        hold(!unit.instance.has_extension(id), || format!("it offers {id:?}, which is no extension"))?;
    }
    Ok(String::new())
}

fn unknown_words(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    for role in [4, 77, u32::MAX] {
        let answer = unit.control(&format!("set_role({role})"), |instance, op| {
            instance.set_role_number(op, role, unit.epoch())
        })?;
        hold(answer.is_err(), || format!("it took the role {role}, which no version has"))?;
    }
    let answer =
        unit.control("items(77)", |instance, op| instance.items_unknown(op, &bench.kit.specs()[..1]))?;
    hold(answer.is_err(), || {
        "it did with items what no version knows: add and remove are 1 and 2".to_owned()
    })?;
    works(&unit)?;
    Ok(String::new())
}

fn empty_texts(bench: &Bench) -> Outcome {
    bench.step("create with an empty id and configuration");
    let host = bench.host();
    match bench.library.create("", "", Arc::clone(&host) as Arc<dyn HostSink>) {
        Ok(_) => {}
        Err(error) if error.code == code::CONFIG => {}
        Err(error) => {
            return failed(format!("an empty configuration is answered with {}, not E_CONFIG", said(&error)));
        }
    }
    let unit = bench.active()?;
    for (item, _) in unit.writable()? {
        let id = unit.write_id();
        unit.handed(id, || unit.instance.write_odd(unit.epoch(), item, id, OddValue::EmptyText))
            .map_or(Ok(()), |id| unit.answer(id).map(drop))?;
    }
    works(&unit)?;
    Ok(String::new())
}

fn odd_writes(bench: &Bench) -> Outcome {
    let unit = bench.active()?;
    let kinds = [
        ValueRef::Null,
        ValueRef::Bool(false),
        ValueRef::I64(i64::MIN),
        ValueRef::U64(u64::MAX),
        ValueRef::F64(f64::NAN),
        ValueRef::F64(f64::INFINITY),
        ValueRef::Str("\u{0}\u{10FFFF}"),
        ValueRef::Bytes(&[0xFF; 300]),
        ValueRef::Time(i64::MIN),
        ValueRef::Json("{"),
    ];
    let mut refused = 0_u32;
    for (item, _) in unit.writable()? {
        for value in kinds {
            match unit.write(unit.epoch(), item, value) {
                Ok(id) => drop(unit.answer(id)?),
                Err(_) => refused += 1,
            }
        }
        for odd in [OddValue::UnknownKind, OddValue::Boolean] {
            let id = unit.write_id();
            match unit.handed(id, || unit.instance.write_odd(unit.epoch(), item, id, odd)) {
                Ok(id) => {
                    let result = unit.answer(id)?;
                    hold(odd != OddValue::UnknownKind || !is_done(result), || {
                        "it wrote a value of kind 99, which no version has".to_owned()
                    })?;
                }
                Err(_) => refused += 1,
            }
        }
    }
    if let Ok(id) = unit.write(unit.epoch(), 1_000_000, ValueRef::F64(1.0)) {
        let result = unit.answer(id)?;
        hold(!is_done(result), || "it wrote to an item that it has not".to_owned())?;
    }
    works(&unit)?;
    Ok(format!("{refused} refused as a whole, all others answered"))
}

/// Whether a write was carried out.
pub(super) fn is_done(result: Option<WriteResult>) -> bool {
    result.is_some_and(|result| result.code == code::OK)
}

/// After all that it still answers a write.
pub(super) fn works(unit: &Unit<'_>) -> Result<(), super::Stop> {
    for (item, value) in unit.writable()? {
        match unit.write(unit.epoch(), item, value) {
            Ok(id) => drop(unit.answer(id)?),
            Err(error) => return failed(format!("afterwards it takes no write: {}", said(&error))),
        }
    }
    Ok(())
}

const MINOR_NEXT: u32 = twinhub_contract::ABI_MINOR + 1;
