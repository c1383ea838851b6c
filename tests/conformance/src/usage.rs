//! What processes take of the machine, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use twinhub_peers::tree;

/// Processor time of a process and all below it since a moment.
#[derive(Debug)]
pub(crate) struct Usage {
    root: u32,
    ticks: u64,
    /// Time on a processor of each thread.
    threads: BTreeMap<u32, Duration>,
    at: Instant,
}

impl Usage {
    /// From here on.
    pub(crate) fn of(root: u32) -> Self {
        let threads = threads(root).into_iter().map(|(id, _, spent)| (id, spent)).collect();
        Self { root, ticks: ticks(root), threads, at: Instant::now() }
    }

    /// Percent of one core.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn percent(&self) -> f64 {
        let used = ticks(self.root).saturating_sub(self.ticks);
        used as f64 * 100.0 / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64()
    }

    /// Percent of one core of the threads whose name begins with one of these.
    pub(crate) fn percent_of_threads(&self, names: &[&str]) -> f64 {
        let mut spent = Duration::ZERO;
        for (id, name, now) in threads(self.root) {
            if names.iter().any(|start| name.starts_with(start)) {
                spent += now.saturating_sub(self.threads.get(&id).copied().unwrap_or_default());
            }
        }
        spent.as_secs_f64() * 100.0 / self.at.elapsed().as_secs_f64()
    }

    /// Memory of the process and all below it, in MiB.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn rss_mib(&self) -> f64 {
        // A supervisor and its child share the pages of their program: they are there once.
        let memory = tree(self.root).into_iter().map(resident_kib);
        let (anonymous, file) = memory.fold((0, 0), |(a, f), (own, shared)| (a + own, f.max(shared)));
        (anonymous + file) as f64 / 1024.0
    }
}

/// Processor time of the whole machine since a moment.
#[derive(Debug)]
pub(crate) struct Machine {
    ticks: f64,
    at: Instant,
}

impl Machine {
    /// From here on.
    pub(crate) fn now() -> Self {
        Self { ticks: busy_ticks(), at: Instant::now() }
    }

    /// Percent of one core.
    pub(crate) fn percent_since(&self) -> f64 {
        (busy_ticks() - self.ticks) * 100.0 / TICKS_PER_SECOND / self.at.elapsed().as_secs_f64()
    }
}

/// proc(5), `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn busy_ticks() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields = numbers.filter_map(|number| number.parse::<f64>().ok());
    fields.enumerate().filter(|(place, _)| [0, 1, 2, 5, 6, 7].contains(place)).map(|(_, ticks)| ticks).sum()
}

/// proc(5), `/proc/pid/stat`: fields 14 and 15 are user and system time; the name in field 2 may hold anything.
fn ticks(root: u32) -> u64 {
    let of = |pid: u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    tree(root).into_iter().filter_map(of).sum()
}

/// Number, name and time on a processor of every thread. The kernel's scheduler documentation, `sched-stats`: the first
/// field of `/proc/pid/task/tid/schedstat` is the time spent on a processor, in nanoseconds.
fn threads(root: u32) -> Vec<(u32, String, Duration)> {
    let mut found = Vec::new();
    for pid in tree(root) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let spent = read("schedstat").split_whitespace().next().and_then(|number| number.parse().ok());
            let name = read("comm").trim().to_owned();
            found.push((id, name, Duration::from_nanos(spent.unwrap_or(0))));
        }
    }
    found
}

/// proc(5), `/proc/pid/status`: memory of its own, and pages of files.
fn resident_kib(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("RssAnon:") + field("RssShmem:"), field("RssFile:"))
}

/// `getconf CLK_TCK` on every Linux in use.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_counted_under_its_name_and_a_waiting_one_is_not() {
        let (send, stop) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::Builder::new().name("waiting".to_owned());
        let waiting = waiting.spawn(move || assert!(stop.recv().is_err())).unwrap();
        let usage = Usage::of(std::process::id());
        let worker = std::thread::Builder::new().name("worker".to_owned());
        let worker = worker.spawn(|| {
            // Until the kernel has noticed.
            twinhub_peers::wait_until("work", Duration::from_secs(60), || {
                (0..200_000_u64).fold(0, |sum: u64, number| sum.wrapping_add(std::hint::black_box(number)));
                let me = "/proc/thread-self/schedstat";
                let spent = fs::read_to_string(me).unwrap_or_default();
                let spent: Option<u64> = spent.split_whitespace().next().and_then(|text| text.parse().ok());
                spent.is_some_and(|nanoseconds| nanoseconds > 2_000_000)
            })
            .unwrap();
            std::thread::park();
        });
        let worker = worker.unwrap();
        twinhub_peers::wait_until("time of the worker", Duration::from_secs(60), || {
            usage.percent_of_threads(&["work"]) > 0.0
        })
        .unwrap();
        assert!(usage.percent_of_threads(&["nobody"]) == 0.0);
        assert!(usage.rss_mib() > 0.1);
        worker.thread().unpark();
        worker.join().unwrap();
        drop(send);
        waiting.join().unwrap();
    }
}
