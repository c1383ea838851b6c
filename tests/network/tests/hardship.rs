//! What a machine suffers beside a broken network: a slow or full disk, restarts at a bad moment, what a
//! standby sends. The device's log is the judge: never two writers in turn, nothing old after something new.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Field, Main, Witness};

#[test]
fn two_nodes_that_start_together_agree_on_one() {
    guarded("both started together", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        for machine in [Main, Backup, Witness] {
            pair.run(machine)?;
        }
        let active = settled(&pair)?;
        print(&format!("{} acts", active.word()));
        judge(&pair, 0);
        Ok(())
    });
}

#[test]
fn voters_that_all_restart_within_a_lease_grant_nothing_twice() {
    guarded("every voter restarted", || {
        let mut pair = Pair::start(Profile::Normal)?;
        let begun = Instant::now();
        for machine in [Witness, Backup, Main] {
            pair.kill(machine)?;
            pair.run(machine)?;
        }
        let took = begun.elapsed();
        let active = settled(&pair)?;
        print(&format!("all three restarted within {took:?}; {} acts", active.word()));
        judge(&pair, usize::from(active != Main));
        Ok(())
    });
}

/// The witness forgot nothing that it promised: the backup, which hears the main no more, gets its vote only a whole lease
/// after the witness is there again, when the main has closed.
#[test]
fn a_witness_that_restarts_while_the_main_is_cut_off_keeps_its_grant_for_a_lease() {
    guarded("witness restarted within the lease", || {
        let mut pair = Pair::start(Profile::Normal)?;
        // A main that both nodes made active asks it with the first renewal.
        wait_until("the promise of the witness", LIMIT, || pair.log_text(Witness).contains("to=\"main\""))?;
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut(Main, Backup, net)?;
        }
        let at = pair.kill(Witness)?;
        pair.lab().cut(Main, Witness, Net::Lan)?;
        let restarted = monotonic_ns();
        pair.run(Witness)?;
        pair.wait_state(Backup, "active", LIMIT)?;
        let taken = Duration::from_nanos(monotonic_ns() - restarted);
        pair.wait_writes(Backup, at, LIMIT)?;
        let away = Duration::from_nanos(restarted - at);
        print(&format!("the witness was away for {away:?}, the backup acts {taken:?} after it is back"));
        let limit = Profile::Normal.lease();
        assert!(taken >= limit, "the witness granted what it had promised to the main\n{}", pair.logs());
        judge(&pair, 1);
        Ok(())
    });
}

#[test]
fn an_inactive_node_sends_the_field_no_data() {
    guarded("stray packets", || {
        let pair = Pair::start(Profile::Normal)?;
        let device = Field.address(Net::Field);
        let count = |flags: &str| format!("add rule inet strays sent ip daddr {device} {flags} counter");
        let rules = [
            "add table inet strays".to_owned(),
            "add chain inet strays sent { type filter hook output priority 0 ; }".to_owned(),
            count(""),
            count("tcp flags & psh == psh"),
        ];
        pair.lab().call(Backup, &["nft", &rules.join("; ")])?;
        let from = monotonic_ns();
        thread::sleep(Profile::Normal.lease() * 2);
        let [all, with_data] = counters(&pair)?;
        let requests = pair.verdict().requests_of(Backup, from, monotonic_ns());
        print(&format!(
            "the standby sent the device {all} packets, {with_data} with data, {requests} requests"
        ));
        assert_eq!((with_data, requests), (0, 0), "a standby spoke to the device");
        // The same counter sees what an active node sends, so that it is not the counter that is blind.
        pair.switchover(Main, Backup)?;
        pair.wait_in_sync(Backup)?;
        assert!(counters(&pair)?[1] > 0, "the counter sees nothing");
        judge(&pair, 1);
        Ok(())
    });
}

#[test]
fn a_disk_that_takes_two_seconds_moves_no_role() {
    guarded("slow disk", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let library = pair.root().join("slow_disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/slow_disk.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let built = compiler.status().map_err(Error::io("start cc"))?;
        assert!(built.success(), "{} does not compile", source.display());
        let slow = pair.root().join("slow");
        pair.run(Witness)?;
        for machine in [Main, Backup] {
            pair.run_with(machine, &[("LD_PRELOAD", &library), ("SLOW_DISK", &slow)], &[])?;
        }
        pair.wait_in_sync(Main)?;
        let from = monotonic_ns();
        fs::write(&slow, "").map_err(Error::io("make the disk slow"))?;
        thread::sleep(Duration::from_secs(6));
        let until = monotonic_ns();
        assert_eq!(pair.state(Main).as_deref(), Some("active"), "{}", pair.logs());
        let writes = pair.verdict().writes_of(Main, from);
        print(&format!(
            "{writes} writes in {:?} while each sync took two seconds",
            Duration::from_nanos(until - from)
        ));
        fs::remove_file(&slow).map_err(Error::io("make the disk fast"))?;
        pair.wait_in_sync(Main)?;
        judge(&pair, 0);
        Ok(())
    });
}

#[test]
fn a_full_disk_is_named_and_somebody_goes_on_to_write() {
    guarded("full disk", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let state = pair.root().join("var/lib/twinhub/main");
        let _disk = SmallDisk::mount(&state)?;
        for machine in [Witness, Main, Backup] {
            pair.run(machine)?;
        }
        pair.wait_in_sync(Main)?;
        let at = monotonic_ns();
        // What fits is written, then there is no room.
        let filled = fs::write(state.join("filler"), vec![0; DISK_BYTES]);
        assert!(filled.is_err(), "the disk is not full");
        wait_until("the full disk is named", LIMIT, || {
            let log = pair.log_text(Main).to_lowercase();
            log.contains("no space left") || log.contains("storage full")
        })
        .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
        wait_until("somebody writes", LIMIT, || {
            let later = at + 3_000_000_000;
            pair.verdict().writes_of(Main, later) + pair.verdict().writes_of(Backup, later) > 5
        })
        .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
        let verdict = pair.verdict();
        print(&format!(
            "after the disk was full: {} writes of the main, {} of the backup",
            verdict.writes_of(Main, at),
            verdict.writes_of(Backup, at)
        ));
        assert!(verdict.changes_of_writer() <= 1, "the writer changed\n{}", pair.logs());
        assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", pair.logs());
        Ok(())
    });
}

/// Waits until one of the two is active with a synced standby.
fn settled(pair: &Pair) -> Result<Machine> {
    let mut active = None;
    wait_until("one is active", LIMIT, || {
        active = [Main, Backup].into_iter().find(|machine| pair.state(*machine).as_deref() == Some("active"));
        active.is_some()
    })
    .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
    let active = active.ok_or_else(|| Error::State("nobody acts".to_owned()))?;
    pair.wait_in_sync(active)?;
    Ok(active)
}

/// What holds under every fault.
fn judge(pair: &Pair, changes: usize) {
    let verdict = pair.verdict();
    assert_eq!(verdict.changes_of_writer(), changes, "the writer changed\n{}", pair.logs());
    assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", pair.logs());
}

/// All packets of the backup to the device, and those with data.
fn counters(pair: &Pair) -> Result<[u64; 2]> {
    let list = || Command::new("nft").args(["list", "chain", "inet", "strays", "sent"]).output();
    let output = pair.lab().inside(Backup, list)?.map_err(Error::io("nft list chain"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut counts =
        text.split("counter packets ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok());
    match (counts.next(), counts.next()) {
        (Some(all), Some(with_data)) => Ok([all, with_data]),
        (Some(_) | None, _) => Err(Error::State(format!("no counters in {text}"))),
    }
}

/// A file system of a few megabytes; gone when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(place: &Path) -> Result<Self> {
        fs::create_dir_all(place).map_err(Error::io("a place for the disk"))?;
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place).status();
        if !mounted.map_err(Error::io("mount"))?.success() {
            return Err(Error::NotPermitted("a small disk is needed, and mount refuses".to_owned()));
        }
        Ok(Self(place.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The nodes still run in it; it is gone with the last of them.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// Room for libraries, role file and a journal that has just begun.
const DISK_BYTES: usize = 160 << 20;
/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
