//! No role moves while the machine is busy: loops on every core and a build from nothing, again and again.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use twinhub_peers::{Process, monotonic_ns};

use super::{Bench, FailoverOptions, load};
use crate::error::{Error, Result};
use crate::lab::Machine;

use Machine::{Backup, Main};

/// Runs it; false when a role has moved.
pub fn bench_stability(options: &FailoverOptions, span: Duration, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut is_calm = true;
    for profile in &options.profiles {
        let bench = Bench::start(*profile, options)?;
        let before = bench.pair.status(Main)?.epoch;
        let begun = monotonic_ns();
        say(&format!("profile {profile}: {} min under {LOOPS} loops and a build", span.as_secs() / 60));
        let mut load_made = Load::start()?;
        let end = Instant::now() + span;
        while Instant::now() < end {
            load_made.build_on()?;
            thread::sleep(Duration::from_secs(1));
        }
        let busy = load();
        drop(load_made);
        let after = bench.pair.status(Main)?.epoch;
        let counter = |epoch: &str| epoch.split('.').next().and_then(|counter| counter.parse::<u64>().ok());
        let moves = counter(&after).zip(counter(&before)).map_or(u64::MAX, |(after, before)| after - before);
        let strays = bench.own.answers_of(Backup, begun);
        let peers = bench.peer.answers().windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
        say(&format!(
            "profile {profile}: {moves} unwanted takeovers, {strays} answers of the backup at the address; keepalived \
             moved its address {peers} times; load {busy}"
        ));
        is_calm &= moves == 0 && strays == 0;
    }
    Ok(is_calm)
}

/// What keeps the machine busy; ends when dropped.
struct Load {
    #[expect(dead_code, reason = "they run until they are dropped")]
    loops: Vec<Process>,
    build: Option<Process>,
    // Last: the build writes into it until it is dropped.
    folder: tempfile::TempDir,
}

impl Load {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::io("a folder for the build"))?;
        let mut loops = Vec::new();
        for _ in 0..LOOPS {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]);
            loops.push(Process::spawn("busy loop", command, &folder.path().join("loop.log"))?);
        }
        Ok(Self { loops, build: None, folder })
    }

    /// Starts the next build when one has ended.
    fn build_on(&mut self) -> Result<()> {
        if self.build.as_mut().is_some_and(Process::is_running) {
            return Ok(());
        }
        let target = self.folder.path().join("target");
        // The first time there is none.
        drop(std::fs::remove_dir_all(&target));
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        command.args(["build", "--quiet", "--package", "twinhub-hub", "--target-dir"]).arg(&target);
        self.build = Some(Process::spawn("build", command, &self.folder.path().join("build.log"))?);
        Ok(())
    }
}

const LOOPS: usize = 4;
