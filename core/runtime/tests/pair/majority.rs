//! A node that acts without a majority holds interfaces back as they say, and lets them go when one is back.

use twinhub_events::{Filter, Following};
use twinhub_runtime::Handle;
use twinhub_runtime::view::InterfaceView;

use crate::site::{shutdown, start_node, wait, write_site};

const INTERFACES: &str = r#"
[[interface]]
id = "free"
plugin = "sim"
items = "items.csv"
settings = { interval_ms = 20, batch = 1 }
[[interface]]
id = "reader"
plugin = "sim"
items = "items.csv"
on_unquorate = "read_only"
settings = { interval_ms = 20, batch = 1 }
[[interface]]
id = "silent"
plugin = "sim"
items = "items.csv"
on_unquorate = "off"
settings = { interval_ms = 20, batch = 1 }
[[link]]
from = "free/count"
to = "reader/echo"
delivery = "command"
"#;

#[test]
fn without_a_majority_interfaces_read_only_or_are_off_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    write_site(dir.path(), "without_witness = \"availability\"", INTERFACES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let set = |node: &Handle, key: &str| runtime.block_on(node.set(key, 7.into(), "test"));

    let main = start_node(dir.path(), "main");
    wait(|| main.is_active(), "main acts alone");
    assert!(!main.cluster().groups[0].protected, "nobody stands behind it");
    let count = |key: &str| main.item(key).and_then(|item| item.value.as_u64()).unwrap_or(0);
    let before = count("reader/count");
    wait(|| count("reader/count") > before + 2, "inputs of a read-only interface");
    set(&main, "free/echo").unwrap();
    for (id, restriction) in [("reader", "read-only: no majority"), ("silent", "off: no majority")] {
        let refused = set(&main, &format!("{id}/echo")).unwrap_err();
        assert!(refused.to_string().contains(restriction), "{refused}");
        let view = interface(&main, id);
        assert_eq!(view.restriction.as_deref(), Some(restriction));
        assert!(view.withheld > 0 && view.writes == 0, "{view:?}");
        let all = Following { limit: 100, ..Following::default() };
        let events = main.events(&all, &Filter::default()).rows;
        assert!(events.iter().any(|event| event.text.contains(restriction)));
    }
    assert!(interface(&main, "silent").role != "active");
    assert_eq!(count("silent/count"), 0, "an interface that is off gives no values");
    assert_eq!(count("reader/echo"), 0, "a link drove a read-only interface");
    assert_eq!(interface(&main, "free").restriction, None);

    let backup = start_node(dir.path(), "backup");
    wait(|| interface(&main, "reader").restriction.is_none(), "a majority is back");
    wait(|| count("reader/echo") > 0, "the link drives again");
    wait(|| count("silent/count") > 0 && interface(&main, "silent").role == "active", "the interface is on");
    wait(|| set(&main, "silent/echo").is_ok(), "a command to the interface that was off");

    shutdown(&backup);
    shutdown(&main);
}

fn interface(node: &Handle, id: &str) -> InterfaceView {
    node.interfaces().into_iter().find(|interface| interface.id == id).unwrap()
}
