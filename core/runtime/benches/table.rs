//! Speed and size of the item table beside a plain slot array and a map by name, in one run.
//!
//! `cargo bench -p twinhub-runtime --bench table`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use twinhub_model::{ItemId, ItemKey, Quality, SampleFlags, Timestamp, Value};
use twinhub_runtime::table::{ItemMeta, ItemTable};

const ITEMS: u32 = 1_000_000;
const UPDATES: u32 = 4_000_000;
const ROUNDS: usize = 5;

#[derive(Default)]
struct PlainSlot {
    sequence: AtomicU64,
    value: AtomicU64,
    source: AtomicI64,
    server: AtomicI64,
}

fn main() {
    let names: Vec<String> =
        (0..ITEMS).map(|n| format!("plc1/building/floor-{}/room-{n:06}/temperature", n % 20)).collect();
    let meta = ItemMeta {
        access: "r",
        type_name: "float64".to_owned(),
        unit: "K".to_owned(),
        description: String::new(),
    };
    let table =
        ItemTable::new(names.iter().filter_map(|name| Some((ItemKey::parse(name).ok()?, meta.clone()))));
    let plain: Vec<PlainSlot> = (0..ITEMS).map(|_| PlainSlot::default()).collect();
    let by_name: Mutex<HashMap<String, (f64, i64)>> =
        Mutex::new(names.iter().map(|name| (name.clone(), (0.0, 0))).collect());

    let store = |from: u32, to: u32| {
        for n in from..to {
            let item = ItemId(spread(n));
            let changed = table.store(
                item,
                &Value::F64(f64::from(n)),
                Quality::GOOD,
                Timestamp(i64::from(n)),
                Timestamp(i64::from(n)),
                SampleFlags::default(),
            );
            black_box(changed);
        }
    };
    let plain_store = |from: u32, to: u32| {
        for n in from..to {
            let slot = &plain[spread(n) as usize];
            slot.sequence.fetch_add(1, Ordering::Acquire);
            slot.value.store(f64::from(n).to_bits(), Ordering::Relaxed);
            slot.source.store(i64::from(n), Ordering::Relaxed);
            slot.server.store(i64::from(n), Ordering::Relaxed);
            slot.sequence.fetch_add(1, Ordering::Release);
        }
    };
    let name_store = |from: u32, to: u32| {
        for n in from..to {
            let mut map = by_name.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(entry) = map.get_mut(&names[spread(n) as usize]) {
                *entry = (f64::from(n), i64::from(n));
            }
        }
    };

    println!("{ITEMS} items, {UPDATES} updates, best of {ROUNDS} rounds, million updates/s");
    let one = best(|| timed(|| store(0, UPDATES)));
    let one_plain = best(|| timed(|| plain_store(0, UPDATES)));
    let one_name = best(|| timed(|| name_store(0, UPDATES / 4)) * 0.25);
    let two = best(|| {
        timed(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| store(0, UPDATES / 2));
                store(UPDATES / 2, UPDATES);
            });
        })
    });
    println!("item table, 1 thread    {one:8.1}");
    println!("item table, 2 threads   {two:8.1}   {:.2} x one thread", two / one);
    println!("plain slots, 1 thread   {one_plain:8.1}   item table is {:.2} of it", one / one_plain);
    println!("map by name, 1 thread   {one_name:8.1}   item table is {:.1} x it", one / one_name);
    println!("memory per item         {:8.1} bytes", table.bytes() as f64 / table.len() as f64);
}

/// Visits items in an order that is not the order in memory.
fn spread(n: u32) -> u32 {
    n.wrapping_mul(7_919) % ITEMS
}

/// Million updates per second.
fn timed(run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    f64::from(UPDATES) / begun.elapsed().as_secs_f64() / 1e6
}

fn best(mut run: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| run()).fold(0.0, f64::max)
}
