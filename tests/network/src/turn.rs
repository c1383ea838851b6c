//! One test after the other, and what they tell.

use std::fs::File;

use crate::error::{Error, Result};

/// Plays one test while no other plays: two would fight for the processors, and the timers are real. Where the
/// machine does not permit it, the test is skipped and says so.
///
/// # Panics
/// If the play could not be played.
pub fn guarded(name: &str, play: impl FnOnce() -> Result<()>) {
    let path = std::env::temp_dir().join("twinhub-conformance.lock");
    let turn = File::create(&path).and_then(|turn| turn.lock().map(|()| turn));
    match turn.map_err(Error::io("the lock of the machine")).and_then(|_turn| play()) {
        Ok(()) => {}
        Err(Error::NotPermitted(why)) => print(&format!("{name} skipped: {why}")),
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Says something to who reads the test's output.
#[expect(
    clippy::print_stderr,
    reason = "figures and the reason of a skip are for who reads the test's output"
)]
pub fn print(text: &str) {
    eprintln!("{text}");
}
