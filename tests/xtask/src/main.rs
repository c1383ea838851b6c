//! `cargo xtask`: build, test, demo and release tasks.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line tool")]

mod bench;
mod dist;
mod matrix;
mod setup;
mod steps;
mod story;
mod test;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use crate::steps::Failure;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asks_for_help = words.iter().any(|word| ["help", "--help", "-h"].contains(word));
    let result = match words.split_first() {
        Some(_) if asks_for_help => {
            println!("{USAGE}");
            Ok(())
        }
        Some((&"setup", [])) => setup::install_peers(),
        Some((&"test", rest)) => test::test(rest),
        Some((&"ci", [])) => test::ci(),
        Some((&"lint", [])) => test::lint(),
        Some((&"demo", rest)) => story::demo(rest),
        Some((&"conformance", rest)) => story::conformance(rest),
        Some((&"kit", [])) => matrix::kit(),
        Some((&"matrix", [which @ ("build" | "verify")])) => matrix::build_or_verify(which),
        Some((&"bench", [name, rest @ ..])) => bench::measure(name, rest),
        Some((&"bench", [])) => {
            Err(Failure::usage(format!("bench needs a name: {}", bench::names().join(", "))))
        }
        Some((&"sim", rest)) => test::simulation(rest),
        Some((&"dist", [])) => dist::archive(None),
        Some((&"dist", ["--sign", key])) => dist::archive(Some(Path::new(key))),
        Some((command, _)) => {
            Err(Failure::usage(format!("unknown command or argument: {}\n\n{USAGE}", join(command, &words))))
        }
        None => Err(Failure::usage(USAGE.to_owned())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn join(command: &str, words: &[&str]) -> String {
    if words.len() < 2 { command.to_owned() } else { words.join(" ") }
}

const USAGE: &str = "cargo xtask COMMAND

  demo [--story] [--headless] [--nodes N] [--release]   a main/backup pair with simulators around it
  setup                                   installs what the tests need: brokers, balancers, etcd, Python peers
  test [FILTER]                           setup, then builds and tests everything
  ci                                      test, formatting, lints, documentation, matrix
  lint                                    formatting and lints only
  conformance [--record] [--profile P] [--scenario S]   measured failover against real peers
  conformance --repeats N [--rate R] [--shared]            the same faults many times, judged by the journal
  kit                                     tries every plugin and example with `twinhub plugin test`, for the matrix
  matrix build|verify                     regenerates or checks the compatibility matrix
  bench NAME                              catch-up, takeover, failover, gateway, flat-out, replication, standby, start, write, or a crate's
  sim [SEED]                              seeded simulation of the redundancy machine
  sim --seeds N [--hours H] [--from SEED] the same for N seeds of H hours each, on all cores
  sim --sabotage                          takes away one safety rule at a time: some seed must notice
  dist [--sign KEY]                       release archive under target/dist; signed with a secret key of minisign";
