//! The C side of `twinhub.browse/1`, `twinhub.diag/1`, `twinhub.inquiry/1` and `twinhub.flow/1`, whose tables are those of
//! every instance.

use std::sync::atomic::Ordering;

use twinhub_contract::constants::BROWSE_NODES_MAX;
use twinhub_contract::extension::{Browse, Diag, Flow, Inquiry};
use twinhub_contract::{Str, abi};

use crate::entry::{guarded_entry, instance, submit};
use crate::error::Code;
use crate::inquiry::Asked;
use crate::mailbox::Command;

#[expect(clippy::cast_possible_truncation, reason = "sizes of small structs")]
const fn size(size: usize) -> u32 {
    size as u32
}

/// The table of every instance.
pub(crate) static BROWSE: Browse =
    Browse { size: size(size_of::<Browse>()), reserved: 0, browse: Some(browse) };
/// The table of every instance.
pub(crate) static DIAG: Diag = Diag { size: size(size_of::<Diag>()), reserved: 0, diagnose: Some(diagnose) };

unsafe extern "C" fn browse(
    plugin: *const abi::Plugin,
    op: u64,
    parent: Str,
    cursor: Str,
    limit: u32,
) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and the texts are readable for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let (parent, cursor) = (parent.read(TEXT_MAX), cursor.read(TEXT_MAX));
            let (Some(parent), Some(cursor)) = (parent, cursor) else { return Err(Code::Invalid) };
            let parent =
                if parent.is_empty() { Ok(serde_json::Value::Null) } else { serde_json::from_str(parent) };
            let parent = parent.map_err(|_| Code::Invalid)?;
            let limit = limit.clamp(1, BROWSE_NODES_MAX);
            submit(instance, Command::Browse { op, parent, cursor: cursor.to_owned(), limit })
        })
    }
}

unsafe extern "C" fn diagnose(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance.
    unsafe { guarded_entry(plugin, |instance| submit(instance, Command::Diagnose { op })) }
}

/// The table of every instance.
pub(crate) static INQUIRY: Inquiry =
    Inquiry { size: size(size_of::<Inquiry>()), reserved: 0, inquire: Some(inquire) };

unsafe extern "C" fn inquire(plugin: *const abi::Plugin, op: u64, question: u32, request: Str) -> i32 {
    // SAFETY: by the contract `plugin` is a live instance, and the text is readable for the call.
    unsafe {
        guarded_entry(plugin, |instance| {
            let request = request.read(TEXT_MAX).ok_or(Code::Invalid)?;
            let asked = Asked::parse(question, request)?;
            submit(instance, Command::Inquire { op, asked })
        })
    }
}

/// The table of every instance.
pub(crate) static FLOW: Flow = Flow { size: size(size_of::<Flow>()), reserved: 0, room: Some(room) };

unsafe extern "C" fn room(plugin: *const abi::Plugin) {
    // SAFETY: by the contract `plugin` is a live instance.
    if let Some(instance) = unsafe { instance(plugin) } {
        instance.shared.tells_room.store(true, Ordering::Relaxed);
        instance.shared.room.notify_one();
    }
}

/// Longest address of a node, and longest cursor.
const TEXT_MAX: usize = 16 * 1024;
