//! Writes the files, and checks that they are what would be written.

use std::path::{Path, PathBuf};

use crate::cell::Matrix;
use crate::collect::{Inputs, collect_from};
use crate::error::{Difference, Error};

/// Writes `COMPATIBILITY.md`, `compatibility.json` and `compatibility.html` into `root/matrix` from the sources in
/// `root/plugins` and `root/examples`, the results in `root/matrix/results` and `root/matrix/seed.json`. Answers with their paths.
///
/// # Errors
/// [`Error`] that names the file.
pub fn build(root: &Path) -> Result<Vec<PathBuf>, Error> {
    build_from(&layout(root), &root.join("matrix"))
}

/// The same from anywhere into `output`.
///
/// # Errors
/// [`Error`] that names the file.
pub fn build_from(inputs: &Inputs, output: &Path) -> Result<Vec<PathBuf>, Error> {
    let matrix = collect_from(inputs)?;
    let mut written = Vec::new();
    for (name, text) in files(&matrix) {
        let path = output.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Io {
            verb: "write",
            path: path.clone(),
            source,
        })?;
        written.push(path);
    }
    Ok(written)
}

/// Checks that the files in `root/matrix` are what [`build`] would write and that no run contradicts a plugin of the
/// product.
///
/// # Errors
/// [`Error::Verification`] with all of it, or [`Error`] that names a file.
pub fn verify(root: &Path) -> Result<Matrix, Error> {
    verify_from(&layout(root), &root.join("matrix"))
}

/// The same from anywhere with the files in `output`.
///
/// # Errors
/// As [`verify`].
pub fn verify_from(inputs: &Inputs, output: &Path) -> Result<Matrix, Error> {
    let matrix = collect_from(inputs)?;
    let mut differences = Vec::new();
    for (name, expected) in files(&matrix) {
        let path = output.join(name);
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => text.replace("\r\n", "\n"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(Error::Io { verb: "read", path, source }),
        };
        if found != expected {
            differences.push(Difference { path, diff: diff(&found, &expected) });
        }
    }
    let contradictions = matrix.contradictions();
    if differences.is_empty() && contradictions.is_empty() {
        Ok(matrix)
    } else {
        Err(Error::Verification { differences, contradictions })
    }
}

fn layout(root: &Path) -> Inputs {
    Inputs {
        plugins: root.join("plugins"),
        sources: None,
        examples: Some(root.join("examples")).filter(|dir| dir.is_dir()),
        results: root.join("matrix/results"),
        seed: root.join("matrix/seed.json"),
    }
}

fn files(matrix: &Matrix) -> [(&'static str, String); 3] {
    [
        ("COMPATIBILITY.md", matrix.markdown()),
        ("compatibility.json", matrix.json()),
        ("compatibility.html", matrix.html()),
    ]
}

/// The lines between the equal start and the equal end of two texts, at most [`DIFF_LINES_MAX`] of each.
fn diff(found: &str, expected: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (found.lines().collect(), expected.lines().collect());
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let mut out = vec![format!("@@ line {} @@", start + 1)];
    for (mark, lines) in [('-', &old[start..old.len() - end]), ('+', &new[start..new.len() - end])] {
        out.extend(lines.iter().take(DIFF_LINES_MAX).map(|line| format!("{mark}{line}")));
        if lines.len() > DIFF_LINES_MAX {
            out.push(format!("{mark}… {} more lines", lines.len() - DIFF_LINES_MAX));
        }
    }
    out.join("\n")
}

const DIFF_LINES_MAX: usize = 12;
