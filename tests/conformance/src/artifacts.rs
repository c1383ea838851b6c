//! The programs and libraries under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Where the executable, the plugin libraries and the simulators are.
#[derive(Clone, Debug)]
pub struct Artifacts {
    folder: PathBuf,
    /// Where executable and plugins are, which may be built otherwise than what stands around them.
    product: PathBuf,
}

impl Artifacts {
    /// What `TWINHUB_BIN_DIR` names, or the folder of this program; executable and plugins from
    /// `TWINHUB_PRODUCT_DIR`, if that is set.
    pub fn beside_this_program() -> Result<Self> {
        let folder = if let Some(folder) = std::env::var_os("TWINHUB_BIN_DIR") {
            folder.into()
        } else {
            let program = std::env::current_exe().map_err(Error::file("this program"))?;
            program.parent().map(Path::to_owned).unwrap_or_default()
        };
        let product = std::env::var_os("TWINHUB_PRODUCT_DIR").map_or_else(|| folder.clone(), PathBuf::from);
        let artifacts = Self { folder, product };
        artifacts.check()?;
        Ok(artifacts)
    }

    /// Builds them first, once per process: cargo does not build another package's programs for a test.
    pub fn built_for_tests() -> Result<Self> {
        static BUILT: OnceLock<std::result::Result<(), String>> = OnceLock::new();
        if std::env::var_os("TWINHUB_BIN_DIR").is_some() {
            return Self::beside_this_program();
        }
        BUILT.get_or_init(build).clone().map_err(Error::State)?;
        // The test program is in `target/<profile>/deps`.
        let program = std::env::current_exe().map_err(Error::file("this program"))?;
        let folder = program.ancestors().nth(2).map(Path::to_owned).unwrap_or_default();
        let artifacts = Self { product: folder.clone(), folder };
        artifacts.check()?;
        Ok(artifacts)
    }

    /// Where the plugin libraries are.
    pub fn plugin_folder(&self) -> &Path {
        &self.product
    }

    /// The cargo profile that executable and plugins were built with, by the name of their folder.
    pub fn profile(&self) -> String {
        self.product.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The executable `twinhub`.
    pub fn hub(&self) -> PathBuf {
        self.product.join("twinhub")
    }

    /// The program `mqtt-broker`.
    pub fn broker(&self) -> PathBuf {
        self.folder.join("mqtt-broker")
    }

    /// The program `modbus-device`.
    pub fn device(&self) -> PathBuf {
        self.folder.join("modbus-device")
    }

    /// The plugin libraries under test.
    pub fn plugins(&self) -> Vec<PathBuf> {
        PLUGINS.iter().map(|name| self.library(name)).collect()
    }

    /// The library of a plugin, by the name that interfaces use.
    pub fn library(&self, plugin: &str) -> PathBuf {
        self.product.join(format!("libtwinhub_{plugin}.so"))
    }

    fn check(&self) -> Result<()> {
        let all = [self.hub(), self.broker(), self.device()].into_iter().chain(self.plugins());
        match all.into_iter().find(|path| !path.is_file()) {
            Some(path) => Err(Error::NotBuilt { path }),
            None => Ok(()),
        }
    }
}

fn build() -> std::result::Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--quiet"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| format!("start cargo: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the product does not build:\n{}", String::from_utf8_lossy(&output.stderr)))
}

const PLUGINS: [&str; 4] = ["bacnet", "knx", "modbus", "mqtt"];
const PACKAGES: [&str; 8] = [
    "twinhub-hub",
    "twinhub-bacnet",
    "twinhub-knx",
    "twinhub-modbus",
    "twinhub-mqtt",
    "twinhub-sim",
    "twinhub-hello",
    "twinhub-peers",
];
