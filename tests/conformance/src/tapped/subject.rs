//! The plugins that are seen at the contract.

/// A plugin, and what it is asked to do: give numbers, and carry out numbered writes.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As interfaces name it.
    pub plugin: String,
    /// As result files name it.
    pub name: String,
    /// Folder of its sources, from the root of the repository on.
    pub sources: String,
    /// The only C source, if it is not built by cargo; in the folder of the sources.
    pub c_source: Option<String>,
    /// Settings, as they stand between the braces of a table.
    pub settings: String,
    /// Path, address and type of the item whose values are counted.
    pub value: (&'static str, &'static str, &'static str),
    /// Path, address and type of the item that takes the commands.
    pub command: (&'static str, &'static str, &'static str),
}

impl Subject {
    /// The simulation, which counts and echoes.
    pub fn sim() -> Self {
        Self {
            plugin: "sim".to_owned(),
            name: "sim".to_owned(),
            sources: "plugins/sim".to_owned(),
            c_source: None,
            settings: "interval_ms = 100".to_owned(),
            value: ("value", "counter", "int64"),
            command: ("command", "echo", "int64"),
        }
    }

    /// The example in Rust, which counts and takes greetings.
    pub fn hello() -> Self {
        Self {
            plugin: "hello".to_owned(),
            name: "hello".to_owned(),
            sources: "examples/hello-plugin".to_owned(),
            c_source: None,
            settings: "interval_ms = 100".to_owned(),
            value: ("value", "counter", "int64"),
            command: ("command", "greeting", "string"),
        }
    }

    /// The example in C, which gives back what is written to it: its values are the echoes of the commands.
    pub fn hello_c() -> Self {
        Self {
            plugin: "hello_c".to_owned(),
            name: "hello-c".to_owned(),
            sources: "examples/c-plugin".to_owned(),
            c_source: Some("hello.c".to_owned()),
            settings: String::new(),
            value: ("echo", "echo", "string"),
            command: ("echo", "echo", "string"),
        }
    }

    /// All of this repository.
    pub fn all() -> Vec<Self> {
        vec![Self::sim(), Self::hello(), Self::hello_c()]
    }
}
