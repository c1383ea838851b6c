//! What the plugin of a child offers beside its table, offered to the hub in its place.

use std::ffi::{CStr, c_char, c_void};

use twinhub_contract::constants::TEXT_BYTES_MAX;
use twinhub_contract::extension::{self, Accepted, Browse, Diag, Inquiry, State};
use twinhub_contract::{Str, Writer, abi, code};
use twinhub_loader::Instance;

use crate::events;
use crate::message::Order;
use crate::proxy::{remote, size};
use crate::values_in::VALUES_IN;

/// Extensions of the plugin, a bit for each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offers(pub(crate) u32);

impl Offers {
    const STATE: Offers = Offers(1);
    const ACCEPTED: Offers = Offers(1 << 1);
    const BROWSE: Offers = Offers(1 << 2);
    const DIAG: Offers = Offers(1 << 3);
    const VALUES_IN: Offers = Offers(1 << 4);
    const INQUIRY: Offers = Offers(1 << 5);
    const EVENTS: Offers = Offers(1 << 8);

    /// Those of an instance.
    pub(crate) fn of(instance: &Instance) -> Offers {
        let offered = OFFERS.into_iter().filter(|(id, _)| instance.has_extension(id));
        Offers(offered.map(|(_, Offers(bit))| bit).sum())
    }

    pub(crate) const fn has(self, offer: Offers) -> bool {
        self.0 & offer.0 != 0
    }
}

const OFFERS: [(&CStr, Offers); 7] = [
    (extension::STATE, Offers::STATE),
    (extension::ACCEPTED, Offers::ACCEPTED),
    (extension::BROWSE, Offers::BROWSE),
    (extension::DIAG, Offers::DIAG),
    (extension::INQUIRY, Offers::INQUIRY),
    (extension::VALUES_IN, Offers::VALUES_IN),
    (extension::EVENTS, Offers::EVENTS),
];

pub(crate) unsafe extern "C" fn get_extension(
    plugin: *const abi::Plugin,
    id: *const c_char,
) -> *const c_void {
    // SAFETY: the loader passes the table it was given, and an id that ends with NUL.
    let (remote, id) = unsafe { (remote(plugin), CStr::from_ptr(id)) };
    let Some((_, offer)) = OFFERS.into_iter().find(|(known, _)| *known == id) else {
        return std::ptr::null();
    };
    if !remote.offers(offer) {
        return std::ptr::null();
    }
    match offer {
        Offers::STATE => (&raw const STATE).cast(),
        Offers::ACCEPTED => (&raw const ACCEPTED).cast(),
        Offers::BROWSE => (&raw const BROWSE).cast(),
        Offers::DIAG => (&raw const DIAG).cast(),
        Offers::INQUIRY => (&raw const INQUIRY).cast(),
        Offers::VALUES_IN => (&raw const VALUES_IN).cast(),
        Offers::EVENTS => (&raw const events::EVENTS).cast(),
        Offers(_) => std::ptr::null(),
    }
}

unsafe extern "C" fn snapshot(plugin: *const abi::Plugin, version: *mut u32, out: *const Writer) -> i32 {
    // SAFETY: the loader passes the table it was given.
    let remote = unsafe { remote(plugin) };
    let Some((code, number, bytes)) = remote.call(|call| Order::Snapshot { call }) else {
        return code::TIMEOUT;
    };
    if code != code::OK {
        return code;
    }
    // SAFETY: the loader passes where the version goes, and a writer that is valid for the call.
    unsafe {
        version.write(number);
        (*out).write.map_or(code::INVALID, |write| write((*out).ctx, bytes.as_ptr(), bytes.len()))
    }
}

unsafe extern "C" fn apply(plugin: *const abi::Plugin, version: u32, ptr: *const u8, len: usize) -> i32 {
    let bytes = if len == 0 || ptr.is_null() {
        Vec::new()
    } else {
        // SAFETY: the loader passes bytes that are readable for the call.
        unsafe { std::slice::from_raw_parts(ptr, len) }.to_vec()
    };
    // SAFETY: the loader passes the table it was given.
    let answer = unsafe { remote(plugin) }.call(|call| Order::Apply { call, version, bytes });
    answer.map_or(code::TIMEOUT, |(code, _, _)| code)
}

unsafe extern "C" fn accepted(plugin: *const abi::Plugin, through: u64) {
    // SAFETY: the loader passes the table it was given.
    let remote = unsafe { remote(plugin) };
    if let Some(through) = remote.acceptances.through(through) {
        remote.tell_accepted(through);
    }
}

unsafe extern "C" fn browse(
    plugin: *const abi::Plugin,
    op: u64,
    parent: Str,
    cursor: Str,
    limit: u32,
) -> i32 {
    // SAFETY: the loader passes texts that are readable for the call.
    let (Some(parent), Some(cursor)) =
        (unsafe { (parent.read(TEXT_BYTES_MAX), cursor.read(TEXT_BYTES_MAX)) })
    else {
        return code::INVALID;
    };
    let (parent, cursor) = (parent.to_owned(), cursor.to_owned());
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::Browse { op, parent, cursor, limit })
}

unsafe extern "C" fn diagnose(plugin: *const abi::Plugin, op: u64) -> i32 {
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::Diagnose { op })
}

unsafe extern "C" fn inquire(plugin: *const abi::Plugin, op: u64, question: u32, request: Str) -> i32 {
    // SAFETY: the loader passes a text that is readable for the call.
    let Some(request) = (unsafe { request.read(TEXT_BYTES_MAX) }) else { return code::INVALID };
    let request = request.to_owned();
    // SAFETY: the loader passes the table it was given.
    unsafe { remote(plugin) }.control(op, &Order::Inquire { op, question, request })
}

static STATE: State =
    State { size: size(size_of::<State>()), reserved: 0, snapshot: Some(snapshot), apply: Some(apply) };
static ACCEPTED: Accepted =
    Accepted { size: size(size_of::<Accepted>()), reserved: 0, accepted: Some(accepted) };
static BROWSE: Browse = Browse { size: size(size_of::<Browse>()), reserved: 0, browse: Some(browse) };
static DIAG: Diag = Diag { size: size(size_of::<Diag>()), reserved: 0, diagnose: Some(diagnose) };
static INQUIRY: Inquiry = Inquiry { size: size(size_of::<Inquiry>()), reserved: 0, inquire: Some(inquire) };
