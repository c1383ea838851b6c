//! What the child has of the hub beside its lanes: a socket, by which it hears of its end.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::process::{FILES_MAX, HELLO};

/// Waits for the end of the hub, and ends this process.
pub(super) fn end_with_the_hub() {
    let input = io::stdin();
    let mut byte = [0; 1];
    loop {
        match rustix::io::read(input.as_fd(), &mut byte) {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    std::process::exit(0);
}

/// Whether the hub has ended.
pub(super) fn is_hub_gone() -> bool {
    let input = io::stdin();
    let mut socket = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::HUP)];
    poll(&mut socket, Some(&Timespec::default())).is_ok_and(|found| found > 0)
}

/// The files that the hub hands over.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut hello = [0; 64];
    let received =
        recvmsg(socket, &mut [io::IoSliceMut::new(&mut hello)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if hello.get(..received.bytes) != Some(HELLO) {
        return Err(io::Error::other("its standard input is not a hub of this version"));
    }
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    Ok(files)
}

/// What the hub sees, if nothing else works.
pub(super) fn complain(text: &str) {
    _ = rustix::io::write(io::stderr().as_fd(), format!("{text}\n").as_bytes());
}
