//! Who makes instances of a library that is not loaded into this process.

use std::fmt::Debug;

use twinhub_contract::abi;

use crate::sink::HostSink;

/// Makes instances whose code runs elsewhere.
///
/// # Safety
/// A table that [`Maker::create`] gives keeps the contract: it is valid until its `destroy` returns, and calls only
/// the host that it was made for.
pub unsafe trait Maker: Send + Sync + Debug {
    /// Makes an instance, as `create` of a library does; `sink` is who stands behind `host`.
    ///
    /// # Errors
    /// A code of the contract, and words for people.
    ///
    /// # Safety
    /// `host` is a table of the contract that stays valid for as long as the process lives.
    unsafe fn create(
        &self,
        host: *const abi::Host,
        sink: &dyn HostSink,
        instance_id: &str,
        config_json: &str,
    ) -> Result<*const abi::Plugin, (i32, String)>;

    /// Does what [`crate::Instance::hush`] says, for one of its instances: `PENDING` if `op_done` of the host follows.
    ///
    /// # Safety
    /// `plugin` is a table that [`Maker::create`] of this maker gave and that is not destroyed yet.
    unsafe fn hush(&self, plugin: *const abi::Plugin, op: u64) -> i32;
}
