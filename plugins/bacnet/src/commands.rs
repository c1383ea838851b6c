//! What this interface commands at which priority: kept by key, so that the successor knows, too.
//!
//! The slots of a priority array carry no owner: nobody can see afterwards whose command stands there. So before a command
//! is sent it is noted, and after the device has confirmed that the priority was given back, the note is removed.

use std::collections::{BTreeMap, BTreeSet};

use twinhub_plugin::Ctx;

use crate::item::Place;

/// A command: where, and at which priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Command {
    pub(crate) place: Place,
    pub(crate) priority: u8,
}

impl Command {
    fn text(self) -> String {
        format!("{}@{}", self.place, self.priority)
    }

    fn parse(text: &str) -> Option<Self> {
        let (place, priority) = text.rsplit_once('@')?;
        let priority = priority.parse().ok().filter(|priority| (1..=16).contains(priority))?;
        Some(Self { place: place.parse().ok()?, priority })
    }
}

/// The commands of an interface, by device.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    by_device: BTreeMap<u32, BTreeSet<Command>>,
}

impl Commands {
    /// What the node that acted before left.
    pub(crate) fn load(cx: &Ctx) -> Self {
        let mut commands = Self::default();
        let Some(store) = cx.store() else { return commands };
        for key in store.keys().unwrap_or_default() {
            let Some(device) = key.strip_prefix(KEY).and_then(|device| device.parse().ok()) else { continue };
            let bytes = store.get(&key).ok().flatten().unwrap_or_default();
            let texts: Vec<String> = serde_json::from_slice(&bytes).unwrap_or_default();
            let of_device: BTreeSet<Command> = texts.iter().filter_map(|text| Command::parse(text)).collect();
            commands.by_device.insert(device, of_device);
        }
        commands
    }

    /// Notes a command that is about to be sent.
    pub(crate) fn note(&mut self, cx: &Ctx, command: Command) {
        if self.by_device.entry(command.place.device).or_default().insert(command) {
            self.keep(cx, command.place.device);
        }
    }

    /// Forgets a command that was given back.
    pub(crate) fn forget(&mut self, cx: &Ctx, command: Command) {
        let device = command.place.device;
        if self.by_device.get_mut(&device).is_some_and(|commands| commands.remove(&command)) {
            self.keep(cx, device);
        }
    }

    /// All of them, as texts.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.by_device.values().flatten().map(|command| command.text()).collect()
    }

    fn keep(&self, cx: &Ctx, device: u32) {
        let Some(store) = cx.store() else { return };
        let commands = self.by_device.get(&device);
        let texts: Vec<String> = commands.into_iter().flatten().map(|command| command.text()).collect();
        let key = format!("{KEY}{device}");
        let kept = if texts.is_empty() {
            store.remove(&key)
        } else {
            store.put(&key, serde_json::json!(texts).to_string().as_bytes())
        };
        if let Err(error) = kept {
            cx.count("bacnet.commands_not_kept", 1);
            tracing::warn!(device, error = %error, "the successor will not know what is commanded");
        }
    }
}

const KEY: &str = "commands/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_is_written() {
        for text in ["7/analog-value:1@8", "7/binary-output:3/present-value@16", "7/loop:1/600[2]@1"] {
            let command = Command::parse(text).unwrap();
            assert_eq!(Command::parse(&command.text()), Some(command));
        }
        for wrong in ["", "7/av:1", "7/av:1@0", "7/av:1@17", "x@1"] {
            assert_eq!(Command::parse(wrong), None);
        }
    }
}
