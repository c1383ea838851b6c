//! `demo` and `completions`.

use std::process::Command;

use clap::CommandFactory as _;

use crate::cli::{Cli, DemoArgs};
use crate::exit::{Code, Failure, Outcome};
use crate::output::print;

/// The demonstration is a program of its own, since it starts and kills hubs; it is beside this one if installed.
pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("twinhub-demo")));
    let Some(program) = beside.filter(|path| path.is_file()) else {
        print(EXPLANATION)?;
        return Ok(if args.story || args.headless { Code::Error } else { Code::Ok });
    };
    let mut command = Command::new(&program);
    if args.story {
        command.arg("--story");
    }
    if args.headless {
        command.arg("--headless");
    }
    let status = command
        .status()
        .map_err(|error| Failure::new(Code::Error, format!("cannot run {}: {error}", program.display())))?;
    Ok(if status.success() { Code::Ok } else { Code::Error })
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "twinhub", &mut script);
    print(&String::from_utf8_lossy(&script))
}

const EXPLANATION: &str = "\
The demonstration starts a witness, a main and a backup, a Modbus device and an MQTT broker on this machine, shows
who is active, and lets you kill, freeze, cut and switch. It is part of the source tree:

  cargo xtask demo                        with keys
  cargo xtask demo --story --headless     a story that measures takeovers from outside
";
