//! Tests, lints and the full check.

use crate::matrix;
use crate::setup;
use crate::steps::{Failure, Result, Steps, output, run};
use crate::workspace::{AROUND, PRODUCT, build, cargo, target_dir};

/// `cargo xtask test`.
pub(crate) fn test(filter: &[&str]) -> Result<()> {
    let mut steps = Steps::default();
    test_steps(&mut steps, filter);
    steps.finish()
}

/// `cargo xtask ci`.
pub(crate) fn ci() -> Result<()> {
    let mut steps = Steps::default();
    if test_steps(&mut steps, &[]) {
        lint_steps(&mut steps);
        steps.step("simulated hours", || simulation(&["--seeds", "10000"]));
        steps.step("simulation without rules", || simulation(&["--sabotage"]));
        steps.step("documentation", || {
            run(cargo()
                .args(["doc", "--workspace", "--no-deps", "--locked"])
                .env("RUSTDOCFLAGS", "-Dwarnings"))
        });
        steps.step("matrix is up to date", || matrix::build_or_verify("verify"));
    }
    steps.finish()
}

/// `cargo xtask lint`.
pub(crate) fn lint() -> Result<()> {
    let mut steps = Steps::default();
    lint_steps(&mut steps);
    steps.finish()
}

/// `cargo xtask sim`.
pub(crate) fn simulation(rest: &[&str]) -> Result<()> {
    if rest == ["--sabotage"] {
        return simulation_without_rules();
    }
    if rest.first().is_some_and(|word| word.starts_with("--")) {
        return simulated_hours(rest);
    }
    if let [seed, ..] = rest
        && seed.parse::<u64>().is_err()
    {
        return Err(Failure::usage(format!("`{seed}` is not a seed; write a number")));
    }
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--package", "twinhub-simulation"]);
    if let [seed, ..] = rest {
        cargo.env("TWINHUB_SEED", seed);
    }
    run(&mut cargo)
}

/// Takes away one safety rule at a time and fails if no seed notices. The switch exists only in this build, which has a
/// folder of its own so that nothing else is ever made with it.
fn simulation_without_rules() -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["test", "--release", "--package", "twinhub-simulation", "--test", "rules", "--target-dir"]);
    cargo.arg(target_dir().join("sabotage")).args(["--", "--nocapture"]);
    run(cargo.env("RUSTFLAGS", "--cfg twinhub_sabotage"))
}

/// Every invariant at once, in as many worlds and for as long as asked.
fn simulated_hours(words: &[&str]) -> Result<()> {
    let (mut seeds, mut hours, mut first) = (None, 1, 0);
    for pair in words.chunks(2) {
        let number = match *pair {
            [name, text] => text
                .parse::<u32>()
                .ok()
                .filter(|number| *number > 0 || name == "--from")
                .ok_or_else(|| Failure::usage(format!("`{name} {text}`: write a number above zero")))?,
            _ => return Err(Failure::usage(format!("{} needs a number", pair.join(" ")))),
        };
        match pair.first() {
            Some(&"--seeds") => seeds = Some(number),
            Some(&"--hours") => hours = number,
            Some(&"--from") => first = number,
            _ => {
                return Err(Failure::usage(format!(
                    "`{}` is not --seeds, --hours or --from",
                    pair.join(" ")
                )));
            }
        }
    }
    let seeds = seeds.ok_or_else(|| Failure::usage("--hours and --from need --seeds N".to_owned()))?;
    let mut cargo = cargo();
    cargo.args(["test", "--profile", "sim", "--package", "twinhub-simulation", "--test", "hours", "--"]);
    cargo.args(["--nocapture", "no_invariant_fails_in_hours_of_faults"]);
    let numbers = [("TWINHUB_FIRST_SEED", first), ("TWINHUB_SEEDS", seeds), ("TWINHUB_HOURS", hours)];
    run(cargo.envs(numbers.map(|(name, number)| (name, number.to_string()))))
}

/// False when nothing could be built, so that further steps would only repeat the errors.
fn test_steps(steps: &mut Steps, filter: &[&str]) -> bool {
    // Tests that need a missing peer say so themselves; the others still run.
    steps.step("setup", setup::install_peers);
    if !steps.step("build", || build(&[&PRODUCT[..], &AROUND[..]].concat(), false)) {
        return false;
    }
    let is_nextest = output(cargo().args(["nextest", "--version"])).is_some();
    if !steps.step("build tests", || run(cargo().args(["test", "--workspace", "--no-run", "--locked"]))) {
        return false;
    }
    // Measured failover gets the machine for itself, so it runs apart and one at a time.
    steps.step("tests", || {
        let mut cargo = cargo();
        if is_nextest {
            cargo.args(["nextest", "run", "--no-fail-fast", "--no-tests=warn"]);
        } else {
            cargo.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
        }
        run(cargo
            .args(["--workspace", "--locked", "--exclude", CONFORMANCE, "--exclude", NETWORK])
            .args(filter))
    });
    if filter.is_empty() {
        steps.step("documentation tests", || run(cargo().args(["test", "--workspace", "--doc", "--locked"])));
    }
    steps.step("conformance tests", || {
        let mut cargo = cargo();
        if is_nextest {
            cargo.args(["nextest", "run", "--no-fail-fast", "--no-tests=warn", "--test-threads", "1"]);
            run(cargo.args(["--locked", "--package", CONFORMANCE, "--package", NETWORK]).args(filter))
        } else {
            cargo
                .args(["test", "--no-fail-fast", "--locked", "--package", CONFORMANCE, "--package", NETWORK])
                .args(filter);
            run(cargo.args(["--", "--test-threads", "1"]))
        }
    });
    true
}

fn lint_steps(steps: &mut Steps) {
    steps.step("formatting", || run(cargo().args(["fmt", "--all", "--check"])));
    steps.step("lints", || {
        run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
}

const CONFORMANCE: &str = "twinhub-conformance";
/// Real faults in network namespaces.
const NETWORK: &str = "twinhub-network";
