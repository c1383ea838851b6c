//! `twinhub-story`: the demo, started by `cargo xtask demo`.

use std::process::ExitCode;

use twinhub_conformance::{Error, StoryOptions, run_story};

fn main() -> ExitCode {
    twinhub_peers::end_with_parent();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = StoryOptions::parse(&words).and_then(|options| run_story(options, &mut say));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("demo: {}", error.chain()));
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command line tool")]
fn say(text: &str) {
    println!("{text}");
}
