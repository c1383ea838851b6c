//! Golden files: what a node of each version says and stores, as hexadecimal bytes and as what they mean.
//!
//! A golden file has a version, a name, the bytes and their meaning in Rust's debug form. Tests compare both
//! ways: what this code writes against the bytes, and what it reads from the bytes against the meaning.
//!
//! `TWINHUB_GOLDEN=overwrite cargo nextest run -p twinhub-versions` writes the files of versions that are not
//! frozen yet. The files of a released version are frozen by a checksum over all of them ([`Goldens::frozen`]):
//! they are never written again, and a change to one of them fails.
#![warn(missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// All golden files of one kind.
#[derive(Debug, Clone)]
pub struct Goldens {
    dir: PathBuf,
    frozen: Vec<(u16, u32)>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Golden {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What they mean.
    pub meaning: String,
}

impl Golden {
    /// Bytes and what they were read as. Fields that say nothing are left out, so that a field of a later version
    /// does not change the meaning of what an earlier one said.
    pub fn new(bytes: Vec<u8>, read: &dyn std::fmt::Debug) -> Golden {
        let text = format!("{read:#?}");
        let said = text.lines().filter(|line| !line.ends_with(": None,"));
        Golden { bytes, meaning: said.collect::<Vec<_>>().join("\n") }
    }
}

impl Goldens {
    /// The files in this folder; `frozen` are versions with the checksum of all their files.
    pub fn new(dir: impl Into<PathBuf>, frozen: &[(u16, u32)]) -> Goldens {
        Goldens { dir: dir.into(), frozen: frozen.to_vec() }
    }

    /// Compares bytes and meaning with the golden file, or writes it when asked to and allowed.
    ///
    /// # Errors
    /// One sentence that says what differs.
    pub fn check(&self, version: u16, name: &str, now: &Golden) -> Result<(), String> {
        let path = self.path(version, name);
        let is_asked = std::env::var_os("TWINHUB_GOLDEN").is_some_and(|value| value == "overwrite");
        if is_asked && self.frozen_checksum(version).is_none() {
            fs::create_dir_all(self.version_dir(version)).map_err(|error| error.to_string())?;
            fs::write(&path, render(now)).map_err(|error| format!("{}: {error}", path.display()))?;
            return Ok(());
        }
        let golden = read(&path)?;
        if golden.bytes != now.bytes {
            return Err(format!(
                "{}: a node of version {version} would say other bytes\ngolden {}\nnow    {}",
                path.display(),
                hex(&golden.bytes),
                hex(&now.bytes)
            ));
        }
        if golden.meaning != now.meaning {
            return Err(format!(
                "{}: the bytes are read as something else\ngolden {}\nnow    {}",
                path.display(),
                golden.meaning,
                now.meaning
            ));
        }
        Ok(())
    }

    /// The bytes of a golden file.
    ///
    /// # Errors
    /// One sentence if it is not there or not readable.
    pub fn bytes(&self, version: u16, name: &str) -> Result<Vec<u8>, String> {
        read(&self.path(version, name)).map(|golden| golden.bytes)
    }

    /// The names of a version's files.
    ///
    /// # Errors
    /// One sentence if the folder cannot be read.
    pub fn names(&self, version: u16) -> Result<Vec<String>, String> {
        let dir = self.version_dir(version);
        let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        names.sort();
        Ok(names)
    }

    /// Whether the files of a frozen version are as they were when it was frozen.
    ///
    /// # Errors
    /// One sentence with both checksums.
    pub fn frozen(&self, version: u16) -> Result<(), String> {
        let mut hasher = crc32fast::Hasher::new();
        for name in self.names(version)? {
            let path = self.path(version, &name);
            hasher.update(name.as_bytes());
            hasher.update(&fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
        }
        let now = hasher.finalize();
        match self.frozen_checksum(version) {
            Some(frozen) if frozen == now => Ok(()),
            Some(frozen) => Err(format!(
                "the golden files of version {version} have changed: checksum {now:#010x}, frozen with \
                 {frozen:#010x}. Nodes of that version are in the field: restore the files"
            )),
            None => Err(format!(
                "version {version} is not the newest one: freeze it with ({version}, {now:#010x})"
            )),
        }
    }

    fn frozen_checksum(&self, version: u16) -> Option<u32> {
        self.frozen.iter().find(|(frozen, _)| *frozen == version).map(|(_, checksum)| *checksum)
    }

    fn version_dir(&self, version: u16) -> PathBuf {
        self.dir.join(version.to_string())
    }

    fn path(&self, version: u16, name: &str) -> PathBuf {
        self.version_dir(version).join(format!("{name}.txt"))
    }
}

fn render(golden: &Golden) -> String {
    let mut text = String::from("bytes\n");
    let mut zeros = 0;
    for line in golden.bytes.chunks(LINE_BYTES) {
        if line == [0; LINE_BYTES] {
            zeros += LINE_BYTES;
            continue;
        }
        put_zeros(&mut text, &mut zeros);
        text.push_str(&hex(line));
        text.push('\n');
    }
    put_zeros(&mut text, &mut zeros);
    text.push_str("meaning\n");
    text.push_str(&golden.meaning);
    text.push('\n');
    text
}

fn read(path: &Path) -> Result<Golden, String> {
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let text = fs::read_to_string(path)
        .map_err(|error| wrong(&format!("{error}; see the crate's documentation")))?;
    let rest = text.strip_prefix("bytes\n").ok_or_else(|| wrong("it does not begin with `bytes`"))?;
    let (bytes, meaning) = rest.split_once("meaning\n").ok_or_else(|| wrong("it has no `meaning`"))?;
    let mut all = Vec::new();
    for line in bytes.lines() {
        all.extend(parse_line(line).ok_or_else(|| wrong("the bytes are not hexadecimal"))?);
    }
    Ok(Golden { bytes: all, meaning: meaning.trim_end_matches('\n').to_owned() })
}

fn parse_line(line: &str) -> Option<Vec<u8>> {
    if let Some(count) = line.strip_prefix(ZEROS) {
        return Some(vec![0; count.parse::<u16>().ok()?.into()]);
    }
    let pairs = line.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

fn put_zeros(text: &mut String, zeros: &mut usize) {
    if *zeros > 0 {
        // Writing to a string cannot fail.
        writeln!(text, "{ZEROS}{zeros}").ok();
        *zeros = 0;
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// Lines of nothing but zeros are counted.
const ZEROS: &str = "zeros ";
const LINE_BYTES: usize = 32;
