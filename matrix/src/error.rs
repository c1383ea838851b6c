//! What can go wrong while the matrix is made or checked.

use std::fmt;
use std::path::PathBuf;

/// Why there is no matrix, or why it is not the right one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A library has no manifest that can be read.
    #[error("{} has no usable manifest", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        source: twinhub_loader::LoadError,
    },
    /// There are no plugins where they should be.
    #[error(
        "{} has neither plugin libraries nor */plugin.json: name the directory of built plugins or of their sources",
        path.display()
    )]
    NoPlugins {
        /// The directory.
        path: PathBuf,
    },
    /// Two plugins have the same id.
    #[error("plugin {id} is there twice: {} and {}", first.display(), second.display())]
    Twice {
        /// The id.
        id: String,
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The generated files or the runs do not fit the declarations.
    #[error("{}", verification_text(differences, contradictions))]
    Verification {
        /// Files that are not what would be generated.
        differences: Vec<Difference>,
        /// First-party cells that a run contradicts.
        contradictions: Vec<Contradiction>,
    },
}

/// A generated file that is out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file.
    pub path: PathBuf,
    /// The lines that differ, as a diff: `-` is in the file, `+` would be generated.
    pub diff: String,
}

/// A cell that a run contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// Id of the plugin.
    pub plugin: String,
    /// Profile, mode and peer of the run, and its scenario.
    pub run: String,
    /// What was declared and what was measured.
    pub reason: String,
    /// The command that repeats the run.
    pub command: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}; repeat with: {}", self.plugin, self.run, self.reason, self.command)
    }
}

fn verification_text(differences: &[Difference], contradictions: &[Contradiction]) -> String {
    let mut parts = Vec::new();
    for difference in differences {
        parts.push(format!(
            "{} is out of date, run `twinhub matrix build`\n{}",
            difference.path.display(),
            difference.diff
        ));
    }
    for contradiction in contradictions {
        parts.push(format!("contradicted: {contradiction}"));
    }
    parts.join("\n")
}
