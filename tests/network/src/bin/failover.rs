//! `twinhub-failover`: measured failovers beside keepalived, started by `cargo xtask bench failover`.

use std::process::ExitCode;

use twinhub_network::{Error, FailoverOptions, Result, bench_failover, bench_stability};

fn main() -> ExitCode {
    twinhub_peers::end_with_parent();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("twinhub-failover: {error}"));
            let is_usage = matches!(error, Error::Site(twinhub_conformance::Error::Usage(_)));
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn run(words: &[String]) -> Result<bool> {
    let options = FailoverOptions::parse(words)?;
    match options.stability {
        Some(span) => bench_stability(&options, span, &mut say),
        None => bench_failover(&options, &mut say),
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command line tool")]
fn say(text: &str) {
    println!("{text}");
}
