//! `mqtt-broker`: an MQTT 3.1.1 broker for the demo, on 127.0.0.1 and the given port.

use std::process::ExitCode;

fn main() -> ExitCode {
    let port = std::env::args().nth(1).and_then(|word| word.parse::<u16>().ok());
    let result = match port {
        Some(port) => twinhub_peers::run_broker(port).map_err(|error| error.to_string()),
        None => Err("usage: mqtt-broker PORT".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("mqtt-broker: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the answer of a program that cannot go on")]
fn complain(text: &str) {
    eprintln!("{text}");
}
