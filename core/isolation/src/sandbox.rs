//! What a child may not do, by what its plugin declares to need.
//!
//! It begins before any code of the library is mapped, and holds for everything the process does from then on:
//! - **Files** (Landlock): the shared libraries of the system and what name resolution, certificates and time zones need
//!   can be read. `files` adds what settings name whose key ends with `_file`, as they are when the process begins: one
//!   that another takes the place of is read again by the next process only. `serial` adds the devices below `/dev`.
//!   Nothing can be written but a device, and nothing executed.
//! - **Network** (Landlock and a filter): without `network` there are neither internet sockets nor connections; `raw-socket`
//!   is needed for raw and packet sockets. Signals and abstract sockets do not reach other processes.
//! - **System calls** (filter): no new programs and processes, no look into others, no mounts, namespaces, keys, clocks,
//!   kernel modules. They answer `EPERM`.
//!
//! A kernel without Landlock restricts less; what holds is told to the hub's log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use twinhub_contract::manifest::Need;

/// Restricts this process for good. Returns what could not be restricted, in words.
pub(crate) fn enter(library: &Path, config: &str, needs: &[Need]) -> Vec<String> {
    let mut missing = Vec::new();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // A core file would show the configuration, with its secrets.
    if let Err(error) = setrlimit(Resource::Core, none) {
        missing.push(format!("core files are not switched off: {error}"));
    }
    // If the machine has no memory left, this process goes before the hub and whatever else runs there. Raising it needs no
    // privilege.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        missing.push(format!("the hub may be ended before this process for want of memory: {error}"));
    }
    match files_and_network(library, config, needs) {
        Ok(RulesetStatus::FullyEnforced) => {}
        Ok(RulesetStatus::PartiallyEnforced) => {
            missing.push("this kernel restricts files and network in part".to_owned());
        }
        Ok(RulesetStatus::NotEnforced) => missing.push("this kernel does not restrict files".to_owned()),
        Err(error) => missing.push(format!("files are not restricted: {error}")),
    }
    if let Err(error) = system_calls(needs) {
        missing.push(format!("system calls are not restricted: {error}"));
    }
    missing
}

fn files_and_network(library: &Path, config: &str, needs: &[Need]) -> Result<RulesetStatus, RulesetError> {
    let newest = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .scope(Scope::from_all(newest))?;
    if !needs.contains(&Need::Network) {
        rules = rules.handle_access(AccessNet::from_all(newest))?;
    }
    let mut rules = rules.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    rules = allow(rules, library, read | AccessFs::Execute)?;
    for path in LIBRARIES {
        rules = allow(rules, Path::new(path), read | AccessFs::Execute)?;
    }
    for path in READABLE {
        rules = allow(rules, Path::new(path), read)?;
    }
    for path in DEVICES {
        rules = allow(rules, Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    if needs.contains(&Need::Files) {
        for path in paths_of(config) {
            rules = allow(rules, &path, read)?;
        }
    }
    if needs.contains(&Need::Serial) {
        let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
        rules = allow(rules, Path::new("/dev"), device)?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// What is not there needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    // A right that only a directory has is none for a file.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V6) };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// The files that a configuration names for the plugin to read: by the key, as the hub knows them. Any other text may look
/// like a path, and be a topic or a password.
fn paths_of(config: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![serde_json::from_str::<serde_json::Value>(config).unwrap_or_default()];
    while let Some(value) = rest.pop() {
        match value {
            serde_json::Value::Array(list) => rest.extend(list),
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    let name = value.as_str().filter(|name| key.ends_with("_file") && !name.is_empty());
                    if let Some(name) = name {
                        found.push(PathBuf::from(name));
                    } else {
                        rest.push(value);
                    }
                }
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }
    found
}

fn system_calls(needs: &[Need]) -> Result<(), Box<dyn std::error::Error>> {
    // The C library falls back to `clone`, whose flags can be seen.
    apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    refused.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    // Threads, not processes.
    let no_thread = is(0, SeccompCmpOp::MaskedEq(bits(libc::CLONE_THREAD)), 0)?;
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]);
    let mut sockets = Vec::new();
    if !needs.contains(&Need::Network) && !needs.contains(&Need::Multicast) {
        for family in [libc::AF_INET, libc::AF_INET6] {
            sockets.push(SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, bits(family))?])?);
        }
    }
    if !needs.contains(&Need::RawSocket) {
        sockets.push(SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, bits(libc::AF_PACKET))?])?);
        for family in [libc::AF_INET, libc::AF_INET6] {
            let raw = is(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), bits(libc::SOCK_RAW))?;
            sockets.push(SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, bits(family))?, raw])?);
        }
    }
    if !sockets.is_empty() {
        refused.insert(libc::SYS_socket, sockets);
    }
    apply(refused, libc::EPERM)
}

fn is(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn bits(number: libc::c_int) -> u64 {
    u64::from(number.cast_unsigned())
}

/// What matches answers with this error, in all threads.
fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    error: libc::c_int,
) -> Result<(), Box<dyn std::error::Error>> {
    let refuse = SeccompAction::Errno(error.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

/// The bits of a socket's type, without flags.
const SOCKET_TYPE: u64 = 0xF;
/// Shared libraries.
const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
/// Names of hosts and services, certificates, time zones, processors, what a process knows of itself.
const READABLE: [&str; 16] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/sys/devices/system/cpu",
    "/proc/self",
];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// No protocol needs these.
const REFUSED: [i64; 40] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_io_uring_setup,
    libc::SYS_syslog,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_configuration_are_those_that_a_key_calls_so() {
        let config = r#"{"ca_file": "/etc/a.pem", "topic": "/", "deep": [{"key_file": "site/b.pem"}], "n_file": 1, "o_file": ""}"#;
        let mut found = paths_of(config);
        found.sort();
        assert_eq!(found, [Path::new("/etc/a.pem"), Path::new("site/b.pem")]);
        assert!(paths_of("no json").is_empty());
    }
}
