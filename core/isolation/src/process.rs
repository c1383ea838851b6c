//! A child: how it is started, what it is given, how it is killed, and what its end means.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::lane::{Lane, Receiver};
use crate::proxy::HostProgram;
use crate::region::Region;
use crate::ring::{Consumer, Producer, memory_of};

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
    /// Its end is the end of the child.
    socket: OwnedFd,
    /// What it prints.
    pub(crate) output: OwnedFd,
}

/// Kills a child; never another process, since it is not by number.
#[derive(Debug)]
pub(crate) struct Handle {
    pidfd: OwnedFd,
}

/// The hub's ends of the three lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) down: Lane,
    pub(crate) values: Receiver,
    pub(crate) answers: Receiver,
}

impl Process {
    pub(crate) fn handle(&self) -> io::Result<Handle> {
        Ok(Handle { pidfd: self.pidfd.try_clone()? })
    }

    /// Readable when the child has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What memory it has of its own. It is not reaped before [`Process::how_it_ended`], so nobody else has its number.
    pub(crate) fn memory_kib(&self) -> Option<u64> {
        memory_kib(&self.child.id().to_string())
    }

    /// How it ended, in words; waits for it.
    pub(crate) fn how_it_ended(&mut self) -> String {
        self.child.wait().map_or_else(|error| format!("its process is lost: {error}"), words)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it has ended, this does nothing.
        _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        drop(self.child.wait());
    }
}

impl Handle {
    pub(crate) fn kill(&self) {
        // One that has ended cannot be killed again.
        _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// Starts a child and hands it its memory: lanes down, of values and of answers, and the gate.
pub(crate) fn spawn(program: &HostProgram, gate: Option<BorrowedFd<'_>>) -> io::Result<(Process, Lanes)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (output, printed) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let ring = |name, capacity| Region::create(name, memory_of(capacity), false).map(Arc::new);
    let down = ring("twinhub-down", DOWN_WORDS)?;
    let values = ring("twinhub-values", VALUES_WORDS)?;
    let answers = ring("twinhub-answers", ANSWERS_WORDS)?;

    let mut command = Command::new(&program.program);
    command.args(&program.arguments).env_clear().env("RUST_BACKTRACE", "0");
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::from(theirs)).stdout(Stdio::from(printed.try_clone()?)).stderr(Stdio::from(printed));
    let child = command.spawn()?;
    // Lets go of the other ends of socket and pipe.
    drop(command);
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = id.ok_or(rustix::io::Errno::SRCH).and_then(|id| pidfd_open(id, PidfdFlags::empty()))?;
    let mut process = Process { child, pidfd, socket: ours, output };

    let mut files = vec![down.file(), values.file(), answers.file()];
    files.extend(gate);
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let hello = [io::IoSlice::new(HELLO)];
    if sendmsg(&process.socket, &hello, &mut ancillary, SendFlags::NOSIGNAL).is_err() {
        return Err(io::Error::other(process.how_it_ended()));
    }
    let lanes = Lanes {
        down: Lane::new(Producer::new(down)),
        values: Receiver::new(Consumer::new(values)),
        answers: Receiver::new(Consumer::new(answers)),
    };
    Ok((process, lanes))
}

/// Resident memory of a process that is not backed by files, in KiB; `None` if the system does not say.
pub fn memory_kib(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn words(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("its process ended with code {}", status.code().unwrap_or_default());
    };
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("", |(_, name)| name);
    format!("its process was ended by signal {signal}{name}")
}

/// What a process of its own may be ended by, as people call it.
const SIGNALS: [(i32, &str); 9] = [
    (4, " (SIGILL: not an instruction)"),
    (6, " (SIGABRT: a panic or a failed check)"),
    (7, " (SIGBUS: memory behind the end of a file)"),
    (8, " (SIGFPE: a division)"),
    (9, " (SIGKILL: killed from outside, or out of memory)"),
    (11, " (SIGSEGV: a wrong pointer, or no stack left)"),
    (15, " (SIGTERM)"),
    (24, " (SIGXCPU: too much processor time)"),
    (31, " (SIGSYS: a system call that it may not make)"),
];

/// First message over the socket, with the files.
pub(crate) const HELLO: &[u8] = b"twinhub plugin-host 1";
/// Lanes and gate.
pub(crate) const FILES_MAX: usize = 4;
/// Words of the lane down: orders and writes.
pub(crate) const DOWN_WORDS: usize = 16 * 1024;
/// Words of the lane of values: about 6,500 of them.
pub(crate) const VALUES_WORDS: usize = 32 * 1024;
/// Words of the lane of answers.
pub(crate) const ANSWERS_WORDS: usize = 8 * 1024;
/// What a child keeps of the hub's environment, which may hold secrets.
const ENVIRONMENT: [&str; 8] =
    ["PATH", "TZ", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR", "TWINHUB_PLUGIN_LOG"];
