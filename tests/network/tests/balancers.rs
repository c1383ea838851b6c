//! The configurations of `examples/load-balancer` with Debian's haproxy and keepalived.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::{Process, monotonic_ns, wait_until};

use Machine::{Backup, Client, Main};

#[test]
fn haproxy_sends_requests_to_the_active_node() {
    guarded("haproxy", || {
        needs("haproxy")?;
        let mut pair = Pair::start(Profile::Normal)?;
        let file = example(
            &pair,
            "haproxy.cfg",
            &[("10.0.0.11:8620", "10.77.0.1:8080"), ("10.0.0.12:8620", "10.77.0.2:8080")],
        )?;
        let mut command = pair.lab().command(Client, "haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let log = pair.root().join("haproxy.log");
        let haproxy = Process::spawn("haproxy", command, &log)?;
        let said = || format!("{}\n{:?}", haproxy.log_tail(), answering(&pair));
        wait_until("haproxy finds the main", LIMIT, || answering(&pair).as_deref() == Some("main"))
            .map_err(|error| Error::State(format!("{error}: {}", said())))?;
        let at = monotonic_ns();
        pair.switchover(Main, Backup)?;
        wait_until("haproxy finds the backup", LIMIT, || answering(&pair).as_deref() == Some("backup"))?;
        print(&format!("planned: {:?} until haproxy led to the backup", since(at)));
        pair.wait_in_sync(Backup)?;
        let at = pair.kill(Backup)?;
        wait_until("haproxy finds the main again", LIMIT, || answering(&pair).as_deref() == Some("main"))?;
        print(&format!("host killed: {:?} until haproxy led to the main", since(at)));
        Ok(())
    });
}

#[test]
fn keepalived_keeps_its_address_on_the_active_node() {
    guarded("keepalived", || {
        needs("keepalived")?;
        needs("curl")?;
        let pair = Pair::start(Profile::Normal)?;
        let changes = [("eth0", Net::Lan.device()), ("10.0.0.60/24", "10.77.0.60/24"), (":8620", ":8080")];
        let file = example(&pair, "keepalived.conf", &changes)?;
        let mut running = Vec::new();
        for machine in [Main, Backup] {
            let pid = |what: &str| pair.root().join(format!("{}-{what}.pid", machine.word()));
            let mut command = pair.lab().command(machine, "keepalived");
            command.args(["--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--use-file"]).arg(&file);
            command.arg("--pid").arg(pid("parent")).arg("--vrrp_pid").arg(pid("vrrp"));
            let log = pair.root().join(format!("keepalived-{}.log", machine.word()));
            running.push(Process::spawn("keepalived", command, &log)?);
        }
        let said = || running.iter().map(Process::log_tail).collect::<Vec<_>>().join("\n");
        wait_until("the address on the main", LIMIT, || has(&pair, Main) && !has(&pair, Backup))
            .map_err(|error| Error::State(format!("{error}: {}", said())))?;
        let at = pair.switchover(Main, Backup)?;
        wait_until("the address on the backup", LIMIT, || has(&pair, Backup) && !has(&pair, Main))
            .map_err(|error| Error::State(format!("{error}: {}", said())))?;
        print(&format!("planned: {:?} until keepalived had moved its address", since(at)));
        Ok(())
    });
}

/// A file of the examples, with the addresses of the plant.
fn example(pair: &Pair, name: &str, changes: &[(&str, &str)]) -> Result<std::path::PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/load-balancer").join(name);
    let mut text = fs::read_to_string(&source).map_err(Error::io(source.display().to_string()))?;
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no `{from}`");
        text = text.replace(from, to);
    }
    let file = pair.root().join(name);
    fs::write(&file, text).map_err(Error::io(file.display().to_string()))?;
    Ok(file)
}

/// Which node answers through haproxy.
fn answering(pair: &Pair) -> Option<String> {
    let asked = pair.lab().inside(Client, || {
        let mut stream = TcpStream::connect(("127.0.0.1", 8600)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream
            .write_all(b"GET /health/active HTTP/1.1\r\nhost: 10.77.0.1\r\nconnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    let answer = asked.ok()??;
    let is_good = answer.starts_with("HTTP/1.1 200");
    let node = answer.lines().find_map(|line| line.strip_prefix("x-twinhub-node: "))?;
    is_good.then(|| node.to_owned())
}

fn has(pair: &Pair, machine: Machine) -> bool {
    pair.addresses(machine, Net::Lan).contains("inet 10.77.0.60/24")
}

fn needs(program: &str) -> Result<()> {
    let is_there =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).is_file());
    if is_there {
        Ok(())
    } else {
        Err(Error::NotPermitted(format!("{program} is not installed: run `cargo xtask setup`")))
    }
}

fn since(at: u64) -> Duration {
    Duration::from_nanos(monotonic_ns() - at)
}

const LIMIT: Duration = Duration::from_secs(30);
