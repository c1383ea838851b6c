//! What the boundary costs: `cargo bench -p twinhub-loader`.
//!
//! The simulated interface is measured twice in the same run: loaded as a library, and linked into this program, where
//! the same code publishes through the same table without a library in between. The time is the CPU time of the
//! plugin's thread, generation of the values included; the better of several alternating rounds counts, so that a busy
//! machine disturbs little. The sink keeps the last value of each item: bounds and UTF-8 checked, one lock per batch.
//!
//! In a process of its own, the wall clock counts as well, and the CPU time is that of the hub's thread: it reads the
//! shared memory and fills the table, while the child generates the values.
#![expect(unsafe_code, reason = "the linked entry is a foreign static, as it is for the system's loader")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use twinhub_contract::Entry;
use twinhub_isolation::{HostProgram, Isolated};
use twinhub_loader::{
    HostSink, Instance, ItemSpec, Lease, Library, PublishOutcome, RawBatch, Role, Status, ValueRef, WriteReq,
    WriteResult,
};
use twinhub_sim as _;

unsafe extern "C" {
    /// The entry of the plugin linked into this program.
    safe static twinhub_plugin_entry: Entry;
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if std::env::args().any(|argument| argument == HOST) {
        twinhub_isolation::run();
        return;
    }
    let cache = std::env::temp_dir().join(format!("twinhub-bench-{}", std::process::id()));
    let plugin = build_plugin();
    let loaded = Library::open(&plugin, &cache).expect("the plugin that was built loads");
    let program = std::env::current_exe().expect("this program has a path");
    let host = HostProgram { program, arguments: vec![HOST.to_owned()] };
    let isolated =
        Library::elsewhere(&plugin, &cache, |copy, manifest| Arc::new(Isolated::new(host, copy, manifest)))
            .expect("the plugin that was built is one");
    let linked = Library::linked(&twinhub_plugin_entry).expect("the linked plugin is good");
    values(&loaded, &linked);
    beside(&loaded, &isolated);
    println!("\nwrite -> plugin task -> publish, {ROUND_TRIPS} round trips");
    round_trip("in process", &loaded);
    round_trip("isolated", &isolated);
    println!("\nmemory of the hub per instance, {INSTANCES} instances");
    memory("in process", &loaded);
    memory("isolated", &isolated);
    std::fs::remove_dir_all(&cache).expect("the cache of this run can be removed");
}

fn values(loaded: &Library, linked: &Library) {
    println!("plugin -> host, ns per value (CPU time of the plugin's thread, best of {ROUNDS})");
    println!("{:>7} {:>12} {:>12} {:>8}", "batch", "library", "static call", "ratio");
    for batch in [1, 64, 1_024] {
        let (mut library, mut fixed) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            library = library.min(stream(loaded, batch, mix));
            fixed = fixed.min(stream(linked, batch, mix));
        }
        println!("{batch:>7} {library:>12.1} {fixed:>12.1} {:>8.2}", library / fixed);
    }
    let numbers = (0..ROUNDS).map(|_| stream(loaded, 64, |_| "const:21.5")).fold(f64::MAX, f64::min);
    println!("f64 only, library, batch 64: {numbers:.1}");
    println!("slot array alone, without a plugin: {:.1}", slots_alone());
}

/// In this process and in another one, in turns.
fn beside(loaded: &Library, isolated: &Library) {
    println!(
        "\nplugin -> item table, ns per value (best of {ROUNDS}; wall clock, then CPU time of the hub's thread)"
    );
    println!("{:>7} {:>11} {:>11} {:>8} {:>13}", "batch", "in process", "isolated", "ratio", "isolated, CPU");
    for batch in [1, 64, 1_024] {
        let (mut here, mut there, mut cpu) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            here = here.min(stream_timed(loaded, batch, mix).1);
            let (of_hub, wall) = stream_timed(isolated, batch, mix);
            (there, cpu) = (there.min(wall), cpu.min(of_hub));
        }
        println!("{batch:>7} {here:>11.1} {there:>11.1} {:>8.2} {cpu:>13.1}", there / here);
    }
}

/// CPU nanoseconds per value for the same mix written into the slot array by a plain loop.
fn slots_alone() -> f64 {
    let mut slots: Vec<Slot> = (0..ITEMS).map(|_| Slot::default()).collect();
    let value = |item: u32| match item % 10 {
        0 => ValueRef::Bool(item.is_multiple_of(20)),
        1 => ValueRef::I64(i64::from(item)),
        2 => ValueRef::Str("twelve bytes"),
        _ => ValueRef::F64(21.5),
    };
    let mut best = f64::MAX;
    for round in 0..ROUNDS {
        let begun = thread_cpu_ns();
        for pass in 0..MEASURED / u64::from(ITEMS) {
            for item in 0..ITEMS {
                if let Some(slot) = slots.get_mut(std::hint::black_box(item) as usize) {
                    slot.set(pass.cast_signed(), u32::from(round == 99), value(item));
                }
            }
        }
        best = best.min((thread_cpu_ns() - begun) as f64 / MEASURED as f64);
    }
    std::hint::black_box(&slots);
    best
}

/// The mix of the contract's measurements: 70 % f64, 10 % bool, 10 % i64, 10 % strings of 12 bytes.
fn mix(handle: u32) -> &'static str {
    match handle % 10 {
        0 => "toggle",
        1 => "counter",
        2 => "const:twelve bytes",
        _ => "const:21.5",
    }
}

/// CPU nanoseconds per value while values flow as fast as they can.
fn stream(library: &Library, batch: u64, address: fn(u32) -> &'static str) -> f64 {
    stream_timed(library, batch, address).0
}

/// CPU nanoseconds of the thread that publishes, and of the wall clock.
fn stream_timed(library: &Library, batch: u64, address: fn(u32) -> &'static str) -> (f64, f64) {
    let sink = Arc::new(Slots::new());
    let config = format!("{{\"interval_ms\": 0, \"batch\": {batch}}}");
    let items: Vec<_> = (0..ITEMS).map(|handle| item(handle, address(handle))).collect();
    let instance = active(library, &config, &items, &sink);
    let ns = loop {
        let ns = sink.cpu_ns.load(Ordering::Acquire);
        if ns != 0 {
            break ns;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let wall = sink.wall_ns.load(Ordering::Acquire);
    instance.destroy();
    (ns as f64 / MEASURED as f64, wall as f64 / MEASURED as f64)
}

fn round_trip(name: &str, library: &Library) {
    let sink = Arc::new(Slots::new());
    let instance = active(library, "{}", &[item(0, "echo")], &sink);
    let mut times: Vec<Duration> = (1..=ROUND_TRIPS)
        .map(|id| {
            let seen = sink.echoes.load(Ordering::Acquire);
            let begun = Instant::now();
            let value = ValueRef::U64(id);
            let write = WriteReq { write_id: id, item: 0, deadline_ns: i64::MIN, flags: 0, value };
            instance.write(1, &[write]).expect("the queue is empty");
            while sink.echoes.load(Ordering::Acquire) == seen {
                std::hint::spin_loop();
            }
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 1_000].as_nanos() as f64 / 1e3;
    println!("{name:>11}: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us", at(500), at(990), at(999));
}

fn memory(name: &str, library: &Library) {
    let sink = Arc::new(Slots::new());
    let before = anonymous_kib();
    let instances: Vec<_> =
        (0..INSTANCES).map(|_| active(library, "{}", &[item(0, "echo")], &sink)).collect();
    let after = anonymous_kib();
    println!("{name:>11}: {} KiB anonymous", (after - before) / INSTANCES);
    drop(instances);
}

fn active(library: &Library, config: &str, items: &[ItemSpec], sink: &Arc<Slots>) -> Instance {
    let instance = library
        .create("bench", config, Arc::clone(sink) as Arc<dyn HostSink>)
        .expect("the configuration is good");
    let calls = [
        (1, instance.items(1, items, &[])),
        (2, instance.start(2)),
        (3, instance.set_role(3, Role::Active, 1, i64::MIN)),
    ];
    for (op, called) in calls {
        if called.expect("the call is good") == Status::Pending {
            while sink.done.load(Ordering::Acquire) & 1 << op == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
    sink.done.store(0, Ordering::Release);
    instance
}

fn item(handle: u32, address: &str) -> ItemSpec {
    let address_json = format!("{{\"path\": \"bench/{handle}\", \"address\": \"{address}\"}}");
    ItemSpec { handle, access: 3, address_json, type_hint: 0, group: 0 }
}

/// Keeps the last value of each item, and measures.
struct Slots {
    table: Mutex<Vec<Slot>>,
    taken: AtomicU64,
    begun_ns: AtomicU64,
    begun: Instant,
    wall_begun_ns: AtomicU64,
    wall_ns: AtomicU64,
    cpu_ns: AtomicU64,
    echoes: AtomicU64,
    done: AtomicU64,
}

#[derive(Default)]
struct Slot {
    source_ns: i64,
    status: u32,
    bits: u64,
    text: String,
}

impl Slot {
    #[inline]
    fn set(&mut self, source_ns: i64, status: u32, value: ValueRef<'_>) {
        self.source_ns = source_ns;
        self.status = status;
        match value {
            ValueRef::Bool(value) => self.bits = u64::from(value),
            ValueRef::I64(value) | ValueRef::Time(value) => self.bits = value.cast_unsigned(),
            ValueRef::U64(value) => self.bits = value,
            ValueRef::F64(value) => self.bits = value.to_bits(),
            ValueRef::Str(text) | ValueRef::Json(text) => {
                self.text.clear();
                self.text.push_str(text);
            }
            ValueRef::Null | ValueRef::Bytes(_) | ValueRef::Array { .. } => {}
        }
    }
}

impl Slots {
    fn new() -> Self {
        Self {
            table: Mutex::new((0..ITEMS).map(|_| Slot::default()).collect()),
            taken: AtomicU64::new(0),
            begun_ns: AtomicU64::new(0),
            begun: Instant::now(),
            wall_begun_ns: AtomicU64::new(0),
            wall_ns: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            echoes: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }
}

impl Slots {
    fn wall(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl HostSink for Slots {
    fn publish(&self, _epoch: u64, updates: RawBatch<'_>) -> PublishOutcome {
        let Ok(mut slots) = self.table.lock() else { return PublishOutcome::Again };
        for update in updates {
            let Ok(update) = update else { return PublishOutcome::Invalid };
            let Some(slot) = slots.get_mut(update.item as usize) else { continue };
            slot.set(update.source_ns, update.status, update.value);
        }
        drop(slots);
        self.echoes.fetch_add(1, Ordering::Release);
        let count = updates.len() as u64;
        let before = self.taken.fetch_add(count, Ordering::Relaxed);
        if before < WARM_UP && before + count >= WARM_UP {
            self.begun_ns.store(thread_cpu_ns(), Ordering::Relaxed);
            self.wall_begun_ns.store(self.wall(), Ordering::Relaxed);
        } else if before < WARM_UP + MEASURED && before + count >= WARM_UP + MEASURED {
            self.wall_ns.store(self.wall() - self.wall_begun_ns.load(Ordering::Relaxed), Ordering::Relaxed);
            self.cpu_ns.store(thread_cpu_ns() - self.begun_ns.load(Ordering::Relaxed), Ordering::Release);
        }
        PublishOutcome::Taken
    }

    fn write_done(&self, _results: &[WriteResult]) {}

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        assert_eq!(code, 0, "operation {op}: {detail}");
        self.done.fetch_or(1 << op, Ordering::Release);
    }

    fn fault(&self, code: i32, detail: &str) {
        println!("the instance faulted: {code} {detail}");
    }

    fn log(&self, _level: u32, _target: &str, message: &str, _fields_json: &str) {
        println!("log: {message}");
    }

    fn state(&self, _state: u32, _cause: &str) {}

    fn lease_end(&self, _epoch: u64) -> i64 {
        i64::MAX
    }

    fn lease(&self) -> Lease<'_> {
        Lease::Free
    }

    fn count(&self, _name: &str, _add: u64) {}
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

fn anonymous_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells about memory");
    let line =
        text.lines().find(|line| line.starts_with("Anonymous:")).expect("anonymous memory is a line of it");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a number of KiB")
}

fn build_plugin() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "twinhub-sim", "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("filenames")?.as_array().cloned())
        .flatten()
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|name| name == "libtwinhub_sim.so"))
        .expect("cargo names the library it built")
}

/// As the child that hosts a plugin, this program has this argument.
const HOST: &str = "--host";
const ITEMS: u32 = 1_000;
const ROUNDS: usize = 5;
const WARM_UP: u64 = 200_000;
const MEASURED: u64 = 5_000_000;
const ROUND_TRIPS: u64 = 20_000;
const INSTANCES: u64 = 50;
