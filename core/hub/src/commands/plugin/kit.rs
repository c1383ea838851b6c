//! `plugin test`: the conformance kit on the command line.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use twinhub_testkit::{Kit, Launcher, Report, TestReport, Verdict, child, tests};

use super::locate;
use crate::cli::PluginTestArgs;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain, print, table};
use crate::paths::Paths;

pub(super) fn run(paths: &Paths, args: &PluginTestArgs, answer: Answer) -> Outcome {
    let Some(plugin) = args.plugin.as_deref().filter(|_| !args.list) else { return list(answer) };
    let wrong = |error: twinhub_testkit::Error| Failure::of(Code::Configuration, &error);
    let mut kit = Kit::new(locate(paths, plugin)?);
    if let Some(path) = &args.settings {
        kit = kit.with_config(path).map_err(wrong)?;
    }
    if let Some(path) = &args.items {
        kit = kit.with_items(path).map_err(wrong)?;
    }
    if let Some(path) = &args.before {
        kit = kit.with_before(path).map_err(wrong)?;
    }
    kit.device.clone_from(&args.device);
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(Code::Error, format!("cannot find this program: {error}")))?;
    let limit = args.limit.map(Duration::from_secs);
    let launcher = Launcher { limit, program, arguments: vec!["plugin".into(), "test-one".into()] };
    let is_json = answer.is_json();
    let told = |test: &TestReport| {
        // Whoever reads JSON gets one document at the end; a reader that is gone is noticed there.
        if !is_json {
            writeln!(std::io::stdout(), "{}", line(test)).ok();
        }
    };
    let source_hash = args.sources.as_deref().map(twinhub_matrix::source_hash).transpose();
    let source_hash = source_hash.map_err(|error| Failure::of(Code::Configuration, &error))?;
    let folder = args.report.as_deref().and_then(Path::parent).filter(|dir| !dir.as_os_str().is_empty());
    if let Some(dir) = folder.filter(|dir| !dir.is_dir()) {
        let text = format!("there is no folder {} for the report: make it, or name another", dir.display());
        return Err(Failure::new(Code::Configuration, text));
    }
    let report = twinhub_testkit::run(&kit, &launcher, &args.only, told).map_err(wrong)?;
    let report = Report { source_hash, ..report };
    if let Some(path) = &args.report {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Failure::of(Code::Internal, &error))?;
        std::fs::write(path, text + "\n").map_err(|error| {
            Failure::new(Code::Error, format!("cannot write the report to {}: {error}", path.display()))
        })?;
    }
    answer.give(&report, summary)?;
    Ok(if report.verdict == Verdict::Failed { Code::Error } else { Code::Ok })
}

/// One test, in the process that was started for it.
pub(super) fn run_one(dir: &Path, test: &str) -> Outcome {
    child(dir, test).map_err(|error| Failure::of(Code::Error, &error))?;
    // The plugin's threads may still run; nothing of them is waited for.
    std::process::exit(0)
}

fn line(test: &TestReport) -> String {
    let word = match test.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "skip",
    };
    let name = format!("{}.{}", test.group.word(), test.name);
    let took = Duration::from_millis(test.took_ms).as_secs_f64();
    let line = format!("{word:<5} {name:<28} {took:>6.1} s  {}", plain(&test.note));
    line.trim_end().to_owned()
}

fn summary(report: &Report) -> String {
    let counts: Vec<String> = [Verdict::Passed, Verdict::Failed, Verdict::Skipped]
        .map(|verdict| format!("{} {}", report.count(verdict), verdict.word()))
        .into();
    let verdict = match report.verdict {
        Verdict::Passed => "green",
        Verdict::Failed => "RED",
        Verdict::Skipped => "nothing was tried",
    };
    format!(
        "\n{} {}: {verdict} ({})\nsha256 {}",
        report.plugin,
        report.version,
        counts.join(", "),
        report.sha256
    )
}

/// A test as it is listed.
#[derive(Debug, Serialize)]
struct Row {
    test: String,
    about: &'static str,
}

fn list(answer: Answer) -> Outcome {
    let rows: Vec<Row> = tests().iter().map(|test| Row { test: test.id(), about: test.about }).collect();
    if answer.is_json() {
        return answer.give(&rows, |_| String::new());
    }
    let lines = rows.into_iter().map(|row| [row.test, row.about.to_owned()]);
    print(&table(["test", "what holds if it passes"], lines))
}
