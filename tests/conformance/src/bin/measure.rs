//! `twinhub-measure conformance|takeover|gateway`: measured runs, started by `cargo xtask`.

use std::process::ExitCode;

use twinhub_conformance::{
    Error, GatewayOptions, TakeoverOptions, bench_gateway, bench_takeover, run_conformance,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((command, rest)) => run(command, rest),
        None => Err(Error::Usage("write conformance, takeover or gateway".to_owned())),
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
        "conformance" => run_conformance(rest, &mut say),
        "takeover" => bench_takeover(&TakeoverOptions::parse(rest)?, &mut say),
        "gateway" => bench_gateway(&GatewayOptions::parse(rest)?, &mut say),
        other => Err(Error::Usage(format!("`{other}` is not known; write conformance, takeover or gateway"))),
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command line tool")]
fn say(text: &str) {
    println!("{text}");
}
