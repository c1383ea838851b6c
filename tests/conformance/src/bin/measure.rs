//! `twinhub-measure conformance|NAME`: measured runs, started by `cargo xtask`.

use std::process::ExitCode;

use twinhub_conformance::{
    CatchUpOptions, Error, FlatOutOptions, GatewayOptions, RepeatOptions, ReplicationOptions, StandbyOptions,
    StartOptions, TakeoverOptions, WriteOptions, bench_catch_up, bench_flat_out, bench_gateway,
    bench_replication, bench_standby, bench_start, bench_takeover, bench_write, run_conformance, run_repeats,
};

fn main() -> ExitCode {
    twinhub_peers::end_with_parent();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((command, rest)) => run(command, rest),
        None => Err(Error::Usage(format!("write one of {NAMES}"))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("twinhub-measure: {}", error.chain()));
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result<bool, Error> {
    match command {
        "conformance" if rest.iter().any(|word| word == "--repeats") => {
            run_repeats(&RepeatOptions::parse(rest)?, &mut say)
        }
        "conformance" => run_conformance(rest, &mut say),
        "catch-up" => bench_catch_up(&CatchUpOptions::parse(rest)?, &mut say),
        "takeover" => bench_takeover(&TakeoverOptions::parse(rest)?, &mut say),
        "gateway" => bench_gateway(&GatewayOptions::parse(rest)?, &mut say),
        "flat-out" => bench_flat_out(&FlatOutOptions::parse(rest)?, &mut say),
        "replication" => bench_replication(&ReplicationOptions::parse(rest)?, &mut say),
        "standby" => bench_standby(&StandbyOptions::parse(rest)?, &mut say),
        "start" => bench_start(&StartOptions::parse(rest)?, &mut say),
        "write" => bench_write(&WriteOptions::parse(rest)?, &mut say),
        other => Err(Error::Usage(format!("`{other}` is not known; write one of {NAMES}"))),
    }
}

const NAMES: &str = "conformance, catch-up, takeover, gateway, flat-out, replication, standby, start, write";

#[expect(clippy::print_stdout, reason = "the answer of a command line tool")]
fn say(text: &str) {
    println!("{text}");
}
