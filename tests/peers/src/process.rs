//! Child processes that cannot outlive the test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};

use crate::error::{Error, Result};
use crate::wait::{wait_for, wait_until};

/// A child in a process group of its own, killed as a whole group when dropped.
///
/// A leash (`sh` blocked on a pipe that only this process holds) kills the group even if this process is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    leash: Option<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts the command with both outputs appended to `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let open = || {
            File::options()
                .create(true)
                .append(true)
                .open(log)
                .map_err(Error::io(format!("log {}", log.display())))
        };
        command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        Self::spawn_piped(name, command, log)
    }

    /// Starts the command with the outputs that it already has; `log` is only read for error texts.
    pub fn spawn_piped(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        command.process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(Error::io(format!("start {name} ({program})")))?;
        let mut process = Self { name: name.to_owned(), child, leash: None, log: log.to_owned() };
        process.leash = Some(leash(process.pid())?);
        Ok(process)
    }

    /// Process id, also the id of the group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        signal_group(self.pid(), signal)
    }

    /// SIGKILL to the whole group, then waits for the child.
    pub fn kill(&mut self) -> Result<()> {
        let sent = self.signal(Signal::KILL);
        self.child.wait().map_err(Error::io(format!("wait for {}", self.name)))?;
        // What was stopped or not yet a member when the signal went out.
        drop(signal_group(self.pid(), Signal::KILL));
        self.release();
        sent
    }

    /// SIGTERM, then waits; SIGKILL when it takes longer than `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = wait_for(&format!("{} ends after SIGTERM", self.name), limit, || {
            self.child.try_wait().ok().flatten()
        });
        if ended.is_err() {
            self.kill()?;
        }
        self.release();
        ended
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait_for(&format!("{} ends", self.name), limit, || self.child.try_wait().ok().flatten())
    }

    /// The end of its log, for an error text.
    pub fn log_tail(&self) -> String {
        let text =
            fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// The file with its outputs.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until the condition is true; ends early when the process does.
    pub fn ready<T>(&mut self, what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
        let mut ended = false;
        let answer = wait_for(&format!("{} {what}", self.name), limit, || {
            ended = !matches!(self.child.try_wait(), Ok(None));
            if ended { Some(None) } else { ask().map(Some) }
        });
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Error::Ended { name: self.name.clone(), detail: self.log_tail() }),
            Err(_) => Err(Error::Timeout {
                what: format!("{} {what}; its log ends with:\n{}", self.name, self.log_tail()),
                limit,
            }),
        }
    }

    fn release(&mut self) {
        if let Some(mut leash) = self.leash.take() {
            drop(leash.kill());
            drop(leash.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The leash first: once the child is reaped its number may be given to somebody else.
        self.release();
        drop(signal_group(self.pid(), Signal::CONT));
        drop(signal_group(self.pid(), Signal::KILL));
        drop(self.child.wait());
    }
}

/// Ends this process when the one that started it ends, however that comes about; what it started ends with it. For
/// the main thread of a program that is only carried out for another one.
pub fn end_with_parent() {
    // Where this cannot be asked for it runs to its own end.
    set_parent_process_death_signal(Some(Signal::TERM)).ok();
}

/// Sends a signal to every process of a group.
pub fn signal_group(group: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(group).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| Error::invalid("process group", group))?;
    kill_process_group(pid, signal).map_err(|errno| Error::io(format!("signal group {group}"))(errno.into()))
}

/// Sends a signal to one process.
pub fn signal_process(process: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(process).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| Error::invalid("process", process))?;
    kill_process(pid, signal).map_err(|errno| Error::io(format!("signal process {process}"))(errno.into()))
}

/// The process and all below it, parents first.
pub fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// Waits until these processes have let go of everything, as ports and locks: that comes a moment behind a signal.
pub fn wait_gone(processes: &[u32], limit: Duration) -> Result<()> {
    wait_until("killed processes are gone", limit, || !processes.iter().any(|pid| is_alive(*pid)))
}

/// A zombie holds nothing any more, unless other threads of it still end.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state stands behind the name, which may have brackets of its own.
    let is_zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    !is_zombie || threads > 1
}

/// Kills the group when the pipe that this process holds is closed, however that comes about.
fn leash(group: u32) -> Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        // Without `--`, which the `sh` of Debian does not take.
        "read -r _; kill -CONT \"-$1\"; kill -KILL \"-$1\"",
        "leash",
        &group.to_string(),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map_err(Error::io("start the leash of a child"))
}

const LOG_TAIL_LINES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_guard_ends_the_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        let log = folder.path().join("log");
        let process = Process::spawn("sleeper", command, &log).unwrap();
        let grandchild: u32 = wait_for("a pid", Duration::from_secs(5), || {
            fs::read_to_string(&log).ok().and_then(|text| text.trim().parse().ok())
        })
        .unwrap();
        assert!(is_alive(grandchild));
        assert!(tree(process.pid()).contains(&grandchild));
        drop(process);
        wait_for("the grandchild is gone", Duration::from_secs(5), || (!is_alive(grandchild)).then_some(()))
            .unwrap();
    }

    #[test]
    fn a_child_ends_when_its_leash_is_let_go_also_while_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 60 & wait"]);
        let mut process = Process::spawn("sleeper", command, &folder.path().join("log")).unwrap();
        process.signal(Signal::STOP).unwrap();
        // As if this process were killed.
        drop(process.leash.as_mut().unwrap().stdin.take());
        process.wait(Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn a_child_that_ends_early_is_named_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no such device >&2; exit 3"]);
        let mut process = Process::spawn("gateway", command, &folder.path().join("log")).unwrap();
        let error = process.ready("listens", Duration::from_secs(5), || None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "gateway ended before it was ready: no such device");
    }
}
