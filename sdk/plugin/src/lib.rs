//! Author API: write an interface plugin in safe, async Rust.
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use twinhub_plugin::{Ctx, Deadline, Epoch, Item, ItemDef, Plugin, Result, Role, Update, WriteBatch, Code};
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// What to say.
//!     greeting: String,
//! }
//!
//! struct Hello {
//!     cx: Ctx,
//!     config: Config,
//! }
//!
//! impl Plugin for Hello {
//!     type Config = Config;
//!     const MANIFEST: &'static str = "{}"; // include_str!("../plugin.json")
//!
//!     async fn create(cx: Ctx, config: Config) -> Result<Self> {
//!         Ok(Self { cx, config })
//!     }
//!     async fn start(&mut self) -> Result<()> {
//!         Ok(())
//!     }
//!     async fn items(&mut self, add: Vec<ItemDef>, _remove: Vec<Item>) -> Result<()> {
//!         for item in add {
//!             self.cx.publisher().push(Update::new(item.item, self.config.greeting.as_str()));
//!         }
//!         Ok(())
//!     }
//!     async fn role(&mut self, _to: Role, _epoch: Epoch, _deadline: Deadline) -> Result<()> {
//!         Ok(())
//!     }
//!     async fn write(&mut self, batch: WriteBatch) -> Result<()> {
//!         batch.done_all(Code::Unsupported);
//!         Ok(())
//!     }
//!     async fn stop(&mut self) {}
//! }
//!
//! # mod in_a_library { // export_plugin! stands once, at the top level of a cdylib
//! twinhub_plugin::export_plugin!(super::Hello);
//! # }
//! # fn main() {}
//! ```
//!
//! # Threads
//! Every instance owns one thread with a single-threaded tokio runtime. All of [`Plugin`] runs there, so state
//! shared with spawned tasks is `Rc<RefCell<..>>`. Blocking work goes to `tokio::task::spawn_blocking`.
//! [`OutputGate`] and [`Permit`] may be used from any thread, [`Ctx`] and [`Publisher`] stay on their thread.
//!
//! # Panics
//! A panic in a call or in a task spawned with [`Ctx::spawn`] poisons the instance: its gate closes, the hub is told
//! and replaces it. Use [`Ctx::spawn`], not `tokio::spawn`: a panic there would go unseen.
//!
//! # Logging
//! `tracing` events on the instance's threads go to the hub's log with their fields and the fields of their spans.
//! The level is INFO unless the environment variable `TWINHUB_PLUGIN_LOG` says otherwise.
#![allow(unsafe_code, reason = "the author API is where the C contract becomes safe")]
#![warn(missing_docs)]

mod acceptance;
mod backlog;
mod browse;
mod check;
mod ctx;
mod driver;
mod entry;
mod error;
mod events;
mod gate;
mod guard;
mod host;
mod inquiry;
mod logging;
mod mailbox;
mod parcel;
mod plugin;
mod publisher;
mod questions;
mod request;
mod schema;
mod shared;
mod store;
mod time;
mod value;
mod values_in;
mod write;

pub use acceptance::{Acceptance, Accepted, Mark};
pub use browse::{Browse, Node, Page};
pub use check::{check_manifest, config_schema, sync_manifest};
pub use ctx::{Ctx, Task};
pub use error::{Code, Error, Result, Suppressed};
pub use events::{Delivery, Event, Events, Given};
pub use gate::{OutputGate, Permit};
pub use inquiry::{Discover, Found, Message, MessageLog, Monitor, Step, Test};
pub use parcel::WriteRef;
pub use plugin::Plugin;
pub use publisher::Publisher;
pub use request::{WriteEntry, WriteId};
pub use store::Store;
pub use time::{Deadline, boottime_ns, unix_ns};
pub use twinhub_contract::ValueRef;
pub use value::{
    Access, Array, Epoch, Flags, InterfaceState, Item, ItemDef, Quality, Role, TypeHint, Update, Value,
};
pub use values_in::{Place, ValueIn, ValuesIn};
pub use write::WriteBatch;

#[doc(hidden)]
pub mod __private {
    //! What [`export_plugin!`](crate::export_plugin) expands to; not for authors.
    pub use crate::entry::{create, entry, manifest_bytes};
    pub use twinhub_contract::Entry;
}

/// Exports a [`Plugin`]: the manifest section and `twinhub_plugin_entry`, the only symbol of the library. Stands once
/// in the crate, whose `crate-type` is `cdylib` (and `rlib` for its tests).
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        #[allow(unsafe_code, reason = "the exported entry of the C contract")]
        const _: () = {
            const MANIFEST: &str = <$plugin as $crate::Plugin>::MANIFEST;

            #[used]
            #[cfg_attr(
                not(any(target_vendor = "apple", windows)),
                unsafe(link_section = ".twinhub_manifest")
            )]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__twinhub_man"))]
            #[cfg_attr(windows, unsafe(link_section = ".hubman"))]
            static SECTION: [u8; MANIFEST.len()] = $crate::__private::manifest_bytes(MANIFEST);

            #[unsafe(no_mangle)]
            static twinhub_plugin_entry: $crate::__private::Entry =
                $crate::__private::entry(MANIFEST, $crate::__private::create::<$plugin>);
        };
    };
}
