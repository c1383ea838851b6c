//! `kit-device`: a device for `twinhub plugin test --device`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let kind = std::env::args().nth(1);
    let result = match &kind {
        Some(kind) => twinhub_peers::run_kit_device(kind).map_err(|error| error.to_string()),
        None => Err("usage: kit-device knx|modbus|mqtt".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("kit-device: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the answer of a program that cannot go on")]
fn complain(text: &str) {
    eprintln!("{text}");
}
