//! What it costs to poll 10,000 registers every 100 ms: CPU of the plugin's own thread, beside the wall clock.
//!
//! The device and the counting hub run in this process on threads of their own, which are not counted.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use twinhub_loader::{HostSink, ItemSpec, Library, PublishOutcome, RawBatch, Role, WriteResult};
use twinhub_peers::{Device, DeviceOptions};

#[derive(Debug, Default)]
struct Counter {
    values: AtomicU64,
    missed: AtomicU64,
    thread: AtomicU64,
}

impl HostSink for Counter {
    fn publish(&self, _: u64, updates: RawBatch<'_>) -> PublishOutcome {
        if self.thread.load(Ordering::Relaxed) == 0 {
            self.thread.store(thread_id(), Ordering::Relaxed);
        }
        self.values.fetch_add(updates.iter().flatten().count() as u64, Ordering::Relaxed);
        PublishOutcome::Taken
    }
    fn write_done(&self, _: &[WriteResult]) {}
    fn op_done(&self, _: u64, _: i32, _: &str) {}
    fn fault(&self, _: i32, detail: &str) {
        println!("fault: {detail}");
    }
    fn log(&self, _: u32, _: &str, _: &str, _: &str) {}
    fn state(&self, _: u32, _: &str) {}
    fn lease_end(&self, _: u64) -> i64 {
        i64::MAX
    }
    fn count(&self, name: &str, add: u64) {
        if name == "modbus.polls_missed" {
            self.missed.fetch_add(add, Ordering::Relaxed);
        }
    }
}

/// Number of the calling thread, from the kernel's own link to it.
fn thread_id() -> u64 {
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    link.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// CPU time of a thread of this process, in nanoseconds.
fn cpu_ns(thread: u64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let name = format!("{}twinhub_modbus{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let cache = tempfile::tempdir().unwrap();
    let library = Library::open(folder.join(name), cache.path()).unwrap();
    let changing = Some((0, 10_000, Duration::from_millis(100)));
    let device = Device::start(DeviceOptions {
        registers: 10_000,
        changing,
        keep_log: false,
        ..DeviceOptions::default()
    })
    .unwrap();
    for poll in ["100ms", "1ms"] {
        let hub = Arc::<Counter>::default();
        let config = json!({"address": device.address().to_string(), "poll": poll}).to_string();
        let sink: Arc<dyn HostSink> = Arc::<Counter>::clone(&hub);
        let instance = library.create("bench", &config, sink).unwrap();
        let items: Vec<ItemSpec> = (0..10_000)
            .map(|handle| ItemSpec {
                handle,
                access: 1,
                address_json: json!({"address": format!("hr:{handle}")}).to_string(),
                type_hint: 0,
                group: 0,
            })
            .collect();
        instance.start(1).unwrap();
        instance.items(2, &items, &[]).unwrap();
        instance.set_role(3, Role::Active, 1, i64::MAX).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let thread = hub.thread.load(Ordering::Relaxed);
        let (values, cpu, begun) = (hub.values.load(Ordering::Relaxed), cpu_ns(thread), Instant::now());
        std::thread::sleep(Duration::from_secs(10));
        let (took, values) = (begun.elapsed().as_secs_f64(), hub.values.load(Ordering::Relaxed) - values);
        let cpu = cpu_ns(thread) - cpu;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (values, cpu) = (values as f64, cpu as f64);
        println!(
            "poll {poll:>5}: {:>9.0} values/s, {:.2} % of a core, {:.0} ns per value, {} cycles missed",
            values / took,
            cpu / took / 1e7,
            cpu / values,
            hub.missed.load(Ordering::Relaxed)
        );
    }
}
