//! One pair at a time: two would fight for the processors, and the timers are real.

use std::fs::File;

use crate::artifacts::Artifacts;
use crate::error::{Error, Result};

/// Plays a story of real processes when it is its turn, with what tests build.
///
/// # Panics
/// If the story fails, with the whole chain of causes.
pub fn check(story: impl FnOnce(&Artifacts) -> Result<()>) {
    if let Err(error) = in_turn(story) {
        panic!("{}", error.chain());
    }
}

fn in_turn(story: impl FnOnce(&Artifacts) -> Result<()>) -> Result<()> {
    let artifacts = Artifacts::built_for_tests()?;
    let path = std::env::temp_dir().join("twinhub-conformance.lock");
    let turn = File::create(&path).map_err(Error::file(&path))?;
    turn.lock().map_err(Error::file(&path))?;
    story(&artifacts)
}
