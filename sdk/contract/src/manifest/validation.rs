//! What the types of a manifest cannot say.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::{Fence, Kind, MainBackup, Manifest, Mode, Possible, State};
use crate::constants::{ABI_MAJOR, EVENT_STREAM_BYTES_MAX, EVENT_STREAMS_MAX, STATE_BYTES_MAX};

/// Everything that is wrong, each naming its field.
pub(super) fn problems(manifest: &Manifest) -> Vec<String> {
    let mut found = Problems::default();
    identity(manifest, &mut found);
    schemas(manifest, &mut found);
    main_backup(&manifest.mb, &mut found);
    events(manifest, &mut found);
    capabilities(manifest, &mut found);
    let hosting = &manifest.hosting;
    found.require(!hosting.allowed.is_empty(), || "hosting.allowed is empty".into());
    found.require(hosting.allowed.contains(&hosting.recommended), || {
        format!("hosting.recommended is `{}`, which is not in hosting.allowed", hosting.recommended)
    });
    found.0
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }
}

fn identity(manifest: &Manifest, found: &mut Problems) {
    found.require(manifest.manifest == 1, || {
        format!("manifest is format {}, this version reads format 1", manifest.manifest)
    });
    found.require(is_reverse_dns(&manifest.id), || {
        "id is not reverse DNS in lower case, such as `org.example.modbus`".into()
    });
    for (field, text) in
        [("name", &manifest.name), ("vendor", &manifest.vendor), ("license", &manifest.license)]
    {
        found.require(!text.trim().is_empty(), || format!("{field} is empty"));
    }
    found.require(is_version(&manifest.version), || {
        format!("version `{}` is not written major.minor.patch", manifest.version)
    });
    match manifest.abi.bounds() {
        Some((min, max)) => {
            found.require(min <= max, || {
                format!("abi.min {} is newer than abi.max {}", manifest.abi.min, manifest.abi.max)
            });
            found.require(min.0 > 0, || format!("abi.min {} is older than {ABI_MAJOR}.0", manifest.abi.min));
        }
        None => found.0.push("abi.min and abi.max are not written major.minor".into()),
    }
    found.require(manifest.kind != Kind::Interface || !manifest.protocols.is_empty(), || {
        "protocols is empty, and an interface speaks at least one".into()
    });
}

fn schemas(manifest: &Manifest, found: &mut Problems) {
    for (field, schema) in
        [("config_schema", &manifest.config_schema), ("item_address_schema", &manifest.item_address_schema)]
    {
        found.require(schema.is_object(), || format!("{field} is not an object"));
    }
    let columns = manifest.item_address_schema.get("properties").and_then(Json::as_object);
    for (name, schema) in columns.into_iter().flatten() {
        found.require(schema.get("type").and_then(Json::as_str) == Some("string"), || {
            format!("item_address_schema.properties.{name} is not of type string, and columns are text")
        });
    }
}

fn main_backup(mb: &MainBackup, found: &mut Problems) {
    found.require(mb.possible == Possible::Yes || !mb.why.trim().is_empty(), || {
        format!("mb.possible is `{}`, and mb.why does not say why", mb.possible)
    });
    if mb.relevant {
        found.require(!mb.modes.is_empty(), || "mb.modes is empty".into());
        found.require(mb.modes.contains(&mb.default_standby), || {
            format!("mb.default_standby is `{}`, which is not in mb.modes", mb.default_standby)
        });
        found.require(!mb.loss_window.trim().is_empty(), || {
            "mb.loss_window does not say what a takeover can lose".into()
        });
        for mode in &mb.modes {
            found.require(mb.takeover_target_ms.contains_key(mode), || {
                format!("mb.takeover_target_ms.{mode} is missing")
            });
        }
    }
    for (mode, target) in &mb.takeover_target_ms {
        found.require(mb.modes.contains(mode), || {
            format!("mb.takeover_target_ms.{mode} is given, and `{mode}` is not in mb.modes")
        });
        found.require(*target > 0, || format!("mb.takeover_target_ms.{mode} is 0"));
    }
    if let Some(resource) = mb.exclusive.first() {
        found.require(!mb.modes.contains(&Mode::Hot), || {
            format!("mb.exclusive names `{resource}`, so mb.modes cannot contain `hot`")
        });
    }
    found.require(mb.fence != Fence::Bounded || mb.in_flight_max_ms.is_some_and(|ms| ms > 0), || {
        "mb.fence is `bounded`, and mb.in_flight_max_ms does not give the bound".into()
    });
    let largest = STATE_BYTES_MAX as u64;
    if mb.state != State::None {
        found.require(mb.state_schema.is_some_and(|version| version > 0), || {
            format!("mb.state is `{}`, and mb.state_schema gives no version from 1", mb.state)
        });
        found.require(mb.state_bytes_max.is_some_and(|bytes| (1..=largest).contains(&bytes)), || {
            format!("mb.state is `{}`, and mb.state_bytes_max is not within 1 to {largest}", mb.state)
        });
    }
}

fn events(manifest: &Manifest, found: &mut Problems) {
    let events = &manifest.events;
    found.require(events.are_none() || manifest.mb.relevant, || {
        "events names streams, and mb.relevant is false: events go through the journal of the node that acts".into()
    });
    for (field, streams) in [("gives", &events.gives), ("takes", &events.takes)] {
        found.require(streams.len() <= EVENT_STREAMS_MAX, || {
            format!("events.{field} names {} streams, the limit is {EVENT_STREAMS_MAX}", streams.len())
        });
        let mut names = BTreeSet::new();
        for (index, name) in streams.iter().enumerate() {
            found.require(is_stream_name(name), || {
                format!(
                    "events.{field}[{index}] `{}` is not a name of 1 to {EVENT_STREAM_BYTES_MAX} lower case letters, digits, \
                     `-`, `_` and `.`",
                    name.escape_debug()
                )
            });
            found.require(names.insert(name), || {
                format!("events.{field}[{index}] `{}` is there twice", name.escape_debug())
            });
        }
    }
}

fn is_stream_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=EVENT_STREAM_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_letter)
}

fn capabilities(manifest: &Manifest, found: &mut Problems) {
    found.require(!manifest.capabilities.is_empty(), || "capabilities is empty".into());
    let mut names = BTreeSet::new();
    for (index, capability) in manifest.capabilities.iter().enumerate() {
        found.require(!capability.name.trim().is_empty(), || format!("capabilities[{index}].name is empty"));
        found.require(names.insert(&capability.name), || {
            format!("capabilities[{index}].name `{}` is there twice", capability.name)
        });
    }
}

fn is_reverse_dns(id: &str) -> bool {
    let labels: Vec<&str> = id.split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    id.len() <= 255 && labels.len() >= 2 && labels.iter().all(is_label)
}

fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or(text);
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}
