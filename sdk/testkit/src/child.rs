//! The process of one test.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use twinhub_loader::Library;

use crate::bench::Bench;
use crate::device::Device;
use crate::error::Error;
use crate::groups::{Group, Stop, tests};
use crate::kit::Kit;
use crate::report::{TestReport, Verdict};

/// Files that the two processes share, in a folder made for one test.
pub(crate) const KIT: &str = "kit.json";
pub(crate) const RESULT: &str = "result.json";
pub(crate) const STEP: &str = "step";
pub(crate) const CACHE: &str = "cache";

/// What the child found out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) verdict: Verdict,
    pub(crate) note: String,
}

/// Runs one test in this process, and ends it: what a [`Launcher`](crate::Launcher) is to start. `dir` is the folder that it was given.
///
/// # Errors
/// A folder that no [`run`](crate::run) has made, or a library that cannot be loaded.
pub fn child(dir: &Path, test: &str) -> Result<(), Error> {
    let path = dir.join(KIT);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let kit: Kit =
        serde_json::from_str(&text).map_err(|error| Error::Form { path, why: error.to_string() })?;
    let found = try_one(kit, dir, test)?;
    let (aside, path) = (dir.join("result"), dir.join(RESULT));
    std::fs::write(&aside, serde_json::json!(found).to_string()).map_err(Error::file("write", &aside))?;
    std::fs::rename(&aside, &path).map_err(Error::file("write", &path))
}

fn try_one(mut kit: Kit, dir: &Path, id: &str) -> Result<Found, Error> {
    let Some(test) = tests().into_iter().find(|test| test.id() == id) else {
        let groups = Group::ALL.map(Group::word).to_vec();
        return Err(Error::NoTest { name: id.to_owned(), groups });
    };
    let steps = dir.join(STEP);
    std::fs::write(&steps, "loading the library").map_err(Error::file("write", &steps))?;
    let library = Library::open(&kit.library, dir.join(CACHE))?;
    let device = match kit.device.clone() {
        Some(command) => match Device::start(&command, &mut kit) {
            Ok(device) => Some(Rc::new(device)),
            Err(Stop::Failed(note) | Stop::Skipped(note)) => {
                return Ok(Found { verdict: Verdict::Failed, note });
            }
        },
        None => None,
    };
    let bench = Bench::new(kit, library, device, dir.to_path_buf());
    let mut found = match (test.run)(&bench) {
        Ok(note) => Found { verdict: Verdict::Passed, note },
        Err(Stop::Failed(note)) => Found { verdict: Verdict::Failed, note },
        Err(Stop::Skipped(note)) => Found { verdict: Verdict::Skipped, note },
    };
    let offenses = bench.offenses();
    if !offenses.is_empty() {
        let first = if found.verdict == Verdict::Failed { vec![found.note] } else { Vec::new() };
        let note = [first, offenses].concat().join("; ");
        found = Found { verdict: Verdict::Failed, note };
    }
    Ok(found)
}

impl Found {
    pub(crate) fn report(self, test: &crate::groups::Test, begun: Instant) -> TestReport {
        TestReport {
            group: test.group,
            name: test.name.to_owned(),
            verdict: self.verdict,
            note: self.note,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
