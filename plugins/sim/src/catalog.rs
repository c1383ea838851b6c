//! What an items file of this plugin can name: folders of generators.

use twinhub_plugin::{Error, Node, Page, Result};

/// Folder, address, type, access, and what it does.
const ENTRIES: [(&str, &str, &str, &str, &str); 13] = [
    ("values", "counter", "int64", "r", "counts up with every tick"),
    ("values", "sine:period=10s,amplitude=5", "float64", "r", "a sine over the wall clock"),
    ("values", "random:min=0,max=1", "float64", "r", "even distribution"),
    ("values", "toggle", "bool", "r", "false and true in turn"),
    ("values", "const:5", "int64", "r", "always the same"),
    ("values", "heard", "int64", "r", "how many values of other interfaces came (`values_in`)"),
    ("writable", "echo", "int64", "rw", "gives back what is written"),
    ("writable", "keep", "int64", "rw", "gives back what is written, also after a takeover"),
    ("events", "give", "string", "rw", "gives what is written as an event of the stream note"),
    ("events", "took", "string", "r", "the id of the event of the stream note that was taken last"),
    ("events", "answer", "string", "rw", "with holds_events: done, later or refuse answers the oldest event"),
    ("drills", "panic", "int64", "rw", "a write makes the plugin panic"),
    ("drills", "stall", "int64", "rw", "a write is never answered"),
];
const FOLDERS: [(&str, &str); 4] = [
    ("values", "what generates values"),
    ("writable", "what can be written"),
    ("events", "what gives and takes events"),
    ("drills", "faults on demand"),
];

/// What is directly below a node.
pub(crate) fn page(parent: &serde_json::Value, cursor: &str, limit: usize) -> Result<Page> {
    let nodes = if parent.is_null() {
        FOLDERS.map(|(name, text)| Node::new(name).description(text).parent(name)).to_vec()
    } else {
        below(parent)?
    };
    let begin: usize = if cursor.is_empty() {
        0
    } else {
        cursor.parse().map_err(|_| Error::invalid(format!("cursor `{cursor}` is not of an answer before")))?
    };
    let end = nodes.len().min(begin.saturating_add(limit));
    let cursor = (end < nodes.len()).then(|| end.to_string());
    Ok(Page { nodes: nodes.get(begin..end).unwrap_or_default().to_vec(), cursor })
}

fn below(parent: &serde_json::Value) -> Result<Vec<Node>> {
    let nodes: Vec<Node> = ENTRIES
        .iter()
        .filter(|entry| parent.as_str() == Some(entry.0))
        .map(|(folder, address, kind, access, text)| {
            let name = address.split(':').next().unwrap_or(address);
            let node = Node::new(name).description(*text).column("path", format!("{folder}/{name}"));
            node.column("address", *address).column("type", *kind).column("access", *access)
        })
        .collect();
    if nodes.is_empty() {
        let names: Vec<&str> = FOLDERS.iter().map(|folder| folder.0).collect();
        return Err(Error::invalid(format!("there is no folder {parent}: there are {}", names.join(", "))));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generator;

    #[test]
    fn every_entry_is_an_address_that_the_plugin_takes() {
        for (folder, address, ..) in ENTRIES {
            assert!(Generator::parse(address).is_ok(), "{address}");
            assert!(FOLDERS.iter().any(|(name, _)| *name == folder), "{folder}");
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let (mut cursor, mut names) = (String::new(), Vec::new());
        loop {
            let page = page(&"values".into(), &cursor, 2).unwrap();
            assert!(page.nodes.len() <= 2);
            names.extend(page.nodes);
            match page.cursor {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(names, below(&"values".into()).unwrap());
        assert_eq!(page(&serde_json::Value::Null, "", 100).unwrap().nodes.len(), FOLDERS.len());
    }

    proptest::proptest! {
        #[test]
        fn hostile_questions_are_refused_or_answered(parent: String, cursor in "\\PC{0,20}|[0-9]{1,20}", limit: usize) {
            for parent in [parent.into(), "values".into(), serde_json::Value::Null] {
                if let Ok(page) = page(&parent, &cursor, limit.max(1)) {
                    proptest::prop_assert!(page.nodes.len() <= limit.max(1));
                }
            }
        }
    }
}
