//! Building plugins, and a host that records what they do.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use twinhub_contract::{code, event_flag};
use twinhub_loader::{
    EventRef, HostSink, Instance, ItemSpec, Lease, Library, PluginError, PublishOutcome, RawBatch, Role,
    StateStore, Status, UpdateRef, ValueIn, ValueRef, WriteReq, WriteResult,
};

/// An update as recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) epoch: u64,
    pub(crate) item: u32,
    pub(crate) value: String,
    pub(crate) flags: u32,
    pub(crate) seq: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) updates: Vec<Seen>,
    pub(crate) refused: Vec<String>,
    pub(crate) writes: Vec<WriteResult>,
    pub(crate) ops: Vec<(u64, i32, String)>,
    pub(crate) faults: Vec<(i32, String)>,
    pub(crate) logs: Vec<(u32, String, String, String)>,
    pub(crate) states: Vec<(u32, String)>,
    pub(crate) counts: Vec<(String, u64)>,
    /// Keys that were put or removed, each with the number of updates before it.
    pub(crate) puts: Vec<(String, usize)>,
    /// Answers to what was asked, by operation.
    pub(crate) answers: Vec<(u64, String)>,
    /// Events that it gave: number, id, and the number of updates before it.
    pub(crate) given: Vec<(u64, String, usize)>,
    /// Answers to events that it was brought.
    pub(crate) events: Vec<(u64, i32)>,
}

/// Records everything; knobs for what it answers.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    record: Mutex<Record>,
    changed: Condvar,
    pub(crate) lease_end: AtomicI64,
    /// How many batches are refused for want of room.
    pub(crate) refuse_next: AtomicUsize,
    /// Batches with another epoch are refused, if not 0.
    pub(crate) epoch: AtomicI64,
    /// The gate that a process of its own reads; without it, effects need no lease there.
    pub(crate) gate: OnceLock<OwnedFd>,
    /// What the instance keeps by key.
    pub(crate) kept: StateStore,
}

impl Recorder {
    /// With a lease that does not end.
    pub(crate) fn new() -> Arc<Self> {
        let recorder = Self::default();
        recorder.lease_end.store(i64::MAX, Ordering::SeqCst);
        Arc::new(recorder)
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.record.lock().unwrap())
    }

    /// Waits until `found` gives something.
    pub(crate) fn wait<T>(&self, what: &str, mut found: impl FnMut(&Record) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut record = self.record.lock().unwrap();
        loop {
            if let Some(found) = found(&record) {
                return found;
            }
            let left = LIMIT.saturating_sub(begun.elapsed());
            assert!(!left.is_zero(), "{what} did not come: {record:#?}");
            record = self.changed.wait_timeout(record, left).unwrap().0;
        }
    }

    pub(crate) fn op(&self, op: u64) -> (i32, String) {
        self.wait(&format!("completion of operation {op}"), |record| {
            let done: Vec<_> = record.ops.iter().filter(|done| done.0 == op).collect();
            assert!(done.len() <= 1, "operation {op} is completed once: {done:?}");
            done.first().map(|done| (done.1, done.2.clone()))
        })
    }

    pub(crate) fn written(&self, write_id: u64) -> i32 {
        self.wait(&format!("answer to write {write_id}"), |record| {
            record.writes.iter().find(|result| result.write_id == write_id).map(|result| result.code)
        })
    }

    pub(crate) fn value(&self, value: &str) -> Seen {
        self.wait(&format!("value {value}"), |record| {
            record.updates.iter().find(|seen| seen.value == value).cloned()
        })
    }

    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.read(|record| record.counts.iter().filter(|count| count.0 == name).map(|count| count.1).sum())
    }

    /// The answer to a question, once it is done.
    pub(crate) fn answer_to(&self, op: u64, asked: Result<Status, PluginError>) -> Result<String, i32> {
        finish(self, op, asked).map_err(|(code, _)| code)?;
        let answers: Vec<String> = self.read(|record| {
            record.answers.iter().filter(|answer| answer.0 == op).map(|answer| answer.1.clone()).collect()
        });
        assert_eq!(answers.len(), 1, "operation {op} is answered once");
        Ok(answers[0].clone())
    }

    fn note(&self, note: impl FnOnce(&mut Record)) {
        note(&mut self.record.lock().unwrap());
        self.changed.notify_all();
    }
}

impl HostSink for Recorder {
    fn publish(&self, epoch: u64, updates: RawBatch<'_>) -> PublishOutcome {
        let current = self.epoch.load(Ordering::SeqCst);
        if current != 0 && u64::try_from(current) != Ok(epoch) {
            self.note(|record| record.refused.push(format!("stale epoch {epoch}")));
            return PublishOutcome::StaleEpoch;
        }
        if self.refuse_next.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            self.note(|record| record.refused.push("no room".to_owned()));
            return PublishOutcome::Again;
        }
        let mut seen = Vec::with_capacity(updates.len());
        for update in updates {
            match update {
                Ok(update) => seen.push(Seen {
                    epoch,
                    item: update.item,
                    value: show(update.value),
                    flags: update.flags,
                    seq: update.seq,
                }),
                Err(error) => {
                    self.note(|record| record.refused.push(error.to_string()));
                    return PublishOutcome::Invalid;
                }
            }
        }
        self.note(|record| record.updates.extend(seen));
        PublishOutcome::Taken
    }

    fn write_done(&self, results: &[WriteResult]) {
        self.note(|record| record.writes.extend_from_slice(results));
    }

    fn op_done(&self, op: u64, code: i32, detail: &str) {
        self.note(|record| record.ops.push((op, code, detail.to_owned())));
    }

    fn answer(&self, op: u64, bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.note(|record| record.answers.push((op, text)));
    }

    fn fault(&self, code: i32, detail: &str) {
        self.note(|record| record.faults.push((code, detail.to_owned())));
    }

    fn log(&self, level: u32, target: &str, message: &str, fields_json: &str) {
        let line = (level, target.to_owned(), message.to_owned(), fields_json.to_owned());
        self.note(|record| record.logs.push(line));
    }

    fn state(&self, state: u32, cause: &str) {
        self.note(|record| record.states.push((state, cause.to_owned())));
    }

    fn lease_end(&self, _epoch: u64) -> i64 {
        self.lease_end.load(Ordering::SeqCst)
    }

    fn lease(&self) -> Lease<'_> {
        self.gate.get().map_or(Lease::Free, |file| Lease::Words(file.as_fd()))
    }

    fn count(&self, name: &str, add: u64) {
        self.note(|record| record.counts.push((name.to_owned(), add)));
    }

    fn store(&self) -> Option<&StateStore> {
        Some(&self.kept)
    }

    fn has_events(&self) -> bool {
        true
    }

    /// One that needs an acknowledgment waits for it; one whose id is `full` finds no room.
    fn give(&self, event: &EventRef<'_>) -> i32 {
        if event.id == "full" {
            return code::AGAIN;
        }
        self.note(|record| record.given.push((event.number, event.id.to_owned(), record.updates.len())));
        if event.flags & event_flag::NEED_ACK != 0 { code::PENDING } else { code::OK }
    }

    fn acknowledge(&self, number: u64, code: i32) -> i32 {
        self.note(|record| record.events.push((number, code)));
        code::OK
    }

    fn put(&self, epoch: u64, key: &str, value: Option<&[u8]>) -> i32 {
        let current = self.epoch.load(Ordering::SeqCst);
        if current != 0 && u64::try_from(current) != Ok(epoch) {
            return code::STALE_EPOCH;
        }
        let mut ticket = None;
        let answer = self.kept.change(key, value, |change| {
            self.note(|record| record.puts.push((change.key, record.updates.len())));
            ticket = Some(change.ticket);
            code::OK
        });
        if let Some(ticket) = ticket {
            self.kept.settle(&ticket);
        }
        answer
    }
}

pub(crate) fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Bool(value) => value.to_string(),
        ValueRef::I64(value) | ValueRef::Time(value) => value.to_string(),
        ValueRef::U64(value) => value.to_string(),
        ValueRef::F64(value) => value.to_string(),
        ValueRef::Str(value) | ValueRef::Json(value) => value.to_owned(),
        ValueRef::Bytes(bytes) | ValueRef::Array { bytes, .. } => format!("{} bytes", bytes.len()),
    }
}

/// Waits for a control call, whichever way it completes.
pub(crate) fn finish(
    host: &Recorder,
    op: u64,
    called: Result<Status, PluginError>,
) -> Result<(), (i32, String)> {
    match called {
        Ok(Status::Done) => Ok(()),
        Ok(Status::Pending) => match host.op(op) {
            (0, _) => Ok(()),
            (code, detail) => Err((code, detail)),
        },
        Err(error) => Err((error.code, error.detail)),
    }
}

pub(crate) fn item(handle: u32, address: &str) -> ItemSpec {
    let row = serde_json::json!({"path": format!("site/{handle}"), "address": address});
    ItemSpec { handle, access: 3, address_json: row.to_string(), type_hint: 0, group: 0 }
}

pub(crate) fn write(write_id: u64, item: u32, value: ValueRef<'_>) -> WriteReq<'_> {
    WriteReq { write_id, item, deadline_ns: i64::MIN, flags: 0, value }
}

/// A value of another interface's item at place 1.5, from the time 77.
#[allow(dead_code, reason = "not all tests give values")]
pub(crate) fn value_in(item: u32, text: &str, flags: u32) -> ValueIn<'_> {
    let value = ValueRef::Str(text);
    let update = UpdateRef { item, status: 0, source_ns: 77, value, wire: 0, flags, seq: 0 };
    ValueIn { update, place: (1, 5) }
}

/// An instance of `library` with items, started and active in epoch 1. Operations 1 to 3 are used.
pub(crate) fn active(library: &Library, config: &str, items: &[ItemSpec], host: &Arc<Recorder>) -> Instance {
    let instance = library.create("demo", config, Arc::clone(host) as Arc<dyn HostSink>).unwrap();
    finish(host, 1, instance.items(1, items, &[])).unwrap();
    finish(host, 2, instance.start(2)).unwrap();
    finish(host, 3, instance.set_role(3, Role::Active, 1, i64::MIN)).unwrap();
    instance
}

pub(crate) fn open(path: &Path) -> Library {
    Library::open(path, cache()).unwrap()
}

pub(crate) fn cache() -> PathBuf {
    scratch().join("cache")
}

pub(crate) fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("loading")
}

/// The libraries of `twinhub-hello` and `twinhub-sim`, built once.
pub(crate) fn rust_plugin(name: &str) -> PathBuf {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "-p",
                "twinhub-hello",
                "-p",
                "twinhub-sim",
                "--message-format=json-render-diagnostics",
            ])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|message| message.get("filenames")?.as_array().cloned())
            .flatten()
            .filter_map(|name| name.as_str().map(PathBuf::from))
            .filter(|path| path.extension().is_some_and(|extension| extension == "so"))
            .collect()
    });
    let is_wanted = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == name);
    built.iter().find(is_wanted).unwrap_or_else(|| panic!("{name} is among {built:?}")).clone()
}

/// Compiles C into a library. `defines` are preprocessor definitions.
pub(crate) fn c_plugin(source: &Path, output: &str, defines: &[&str]) -> PathBuf {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/contract/include");
    let dir = scratch();
    std::fs::create_dir_all(&dir).unwrap();
    let library = dir.join(format!("lib{output}.so"));
    // Tests run in processes of their own and share the folder: each builds aside and renames.
    let aside = dir.join(format!("lib{output}.{}.so", std::process::id()));
    let compiled = Command::new("cc")
        .args([
            "-std=c11",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-Wno-overlength-strings",
            "-Wno-unused-function",
            "-Wno-infinite-recursion",
        ])
        .args(["-shared", "-fPIC", "-fvisibility=hidden"])
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg("-I")
        .arg(include)
        .arg("-I")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/c-plugin"))
        .arg("-I")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader/tests/fixtures"))
        .arg("-o")
        .arg(&aside)
        .arg(source)
        .output()
        .expect("the C compiler `cc` is installed");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    std::fs::rename(&aside, &library).unwrap();
    library
}

/// The C plugin that breaks the contract on demand, under its own file name.
pub(crate) fn misfit(output: &str, defines: &[&str]) -> PathBuf {
    let manifest = format!("MANIFEST={:?}", manifest());
    let mut all = vec![manifest.as_str()];
    if defines.iter().any(|define| define.starts_with("MANIFEST=")) {
        all.clear();
    }
    all.extend_from_slice(defines);
    c_plugin(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/misfit.c"), output, &all)
}

/// A valid manifest.
pub(crate) fn manifest() -> String {
    serde_json::json!({
        "manifest": 1, "id": "org.example.misfit", "name": "Misfit", "vendor": "Example", "version": "0.1.0",
        "license": "MIT", "abi": {"min": "1.0", "max": "1.0"}, "kind": "interface",
        "protocols": [{"name": "none"}], "config_schema": {}, "item_address_schema": {},
        "mb": {
            "relevant": false, "possible": "yes", "default_standby": "cold",
            "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
            "state": "none", "fence": "none", "recovery": "none", "parallel_input": false
        },
        "capabilities": [{"name": "breaks the contract"}],
        "hosting": {"allowed": ["inproc"], "recommended": "inproc"}
    })
    .to_string()
}

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
