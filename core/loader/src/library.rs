//! A loaded library.

use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW, Symbol};
use twinhub_contract::constants::MANIFEST_BYTES_MAX;
use twinhub_contract::{ENTRY_SYMBOL, Entry, Manifest, Str, abi, code};

use crate::cache;
use crate::error::{LoadError, PluginError, Refused};
use crate::host::HostCell;
use crate::inspect::{EntryNumbers, Inspection, Sha256Hex, inspect_bytes, read, refuse_entry};
use crate::instance::Instance;
use crate::maker::Maker;
use crate::sink::HostSink;

/// A loaded library. It stays loaded until the process ends, also when this is dropped.
#[derive(Clone, Debug)]
pub struct Library {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    sha256: Sha256Hex,
    manifest: Manifest,
    entry: EntryNumbers,
    create: Create,
}

#[derive(Debug)]
enum Create {
    /// Of the library, loaded into this process.
    Here(abi::CreateFn),
    /// By somebody else, who has it loaded elsewhere.
    Elsewhere(Arc<dyn Maker>),
}

impl Library {
    /// Loads the library at `path` from a copy in `cache_dir` named by its content.
    ///
    /// What can be known from the file is checked before any of its code runs: the manifest, the contract version, and
    /// how the library was built.
    ///
    /// # Errors
    /// A [`LoadError`] that says what is wrong and what to do. Other libraries are not affected.
    pub fn open(path: impl AsRef<Path>, cache_dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::open_checked(path, cache_dir, |_, _| Ok(())).map(|(library, ())| library)
    }

    /// As [`Library::open`], if `check` agrees. It is given what the library says of itself and its bytes: the very ones
    /// that were hashed, and that are copied and loaded if it agrees. What it answers comes back with the library.
    ///
    /// # Errors
    /// As [`Library::open`]; [`LoadError::Refused`] with what `check` says.
    pub fn open_checked<T>(
        path: impl AsRef<Path>,
        cache_dir: impl AsRef<Path>,
        check: impl FnOnce(&Inspection, &[u8]) -> Result<T, Refused>,
    ) -> Result<(Self, T), LoadError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let inspection = inspect_bytes(path, &bytes)?;
        let checked = check(&inspection, &bytes).map_err(LoadError::Refused)?;
        if let Some(numbers) = inspection.entry {
            refuse_entry(path, numbers)?;
        } else {
            return Err(LoadError::NoEntry { path: path.to_path_buf() });
        }
        let copy = cache::place(cache_dir.as_ref(), &inspection.sha256, &bytes)?;
        drop(bytes);
        let entry = load(path, &copy)?;
        // SAFETY: the pointer came from the library, which is never unloaded; the first words are checked before the
        // rest is read.
        let (entry, create) = unsafe { check_entry(path, entry, &inspection.manifest, false)? };
        tracing::debug!(plugin = %inspection.manifest.id, sha256 = %inspection.sha256, "library loaded");
        Ok((Self::of(path, inspection.sha256, inspection.manifest, entry, Create::Here(create)), checked))
    }

    /// Loads the library at `path` itself, which nobody may change while this process lives: a copy named by its content.
    /// A library whose panics end the process is loaded, too. For a process that hosts this library alone.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_in_place(path: &Path) -> Result<Self, LoadError> {
        let inspection = inspect_bytes(path, &read(path)?)?;
        match inspection.entry.map(|numbers| refuse_entry(path, numbers)) {
            None => return Err(LoadError::NoEntry { path: path.to_path_buf() }),
            Some(Ok(()) | Err(LoadError::AbortsOnPanic { .. })) => {}
            Some(Err(error)) => return Err(error),
        }
        let entry = load(path, path)?;
        // SAFETY: as in `open`.
        let (entry, create) = unsafe { check_entry(path, entry, &inspection.manifest, true)? };
        Ok(Self::of(path, inspection.sha256, inspection.manifest, entry, Create::Here(create)))
    }

    /// A library of which no code runs in this process: `maker` gets the path of the copy in `cache_dir` and makes its
    /// instances, wherever. A library whose panics end a process is as good as any.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn elsewhere(
        path: impl AsRef<Path>,
        cache_dir: impl AsRef<Path>,
        maker: impl FnOnce(&Path, &Manifest) -> Arc<dyn Maker>,
    ) -> Result<Self, LoadError> {
        Self::elsewhere_checked(path, cache_dir, |_, _| Ok(()), maker).map(|(library, ())| library)
    }

    /// As [`Library::elsewhere`], if `check` agrees, as in [`Library::open_checked`].
    ///
    /// # Errors
    /// As [`Library::open_checked`].
    pub fn elsewhere_checked<T>(
        path: impl AsRef<Path>,
        cache_dir: impl AsRef<Path>,
        check: impl FnOnce(&Inspection, &[u8]) -> Result<T, Refused>,
        maker: impl FnOnce(&Path, &Manifest) -> Arc<dyn Maker>,
    ) -> Result<(Self, T), LoadError> {
        let path = path.as_ref();
        let bytes = read(path)?;
        let inspection = inspect_bytes(path, &bytes)?;
        let checked = check(&inspection, &bytes).map_err(LoadError::Refused)?;
        let Some(entry) = inspection.entry else {
            return Err(LoadError::NoEntry { path: path.to_path_buf() });
        };
        match refuse_entry(path, entry) {
            Ok(()) | Err(LoadError::AbortsOnPanic { .. }) => {}
            Err(error) => return Err(error),
        }
        let copy = cache::place(cache_dir.as_ref(), &inspection.sha256, &bytes)?;
        let create = Create::Elsewhere(maker(&copy, &inspection.manifest));
        Ok((Self::of(path, inspection.sha256, inspection.manifest, entry, create), checked))
    }

    fn of(path: &Path, sha256: Sha256Hex, manifest: Manifest, entry: EntryNumbers, create: Create) -> Self {
        Self { inner: Arc::new(Inner { path: path.to_path_buf(), sha256, manifest, entry, create }) }
    }

    /// Whether its code runs in this process.
    pub fn is_here(&self) -> bool {
        matches!(self.inner.create, Create::Here(_))
    }

    /// A plugin linked into this program instead of loaded; for measurements and tests.
    ///
    /// # Errors
    /// As [`Library::open`], without what concerns files.
    pub fn linked(entry: &'static Entry) -> Result<Self, LoadError> {
        let path = Path::new("(linked)");
        // SAFETY: the reference is valid for ever, and so is the manifest it borrows.
        let manifest = unsafe { entry.manifest.read(MANIFEST_BYTES_MAX) }.unwrap_or_default();
        let manifest = Manifest::parse(manifest.as_bytes())
            .map_err(|source| LoadError::Manifest { path: path.to_path_buf(), source })?;
        // SAFETY: as above.
        let (entry, create) = unsafe { check_entry(path, ptr::from_ref(entry), &manifest, false)? };
        let sha256 = Sha256Hex::of(&[]);
        Ok(Self::of(path, sha256, manifest, entry, Create::Here(create)))
    }

    /// Makes an instance. It is cold, in epoch 0, and has no items.
    ///
    /// # Errors
    /// `CONFIG` with the plugin's words if the configuration is wrong, or what else the plugin answers.
    pub fn create(
        &self,
        instance_id: &str,
        config_json: &str,
        sink: Arc<dyn HostSink>,
    ) -> Result<Instance, PluginError> {
        self.create_for(HostCell::leak, sink, instance_id, config_json)
    }

    /// As [`Library::create`], by a hub with a later minor version of the contract, whose table is larger: a plugin must
    /// work with it. For tests of plugins.
    ///
    /// # Errors
    /// As [`Library::create`].
    pub fn create_by_newer_hub(
        &self,
        instance_id: &str,
        config_json: &str,
        sink: Arc<dyn HostSink>,
    ) -> Result<Instance, PluginError> {
        self.create_for(HostCell::leak_newer, sink, instance_id, config_json)
    }

    fn create_for(
        &self,
        leak: fn(Arc<dyn HostSink>) -> &'static HostCell,
        sink: Arc<dyn HostSink>,
        instance_id: &str,
        config_json: &str,
    ) -> Result<Instance, PluginError> {
        let create = match &self.inner.create {
            Create::Here(create) => create,
            Create::Elsewhere(maker) => {
                let host = leak(Arc::clone(&sink));
                // SAFETY: the host lives for ever.
                let made = unsafe { maker.create(host.table(), &*sink, instance_id, config_json) };
                drop(host.created());
                let (code, detail, plugin) = match made {
                    Ok(plugin) => (code::OK, String::new(), plugin),
                    Err((code, detail)) => (code, detail, ptr::null()),
                };
                // SAFETY: the maker gives a table that is valid until its `destroy`.
                return unsafe { Instance::new(code, detail, plugin, host, Some(Arc::clone(maker))) };
            }
        };
        let host = leak(sink);
        // As the contract allows for a text without bytes.
        let text = |text: &str| if text.is_empty() { Str::EMPTY } else { Str::new(text) };
        let mut plugin = ptr::null();
        // SAFETY: the entry was checked, the host lives for ever, the texts and `plugin` live for the call.
        let code = unsafe { create(host.table(), text(instance_id), text(config_json), &raw mut plugin) };
        let detail = host.created();
        // SAFETY: on success the plugin gives a table that is valid until its `destroy`.
        unsafe { Instance::new(code, detail, plugin, host, None) }
    }

    /// Where the library came from.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Hash of its file.
    pub fn sha256(&self) -> &Sha256Hex {
        &self.inner.sha256
    }

    /// Its declaration.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The numbers of its entry.
    pub fn entry(&self) -> EntryNumbers {
        self.inner.entry
    }
}

fn load(path: &Path, copy: &Path) -> Result<*const Entry, LoadError> {
    // SAFETY: running a library's constructors is what loading means; the file is one the operator configured, and it
    // is mapped from a private copy that nobody overwrites.
    let handle = unsafe { Handle::open(Some(copy), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) }
        .map_err(|source| LoadError::Open { path: path.to_path_buf(), source })?;
    // SAFETY: the symbol is data; only its address is taken.
    let entry =
        unsafe { handle.get::<*const Entry>(ENTRY_SYMBOL.as_bytes()) }.map(|symbol: Symbol<_>| *symbol);
    // The library stays: unloading it could happen under the feet of its threads.
    std::mem::forget(handle);
    entry.map_err(|_| LoadError::NoEntry { path: path.to_path_buf() })
}

/// Checks an entry in memory; one that is alone in its process may end it with its first panic.
///
/// # Safety
/// `entry` is NULL or leads to an entry that is valid for ever and as large as it says.
unsafe fn check_entry(
    path: &Path,
    entry: *const Entry,
    manifest: &Manifest,
    is_alone: bool,
) -> Result<(EntryNumbers, abi::CreateFn), LoadError> {
    let bad = |what: &str| LoadError::BadEntry { path: path.to_path_buf(), what: what.to_owned() };
    if entry.is_null() || !entry.is_aligned() {
        return Err(bad("it is not there, or not aligned"));
    }
    // SAFETY: these members stand first in every version.
    let numbers = unsafe {
        EntryNumbers {
            magic: (*entry).magic,
            size: (*entry).size,
            abi: (*entry).abi,
            build_flags: (*entry).build_flags,
        }
    };
    match refuse_entry(path, numbers) {
        Err(LoadError::AbortsOnPanic { .. }) if is_alone => {}
        checked => checked?,
    }
    // SAFETY: at least as large as this version knows it.
    let entry = unsafe { *entry };
    // SAFETY: constant text of the library.
    let text = unsafe { entry.manifest.read(MANIFEST_BYTES_MAX) };
    let text = text.ok_or_else(|| bad("its manifest is not text, or too long"))?;
    if !text.is_empty() && Manifest::parse(text.as_bytes()).ok().as_ref() != Some(manifest) {
        return Err(bad("its manifest is not the one in the section"));
    }
    let (major, minor) = numbers.version();
    let own = (u16::try_from(major).unwrap_or(0), u16::try_from(minor).unwrap_or(0));
    if manifest.abi.bounds().is_none_or(|(min, max)| own < min || own > max) {
        return Err(bad(&format!(
            "its contract version {major}.{minor} is not within {} to {} of its manifest",
            manifest.abi.min, manifest.abi.max
        )));
    }
    let create = entry.create.ok_or_else(|| bad("it has no create function"))?;
    Ok((numbers, create))
}

/// `RTLD_NODELETE` of `<dlfcn.h>`: the library is never unmapped, whatever else happens to its handle.
#[cfg(target_os = "linux")]
const RTLD_NODELETE: i32 = 0x1000;
/// As above, with the number of the BSD family.
#[cfg(not(target_os = "linux"))]
const RTLD_NODELETE: i32 = 0x80;
