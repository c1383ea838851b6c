//! What each kind of fault looks like to the person who made it. The snapshots are the text on the screen.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use twinhub_config::{ItemSource, ItemSourceError, Loaded, OnUnprotected, Severity, Trigger, parse};
use twinhub_model::Value;

#[test]
fn a_configuration_without_faults_has_no_warnings() {
    let loaded = site(BASE, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap();
    assert_eq!(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(loaded.site.interfaces[0].items.len(), 3);
}

#[test]
fn what_waits_for_another_node_is_warned_of_where_there_is_none() {
    let wishes = "plugin = \"modbus\"\nack_after = \"peer\"\non_unprotected = \"refuse\"";
    let files = [("plc.csv", PLC), ("mqtt.csv", MQTT)];
    let pair = with("plugin = \"modbus\"", wishes);
    let loaded = site(&pair, &files).unwrap();
    assert_eq!(loaded.warnings.len(), 0, "{:?}", loaded.warnings);
    assert_eq!(loaded.site.interfaces[0].on_unprotected, OnUnprotected::Refuse);
    assert_eq!(loaded.site.interfaces[1].on_unprotected, OnUnprotected::Proceed);
    let single = pair
        .replace("nodes = [\"main\", \"backup\"]", "nodes = [\"main\"]")
        .replace("[nodes.backup]\nlinks = [\"127.0.0.1:7621\"]\n", "");
    let warnings: Vec<_> = site(&single, &files).unwrap().warnings.iter().map(ToString::to_string).collect();
    for sentence in ["every command to `plc1` would be refused", "no other node stores inputs of `plc1`"] {
        assert!(warnings.iter().any(|warning| warning.contains(sentence)), "{warnings:?}");
    }
}

#[test]
fn values_that_go_in_a_ring_are_warned_of_once() {
    let files = [("plc.csv", PLC), ("mqtt.csv", MQTT)];
    let warnings = |text: &str| -> Vec<String> {
        site(text, &files).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let one = with("plugin = \"mqtt\"", "plugin = \"mqtt\"\nvalues_in = [\"plc1/*\"]");
    assert_eq!(warnings(&one), Vec::<String>::new());
    let both = one.replace("plugin = \"modbus\"", "plugin = \"modbus\"\nvalues_in = [\"mqtt1/command\"]");
    let told = warnings(&both);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("values go in a ring: plc1 <- mqtt1 <- plc1"), "{told:?}");
}

#[test]
fn every_trigger_can_be_written() {
    let text = with(
        "plugin = \"modbus\"",
        "plugin = \"modbus\"\nprobe = \"10.0.0.1:502\"\nmonitor = [\n\
         { item = \"temperature\", when = \"unchanged\", for = \"2m\" },\n\
         { item = \"temperature\", when = \"bad\", for = \"5s\", failures = 3 },\n\
         { item = \"mode\", when = \"equals\", value = true },\n\
         { item = \"temperature\", when = \"above\", value = 90 },\n\
         { item = \"temperature\", when = \"below\", value = -5.5 },\n]",
    );
    let text =
        text.replace("[nodes.backup]", "[nodes.backup]\noverride.interface.plc1.probe = \"10.0.0.2:502\"");
    let site = site(&text, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap().site;
    let triggers: Vec<_> = site.interfaces[0]
        .monitor
        .iter()
        .map(|monitor| (monitor.trigger.clone(), monitor.duration.as_secs(), monitor.failures))
        .collect();
    let expected = [
        (Trigger::Unchanged, 120, 1),
        (Trigger::Bad, 5, 3),
        (Trigger::Equals(Value::Bool(true)), 1, 1),
        (Trigger::Above(90.0), 1, 1),
        (Trigger::Below(-5.5), 1, 1),
    ];
    assert_eq!(triggers, expected);
    let probe = |node| site.for_node(node).unwrap().interfaces[0].probe.clone();
    assert_eq!(probe("main").as_deref(), Some("10.0.0.1:502"));
    assert_eq!(probe("backup").as_deref(), Some("10.0.0.2:502"));
}

macro_rules! faults {
    ($($(#[$meta:meta])* $name:ident: $text:expr;)+) => {
        $($(#[$meta])* #[test] fn $name() {
            insta::assert_snapshot!(stringify!($name), fault(&$text));
        })+
    };
}

faults! {
    an_unknown_key_names_the_allowed_ones: with("profile", "profil");
    an_unknown_section_names_the_allowed_ones: format!("{BASE}\n[jornal]\nsegment = \"1MiB\"");
    an_unknown_word_names_the_allowed_ones: with("\"normal\"", "\"norml\"");
    a_wrong_type_says_what_to_write: with("version = 1", "version = \"1\"");
    a_later_version_is_refused: with("version = 1", "version = 2");
    a_bad_duration_says_what_to_write: with("[nodes.main]", "hold_back = \"5 minutes\"\n[nodes.main]");
    a_duration_without_quotes_says_what_to_write: with("[nodes.main]", "hold_back = 5\n[nodes.main]");
    a_missing_key_says_what_it_means: with("site = \"Test\"\n", "");
    a_syntax_error_shows_its_place: with("nodes = [\"main\", \"backup\"]", "nodes = [\"main\", \"backup\"");
    a_repeated_key_shows_its_place: with("version = 1", "version = 1\nversion = 1");
    a_repeated_interface_shows_the_first_one: format!("{BASE}\n[[interface]]\nid = \"plc1\"\nplugin = \"sim\"");
    an_unknown_group_names_the_nearest: with("plugin = \"modbus\"", "plugin = \"modbus\"\ngroup = \"sita\"");
    an_unknown_node_in_a_group_names_the_nearest:
        format!("{BASE}\n[[group]]\nid = \"energy\"\nnodes = [\"main\", \"bakup\"]");
    a_node_listed_twice_is_refused: with("[\"main\", \"backup\"]", "[\"main\", \"backup\", \"main\"]");
    a_node_without_section_is_refused: with("[\"main\", \"backup\"]", "[\"main\", \"backup\", \"third\"]");
    a_node_without_rank_is_refused: with("[\"main\", \"backup\"]", "[\"main\"]");
    a_repeated_address_is_refused: with("127.0.0.1:7621", "127.0.0.1:7620");
    an_address_without_port_is_refused: with("127.0.0.1:7621", "127.0.0.1");
    a_witness_on_a_node_is_refused: with("127.0.0.1:7630", "127.0.0.1:7620");
    a_pair_without_witness_is_warned: with("witness = \"127.0.0.1:7630\"\n", "site = 1\n");
    an_incomplete_etcd_is_refused:
        with("witness = \"127.0.0.1:7630\"", "witness = { etcd = [\"https://a:2379\", \"b:2379\"], user = \"hub\", key = \"k.pem\" }");
    a_floating_address_without_its_network_is_refused: floating("address = \"10.0.0.50\", device = \"eth0\"");
    a_floating_address_of_all_hosts_is_refused: floating("address = \"10.0.0.255/24\"");
    a_floating_address_of_a_node_is_refused: floating("address = \"127.0.0.1/8\"");
    a_floating_address_with_wild_numbers_is_refused:
        floating("address = \"fd00::50/64\", device = \"a/b\", announcements = 0, interval = \"1ms\"");
    a_floating_address_of_two_groups_is_refused: format!(
        "{}\n[[group]]\nid = \"energy\"\nfloating = {{ address = \"10.0.0.50/16\" }}",
        floating("address = \"10.0.0.50/24\"")
    );
    a_second_floating_address_of_a_group_is_refused: format!(
        "{}\n[[group]]\nid = \"site\"\nfloating = {{ address = \"10.0.0.51/24\" }}",
        floating("address = \"10.0.0.50/24\"")
    );
    a_witness_of_the_wrong_type_is_refused: with("witness = \"127.0.0.1:7630\"", "witness = 7");
    an_unknown_etcd_key_is_refused: with("witness = \"127.0.0.1:7630\"", "witness = { etdc = [] }");
    timers_are_checked_against_each_other:
        with("[nodes.main]", "timers = { heartbeat = \"2s\", lease = \"1s\", guard = \"2h\" }\n[nodes.main]");
    a_missing_items_file_is_named: with("plc.csv", "absent.csv");
    a_link_to_a_missing_item_names_the_nearest: with("to = \"mqtt1/temperature\"", "to = \"mqtt1/temprature\"");
    a_link_from_a_missing_interface_names_the_nearest: with("from = \"plc1/temperature\"", "from = \"plc/temperature\"");
    a_link_without_a_path_is_refused: with("from = \"plc1/temperature\"", "from = \"plc1\"");
    a_link_to_what_cannot_be_written_is_refused:
        link("from = \"mqtt1/command\"\nto = \"plc1/temperature\"");
    a_link_from_what_cannot_be_read_is_refused: link("from = \"mqtt1/temperature\"\nto = \"plc1/setpoint\"");
    a_link_that_is_there_twice_is_refused: link("from = \"plc1/temperature\"\nto = \"mqtt1/temperature\"");
    a_link_with_one_wildcard_is_refused: link("from = \"plc1/*\"\nto = \"mqtt1/temperature\"");
    a_wildcard_in_the_middle_is_refused: link("from = \"plc1/*/a\"\nto = \"mqtt1/*\"");
    a_wildcard_without_target_items_is_refused: link("from = \"plc1/*\"\nto = \"mqtt1/all/*\"");
    a_wildcard_that_matches_nothing_is_warned:
        link("from = \"plc1/none/*\"\nto = \"mqtt1/none/*\"\n[[link]]\nfrom = \"x\"\nto = \"y\"");
    values_in_of_what_is_not_there_is_refused:
        with("plugin = \"mqtt\"", "plugin = \"mqtt\"\nvalues_in = [\"plc1/temprature\", \"plc/*\", \"plc1/*/x\", \"\"]");
    values_in_of_the_interface_itself_is_refused:
        with("plugin = \"mqtt\"", "plugin = \"mqtt\"\nvalues_in = [\"mqtt1/command\", \"mqtt1/*\"]");
    values_in_of_another_group_is_refused:
        format!(
            "{}[[group]]\nid = \"site\"\n[[group]]\nid = \"energy\"\n",
            with("plugin = \"mqtt\"", "plugin = \"mqtt\"\ngroup = \"energy\"\nvalues_in = [\"plc1/*\"]")
        );
    values_in_of_what_cannot_be_read_is_refused:
        with("plugin = \"modbus\"", "plugin = \"modbus\"\nvalues_in = [\"mqtt1/temperature\", \"mqtt1/none/*\"]");
    a_link_to_itself_is_refused: link("from = \"plc1/setpoint\"\nto = \"plc1/setpoint\"");
    a_ring_that_changes_values_is_refused:
        link("from = \"plc1/setpoint\"\nto = \"plc1/mode\"\nconvert = { scale = 2 }\n[[link]]\nfrom = \"plc1/mode\"\nto = \"plc1/setpoint\"");
    a_two_way_link_needs_a_conversion_that_can_be_undone:
        link("from = \"plc1/setpoint\"\nto = \"plc1/mode\"\nboth = true\nconvert = { clamp = [0, 1] }");
    a_conversion_that_makes_no_sense_is_refused:
        link("from = \"mqtt1/command\"\nto = \"plc1/setpoint\"\nconvert = { scale = 0, clamp = [9, 1], deadband = -1 }");
    an_event_link_of_an_unknown_interface_names_the_nearest:
        event_link("from = \"plc\"\nstream = \"guest\"\nto = \"mqtt1\"");
    an_event_link_to_itself_is_refused: event_link("from = \"plc1\"\nstream = \"guest\"\nto = \"plc1\"");
    an_event_link_that_is_there_twice_is_refused: event_link(
        "from = \"plc1\"\nstream = \"guest\"\nto = \"mqtt1\"\n[[event_link]]\nfrom = \"plc1\"\nstream = \"guest\"\nto = \"mqtt1\""
    );
    a_ring_of_event_links_is_warned_of: event_link(
        "from = \"plc1\"\nstream = \"guest\"\nto = \"mqtt1\"\n[[event_link]]\nfrom = \"mqtt1\"\nstream = \"guest\"\nto = \"plc1\"\n[[link]]\nfrom = \"x\"\nto = \"y\""
    );
    an_event_link_to_another_group_is_refused: event_link("from = \"plc1\"\nstream = \"guest\"\nto = \"mqtt1\"")
        .replace("plugin = \"modbus\"", "plugin = \"modbus\"\ngroup = \"energy\"")
        .replace("[[event_link]]", "[[group]]\nid = \"energy\"\nnodes = [\"main\", \"backup\"]\n[[group]]\nid = \"site\"\nnodes = [\"main\", \"backup\"]\n[[event_link]]");
    a_monitor_of_a_missing_item_is_refused:
        with("plugin = \"modbus\"", "plugin = \"modbus\"\nmonitor = [{ item = \"mod\", when = \"unchanged\", for = \"2m\" }]");
    a_monitor_says_what_it_needs:
        with("plugin = \"modbus\"", concat!(
            "plugin = \"modbus\"\nprobe = \"10.0.0.1\"\nmonitor = [\n",
            "  { item = \"mode\", when = \"unchanged\" },\n",
            "  { item = \"mode\", when = \"bad\", value = 1 },\n",
            "  { item = \"mode\", when = \"equals\" },\n",
            "  { item = \"mode\", when = \"above\", value = \"high\" },\n",
            "  { item = \"mode\", when = \"below\", value = 1, for = \"1ms\", failures = 0 },\n",
            "]"));
    an_override_of_a_missing_interface_is_refused:
        with("[nodes.backup]", "[nodes.backup]\noverride.interface.plc2.settings.unit = 2");
    a_date_in_settings_is_refused: with("settings = {", "settings = { since = 2026-01-01,");
    a_name_with_spaces_is_refused: with("id = \"plc1\"", "id = \"plc 1\"");
    a_journal_that_is_too_small_is_refused:
        format!("{BASE}\n[journal]\nsegment = \"1MiB\"\nretain = \"1MiB\"\nsync_interval = \"0s\"");
    what_is_set_aside_is_kept_until_it_is_safe_elsewhere:
        format!("{BASE}\n[journal]\nkeep_aside = \"5m\"");
    a_history_that_keeps_nothing_is_refused:
        format!("{BASE}\n[history]\nretain = \"5m\"\nmax_size = \"1MB\"");
    a_size_without_unit_is_refused: format!("{BASE}\n[web]\nmax_body = \"1000\"");
    many_faults_are_all_reported:
        with("\"normal\"", "\"slow\"").replace("version = 1", "version = 1\ncolor = \"red\"").replace("7621", "x");
}

macro_rules! item_faults {
    ($($name:ident: $text:expr;)+) => {
        $(#[test] fn $name() {
            let failure = site(BASE, &[("plc.csv", $text.as_ref()), ("mqtt.csv", MQTT)]).unwrap_err();
            let text: Vec<String> = failure
                .diagnostics.iter().filter(|found| found.file.as_deref() == Some("plc.csv")).map(|found| found.render()).collect();
            insta::assert_snapshot!(stringify!($name), text.join("\n\n"));
        })+
    };
}

item_faults! {
    a_repeated_item_shows_the_first_one: format!("{}mode,hr:9,uint16,r,,\n", text(PLC)).into_bytes();
    a_bad_access_says_what_to_write: replaced(",r,", ",read,");
    a_bad_type_names_the_nearest: replaced("int16", "imt16");
    a_missing_column_is_named: replaced("access", "acess");
    a_repeated_column_is_refused: replaced("description", "unit");
    a_row_that_is_too_long_is_refused: replaced("flow, temperature", "flow\", temperature");
    a_row_that_is_too_short_is_refused: b"path,address,type,access\na,hr:1,bool\n".to_vec();
    semicolons_are_recognized: text(PLC).replace(',', ";").into_bytes();
    other_encodings_are_recognized: [b"path,address,type,access,unit,description\n".as_slice(), b"a,hr:1,int16,r,\xb0C,\n"].concat();
    a_line_end_in_a_path_is_refused: b"path,address,type,access\n\"a\nb\",hr:1,bool,r\n".to_vec();
    an_open_quotation_mark_is_refused: b"path,address,type,access\n\"a,hr:1,bool,r\nb,hr:2,bool,r\n".to_vec();
    text_after_a_quotation_mark_is_refused: b"path,address,type,access\n\"a\"b,hr:1,bool,r\n".to_vec();
    an_empty_path_is_refused: b"path,address,type,access\n,hr:1,bool,r\n".to_vec();
    a_bad_flag_says_what_to_write: b"path,address,type,access,edge\na,hr:1,bool,r,maybe\n".to_vec();
    an_empty_file_says_what_to_write: Vec::new();
}

#[test]
fn files_of_spreadsheets_are_read() {
    let windows = format!("\u{feff}{}", text(PLC).replace('\n', "\r\n"));
    let loaded = site(BASE, &[("plc.csv", windows.as_bytes()), ("mqtt.csv", MQTT)]).unwrap();
    let items = &loaded.site.interfaces[0].items;
    assert_eq!(items.len(), 3);
    assert_eq!((items[0].description.as_str(), items[0].line), ("flow, temperature", 2));
    assert_eq!(items[1].description, "two\r\nlines");
    assert_eq!(items[2].line, 5, "a line end in a cell counts");
}

#[test]
fn a_two_way_link_is_two_links() {
    let text = link(
        "from = \"plc1/setpoint\"\nto = \"plc1/mode\"\nboth = true\nconvert = { scale = 10, offset = 5, deadband = 1 }",
    );
    let site = site(&text, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap().site;
    let [_, there, back] = site.links.as_slice() else { panic!("{:?}", site.links) };
    assert_eq!((there.index, back.index), (1, 2));
    assert_eq!(
        (back.convert.scale, back.convert.offset, back.convert.deadband),
        (Some(0.1), Some(-0.5), Some(0.1))
    );
    assert_eq!(back.expand(&site)[0].0.as_str(), "plc1/mode");
}

#[test]
fn a_ring_that_changes_nothing_is_only_warned() {
    let text = link(
        "from = \"plc1/setpoint\"\nto = \"plc1/mode\"\n[[link]]\nfrom = \"plc1/mode\"\nto = \"plc1/setpoint\"",
    );
    let loaded = site(&text, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap();
    let warnings: Vec<&str> = loaded.warnings.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(warnings, ["links go in a ring: plc1/mode → plc1/setpoint → plc1/mode"]);
}

#[test]
fn two_nodes_without_witness_are_warned_and_work() {
    let loaded =
        site(&with("witness = \"127.0.0.1:7630\"\n", ""), &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings.iter().all(|found| found.severity == Severity::Warning));
    insta::assert_snapshot!(loaded.warnings[0].render());
}

#[test]
fn an_even_number_of_voters_is_warned_with_what_to_do() {
    let warnings = |nodes: usize, witness: &str| {
        let names: Vec<String> = (0..nodes).map(|rank| format!("n{rank}")).collect();
        let mut text = format!("version = 1\nsite = \"s\"\n[cluster]\nnodes = {names:?}\n{witness}\n");
        for (rank, name) in names.iter().enumerate() {
            writeln!(text, "[nodes.{name}]\nlinks = [\"10.0.0.{rank}:7620\"]").unwrap();
        }
        let loaded = site(&text, &[]).unwrap();
        loaded.warnings.iter().map(|found| (found.message.clone(), found.help.clone())).collect::<Vec<_>>()
    };
    let witness = "witness = \"10.0.1.1:7621\"";
    for (nodes, with) in [(1, ""), (3, ""), (2, witness), (4, witness), (6, witness), (7, ""), (8, "")] {
        assert_eq!(warnings(nodes, with), [], "{nodes} nodes, {with}");
    }
    for (nodes, with, says, advises) in [
        (4, "", "4 voters and no witness: a majority is 3 of 4", "run `twinhub witness`"),
        (6, "", "6 voters and no witness: a majority is 4 of 6", "run `twinhub witness`"),
        (1, witness, "the node acts only while the witness answers", "leave `witness` out"),
        (3, witness, "3 nodes and a witness: a majority is 3 of 4 votes", "leave `witness` out, or add"),
    ] {
        let found = warnings(nodes, with);
        let [(message, Some(help))] = found.as_slice() else { panic!("{nodes} nodes: {found:?}") };
        assert!(message.contains(says) && help.contains(advises), "{message}\n{help}");
    }
}

#[test]
fn overrides_apply_to_their_node_only() {
    let text = with("[nodes.backup]", "[nodes.backup]\noverride.interface.plc1.settings.deep.unit = 2");
    let text = text.replace("settings = {", "settings = { deep = { unit = 1, keep = true },");
    let site = site(&text, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap().site;
    let unit = |node: &str| site.for_node(node).unwrap().interfaces[0].settings["deep"].clone();
    assert_eq!(unit("main"), serde_json::json!({ "unit": 1, "keep": true }));
    assert_eq!(unit("backup"), serde_json::json!({ "unit": 2, "keep": true }));
    assert_eq!(site.for_node("main").unwrap().hash, site.for_node("backup").unwrap().hash);
    let error = site.for_node("bakcup").unwrap_err().to_string();
    assert_eq!(error, "no node is called `bakcup`: the nodes are main, backup; did you mean `backup`?");
}

#[test]
fn the_hash_follows_the_meaning_and_not_the_form() {
    let hash =
        |text: &str, plc: &[u8]| site(text, &[("plc.csv", plc), ("mqtt.csv", MQTT)]).unwrap().site.hash;
    let base = hash(BASE, PLC);
    assert_eq!(base, hash(&format!("# comment\n{BASE}"), PLC));
    assert_ne!(base, hash(&with("unit = 1", "unit = 2"), PLC));
    assert_ne!(base, hash(BASE, &replaced("hr:0", "hr:7")));
}

#[test]
fn settings_are_checked_against_the_schema_of_the_plugin() {
    let text = with(
        "settings = { address",
        "settings = { pol = \"1s\", password = { env = \"P\" }, retries = \"3\", address",
    );
    let site = site(&text, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]).unwrap().site;
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["host"],
        "properties": {
            "address": { "type": "string" }, "unit": { "type": "integer", "minimum": 2, "maximum": 247 }, "poll": { "type": "string" },
            "password": { "type": ["string", "null"] }, "retries": { "type": "integer" }, "host": { "type": "string", "description": "Host." }
        }
    });
    let found: Vec<String> = twinhub_config::check_settings(&site.interfaces[0], &schema)
        .iter()
        .map(twinhub_config::Diagnostic::render)
        .collect();
    insta::assert_snapshot!(found.join("\n\n"));
}

#[test]
fn columns_are_checked_against_the_plugin() {
    let plc = b"path,address,type,access,scal,edge\na,hr:1,int16,r,2,true\n";
    let site = site(
        &with("from = \"plc1/temperature\"", "from = \"plc1/a\""),
        &[("plc.csv", plc), ("mqtt.csv", MQTT)],
    )
    .unwrap()
    .site;
    let found = twinhub_config::check_columns(&site.interfaces[0], &["scale".to_owned()].into());
    insta::assert_snapshot!(
        found.iter().map(twinhub_config::Diagnostic::render).collect::<Vec<_>>().join("\n")
    );
    assert!(twinhub_config::check_columns(&site.interfaces[0], &["scal".to_owned()].into()).is_empty());
    let found = twinhub_config::check_required(&site.interfaces[0], &["dpt"]);
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("has no `dpt`"), "{}", found[0].message);
}

#[test]
fn the_example_of_a_pair_is_without_faults() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pair/twinhub.toml");
    let loaded = twinhub_config::load(&path).unwrap_or_else(|failure| panic!("{}", failure.render()));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let pairs: usize = loaded.site.links.iter().map(|link| link.expand(&loaded.site).len()).sum();
    assert_eq!(pairs, 7);
}

#[test]
fn a_missing_file_says_how_to_name_it() {
    let failure = twinhub_config::load(std::path::Path::new("absent/twinhub.toml")).unwrap_err();
    insta::assert_snapshot!(failure.render());
}

#[test]
fn the_nodes_are_known_without_items_and_links() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/pair/twinhub.toml");
    let whole = twinhub_config::load(example.as_ref()).unwrap().site;
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("twinhub.toml");
    let alarm = "\n[[alarm]]\nid = \"hot\"\nitem = \"plc1/level\"\nwhen = \"high\"\nvalue = 90\n\
                 [[event_link]]\nfrom = \"plc1\"\nstream = \"door\"\nto = \"mqtt1\"\n";
    std::fs::write(&alone, std::fs::read_to_string(example).unwrap() + alarm).unwrap();
    let cluster = twinhub_config::load_cluster(&alone).unwrap();
    assert_eq!(cluster.nodes.len(), whole.nodes.len());
    assert_eq!((cluster.cluster.witness, cluster.groups), (whole.cluster.witness, whole.groups));
    assert!(cluster.interfaces.is_empty() && cluster.links.is_empty());
}

#[test]
fn schema_and_reference_name_every_key() {
    insta::assert_snapshot!("reference", twinhub_config::reference());
    let schema = twinhub_config::schema();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["Cluster"]["additionalProperties"], false);
    assert_ne!(schema["$defs"]["Interface"]["properties"]["settings"]["additionalProperties"], false);
}

fn floating(keys: &str) -> String {
    with("witness = \"127.0.0.1:7630\"", &format!("witness = \"127.0.0.1:7630\"\nfloating = {{ {keys} }}"))
}

fn with(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replacen(from, to, 1)
}

fn link(text: &str) -> String {
    format!("{BASE}\n[[link]]\n{text}\n")
}

fn event_link(text: &str) -> String {
    format!("{BASE}\n[[event_link]]\n{text}\n")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the files of the tests are text")
}

fn replaced(from: &str, to: &str) -> Vec<u8> {
    assert!(text(PLC).contains(from), "{from}");
    text(PLC).replacen(from, to, 1).into_bytes()
}

fn fault(toml: &str) -> String {
    match site(toml, &[("plc.csv", PLC), ("mqtt.csv", MQTT)]) {
        Ok(loaded) => panic!("no fault found in\n{toml}\nwarnings: {:?}", loaded.warnings),
        Err(failure) => format!("{failure}\n\n{}", failure.render()),
    }
}

fn site(toml: &str, files: &[(&str, &[u8])]) -> Result<Loaded, twinhub_config::Failure> {
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    parse(toml, "twinhub.toml", &Memory(files))
}

struct Memory(BTreeMap<String, Vec<u8>>);

impl ItemSource for Memory {
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError> {
        self.0.get(name).cloned().ok_or_else(|| ItemSourceError::Io {
            path: name.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such file"),
        })
    }
}

const BASE: &str = "version = 1
site = \"Test\"
[cluster]
nodes = [\"main\", \"backup\"]
profile = \"normal\"
witness = \"127.0.0.1:7630\"
[nodes.main]
links = [\"127.0.0.1:7620\"]
[nodes.backup]
links = [\"127.0.0.1:7621\"]
[[interface]]
id = \"plc1\"
plugin = \"modbus\"
items = \"plc.csv\"
settings = { address = \"127.0.0.1:502\", unit = 1 }
[[interface]]
id = \"mqtt1\"
plugin = \"mqtt\"
items = \"mqtt.csv\"
[[link]]
from = \"plc1/temperature\"
to = \"mqtt1/temperature\"
";
const PLC: &[u8] = b"path,address,type,access,unit,description
temperature,hr:0,int16,r,K,\"flow, temperature\"
setpoint,hr:1,int16,rw,K,\"two\nlines\"
mode,hr:2,uint16,rw,,
";
const MQTT: &[u8] = b"path,address,type,access
temperature,t,float64,w
command,c,float64,r
";
