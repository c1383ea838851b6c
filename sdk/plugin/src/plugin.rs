//! The trait an interface implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::browse::Browse;
use crate::ctx::Ctx;
use crate::error::{Code, Error, Result};
use crate::events::Delivery;
use crate::inquiry::{Discover, Monitor, Test};
use crate::time::Deadline;
use crate::value::{Epoch, Item, ItemDef, Role};
use crate::values_in::ValuesIn;
use crate::write::WriteBatch;

/// One interface instance. All calls run on the instance's own thread, one after the other; futures need not be
/// `Send`. What has to go on between calls runs in [`Ctx::spawn`].
///
/// The order of calls is `create`, then `items` and `role` in any order around one `start`, then `stop`. A new
/// instance is [`Role::Cold`].
#[expect(async_fn_in_trait, reason = "the SDK drives the futures on the thread that made them")]
pub trait Plugin: Sized + 'static {
    /// The configuration of an instance, `settings` of an `[[interface]]`. What the `config_schema` of the manifest
    /// forbids is refused before the plugin sees it; unknown keys, if the type says `deny_unknown_fields`.
    type Config: DeserializeOwned + JsonSchema + Send;

    /// The manifest: `include_str!("../plugin.json")`.
    const MANIFEST: &'static str;

    /// Checks the configuration and makes the instance. Nothing is sent and nothing is opened here.
    ///
    /// # Errors
    /// [`Error::config`] with the key and what to write instead. It is reported by the first `start`.
    async fn create(cx: Ctx, config: Self::Config) -> Result<Self>;

    /// Begins to work in the current role. Connections are built up by a spawned task, not waited for.
    ///
    /// # Errors
    /// Ends the start; the hub tries again later with a new instance.
    async fn start(&mut self) -> Result<()>;

    /// Items are added or removed. May come at any time.
    ///
    /// # Errors
    /// If an item's row makes no sense, naming its path and column. The other items of the call stay in force.
    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()>;

    /// The role changes. On the way down, the gate is closed before this is called; it returns when nothing is in
    /// flight any more. On the way up to [`Role::Active`], permits are given from the start of this call, as soon as
    /// the hub's lease allows.
    ///
    /// # Errors
    /// [`Code::Busy`] if an exclusive resource is held by the other node; the hub decides what follows. After an
    /// error the instance counts as being in the lower one of the two roles.
    async fn role(&mut self, to: Role, epoch: Epoch, deadline: Deadline) -> Result<()>;

    /// Writes that passed the hub's output gate. Each entry is answered with [`WriteBatch::done`]; the batch may be
    /// moved into a task that answers later. Entries left over are answered with the error returned here, or with
    /// [`Code::Device`] when the batch is dropped.
    ///
    /// The future is dropped when the role changes and it does not end within half of the time left. It must be
    /// cancel-safe: what is unanswered then is reported as [`Code::Timeout`], outcome unknown.
    ///
    /// # Errors
    /// The answer to all entries not yet answered.
    async fn write(&mut self, batch: WriteBatch) -> Result<()>;

    /// An event of another interface, to a stream that the manifest declares (`events.takes`). Called between the other calls
    /// while active, quick: what needs the device is spawned, and takes `event` along. Several may be under way, of one giver
    /// and key only one. It comes again, with the same id, if the role ends or the node dies before it is done.
    fn event(&mut self, event: Delivery) {
        event.refuse(&Error::unsupported("this plugin takes no events"));
    }

    /// Ends the work: says goodbye to the device and closes connections. Spawned tasks are cancelled afterwards.
    async fn stop(&mut self);

    /// The state that the other node needs to go on, with its version. Called between the other calls, quick.
    ///
    /// # Errors
    /// [`Code::Unsupported`] unless implemented.
    fn snapshot(&self) -> Result<(u32, Vec<u8>)> {
        Err(Error::unsupported("this plugin has no state to move"))
    }

    /// Lists what can be addressed on the device, below a node. Called between the other calls, quick: what needs the device
    /// is spawned, and takes `browse` along. Says [`Code::NotActive`] in a role in which the device may not be asked.
    fn browse(&mut self, browse: Browse) {
        browse.refuse(&Error::unsupported("this plugin cannot list what there is"));
    }

    /// Tries whether the device answers, with the settings it has, and changes nothing there: reachable, credentials, versions,
    /// a round trip. Called between the other calls, quick: the test itself is spawned, and takes `test` along. Says
    /// [`Code::NotActive`] in a role in which the device may not be asked.
    fn test(&mut self, test: Test) {
        test.refuse(&Error::unsupported("this plugin has no test of its device"));
    }

    /// Looks for devices in reach that an interface of this plugin could connect to. Otherwise as [`Plugin::test`].
    fn discover(&mut self, discover: Discover) {
        discover.refuse(&Error::unsupported("this plugin cannot look for devices"));
    }

    /// Shows the last messages of the line, of both directions, which the instance keeps. Called between the other calls, in
    /// any role, quick.
    fn monitor(&mut self, monitor: Monitor) {
        monitor.refuse(&Error::unsupported("this plugin does not keep what goes over its line"));
    }

    /// Items of other interfaces are watched, or no longer: those that `values_in` of the interface names. They have handles
    /// of a numbering of their own, and `key`, `type`, `access`, `unit` and `description` in their rows. Comes before the
    /// first [`Plugin::values_in`].
    ///
    /// # Errors
    /// [`Code::Unsupported`] unless implemented: the interface then does not run, since its configuration asks for it.
    async fn watch(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        let _ = (add, remove);
        Err(Error::unsupported("this plugin takes no values of other interfaces"))
    }

    /// Values of watched items, while the instance is active: first what came while none was, then all as they are, then each
    /// as it comes. Called between the other calls, quick: what takes time is spawned, and takes `values` along. The next
    /// batch comes when this one is done.
    fn values_in(&mut self, values: ValuesIn) {
        values.refuse(&Error::unsupported("this plugin takes no values of other interfaces"));
    }

    /// Says what helps to find a fault, as a JSON object: connections, counters, the last errors, versions of the peer; no
    /// secrets. Called between the other calls, in any role, quick: the device is not asked for it.
    ///
    /// # Errors
    /// [`Code::Unsupported`] unless implemented.
    fn diagnose(&self) -> Result<serde_json::Value> {
        Err(Error::unsupported("this plugin does not say how it is"))
    }

    /// Takes over a state of [`Plugin::snapshot`].
    ///
    /// # Errors
    /// [`Code::StateVersion`] if the version cannot be read, [`Code::Unsupported`] unless implemented.
    fn apply(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(Error::new(Code::Unsupported, format!("this plugin takes no state (version {version})")))
    }
}
