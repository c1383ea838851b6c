//! `doctor`: what is wrong on this machine, and what to do.

use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use twinhub_config::{Node, Severity, Site};
use twinhub_floating::Address;
use twinhub_runtime::view::{ClusterView, GroupView};

use super::check::{FLOATING_HELP, check_plugins};
use crate::cli::{DoctorArgs, Global};
use crate::client::Client;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain};
use crate::paths::Paths;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do, if anything.
    advice: String,
}

#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, found: found.into(), advice: String::new() });
    }

    fn warn(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        let (found, advice) = (found.into(), advice.into());
        self.0.push(Finding { check, verdict: Verdict::Warn, found, advice });
    }

    fn fail(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        let (found, advice) = (found.into(), advice.into());
        self.0.push(Finding { check, verdict: Verdict::Fail, found, advice });
    }
}

pub(crate) fn run(global: &Global, args: &DoctorArgs, answer: Answer) -> Outcome {
    let paths = Paths::of(global);
    let mut report = Report::default();
    let site = config(&paths, &mut report);
    if let Some(site) = &site {
        let own: Vec<&Node> = site
            .nodes
            .iter()
            .filter(|node| args.node.as_ref().is_none_or(|name| node.name == *name))
            .collect();
        if let (true, Some(name)) = (own.is_empty(), &args.node) {
            let names: Vec<&str> = site.nodes.iter().map(|node| node.name.as_str()).collect();
            let text = format!("no node is called `{name}`: the nodes are {}", names.join(", "));
            return Err(Failure::new(Code::Configuration, text));
        }
        plugins(site, &paths, &mut report);
        certificates(site, &own, &paths, &mut report);
        for node in &own {
            state(&node.name, &paths, &mut report);
            let running = running(global, node);
            ports(node, running.is_some(), &mut report);
            for group in running.iter().flat_map(|view| &view.groups) {
                roles(&node.name, group, &mut report);
            }
        }
        floating(site, &mut report);
        others(site, args.node.as_deref(), &mut report);
    }
    clock(&mut report);
    let has_failed = report.0.iter().any(|finding| finding.verdict == Verdict::Fail);
    answer.give(&report.0, |findings| {
        let lines = findings.iter().map(|finding| {
            let word = match finding.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            let advice = if finding.advice.is_empty() {
                String::new()
            } else {
                format!("\n      do: {}", finding.advice)
            };
            format!("{word}  {}: {}{advice}", finding.check, plain(&finding.found))
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(if has_failed { Code::Error } else { Code::Ok })
}

fn config(paths: &Paths, report: &mut Report) -> Option<Site> {
    let name = paths.config.display().to_string();
    match paths.load() {
        Ok(loaded) => {
            report.ok("config", name);
            for warning in &loaded.warnings {
                report.warn("config", warning.to_string(), warning.help.clone().unwrap_or_default());
            }
            Some(loaded.site)
        }
        Err(_) if !paths.config.exists() => {
            report.fail(
                "config",
                format!("there is no {name}"),
                "run `twinhub init`, or name another with --config or --root",
            );
            None
        }
        Err(failure) => {
            let first = failure.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            report.fail(
                "config",
                format!("{name}: {}", first.trim()),
                "run `twinhub config check` to see all of it",
            );
            None
        }
    }
}

fn plugins(site: &Site, paths: &Paths, report: &mut Report) {
    let found = check_plugins(site, paths);
    for found in &found {
        let advice = found.help.clone().unwrap_or_default();
        match found.severity {
            Severity::Error => report.fail("plugins", found.to_string(), advice),
            Severity::Warning => report.warn("plugins", found.to_string(), advice),
        }
    }
    if found.is_empty() {
        let mut names: Vec<&str> =
            site.interfaces.iter().map(|interface| interface.plugin.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        report.ok("plugins", format!("{} fit this hub and their settings", names.join(", ")));
    }
}

fn certificates(site: &Site, own: &[&Node], paths: &Paths, report: &mut Report) {
    let dir = &paths.pki;
    let mut missing = Vec::new();
    for node in own {
        match twinhub_runtime::pki::load(dir, &node.name) {
            Ok(_) => {}
            Err(error) if dir.join(format!("{}.pem", node.name)).exists() => {
                report.fail(
                    "certificates",
                    error.to_string(),
                    "remove the pair of files and run `twinhub init` again",
                );
            }
            Err(_) => missing.push(node.name.clone()),
        }
    }
    if missing.is_empty() {
        report.ok("certificates", dir.display().to_string());
    } else if dir.join("ca.pem").exists() && !dir.join("ca.key").exists() {
        report.fail(
            "certificates",
            format!("{} has no certificate for {}", dir.display(), missing.join(", ")),
            "run `twinhub init` where ca.key is, and copy ca.pem and the node's .pem and .key here",
        );
    } else {
        let advice = if site.nodes.len() > 1 {
            "they are made at the first start; for several machines run `twinhub init` once and copy the folder"
        } else {
            "they are made at the first start"
        };
        report.warn("certificates", format!("none yet for {}", missing.join(", ")), advice);
    }
}

fn state(node: &str, paths: &Paths, report: &mut Report) {
    let dir = paths.node_state(node);
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let probe = existing.join(format!(".twinhub-doctor-{}", std::process::id()));
    match std::fs::write(&probe, b"probe") {
        Ok(()) => {
            // It is only a probe.
            std::fs::remove_file(&probe).ok();
            report.ok("state", format!("{} is writable", dir.display()));
        }
        Err(error) => report.fail(
            "state",
            format!("{} is not writable: {error}", existing.display()),
            "start as the hub's user, or choose another with --state",
        ),
    }
    if let Ok(space) = rustix::fs::statvfs(existing) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let text = format!("{} MiB free in {}", free >> 20, existing.display());
        if free < DISK_FAIL {
            report.fail("disk", text, "make room: the journal needs it");
        } else if free < DISK_WARN {
            report.warn("disk", text, "make room soon: the journal needs it");
        } else {
            report.ok("disk", text);
        }
    }
    role_file(node, &dir.join("role"), report);
    journal(node, &dir.join("journal"), report);
}

fn role_file(node: &str, path: &Path, report: &mut Report) {
    match std::fs::read(path) {
        Ok(bytes) => report.ok("role file", format!("{node}: {} bytes", bytes.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.ok("role file", format!("{node}: none yet, this node has never run"));
        }
        Err(error) => report.fail(
            "role file",
            format!("{}: {error}", path.display()),
            "give the hub's user read and write rights",
        ),
    }
}

fn journal(node: &str, dir: &Path, report: &mut Report) {
    let mut files = 0_u64;
    let mut bytes = 0_u64;
    let groups = match std::fs::read_dir(dir) {
        Ok(groups) => groups,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.ok("journal", format!("{node}: none yet"));
            return;
        }
        Err(error) => {
            let found = format!("{}: {error}", dir.display());
            report.fail("journal", found, "give the hub's user read and write rights");
            return;
        }
    };
    for group in groups.flatten() {
        let Ok(entries) = std::fs::read_dir(group.path()) else { continue };
        for entry in entries.flatten() {
            if let Err(error) = std::fs::File::open(entry.path()) {
                let found = format!("{}: {error}", entry.path().display());
                report.fail("journal", found, "give the hub's user read and write rights");
            }
            let name = entry.file_name();
            if name.to_string_lossy().contains("damaged") {
                let advice = "it was set aside at a start; the active node's journal is complete, keep it for the maker";
                report.warn("journal", format!("{} is damaged", entry.path().display()), advice);
            }
            files += 1;
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    report.ok("journal", format!("{node}: {files} files, {} KiB", bytes >> 10));
}

fn ports(node: &Node, is_running: bool, report: &mut Report) {
    for (what, address) in
        std::iter::once(("web", &node.web)).chain(node.listen.iter().map(|link| ("peer", link)))
    {
        match TcpListener::bind(address) {
            Ok(_) => report.ok("ports", format!("{}: {what} {address} is free", node.name)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                if is_running {
                    report.ok("ports", format!("{}: {what} {address} is used by its hub", node.name));
                } else {
                    report.fail(
                        "ports",
                        format!("{}: {what} {address} is used by another program", node.name),
                        format!("find it with `ss -ltnp sport = :{}`", port_of(address)),
                    );
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                let found = format!("{}: {what} {address} is not of this machine", node.name);
                report.warn("ports", found, "fine if that node runs elsewhere; --node looks only at one");
            }
            Err(error) => {
                let found = format!("{}: {what} {address}: {error}", node.name);
                report.fail("ports", found, "correct the address in the configuration");
            }
        }
    }
}

/// What the node says of the cluster, if its web address is answered by a hub that has its name.
fn running(global: &Global, node: &Node) -> Option<ClusterView> {
    let url = format!("http://127.0.0.1:{}", port_of(&node.web));
    let cluster = Client::at(global, &url).and_then(|client| client.get::<ClusterView>("/api/v1/cluster"));
    cluster.ok().filter(|cluster| cluster.node == node.name)
}

/// Whether a running node could lose its main, and why not.
fn roles(node: &str, group: &GroupView, report: &mut Report) {
    let about = format!("{node}: group {}", group.id);
    let advice = "`twinhub status` shows who is in which state and why";
    match &group.active {
        Some(active) if group.protected => report.ok("roles", format!("{about}: {active} active, protected")),
        Some(active) => {
            report.warn("roles", format!("{about}: {active} active, not protected"), advice);
        }
        None => report.fail("roles", format!("{about}: nobody is known to be active"), advice),
    }
    let voters = &group.voters;
    if !voters.shrunk.is_empty() {
        let shrunk: Vec<&str> = voters.shrunk.iter().map(|shrunk| shrunk.name.as_str()).collect();
        let found = format!(
            "{about}: {} of {} vote, {} shrunk",
            voters.voting,
            voters.configured,
            shrunk.join(" and ")
        );
        let advice = "they vote again by themselves when they are back; held ones after `twinhub grow NAME`";
        report.warn("voters", found, advice);
    }
    if group.paused {
        report.warn("roles", format!("{about}: paused, no role moves"), "`twinhub resume` lets roles move");
    }
    if let Some(floating) = &group.floating
        && let Some(error) = &floating.error
    {
        report.fail("floating address", format!("{about}: {error}"), "see `floating` in `twinhub status`");
    }
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').map_or("8620", |(_, port)| port)
}

/// Whether the addresses that move with roles can be held on this machine.
fn floating(site: &Site, report: &mut Report) {
    for floating in site.groups.iter().filter_map(|group| group.floating.as_ref()) {
        let address = Address { ip: floating.address, prefix: floating.prefix };
        match twinhub_floating::find_device(&address, floating.device.as_deref()) {
            Ok(device) => report.ok("floating address", format!("{address} goes on {}", device.name)),
            Err(error) => report.fail(
                "floating address",
                error.to_string(),
                "correct `floating` in the configuration, or the network of this machine",
            ),
        }
        let missing = twinhub_floating::missing_capabilities();
        if !missing.is_empty() {
            let found = format!("{address}: this user lacks {}", missing.join(" and "));
            report.fail("floating address", found, FLOATING_HELP);
        }
    }
}

fn others(site: &Site, own: Option<&str>, report: &mut Report) {
    for node in site.nodes.iter().filter(|node| own.is_some_and(|own| node.name != own)) {
        for address in &node.links {
            reach("nodes", &node.name, address, report);
        }
    }
    match &site.cluster.witness {
        Some(twinhub_config::Witness::Address(address)) => reach("witness", "witness", address, report),
        Some(twinhub_config::Witness::Etcd(etcd)) => {
            for url in &etcd.endpoints {
                let address = url.trim_start_matches("https://").trim_start_matches("http://");
                reach("witness", "etcd", address.trim_end_matches('/'), report);
            }
        }
        // The configuration's own warnings say what is missing.
        None => {}
    }
}

fn reach(check: &'static str, name: &str, address: &str, report: &mut Report) {
    let result = address.to_socket_addrs().and_then(|mut found| {
        let found = found.next().ok_or_else(|| std::io::Error::other("the name has no address"))?;
        TcpStream::connect_timeout(&found, REACH_TIME_MAX)
    });
    match result {
        Ok(_) => report.ok(check, format!("{name} answers at {address}")),
        Err(error) => report.warn(
            check,
            format!("{name} does not answer at {address}: {error}"),
            "start it, or look at cable, route and firewall",
        ),
    }
}

/// What the kernel knows of the clock's discipline.
fn clock(report: &mut Report) {
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists()
        || ["/run/chrony", "/run/chronyd.pid", "/run/ntpd.pid", "/var/run/ntpd.pid"]
            .iter()
            .any(|path| Path::new(path).exists());
    if synchronized {
        report.ok("clock", "a time service runs");
    } else {
        report.warn(
            "clock",
            "no time service is seen",
            "run chrony or systemd-timesyncd: leases do not need it, time stamps of values do",
        );
    }
}

const DISK_FAIL: u64 = 64 << 20;
const DISK_WARN: u64 = 1 << 30;
const REACH_TIME_MAX: Duration = Duration::from_secs(2);
