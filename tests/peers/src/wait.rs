//! Waiting for a condition with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Asks until there is an answer; `what` names it in the error.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout { what: what.to_owned(), limit });
        }
        thread::sleep(ASK_INTERVAL);
    }
}

/// Asks until the answer is yes.
pub fn wait_until(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, limit, || ask().then_some(()))
}

const ASK_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_comes_true_ends_with_its_name() {
        let error = wait_until("the sun rises", Duration::from_millis(20), || false).unwrap_err();
        assert_eq!(error.to_string(), "the sun rises: not within 20ms");
    }
}
