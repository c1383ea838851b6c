//! The engine with real plugin instances and a real journal; the tests play everything around it.

mod acceptance;
mod alarms;
mod bench;
mod deliveries;
mod events;
mod flow;
mod healing;
mod history;
mod merge_faults;
mod merging;
mod order;
mod parts;
mod recorder;
mod regressions;
mod repeats;
mod spec;
mod stores;
mod streams;
mod upgrade;
mod values;
mod values_in;
