//! What this process holds: threads, files, memory, sockets. Read from `/proc`; elsewhere nothing is known.

use std::collections::BTreeMap;
use std::path::Path;

use twinhub_isolation::memory_kib;

/// What this process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) threads: usize,
    pub(crate) files: usize,
    /// Resident memory that is not backed by files, in KiB.
    pub(crate) memory_kib: u64,
}

impl Holdings {
    /// What is held now; `None` where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        let threads = std::fs::read_dir("/proc/self/task").ok()?.count();
        let files = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self { threads, files, memory_kib: memory_kib("self")? })
    }
}

/// An internet socket of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// `tcp`, `tcp6`, `udp`, `udp6`.
    pub(crate) protocol: &'static str,
    pub(crate) is_listening: bool,
}

/// The internet sockets of this process.
pub(crate) fn sockets() -> Vec<Socket> {
    let mut all = BTreeMap::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/self/net/{protocol}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(state), Some(inode)) = (columns.get(3), columns.get(9)) else { continue };
            let is_listening = protocol.starts_with("tcp") && *state == TCP_LISTEN;
            all.insert((*inode).to_owned(), Socket { protocol, is_listening });
        }
    }
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let inode = |path: &Path| {
        let target = std::fs::read_link(path).ok()?;
        let text = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(text.to_owned())
    };
    files.flatten().filter_map(|file| all.get(&inode(&file.path())?).cloned()).collect()
}

/// State of a listening socket in `/proc/net/tcp`.
const TCP_LISTEN: &str = "0A";

/// Processes that this one has started and that are not reaped; none where the system does not say.
pub(crate) fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i32>>())
        .collect()
}
