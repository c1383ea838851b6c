//! The smallest useful plugin in Rust: one counter, one writable greeting.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use twinhub_plugin::{
    Code, Ctx, Deadline, Epoch, Error, InterfaceState, Item, ItemDef, Plugin, Result, Role, Task, Update,
    Value, WriteBatch, unix_ns,
};

/// Configuration of an instance.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The greeting before anybody writes another one.
    pub greeting: String,
    /// Milliseconds between two counts, 1 or more.
    #[schemars(range(min = 1))]
    pub interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { greeting: "hello".to_owned(), interval_ms: 1_000 }
    }
}

/// One instance.
#[derive(Debug)]
pub struct Hello {
    cx: Ctx,
    interval: Duration,
    greeting: String,
    is_active: bool,
    /// Items with the address `greeting`, and those with `counter`, shared with the counting task.
    greeters: Vec<Item>,
    counters: Rc<RefCell<Vec<Item>>>,
    counting: Option<Task>,
}

impl Plugin for Hello {
    type Config = Config;
    const MANIFEST: &'static str = include_str!("../plugin.json");

    async fn create(cx: Ctx, config: Config) -> Result<Self> {
        if config.interval_ms == 0 {
            return Err(Error::config("interval_ms is 0, write 1 or more"));
        }
        let interval = Duration::from_millis(config.interval_ms);
        let (greeters, counters) = (Vec::new(), Rc::default());
        Ok(Self {
            cx,
            interval,
            greeting: config.greeting,
            is_active: false,
            greeters,
            counters,
            counting: None,
        })
    }

    async fn start(&mut self) -> Result<()> {
        tracing::info!(greeting = self.greeting, "hello started");
        self.cx.status(InterfaceState::Ok, "counting when active");
        Ok(())
    }

    async fn items(&mut self, add: Vec<ItemDef>, remove: Vec<Item>) -> Result<()> {
        self.greeters.retain(|item| !remove.contains(item));
        self.counters.borrow_mut().retain(|item| !remove.contains(item));
        for def in add {
            match def.column("address") {
                Some("counter") => self.counters.borrow_mut().push(def.item),
                Some("greeting") => {
                    self.greeters.push(def.item);
                    self.greet(&[def.item]);
                }
                other => {
                    let other = other.unwrap_or_default();
                    return Err(Error::config(format!("address `{other}`: write counter or greeting")));
                }
            }
        }
        Ok(())
    }

    async fn role(&mut self, to: Role, _epoch: Epoch, _deadline: Deadline) -> Result<()> {
        if let Some(task) = self.counting.take() {
            task.abort();
        }
        self.is_active = to == Role::Active;
        self.greet(&self.greeters);
        if self.is_active {
            let count = count(self.cx.clone(), self.interval, Rc::clone(&self.counters));
            self.counting = Some(self.cx.spawn(count));
        }
        Ok(())
    }

    async fn write(&mut self, batch: WriteBatch) -> Result<()> {
        for write in &batch {
            let (Value::Str(greeting), true) = (&write.value, self.greeters.contains(&write.item)) else {
                batch.done(write.id, Code::Invalid);
                continue;
            };
            // A plugin with a device asks for the permit right before it sends.
            if let Err(suppressed) = self.cx.gate().permit(batch.epoch()) {
                batch.done(write.id, suppressed);
                continue;
            }
            self.greeting.clone_from(greeting);
            self.cx.publisher().push(Update::new(write.item, greeting.as_str()).source_ns(unix_ns()));
            batch.done(write.id, Code::Ok);
        }
        Ok(())
    }

    async fn stop(&mut self) {
        self.cx.status(InterfaceState::Stopped, "stopped");
    }
}

impl Hello {
    /// Shows the greeting, as the manifest says: only while active.
    fn greet(&self, items: &[Item]) {
        for item in items.iter().filter(|_| self.is_active) {
            self.cx.publisher().push(Update::new(*item, self.greeting.as_str()));
        }
    }
}

async fn count(cx: Ctx, interval: Duration, counters: Rc<RefCell<Vec<Item>>>) -> Result<()> {
    let mut ticks = tokio::time::interval(interval);
    for count in 1_u64.. {
        ticks.tick().await;
        for item in counters.borrow().iter() {
            cx.publisher().push(Update::new(*item, count).source_ns(unix_ns()));
        }
    }
    Ok(())
}

twinhub_plugin::export_plugin!(Hello);

#[cfg(test)]
mod tests {
    #[test]
    fn manifest_is_valid_and_its_schema_is_that_of_the_configuration() {
        twinhub_plugin::sync_manifest::<super::Hello>(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json"));
    }
}
