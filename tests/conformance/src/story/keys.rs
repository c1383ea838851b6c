//! Single keys from the terminal, without Enter where the terminal can do that.

use std::io::{IsTerminal as _, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Keys until dropped; the terminal is then as it was.
pub(super) struct Keys {
    received: Receiver<char>,
    before: Option<Termios>,
    is_closed: AtomicBool,
}

impl Keys {
    /// Switches line mode and echo off.
    pub(super) fn open() -> Self {
        let input = std::io::stdin();
        let before = if input.is_terminal() { tcgetattr(&input).ok() } else { None };
        if let Some(before) = &before {
            let mut single = before.clone();
            single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            single.special_codes[SpecialCodeIndex::VMIN] = 1;
            single.special_codes[SpecialCodeIndex::VTIME] = 0;
            // Without it the keys need Enter, which is no reason to stop.
            _ = tcsetattr(&input, OptionalActions::Now, &single);
        }
        let (send, received) = channel();
        // Ends with the program: a read from a terminal cannot be interrupted.
        let reader = thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut byte = [0];
            while let Ok(1) = std::io::stdin().read(&mut byte) {
                let key = char::from(byte[0]);
                if !key.is_whitespace() && send.send(key).is_err() {
                    return;
                }
            }
        });
        drop(reader);
        Self { received, before, is_closed: AtomicBool::new(false) }
    }

    /// The next key, if one comes in time.
    pub(super) fn next(&self, limit: Duration) -> Option<char> {
        match self.received.recv_timeout(limit) {
            Ok(key) => Some(key),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.is_closed.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// Whether no key can come any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
