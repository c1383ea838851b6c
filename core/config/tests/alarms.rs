//! Alarms as they are written, in `twinhub.toml` and in items files, and what is said of faulty ones.

use std::time::Duration;

use twinhub_config::{ItemSource, ItemSourceError, Loaded, parse};

#[test]
fn every_alarm_can_be_written() {
    let text = with(
        "[[alarm]]\nid = \"hot\"\nitem = \"plc1/temperature\"\nwhen = \"high_high\"\nvalue = 95\ndeadband = 2.5\n\
         delay_on = \"5s\"\ndelay_off = \"1m\"\npriority = 900\ntext = \"boiler at {value}\"\narea = \"cellar\"\nlatching = true\n\
         [[alarm]]\nid = \"cold\"\nitem = \"plc1/temperature\"\nwhen = \"low\"\nvalue = 4.5\nacknowledge = false\n\
         [[alarm]]\nid = \"off\"\nitem = \"plc1/mode\"\nwhen = \"equals\"\nvalue = false\n\
         [[alarm]]\nid = \"mode\"\nitem = \"plc1/mode\"\nwhen = \"not_equals\"\nvalue = \"auto\"\n\
         [[alarm]]\nid = \"wire\"\nitem = \"plc1/mode\"\nwhen = \"bad_quality\"\n\
         [[alarm]]\nid = \"dead\"\nitem = \"plc1/mode\"\nwhen = \"stale\"\nfor = \"10m\"\n\
         [[alarm]]\nid = \"stuck\"\nitem = \"plc1/mode\"\nwhen = \"unchanged\"\nfor = \"1h\"\n\
         [alarms]\nkeep = 500\n[events]\nkeep = 30000\nretain = \"90d\"\n",
    );
    let site = load(&text, PLC).unwrap().site;
    let rules: Vec<String> =
        site.alarms.iter().map(|rule| format!("{} {} {}", rule.id, rule.item, rule.condition)).collect();
    let expected = [
        "hot plc1/temperature high_high 95",
        "cold plc1/temperature low 4.5",
        "off plc1/mode equals false",
        "mode plc1/mode not_equals auto",
        "wire plc1/mode bad_quality",
        "dead plc1/mode stale 600s",
        "stuck plc1/mode unchanged 3600s",
    ];
    assert_eq!(rules, expected);
    let hot = &site.alarms[0];
    let seconds = [hot.delay_on, hot.delay_off].map(|delay| delay.as_secs());
    assert_eq!((seconds, hot.priority, &*hot.area, hot.latching), ([5, 60], 900, "cellar", true));
    assert_eq!([site.alarms[1].needs_ack, site.alarms[2].needs_ack], [false, true]);
    let days = Some(Duration::from_secs(90 * 86_400));
    assert_eq!((site.alarms_kept, site.events.keep, site.events.retain), (500, 30_000, days));
}

#[test]
fn limits_in_an_items_file_are_alarms_and_nothing_of_the_plugin() {
    let items = "path,address,type,access,alarm_high_high,alarm_high,alarm_low,alarm_equals,alarm_bad_quality,\
                 alarm_deadband,alarm_delay,alarm_priority,alarm_text,alarm_area\n\
                 temperature,hr:0,int16,r,95,90,,,true,2,5s,700,boiler,cellar\n\
                 mode,hr:2,uint16,rw,,,,3,,,,,,\n";
    let site = load(BASE, items).unwrap().site;
    let rules: Vec<String> = site
        .alarms
        .iter()
        .map(|rule| format!("{} {} {:?} {}", rule.id, rule.condition, rule.delay_on, rule.priority))
        .collect();
    let expected = [
        "plc1/temperature:high_high high_high 95 5s 700",
        "plc1/temperature:high high 90 5s 700",
        "plc1/temperature:bad_quality bad_quality 5s 700",
        "plc1/mode:equals equals 3 0ns 500",
    ];
    assert_eq!(rules, expected);
    let found = twinhub_config::check_columns(&site.interfaces[0], &["scale".to_owned()].into());
    assert_eq!(found.len(), 0, "{found:?}");
    let again = twinhub_config::items::write_csv(&site.interfaces[0].items);
    assert_eq!(load(BASE, &again).unwrap().site.alarms, site.alarms, "what is exported can be imported");
}

#[test]
fn a_faulty_alarm_says_what_to_write() {
    let text = with(
        "[[alarm]]\nid = \"a\"\nitem = \"plc2/temperature\"\nwhen = \"high\"\nvalue = 1\n\
         [[alarm]]\nid = \"a\"\nitem = \"plc1/temperature\"\nwhen = \"high\"\nvalue = 1\n\
         [[alarm]]\nid = \"b c\"\nitem = \"plc1/temperatur\"\nwhen = \"high\"\n\
         [[alarm]]\nid = \"d\"\nitem = \"plc1/command\"\nwhen = \"high\"\nvalue = \"hot\"\n\
         [[alarm]]\nid = \"e\"\nitem = \"plc1/mode\"\nwhen = \"stale\"\nvalue = 1\n\
         [[alarm]]\nid = \"f\"\nitem = \"plc1/mode\"\nwhen = \"unchanged\"\nfor = \"1ms\"\ndeadband = 1\n\
         [[alarm]]\nid = \"h\"\nitem = \"plc1/mode\"\nwhen = \"bad_quality\"\ndelay_on = \"31d\"\nlatching = true\nacknowledge = false\n\
         [events]\nretain = \"1s\"\n",
    );
    insta::assert_snapshot!(load(&text, PLC).unwrap_err().render());
}

#[test]
fn a_faulty_word_of_an_alarm_names_those_there_are() {
    let text = with(
        "[[alarm]]\nid = \"g\"\nitem = \"plc1/mode\"\nwhen = \"higher\"\nlimit = 5\n[events]\nkeep = 10\n",
    );
    insta::assert_snapshot!(load(&text, PLC).unwrap_err().render());
}

#[test]
fn faulty_alarm_columns_name_item_and_line() {
    let items = "path,address,type,access,alarm_high,alarm_bad_quality,alarm_delay,alarm_priority\n\
                 temperature,hr:0,int16,r,hot,maybe,5,0\n\
                 command,hr:2,uint16,w,5,,,\n";
    insta::assert_snapshot!(load(BASE, items).unwrap_err().render());
}

fn with(more: &str) -> String {
    format!("{BASE}{more}")
}

struct Only(String);

impl ItemSource for Only {
    fn read(&self, _name: &str) -> Result<Vec<u8>, ItemSourceError> {
        Ok(self.0.clone().into_bytes())
    }
}

fn load(text: &str, items: &str) -> Result<Loaded, twinhub_config::Failure> {
    parse(text, "twinhub.toml", &Only(items.to_owned()))
}

const BASE: &str = "version = 1
site = \"Test\"
[cluster]
nodes = [\"main\", \"backup\"]
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
";
const PLC: &str = "path,address,type,access
temperature,hr:0,int16,r
mode,hr:2,uint16,rw
command,hr:3,uint16,w
";
