//! What the interfaces of a bench are like.

use std::path::Path;
use std::time::Duration;

use twinhub_alarms::{Condition, Rule, Side};
use twinhub_config::{AckAfter, Delivery, OnUnprotected, OnUnquorate};
use twinhub_model::{ItemId, ItemKey};

use crate::instance::{Guard, InterfaceSetup, Moves, Rows, Sequence};
use crate::table::ItemMeta;

/// An interface of a bench; it has two items, `in` and `out`, and the first drives the second.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "a test names what it wants")]
pub(crate) struct Spec {
    pub(crate) id: &'static str,
    pub(crate) standby: u32,
    pub(crate) parallel_input: bool,
    pub(crate) sequence: Sequence,
    pub(crate) required: bool,
    pub(crate) guard: Guard,
    /// Whether it polls, and reads everything anew when it becomes active.
    pub(crate) resyncs: bool,
    pub(crate) ack_after: AckAfter,
    pub(crate) on_unprotected: OnUnprotected,
    /// Whether a value of `in` beyond [`ALARM_LIMIT`] is an alarm: `ID-high` at once, `ID-late` after a while.
    pub(crate) has_alarms: bool,
    /// Whether the documents of the site are in the journal.
    pub(crate) has_documents: bool,
    /// How its link delivers.
    pub(crate) delivery: Delivery,
    /// Streams of events that it gives, and whom they are for.
    pub(crate) gives: &'static [(&'static str, &'static [&'static str])],
    /// Items of others that it takes.
    pub(crate) values_in: &'static [&'static str],
    /// More of the plugin's configuration.
    pub(crate) config: &'static str,
}

impl Spec {
    pub(crate) fn new(id: &'static str) -> Spec {
        Spec {
            id,
            standby: twinhub_contract::role::WARM,
            parallel_input: true,
            sequence: Sequence { exclusive: false, order: 0, cut_on_loss: true },
            required: true,
            guard: Guard::None,
            resyncs: true,
            ack_after: AckAfter::None,
            on_unprotected: OnUnprotected::Proceed,
            has_alarms: false,
            has_documents: false,
            delivery: Delivery::Command,
            gives: &[],
            values_in: &[],
            config: "",
        }
    }
}

/// See [`Spec::has_alarms`].
pub(crate) const ALARM_LIMIT: i64 = 1_000_000;

pub(super) fn rules(spec: &Spec) -> [Rule; 2] {
    [("high", Duration::ZERO), ("late", Duration::from_millis(700))].map(|(name, delay_on)| Rule {
        id: format!("{}-{name}", spec.id).into(),
        item: ItemKey::new(spec.id, "in").unwrap(),
        condition: Condition::Limit { side: Side::High, limit: 1e6, deadband: 0.0 },
        delay_on,
        delay_off: Duration::ZERO,
        priority: 500,
        text: "".into(),
        area: "".into(),
        latching: false,
        needs_ack: true,
    })
}

pub(super) fn meta() -> ItemMeta {
    ItemMeta { access: "rw", type_name: "int64".to_owned(), unit: String::new(), description: String::new() }
}

pub(super) fn config(spec: &Spec, log: &Path) -> String {
    format!("{{\"log\":\"{}\"{}}}", log.display(), spec.config)
}

/// The items `in` and `out` of each interface, one after the other.
fn item_of(key: &str, specs: &[Spec]) -> ItemId {
    let (id, path) = key.split_once('/').unwrap();
    let number = specs.iter().position(|spec| spec.id == id).unwrap();
    ItemId(u32::try_from(number).unwrap() * 2 + u32::from(path == "out"))
}

pub(super) fn setup(spec: &Spec, base: u32, specs: &[Spec]) -> InterfaceSetup {
    let file = "path,address,type,access,unit,description\nin,,,rw,,\nout,,,rw,,\n";
    let items = twinhub_config::items::parse_csv(spec.id, "items.csv", file.as_bytes()).unwrap();
    InterfaceSetup {
        id: spec.id.to_owned(),
        plugin: "recorder".to_owned(),
        base,
        items: Rows::of(&items).unwrap(),
        values_in: spec.values_in.iter().map(|key| item_of(key, specs)).collect(),
        standby_role: spec.standby,
        hears: crate::instance::Hears::of(spec.standby, spec.parallel_input),
        moves: Moves::Nothing,
        relevant: true,
        guard: spec.guard,
        required: spec.required,
        edges: std::collections::BTreeSet::new(),
        sequence: spec.sequence,
        resyncs: spec.resyncs,
        on_unquorate: OnUnquorate::Run,
        ack_after: spec.ack_after,
        on_unprotected: spec.on_unprotected,
        write_timeout: Duration::from_secs(5),
        probe: None,
    }
}
