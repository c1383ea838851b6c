//! Named steps that run a command, show what they do, and are summed up at the end.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Why a task did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line was wrong.
    Usage(String),
    /// Something else, in one sentence that says what to do.
    Failed(String),
    /// A program that was run says no with this code, and has already said why.
    Exit { what: String, code: u8 },
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn usage(text: String) -> Self {
        Self::Usage(text)
    }

    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
            Self::Exit { code, .. } => *code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => f.write_str(text),
            Self::Exit { what, code } => write!(f, "{what}: exit code {code}"),
        }
    }
}

/// Steps of one task.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
}

impl Steps {
    /// Runs a step and remembers how it went; the task goes on after a failed step.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Result<()>) -> bool {
        println!("\n==> {name}");
        let started = Instant::now();
        let result = run();
        if let Err(failure) = &result {
            eprintln!("xtask: {failure}");
        }
        self.done.push((name.to_owned(), started.elapsed(), result.is_ok()));
        result.is_ok()
    }

    /// Prints the summary; an error when a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n{:-<60}", "");
        for (name, took, ok) in &self.done {
            println!("{:<8}{name:<42}{:>8.1} s", if *ok { "ok" } else { "FAILED" }, took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("{:<50}{:>8.1} s", "", total.as_secs_f64());
        let failed: Vec<&str> =
            self.done.iter().filter(|(_, _, ok)| !ok).map(|(name, _, _)| name.as_str()).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::failed(format!("failed: {}", failed.join(", "))))
        }
    }
}

/// Runs a command with this program's terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let what = describe(command);
    let status = command.status().map_err(|error| Failure::failed(format!("{what}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Err(Failure::Exit { what, code })
}

/// Runs a command silently and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command in a folder.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
