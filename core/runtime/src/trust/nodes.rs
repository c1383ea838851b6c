//! What nodes say to each other of the plugin code that they run.

use std::sync::{Arc, PoisonError, RwLock};

use twinhub_loader::Library;
use twinhub_model::Severity;
use twinhub_trust::{Agreement, Code, LibraryCode, Lock};
use twinhub_wire::{Kind, PluginCode, PluginLibrary, write_frame};

use super::Trust;

/// What others are told of it, as it is at present.
#[derive(Debug, Clone)]
pub(crate) struct ToldCode(Arc<RwLock<PluginCode>>);

impl ToldCode {
    /// `None` in a protocol that does not tell it.
    pub(crate) fn new(code: &Code, protocol: u16) -> Option<ToldCode> {
        (protocol >= Kind::Plugins.since()).then(|| ToldCode(Arc::new(RwLock::new(told(code)))))
    }

    pub(crate) fn get(&self) -> PluginCode {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has changed: what those are told who are connected.
    pub(crate) fn set(&self, code: &Code) -> Vec<u8> {
        let told = told(code);
        let mut frame = Vec::new();
        write_frame(Kind::Plugins, &told.clone().fitted().encode(), &mut frame);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = told;
        frame
    }
}

/// What this node runs.
pub(crate) fn code_of<'a>(trust: &Trust, libraries: impl Iterator<Item = &'a Arc<Library>>) -> Code {
    let libraries = libraries.map(|library| LibraryCode {
        id: library.manifest().id.clone(),
        version: library.manifest().version.clone(),
        sha256: library.sha256().to_string(),
    });
    Code { lock: trust.lock().map(Lock::hash), libraries: libraries.collect() }
}

/// As others are told.
fn told(code: &Code) -> PluginCode {
    let library = |library: &LibraryCode| PluginLibrary {
        id: library.id.clone(),
        version: library.version.clone(),
        sha256: library.sha256.clone(),
    };
    let libraries = code.libraries.iter().map(library).collect();
    PluginCode { lock: code.lock.clone(), libraries }
}

/// As another node told.
pub(crate) fn heard(told: &PluginCode) -> Code {
    let library = |library: &PluginLibrary| LibraryCode {
        id: library.id.clone(),
        version: library.version.clone(),
        sha256: library.sha256.clone(),
    };
    Code { lock: told.lock.clone(), libraries: told.libraries.iter().map(library).collect() }
}

/// What operators are told when a node is heard whose plugins compare like this, if that is news.
pub(crate) fn news(
    name: &str,
    before: Option<&Agreement>,
    now: &Agreement,
) -> Option<(Severity, &'static str, String)> {
    if before.unwrap_or(&Agreement::Same) == now {
        return None;
    }
    Some(match now {
        Agreement::Same => (
            Severity::Info,
            "TH-TRUST-004",
            format!("`{name}` trusts and runs the same plugins as this node again"),
        ),
        Agreement::Skew(_) => (
            Severity::Info,
            "TH-TRUST-003",
            format!("`{name}` runs neighboring versions of plugins, as in a rolling upgrade: {now}"),
        ),
        Agreement::Differ(_) => (
            Severity::Error,
            "TH-TRUST-002",
            format!(
                "`{name}` trusts or runs other plugins than this node, and no upgrade explains it: {now}"
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard_and_an_older_protocol_is_silent() {
        let library =
            LibraryCode { id: "a".to_owned(), version: "1.0.0".to_owned(), sha256: "00".to_owned() };
        let code = Code { lock: Some("11".to_owned()), libraries: vec![library] };
        assert_eq!(heard(&ToldCode::new(&code, 2).unwrap().get()), code);
        assert!(ToldCode::new(&code, 1).is_none());
    }

    #[test]
    fn each_change_is_told_once() {
        let skew = Agreement::Skew(vec!["plugin a is 1.0.0 there, 1.1.0 here".to_owned()]);
        let differ = Agreement::Differ(vec!["its plugins.lock is another one".to_owned()]);
        let code =
            |before: Option<&Agreement>, now: &Agreement| news("backup", before, now).map(|news| news.1);
        assert_eq!(code(None, &Agreement::Same), None);
        assert_eq!(code(None, &skew), Some("TH-TRUST-003"));
        assert_eq!(code(Some(&skew), &skew), None);
        assert_eq!(code(Some(&skew), &differ), Some("TH-TRUST-002"));
        assert_eq!(code(Some(&differ), &Agreement::Same), Some("TH-TRUST-004"));
    }
}
