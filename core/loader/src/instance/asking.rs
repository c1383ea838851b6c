//! Calls that are asked for a text: what a plugin lists, and how it is.

use std::ffi::CStr;

use twinhub_contract::constants::BROWSE_NODES_MAX;
use twinhub_contract::extension::{self, Browse, Diag, Inquiry};
use twinhub_contract::{Str, code};

use super::{Instance, Plugin, Status};
use crate::error::PluginError;

impl Instance {
    /// Asks what can be addressed directly below a node: `parent_json` as an answer before gave it, or empty for the top.
    /// The answer comes through [`crate::HostSink::answer`]. May overlap all other calls, but not itself.
    ///
    /// # Errors
    /// `UNSUPPORTED` if the plugin lists nothing, or what it answers.
    pub fn browse(
        &self,
        op: u64,
        parent_json: &str,
        cursor: &str,
        limit: u32,
    ) -> Result<Status, PluginError> {
        let table = self.table::<Browse>(extension::BROWSE);
        let browse = table.and_then(|table| table.browse).ok_or_else(|| not_offered("browse"))?;
        let (parent, cursor) = (Str::new(parent_json), Str::new(cursor));
        let limit = limit.clamp(1, BROWSE_NODES_MAX);
        // SAFETY: the table is valid until `destroy`; the texts live for the call.
        self.ask("browse", op, |plugin| unsafe { browse(plugin, op, parent, cursor, limit) })
    }

    /// Asks how the instance is. Otherwise as [`Instance::browse`].
    ///
    /// # Errors
    /// `UNSUPPORTED` if the plugin does not say, or what it answers.
    pub fn diagnose(&self, op: u64) -> Result<Status, PluginError> {
        let table = self.table::<Diag>(extension::DIAG);
        let diagnose = table.and_then(|table| table.diagnose).ok_or_else(|| not_offered("diagnose"))?;
        // SAFETY: the table is valid until `destroy`.
        self.ask("diagnose", op, |plugin| unsafe { diagnose(plugin, op) })
    }

    /// Asks a question of [`twinhub_contract::constants::inquiry`]. Otherwise as [`Instance::browse`].
    ///
    /// # Errors
    /// `UNSUPPORTED` if the plugin does not answer it, or what it answers.
    pub fn inquire(&self, op: u64, question: u32, request_json: &str) -> Result<Status, PluginError> {
        let table = self.table::<Inquiry>(extension::INQUIRY);
        let inquire = table.and_then(|table| table.inquire).ok_or_else(|| not_offered("inquire"))?;
        let request = Str::new(request_json);
        // SAFETY: the table is valid until `destroy`; the text lives for the call.
        self.ask("inquire", op, |plugin| unsafe { inquire(plugin, op, question, request) })
    }

    fn ask(
        &self,
        name: &'static str,
        op: u64,
        call: impl FnOnce(Plugin) -> i32,
    ) -> Result<Status, PluginError> {
        self.host.begin_answer(op);
        let asked = self.control(name, op, 1, |_, plugin| vec![call(plugin)]);
        match &asked {
            Ok(Status::Pending) => {}
            Ok(Status::Done) => self.host.end_answer(op, code::OK),
            Err(error) => self.host.end_answer(op, error.code),
        }
        asked
    }

    /// A table of the plugin's extensions, if it is as large as this version knows it.
    pub(super) fn table<T: Copy>(&self, id: &CStr) -> Option<T> {
        let table = self.extension(id).cast::<T>();
        if table.is_null() || !table.is_aligned() {
            return None;
        }
        // SAFETY: not NULL, aligned; a table starts with its size.
        let size = unsafe { *table.cast::<u32>() } as usize;
        // SAFETY: at least as large as this version knows it.
        (size >= size_of::<T>()).then(|| unsafe { *table })
    }
}

fn not_offered(name: &'static str) -> PluginError {
    PluginError::new(name, code::UNSUPPORTED, "")
}
