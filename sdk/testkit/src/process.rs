//! Runs each test in a process of its own and says what came of it, also if that did not come back.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use twinhub_isolation::memory_kib;

use crate::child::{Found, KIT, RESULT, STEP};
use crate::error::Error;
use crate::groups::{Group, Test, tests};
use crate::kit::Kit;
use crate::report::{REPORT_SCHEMA, Report, TestReport, Verdict};

/// How a process is started that calls [`child`](crate::child) with its last two arguments, a folder and a test.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before those two.
    pub arguments: Vec<OsString>,
    /// After this time a process is ended, if not after that of its test.
    pub limit: Option<Duration>,
}

/// Tries a library with the tests that `chosen` names, by group or `group.name`; with all of them if it names none.
/// `told` hears of each test when it is over.
///
/// # Errors
/// A library that no hub would load, and files that cannot be read or written. What the plugin does wrong is in the report.
pub fn run(
    kit: &Kit,
    launcher: &Launcher,
    chosen: &[String],
    mut told: impl FnMut(&TestReport),
) -> Result<Report, Error> {
    let all = tests();
    if let Some(name) = chosen.iter().find(|name| !all.iter().any(|test| test.is_called(name))) {
        let groups = Group::ALL.map(Group::word).to_vec();
        return Err(Error::NoTest { name: name.clone(), groups });
    }
    let inspection = twinhub_loader::inspect(&kit.library)?;
    let library = std::path::absolute(&kit.library).map_err(Error::file("find", &kit.library))?;
    let kit = Kit { library, ..kit.clone() };
    let mut reports = Vec::new();
    let is_chosen = |test: &&Test| chosen.is_empty() || chosen.iter().any(|name| test.is_called(name));
    for test in all.iter().filter(is_chosen) {
        let report = run_one(&kit, launcher, test)?;
        told(&report);
        reports.push(report);
    }
    Ok(Report {
        schema: REPORT_SCHEMA,
        plugin: inspection.manifest.id,
        version: inspection.manifest.version,
        sha256: inspection.sha256.to_string(),
        source_hash: None,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        contract: format!("{}.{}", twinhub_contract::ABI_MAJOR, twinhub_contract::ABI_MINOR),
        kit: env!("CARGO_PKG_VERSION").to_owned(),
        only: chosen.to_vec(),
        verdict: Verdict::of_all(&reports),
        tests: reports,
    })
}

fn run_one(kit: &Kit, launcher: &Launcher, test: &Test) -> Result<TestReport, Error> {
    let begun = Instant::now();
    let dir = tempfile::tempdir().map_err(Error::file("make a folder in", std::env::temp_dir()))?;
    let file = dir.path().join(KIT);
    std::fs::write(&file, serde_json::json!(kit).to_string()).map_err(Error::file("write", &file))?;
    let printed = dir.path().join("printed");
    let output = File::create(&printed).map_err(Error::file("write", &printed))?;
    let errors = output.try_clone().map_err(Error::file("write", &printed))?;
    let child = Command::new(&launcher.program)
        .args(&launcher.arguments)
        .arg(dir.path())
        .arg(test.id())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        // With all that the plugin starts, so that nothing of it stays behind.
        .process_group(0)
        .spawn()
        .map_err(Error::file("start", &launcher.program))?;
    let limit = launcher.limit.unwrap_or(test.limit);
    let end = watch(child, limit, dir.path(), &printed);
    let found = match end {
        // What it has written down counts, however it ended afterwards.
        _ if dir.path().join(RESULT).is_file() => read(&dir.path().join(RESULT))?,
        End::Exit(status) if status.code() == Some(0) => lost("ended without a word", dir.path(), &printed),
        End::Exit(status) => match status.signal() {
            Some(signal) => {
                lost(&format!("the process was killed by {}", named(signal)), dir.path(), &printed)
            }
            None => lost(&format!("the process ended, {status}"), dir.path(), &printed),
        },
        End::TooLong => {
            let what = format!("nothing came back within {} s", limit.as_secs());
            lost(&what, dir.path(), &printed)
        }
        End::Other(what) => lost(&what, dir.path(), &printed),
    };
    Ok(found.report(test, begun))
}

fn read(path: &Path) -> Result<Found, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Form { path: path.to_path_buf(), why: error.to_string() })
}

/// How a process ended.
enum End {
    Exit(ExitStatus),
    TooLong,
    /// For another reason, in words.
    Other(String),
}

/// Waits for a process, within limits.
fn watch(mut child: Child, limit: Duration, dir: &Path, printed: &Path) -> End {
    let begun = Instant::now();
    let (id, pid) = (child.id().to_string(), Pid::from_child(&child));
    let is_over = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut ended = None;
    let end = loop {
        // It is looked at and not reaped: until then nobody else gets its number, which is that of its group, too.
        if !matches!(waitid(WaitId::Pid(pid), is_over), Ok(None)) {
            break None;
        }
        if dir.join(RESULT).is_file() && ended.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS {
            // It has said all it has to say; what it does at its end is waited for a little.
            break Some(End::TooLong);
        }
        if begun.elapsed() >= limit {
            break Some(End::TooLong);
        }
        if let Some(kib) = memory_kib(&id).filter(|kib| *kib > MEMORY_KIB_MAX) {
            break Some(End::Other(format!("it took {} MiB of memory", kib / 1024)));
        }
        if let Some(bytes) = std::fs::metadata(printed).ok().map(|it| it.len()).filter(|it| *it > PRINTED_MAX)
        {
            break Some(End::Other(format!("it printed {} MiB", bytes >> 20)));
        }
        std::thread::sleep(LOOK);
    };
    // Whatever it has started ends with it. It may be gone already.
    kill_process_group(pid, Signal::KILL).ok();
    let status = child.wait();
    end.unwrap_or_else(|| status.map_or_else(|error| End::Other(format!("it was lost: {error}")), End::Exit))
}

/// What is known of a test that gave no result.
fn lost(what: &str, dir: &Path, printed: &Path) -> Found {
    let step = std::fs::read_to_string(dir.join(STEP)).unwrap_or_default();
    let text = std::fs::read(printed).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = last.get(last.len().saturating_sub(LINES)..).unwrap_or_default().join(" / ");
    let mut note = what.to_owned();
    if !step.is_empty() {
        note = format!("{note}, in: {step}");
    }
    if !last.is_empty() {
        note = format!("{note}; it printed: {}", last.chars().take(LINE_CHARS).collect::<String>());
    }
    Found { verdict: Verdict::Failed, note }
}

fn named(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    format!("{name} (signal {signal})")
}

const LOOK: Duration = Duration::from_millis(5);
const LAST_WORDS: Duration = Duration::from_secs(1);
const MEMORY_KIB_MAX: u64 = 1 << 20;
const PRINTED_MAX: u64 = 64 << 20;
/// How much of what was printed last a note has.
const LINES: usize = 3;
const LINE_CHARS: usize = 600;
