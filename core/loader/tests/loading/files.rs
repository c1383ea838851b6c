//! What is refused before any code of a library runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use twinhub_loader::{Library, LoadError, inspect, read_manifest};

use crate::support::{cache, misfit, rust_plugin, scratch};

#[test]
fn a_manifest_is_read_without_running_code() {
    let path = misfit("constructor", &["CONSTRUCTOR"]);
    let (manifest, sha256) = read_manifest(&path).unwrap();
    assert_eq!(manifest.id, "org.example.misfit");
    assert_eq!(sha256.as_str().len(), 64);
    let sum = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    assert!(String::from_utf8(sum.stdout).unwrap().starts_with(sha256.as_str()), "as sha256sum says");
    assert!(!has_run("TWINHUB_MISFIT_RAN"));
    Library::open(&path, cache()).unwrap();
    assert!(has_run("TWINHUB_MISFIT_RAN"), "the constructor does run when the library is loaded");
}

/// Who refuses it has seen the bytes that would have been loaded, and none of its code has run, nor is there a copy of it.
#[test]
fn what_is_refused_by_its_opener_is_neither_copied_nor_mapped() {
    let path = misfit("unwanted", &["CONSTRUCTOR"]);
    let dir = tempfile::tempdir().unwrap();
    let refuse = |inspection: &twinhub_loader::Inspection, bytes: &[u8]| {
        assert_eq!(bytes, fs::read(&path).unwrap());
        assert_eq!(inspection.bytes, bytes.len() as u64);
        Err::<(), _>(format!("{} is not wanted", inspection.manifest.id).into())
    };
    let error = Library::open_checked(&path, dir.path(), refuse).unwrap_err();
    assert_eq!(error.to_string(), "org.example.misfit is not wanted");
    assert_eq!(fs::read_dir(dir.path()).map_or(0, Iterator::count), 0);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let sha256 = inspect(&path).unwrap().sha256;
    assert!(!maps.contains(sha256.as_str()), "it is mapped");
    assert!(!has_run("TWINHUB_MISFIT_RAN"));

    let (library, answer) = Library::open_checked(&path, dir.path(), |_, _| Ok("wanted")).unwrap();
    assert_eq!((library.sha256(), answer), (&sha256, "wanted"));
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    assert!(maps.contains(sha256.as_str()), "that it is mapped would be seen");
}

#[test]
fn the_plugins_of_this_workspace_declare_themselves() {
    for (name, id) in [("libtwinhub_hello", "org.twinhub.hello"), ("libtwinhub_sim", "org.twinhub.sim")] {
        let inspection = inspect(rust_plugin(name)).unwrap();
        assert_eq!(inspection.manifest.id, id);
        let entry = inspection.entry.unwrap();
        assert_eq!(entry.version(), (1, 0));
        assert!(entry.unwinds());
    }
}

#[test]
fn another_contract_version_is_one_sentence_with_both_versions_and_no_code_runs() {
    let path = misfit("abi2", &["ABI_MAJOR=2", "CONSTRUCTOR"]);
    let error = Library::open(&path, cache()).unwrap_err().to_string();
    let expected = format!(
        "plugin {} speaks contract version 2.0 and this hub 1.0: install a newer hub, or an older build of the plugin",
        path.display()
    );
    assert_eq!(error, expected);
    // The same without loading it: who fetches one for this machine asks before it puts it in place.
    let refused = inspect(misfit("abi2", &["ABI_MAJOR=2", "CONSTRUCTOR"])).unwrap().check().unwrap_err();
    assert!(refused.to_string().contains("speaks contract version 2.0 and this hub 1.0"), "{refused}");
    assert!(inspect(rust_plugin("libtwinhub_hello")).unwrap().check().is_ok());
    let error = Library::open(misfit("abi0", &["ABI_MAJOR=0"]), cache()).unwrap_err().to_string();
    assert!(error.ends_with("this hub 1.0: install a newer build of the plugin"), "{error}");
}

#[test]
fn a_library_whose_panics_abort_is_refused_in_process() {
    let error = Library::open(misfit("abort", &["BUILD_FLAGS=0"]), cache()).unwrap_err();
    assert!(matches!(error, LoadError::AbortsOnPanic { .. }), "{error}");
    assert!(error.to_string().contains("build it with panic=unwind"), "{error}");
}

#[test]
fn bad_entries_are_named() {
    for (name, define, expected) in [
        ("magic", "MAGIC=7", "magic is 0x0000000000000007"),
        ("entrysize", "ENTRY_SIZE=8", "its size is 8, expected at least 48"),
        ("nocreate", "CREATE=NULL", "it has no create function"),
        ("noentry", "ENTRY_NAME=another_name", "does not export `twinhub_plugin_entry`"),
    ] {
        let error = Library::open(misfit(name, &[define]), cache()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_library_without_a_manifest_section_is_no_plugin() {
    let path = misfit("nosection", &["SECTION=\".something\""]);
    let error = Library::open(&path, cache()).unwrap_err();
    assert!(matches!(error, LoadError::NoManifest { .. }), "{error}");
}

#[test]
fn a_bad_manifest_is_refused_with_its_problem() {
    let path = misfit("badmanifest", &["MANIFEST=\"{}\""]);
    let error = Library::open(&path, cache()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("missing field"), "{source}");
}

#[test]
fn files_that_are_no_libraries_are_refused() {
    let dir = scratch();
    fs::create_dir_all(&dir).unwrap();
    let empty = dir.join("empty.so");
    fs::write(&empty, b"").unwrap();
    let text = dir.join("text.so");
    fs::write(&text, "not a library at all").unwrap();
    for path in [&empty, &text] {
        let error = Library::open(path, cache()).unwrap_err();
        assert!(matches!(error, LoadError::NotALibrary { .. }), "{error}");
    }
    for path in [Path::new("/nowhere/at/all.so"), dir.as_path(), Path::new("/dev/zero")] {
        let error = Library::open(path, cache()).unwrap_err();
        assert!(matches!(error, LoadError::Read { .. }), "{}: {error}", path.display());
    }
}

#[test]
fn a_truncated_library_is_refused() {
    let bytes = fs::read(misfit("whole", &[])).unwrap();
    let path = scratch().join("truncated.so");
    for part in 1..8 {
        fs::write(&path, &bytes[..bytes.len() * part / 8]).unwrap();
        Library::open(&path, cache()).unwrap_err();
    }
}

#[test]
fn copies_are_named_by_content_and_repaired() {
    let path = misfit("copied", &[]);
    let dir = tempfile::tempdir().unwrap();
    let library = Library::open(&path, dir.path()).unwrap();
    let copy = dir.path().join(format!("{}.so", library.sha256()));
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o500);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());

    // Somebody has changed the copy. It is replaced by a new file; the old one may be mapped.
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    let changed = fs::read(&copy).unwrap().len() - 1;
    let mut bytes = fs::read(&copy).unwrap();
    bytes[changed] ^= 1;
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, &bytes).unwrap();
    Library::open(&path, dir.path()).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
}

#[test]
fn a_new_library_at_the_same_path_is_loaded_as_new() {
    let path = scratch().join("updated.so");
    fs::copy(misfit("before", &[]), &path).unwrap();
    let before = Library::open(&path, cache()).unwrap();
    let newer = crate::support::manifest().replace("0.1.0", "0.2.0");
    fs::copy(misfit("after", &[&format!("MANIFEST={newer:?}")]), &path).unwrap();
    let after = Library::open(&path, cache()).unwrap();
    assert_eq!((before.manifest().version.as_str(), after.manifest().version.as_str()), ("0.1.0", "0.2.0"));
    assert_ne!(before.sha256(), after.sha256());
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let error = Library::open(misfit("nocache", &[]), "/proc/no/cache").unwrap_err();
    assert!(matches!(error, LoadError::Cache { .. }), "{error}");
    assert!(error.to_string().contains("/proc/no/cache"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_048)) {
        check(&bytes);
        check(&[b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_damaged_library_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..16),
        in_headers in any::<bool>(),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let mut bytes = WHOLE.get_or_init(|| fs::read(misfit("damaged", &[])).unwrap()).clone();
        let headers = bytes.len() - 64 * 40;
        for (index, byte) in changes {
            // The tables at both ends steer the reader; the code between them does not.
            let index = if in_headers { headers + index.index(64 * 40) } else { index.index(1_024) };
            bytes[index] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }
}

fn check(bytes: &[u8]) {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| tempfile::tempdir().unwrap());
    let path = dir.path().join(format!("{:?}.so", std::thread::current().id()));
    fs::write(&path, bytes).unwrap();
    drop(inspect(&path));
}

/// The environment of C, which Rust's own view shares.
fn has_run(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
