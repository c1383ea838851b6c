//! What each side says first.

use minicbor::{Decode, Encode};
use twinhub_model::Incarnation;

use crate::WireError;

/// The newest protocol this version speaks.
///
/// | Protocol | Adds |
/// |---|---|
/// | 1 | |
/// | 2 | proven health and protection in the heartbeat; the record of the voters, `Leave`, changes of the voters; the process that asks before it campaigns; records of parts in the journal; the code of plugins in the hello |
pub const PROTOCOL: u16 = 2;
/// The oldest protocol this version speaks: that of the version before it.
pub const PROTOCOL_MIN: u16 = 1;

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Channel {
    /// Messages that roles are decided by.
    #[n(0)]
    Control,
    /// Replication and forwarded requests.
    #[n(1)]
    Data,
}

impl Channel {
    /// `control` or `data`.
    pub const fn word(self) -> &'static str {
        match self {
            Channel::Control => "control",
            Channel::Data => "data",
        }
    }
}

/// What sort of process speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PeerKind {
    /// A node of the configuration.
    #[n(0)]
    Node,
    /// A witness.
    #[n(1)]
    Witness,
}

/// The first frame each way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
#[non_exhaustive]
pub struct Hello {
    /// Newest protocol of the sender.
    #[n(0)]
    pub protocol: u16,
    /// Oldest protocol of the sender.
    #[n(1)]
    pub protocol_min: u16,
    /// The installation it belongs to.
    #[n(2)]
    pub cluster: u64,
    /// Its name, as in its certificate.
    #[n(3)]
    pub from: String,
    /// Whom it wants to reach; empty in an answer.
    #[n(4)]
    pub to: String,
    /// What the connection is for.
    #[n(5)]
    pub channel: Channel,
    /// What sort of process it is.
    #[n(6)]
    pub kind: PeerKind,
    /// Its place in the configured order; 0 for a witness.
    #[n(7)]
    pub rank: u8,
    /// Its process.
    #[n(8)]
    pub incarnation: Incarnation,
    /// Version of its product, for people.
    #[n(9)]
    pub version: String,
    /// Hash of its configuration.
    #[n(10)]
    pub config_hash: u64,
    /// Version of its plugin contract.
    #[n(11)]
    pub contract: u32,
    /// The code of plugins that it runs; absent if it does not say.
    #[n(12)]
    pub plugins: Option<PluginCode>,
}

/// The code of plugins that a node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PluginCode {
    /// Hash of its `plugins.lock`; absent if it has none.
    #[n(0)]
    pub lock: Option<String>,
    /// What it loaded.
    #[n(1)]
    pub libraries: Vec<PluginLibrary>,
}

/// A plugin library that a node loaded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PluginLibrary {
    /// The plugin's id.
    #[n(0)]
    pub id: String,
    /// Its version.
    #[n(1)]
    pub version: String,
    /// SHA-256 of its file, hexadecimal.
    #[n(2)]
    pub sha256: String,
}

impl PluginCode {
    /// The most libraries that are told; their texts have a limit, too, so that a hello stays below that of a
    /// frame.
    pub const LIBRARIES_MAX: usize = 64;

    /// Without what would not be taken at the other end.
    #[must_use]
    pub fn fitted(mut self) -> PluginCode {
        let is_short = |text: &String| text.len() <= TEXT_BYTES_MAX;
        self.libraries
            .retain(|library| [&library.id, &library.version, &library.sha256].into_iter().all(is_short));
        self.libraries.truncate(PluginCode::LIBRARIES_MAX);
        self
    }

    /// The body of its frame.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes every byte and the fields have no fallible encoder")
    }

    /// Reads the body of a frame. Fields of a newer version are skipped.
    ///
    /// # Errors
    /// [`WireError::Message`] if it is none, [`WireError::Invalid`] if a text or the list is too long.
    pub fn decode(body: &[u8]) -> Result<PluginCode, WireError> {
        let code: PluginCode = minicbor::decode(body)
            .map_err(|error| WireError::Message { what: "code of plugins", detail: error.to_string() })?;
        code.check()?;
        Ok(code)
    }

    fn check(&self) -> Result<(), WireError> {
        let texts = self
            .libraries
            .iter()
            .flat_map(|library| [&library.id, &library.version, &library.sha256])
            .chain(&self.lock);
        for text in texts {
            check_text(text)?;
        }
        let got = self.libraries.len();
        if got > PluginCode::LIBRARIES_MAX {
            return Err(WireError::Invalid { what: "the number of plugins in a hello", got: got as u64 });
        }
        Ok(())
    }
}

impl Hello {
    /// A node's hello in the protocols of this version.
    pub fn new(from: &str, to: &str, channel: Channel, cluster: u64) -> Hello {
        Hello {
            protocol: PROTOCOL,
            protocol_min: PROTOCOL_MIN,
            cluster,
            from: from.to_owned(),
            to: to.to_owned(),
            channel,
            kind: PeerKind::Node,
            rank: 0,
            incarnation: Incarnation::default(),
            version: String::new(),
            config_hash: 0,
            contract: 0,
            plugins: None,
        }
    }

    /// A sender that speaks nothing newer than `newest`.
    #[must_use]
    pub const fn with_protocol(mut self, newest: u16) -> Hello {
        self.protocol = newest;
        self
    }

    /// With what is known of the process.
    #[must_use]
    pub fn with_process(
        mut self,
        rank: u8,
        incarnation: Incarnation,
        version: &str,
        config_hash: u64,
    ) -> Hello {
        self.rank = rank;
        self.incarnation = incarnation;
        version.clone_into(&mut self.version);
        self.config_hash = config_hash;
        self
    }

    /// With the sort of process.
    #[must_use]
    pub const fn with_kind(mut self, kind: PeerKind) -> Hello {
        self.kind = kind;
        self
    }

    /// With the version of the plugin contract.
    #[must_use]
    pub const fn with_contract(mut self, contract: u32) -> Hello {
        self.contract = contract;
        self
    }

    /// With the code of plugins that it runs. What would not be taken at the other end is left out.
    #[must_use]
    pub fn with_plugins(mut self, plugins: PluginCode) -> Hello {
        self.plugins = Some(plugins.fitted());
        self
    }

    /// The body of its frame.
    pub fn encode(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a vector takes every byte and the fields have no fallible encoder")
    }

    /// Reads the body of a frame. Fields of a newer version are skipped.
    ///
    /// # Errors
    /// [`WireError::Message`] if it is no hello, [`WireError::Invalid`] if a text or a list is too long.
    pub fn decode(body: &[u8]) -> Result<Hello, WireError> {
        let hello: Hello = minicbor::decode(body)
            .map_err(|error| WireError::Message { what: "a hello", detail: error.to_string() })?;
        for text in [&hello.from, &hello.to, &hello.version] {
            check_text(text)?;
        }
        hello.plugins.as_ref().map_or(Ok(()), PluginCode::check)?;
        Ok(hello)
    }
}

fn check_text(text: &str) -> Result<(), WireError> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(WireError::Invalid { what: "the length of a text in a hello", got: text.len() as u64 })
}

/// The protocol both sides speak: the newest they have in common.
///
/// # Errors
/// One sentence that names both sides if there is none, if the peer is of another cluster, wanted somebody
/// else, or opened the connection for something else.
pub fn negotiate(mine: &Hello, theirs: &Hello) -> Result<u16, WireError> {
    if mine.cluster != theirs.cluster {
        return Err(WireError::OtherCluster {
            peer: theirs.from.clone(),
            ours: mine.cluster,
            theirs: theirs.cluster,
        });
    }
    if !theirs.to.is_empty() && theirs.to != mine.from {
        return Err(WireError::OtherNode {
            peer: theirs.from.clone(),
            wanted: theirs.to.clone(),
            name: mine.from.clone(),
        });
    }
    if mine.channel != theirs.channel {
        return Err(WireError::OtherChannel {
            peer: theirs.from.clone(),
            ours: mine.channel.word(),
            theirs: theirs.channel.word(),
        });
    }
    let common = mine.protocol.min(theirs.protocol);
    if common < mine.protocol_min.max(theirs.protocol_min) {
        return Err(WireError::NoCommonProtocol {
            ours_min: mine.protocol_min,
            ours: mine.protocol,
            peer: theirs.from.clone(),
            product: theirs.version.clone(),
            theirs_min: theirs.protocol_min,
            theirs: theirs.protocol,
        });
    }
    Ok(common)
}

/// The longest name or version text.
const TEXT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(from: &str, to: &str, protocols: (u16, u16)) -> Hello {
        let mut hello = Hello::new(from, to, Channel::Data, 7).with_process(1, Incarnation(3), "1.2.0", 99);
        (hello.protocol_min, hello.protocol) = protocols;
        hello
    }

    #[test]
    fn neighbors_in_version_agree_on_the_older_protocol() {
        let (old, new) = (hello("main", "", (1, 2)), hello("backup", "main", (2, 3)));
        assert_eq!(negotiate(&old, &new), Ok(2));
        assert_eq!(negotiate(&new, &old), Ok(2));
    }

    #[test]
    fn versions_too_far_apart_are_refused_in_one_sentence_with_both() {
        let (old, new) = (hello("main", "", (1, 2)), hello("backup", "main", (3, 4)));
        let text = negotiate(&old, &new).unwrap_err().to_string();
        assert!(text.contains("1 to 2") && text.contains("3 to 4") && text.contains("backup"), "{text}");
    }

    #[test]
    fn strangers_are_refused_by_name() {
        let mine = hello("main", "", (1, 1));
        let mut theirs = hello("backup", "other", (1, 1));
        assert!(matches!(negotiate(&mine, &theirs), Err(WireError::OtherNode { .. })));
        theirs.to = "main".to_owned();
        assert_eq!(negotiate(&mine, &theirs), Ok(1));
        theirs.channel = Channel::Control;
        assert!(matches!(negotiate(&mine, &theirs), Err(WireError::OtherChannel { .. })));
        theirs.cluster = 8;
        assert!(matches!(negotiate(&mine, &theirs), Err(WireError::OtherCluster { .. })));
    }

    #[test]
    fn an_older_reader_skips_fields_of_a_newer_hello() {
        let mine = hello("main", "backup", (1, 1));
        let mut bytes = mine.encode();
        assert_eq!(bytes[0], 0xac, "a map of twelve fields");
        bytes[0] = 0xad;
        bytes.extend_from_slice(&[0x18, 99, 0x82, 1, 2]);
        assert_eq!(Hello::decode(&bytes), Ok(mine));
    }

    #[test]
    fn a_hello_says_which_plugin_code_a_node_runs_and_an_older_one_says_nothing() {
        let library = |id: &str| PluginLibrary {
            id: id.to_owned(),
            version: "1.2.0".to_owned(),
            sha256: "ab".repeat(32),
        };
        let plugins = PluginCode {
            lock: Some("cd".repeat(32)),
            libraries: vec![library("a"), library(&"x".repeat(300)), library("b")],
        };
        let mine = hello("main", "backup", (1, 2)).with_plugins(plugins);
        let theirs = Hello::decode(&mine.encode()).unwrap();
        assert_eq!(theirs, mine);
        let told = theirs.plugins.unwrap();
        assert_eq!(told.libraries, [library("a"), library("b")], "what nobody would take is left out");
        assert_eq!(Hello::decode(&hello("main", "backup", (1, 1)).encode()).unwrap().plugins, None);

        let many = PluginCode { lock: None, libraries: vec![library("a"); PluginCode::LIBRARIES_MAX + 1] };
        let mut hello = hello("main", "backup", (1, 2)).with_plugins(many.clone());
        assert!(Hello::decode(&hello.encode()).is_ok());
        hello.plugins = Some(many);
        assert!(matches!(Hello::decode(&hello.encode()), Err(WireError::Invalid { got: 65, .. })));
        let longest =
            PluginLibrary { id: "x".repeat(256), version: "x".repeat(256), sha256: "x".repeat(256) };
        let largest = PluginCode { lock: None, libraries: vec![longest; PluginCode::LIBRARIES_MAX] };
        let bytes = hello.with_plugins(largest).encode();
        assert!(bytes.len() < crate::FRAME_CONTROL_MAX, "{}", bytes.len());
    }

    proptest! {
        #[test]
        fn code_of_plugins_is_read_back_and_hostile_bytes_are_refused(bytes: Vec<u8>, ids: Vec<String>) {
            let library = |id: &String| PluginLibrary {
                id: id.clone(),
                version: "1.2.0".to_owned(),
                sha256: "ab".repeat(32),
            };
            let code = PluginCode { lock: None, libraries: ids.iter().map(library).collect() }.fitted();
            prop_assert_eq!(PluginCode::decode(&code.encode()).unwrap(), code);
            if let Ok(read) = PluginCode::decode(&bytes) {
                prop_assert!(read.libraries.len() <= PluginCode::LIBRARIES_MAX);
            }
        }

        #[test]
        fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(hello) = Hello::decode(&bytes) {
                prop_assert!(hello.from.len() <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_hello_is_refused_or_read(at in 0_usize..60, byte in any::<u8>()) {
            let mut bytes = hello("main", "backup", (1, 1)).encode();
            let at = at % bytes.len();
            bytes[at] = byte;
            drop(Hello::decode(&bytes));
        }
    }
}
