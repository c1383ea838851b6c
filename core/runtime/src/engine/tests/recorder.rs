//! A plugin in C that writes down its calls.

use std::path::{Path, PathBuf};
use std::process::Command as Compiler;
use std::sync::OnceLock;

/// Compiles the recorder once.
pub(crate) fn recorder() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = std::env::current_exe().unwrap().with_file_name("recorder");
        std::fs::create_dir_all(&dir).unwrap();
        let library = dir.join("libtwinhub_recorder.so");
        // Tests run in processes of their own and share the folder: each builds aside and renames.
        let aside = dir.join(format!("recorder.{}.so", std::process::id()));
        let output = Compiler::new("cc")
            .args([
                "-std=c11",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-shared",
                "-fPIC",
                "-fvisibility=hidden",
            ])
            .arg("-I")
            .arg(home.join("../../sdk/contract/include"))
            .arg("-o")
            .arg(&aside)
            .arg(home.join("tests/fixtures/recorder.c"))
            .output()
            .expect("the C compiler `cc` is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&aside, &library).unwrap();
        library
    };
    BUILT.get_or_init(build).clone()
}
