//! `plugins.lock`: what it may hold, what is refused with which line, and changes to its text.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::cell::Cell;
use std::io;
use std::path::Path;

use proptest::prelude::*;
use twinhub_trust::{
    Candidate, EMPTY, Grant, Hosting, Lock, NewEntry, Verdict, judge, verify, with_content, with_entry,
    with_publisher,
};

mod signer;

use signer::Signer;

const NAME: &str = "/etc/twinhub/plugins.lock";
const BYTES: &[u8] = b"A plugin library.\n";
/// SHA-256 of `BYTES`, as `sha256sum` shows it.
const SHA256: &str = "4522ffbc0e68571c12bf4771c8f5dc14976088fd7a4cb6290406e9a7ac821692";
/// Of something else.
const CHANGED: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// A key pair that minisign 0.11 made, and its signatures over `BYTES`: over its `BLAKE2b`, and over itself (`-l`).
const KEY: &str = "RWTVRrp6LmxtP1HuNTMGS/ABPjHLA/7KQdsF85JS7CPBAgy660jheuJ7";
const PREHASHED: &str = "untrusted comment: signature from minisign secret key\n\
    RUTVRrp6LmxtPyACWTz0UUAWbzTGSghTV6lUyeKOvdmMpHPHVipcHd15fI8IUQ7I81TKBcZId50VorJbllM1QVZjyvDEY9BXNwE=\n\
    trusted comment: file:lib.bin\n\
    6L5vfMGGsHOov7XZUtA9ze66i2/ea+ow+BZVktNDOTmdfpWVXfg4FYOloWQU55awt5Ryp+SoLd+Jx0fYbfU2AQ==\n";
const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
    RWTVRrp6LmxtP3da0kyZRPBK1YdJ4o3+bEit4NTpHHQuQbLhRXOBMnTVx+Li9OWQxfLMoBAOsPmNWZPOlBPS++BLZYqdpKInpQY=\n\
    trusted comment: file:lib.bin\n\
    U7dim4cBzvpUh68ff27sFjnacLvXO/jyjbBE+uqHgsMpO+uvvhVzdn5EvOyTj01KDowmLAtN59OUkB2OAm9xAg==\n";

fn lock(plugin: &str) -> Lock {
    let text = format!(
        "[[publisher]]\nname = \"acme\"\nkey = \"{KEY}\"\n\n[[plugin]]\nid = \"com.acme.bms\"\nversion = \"1.2.0\"\n\
         sha256 = \"{SHA256}\"\n{plugin}\n"
    );
    Lock::parse(&text, NAME).unwrap_or_else(|failure| panic!("{}", failure.render()))
}

/// The verdict, or the refusal in words.
fn judged(
    lock: Option<&Lock>,
    change: impl FnOnce(&mut Candidate<'_>),
    signature: &str,
) -> Result<Verdict, String> {
    let read = |path: &Path| -> io::Result<Option<Vec<u8>>> {
        assert_eq!(path, Path::new("/p/libtwinhub_bms.so.minisig"));
        Ok((!signature.is_empty()).then(|| signature.as_bytes().to_vec()))
    };
    let mut candidate = Candidate {
        path: Path::new("/p/libtwinhub_bms.so"),
        id: "com.acme.bms",
        version: "1.2.0",
        sha256: SHA256,
        bytes: BYTES,
        signature: &read,
    };
    change(&mut candidate);
    judge(lock, &candidate).map_err(|refusal| refusal.to_string())
}

fn trusted(hosting: Hosting) -> Verdict {
    Verdict::Trusted { publisher: "acme".to_owned(), hosting }
}

#[test]
fn what_the_named_publisher_signed_is_trusted() {
    let lock = lock("publisher = \"acme\"");
    for signature in [PREHASHED, LEGACY] {
        assert_eq!(judged(Some(&lock), |_| {}, signature), Ok(trusted(Hosting::Auto)));
        assert_eq!(judged(Some(&lock), |_| {}, &signature.replace('\n', "\r\n")), Ok(trusted(Hosting::Auto)));
    }
    assert!(trusted(Hosting::Auto).allows_inproc() && trusted(Hosting::Inproc).allows_inproc());
    assert!(!trusted(Hosting::Isolated).allows_inproc() && !Verdict::Allowed.allows_inproc());
}

#[test]
fn hosting_is_what_the_entry_says() {
    for (word, hosting) in
        [("inproc", Hosting::Inproc), ("isolated", Hosting::Isolated), ("auto", Hosting::Auto)]
    {
        let lock = lock(&format!("publisher = \"acme\"\nhosting = \"{word}\""));
        assert_eq!(judged(Some(&lock), |_| {}, PREHASHED), Ok(trusted(hosting)));
    }
}

#[test]
fn without_a_lock_nothing_is_checked_and_no_signature_read() {
    let asked = Cell::new(false);
    let read = |_: &Path| {
        asked.set(true);
        Ok(None)
    };
    let path = Path::new("/p/x.so");
    let candidate = Candidate { path, id: "x", version: "1", sha256: "", bytes: b"", signature: &read };
    assert_eq!(judge(None, &candidate).unwrap(), Verdict::Unlocked);
    let allowed = Lock::parse(
        &format!("[[plugin]]\nid = \"x\"\nversion = \"1\"\nsha256 = \"{SHA256}\"\nallow_unsigned = true\n"),
        NAME,
    );
    let candidate = Candidate { sha256: SHA256, ..candidate };
    assert_eq!(judge(Some(&allowed.unwrap()), &candidate).unwrap(), Verdict::Allowed);
    assert!(!asked.get());
}

#[test]
fn a_refusal_says_what_where_and_what_to_do() {
    let lock = lock("publisher = \"acme\"");
    let refused = |change: fn(&mut Candidate<'_>), signature: &str, parts: &[&str]| {
        let text = judged(Some(&lock), change, signature).unwrap_err();
        for part in parts.iter().chain(&["plugin /p/libtwinhub_bms.so ("]) {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    };
    refused(
        |candidate| (candidate.id, candidate.sha256) = ("com.acme.other", CHANGED),
        PREHASHED,
        &["is not in", NAME, "twinhub plugin lock"],
    );
    refused(
        |candidate| candidate.sha256 = CHANGED,
        PREHASHED,
        &["plugins.lock:5 names", CHANGED, SHA256, "--update"],
    );
    refused(
        |candidate| candidate.version = "1.3.0",
        PREHASHED,
        &["is called com.acme.bms 1.2.0", "plugins.lock:5"],
    );
    refused(|_| {}, "", &["there is no /p/libtwinhub_bms.so.minisig", "publisher `acme`"]);
    // The hash was counterfeited, the signature cannot be.
    refused(|candidate| candidate.bytes = b"A plugin library!\n", PREHASHED, &["made for another file"]);
    refused(|candidate| candidate.bytes = b"A plugin library!\n", LEGACY, &["made for another file"]);
    refused(|_| {}, &PREHASHED.replace("file:lib.bin", "file:lib.bim"), &["made for another file"]);
    refused(|_| {}, "nothing", &["no signature of minisign"]);
    refused(|_| {}, &Signer::new(7).prehashed(BYTES), &["another key made it"]);
    // The id of the key can be chosen, the key cannot.
    let pretender = Signer::new(7).with_key_id_of(KEY);
    refused(|_| {}, &pretender.prehashed(BYTES), &["made for another file"]);
    refused(|_| {}, &pretender.legacy(BYTES), &["made for another file"]);
}

#[test]
fn a_signature_that_cannot_be_read_refuses() {
    let lock = lock("publisher = \"acme\"");
    let read = |_: &Path| Err(io::Error::other("a broken disk"));
    let candidate = Candidate {
        path: Path::new("/p/libtwinhub_bms.so"),
        id: "com.acme.bms",
        version: "1.2.0",
        sha256: SHA256,
        bytes: BYTES,
        signature: &read,
    };
    let text = judge(Some(&lock), &candidate).unwrap_err().to_string();
    assert!(text.contains("a broken disk"), "{text}");
}

#[test]
fn two_versions_of_a_plugin_may_run_while_a_site_is_upgraded() {
    let signer = Signer::new(3);
    let sha256 = |digit: char| digit.to_string().repeat(64);
    let entry = |version: &str, digit| {
        format!(
            "[[plugin]]\nid = \"a\"\nversion = \"{version}\"\nsha256 = \"{}\"\npublisher = \"me\"\n",
            sha256(digit)
        )
    };
    let publisher = format!("[[publisher]]\nname = \"me\"\nkey = \"{}\"\n", signer.key());
    let text = format!("{publisher}{}{}", entry("1.0.0", 'A'), entry("1.1.0", 'b'));
    let lock = Lock::parse(&text, NAME).unwrap();
    let signature = signer.legacy(BYTES).into_bytes();
    let read = |_: &Path| Ok(Some(signature.clone()));
    for (version, digit) in [("1.0.0", 'a'), ("1.1.0", 'b')] {
        let sha256 = sha256(digit);
        let candidate = Candidate {
            path: Path::new("a.so"),
            id: "a",
            version,
            sha256: &sha256,
            bytes: BYTES,
            signature: &read,
        };
        assert_eq!(judge(Some(&lock), &candidate).unwrap().word(), "trusted");
    }
}

#[test]
fn mistakes_in_the_file_are_found_with_their_lines() {
    let publisher = format!("[[publisher]]\nname = \"acme\"\nkey = \"{KEY}\"\n");
    let plugin =
        |more: &str| format!("[[plugin]]\nid = \"a\"\nversion = \"1\"\nsha256 = \"{SHA256}\"\n{more}\n");
    let cases = [
        (format!("{publisher}{publisher}"), 5, "publisher `acme` is there twice"),
        ("[[publisher]]\nname = \"acme\"\nkey = \"RWQ\"\n".to_owned(), 3, "no public key of minisign"),
        (format!("{publisher}{}", plugin("")), 4, "plugin `a` has no publisher"),
        (format!("{publisher}{}", plugin("allow_unsigned = false")), 4, "plugin `a` has no publisher"),
        (format!("{publisher}{}", plugin("publisher = \"acm\"")), 8, "did you mean `acme`?"),
        (
            format!("{publisher}{}", plugin("publisher = \"acme\"\nallow_unsigned = true")),
            9,
            "has a publisher and needs no signature",
        ),
        (plugin("allow_unsigned = true\nhosting = \"inproc\""), 6, "may not run in the process of the hub"),
        (plugin("allow_unsigned = true\nhosting = \"outside\""), 6, "is none of its words"),
        (format!("{0}{0}", plugin("allow_unsigned = true")), 9, "the library of line 1 is there twice"),
        (plugin("allow_unsigned = true").replace(SHA256, &"g".repeat(64)), 4, "is no SHA-256"),
        (plugin("allow_unsigned = true").replace(SHA256, "abc"), 4, "has 3 characters"),
        (plugin("allow_unsigned = true\nallow = true"), 6, "unknown key `allow`"),
        ("[[plugins]]\n".to_owned(), 1, "did you mean `plugin`?"),
        ("[[plugin]]\nversion = \"1\"\n".to_owned(), 1, "has no `id`"),
        ("[[plugin]\n".to_owned(), 1, "this is no TOML"),
    ];
    for (text, line, part) in cases {
        let failure = Lock::parse(&text, NAME).unwrap_err();
        let rendered = failure.render();
        assert!(rendered.contains(part), "{part} is not in: {rendered}");
        assert!(rendered.contains(&format!("{NAME}:{line}:")), "line {line} is not in: {rendered}");
    }
}

#[test]
fn the_hash_is_of_what_the_file_means() {
    let signed = lock("publisher = \"acme\"");
    let same = [
        format!(
            "publisher = \"acme\"\nhosting = \"auto\"\n# A comment.\n[[publisher]]\nname = \"x\"\nkey = \"{KEY}\""
        ),
        "publisher = \"acme\"   # Another one.".to_owned(),
    ];
    for more in same {
        assert_eq!(lock(&more).hash(), signed.hash());
    }
    let others = ["allow_unsigned = true", "publisher = \"acme\"\nhosting = \"isolated\""];
    for more in others {
        assert_ne!(lock(more).hash(), signed.hash());
    }
    let text = |key: &str, order: [&str; 2]| {
        let entry = |id: &&str| {
            format!(
                "[[plugin]]\nid = \"{id}\"\nversion = \"1\"\nsha256 = \"{}\"\npublisher = \"p\"\n",
                id.repeat(64)
            )
        };
        let entries: String = order.iter().map(entry).collect();
        format!("[[publisher]]\nname = \"p\"\nkey = \"{key}\"\n{entries}")
    };
    let hash = |key: &str, order| Lock::parse(&text(key, order), NAME).unwrap().hash();
    assert_eq!(hash(KEY, ["a", "b"]), hash(KEY, ["b", "a"]));
    assert_ne!(
        hash(KEY, ["a", "b"]),
        hash(&Signer::new(1).key(), ["a", "b"]),
        "the key counts, not its name"
    );
    assert_eq!(hash(KEY, ["a", "b"]).len(), 64);
}

#[test]
fn a_change_of_one_entry_leaves_all_else_as_it_was() {
    let text = format!(
        "# Ours.\n[[plugin]] # First.\nsha256 = '{SHA256}'   # Beside.\nid = \"a\"\nversion = \"1.0.0\"\n\
         allow_unsigned = true\n\n# End.\n"
    );
    let lock = Lock::parse(&text, NAME).unwrap();
    let changed = with_content(&text, &lock.entries()[0], "1.1.0", &"0".repeat(64));
    let expected =
        text.replace(&format!("'{SHA256}'"), &format!("\"{}\"", "0".repeat(64))).replace("1.0.0", "1.1.0");
    assert_eq!(changed, expected);
    let more = with_publisher(&changed, "acme", KEY);
    assert_eq!(
        more.strip_prefix(&changed),
        Some(&*format!("\n[[publisher]]\nname = \"acme\"\nkey = \"{KEY}\"\n"))
    );
}

proptest! {
    #[test]
    fn what_is_added_is_read_back(
        id in "[^\u{0}]{1,40}", version in "[ -~]{1,20}", sha256 in "[0-9a-f]{64}", publisher in ".{1,30}",
        is_signed in any::<bool>(), before in "(|# a|# a\n|# a\n\n|\u{feff}# a\r\n)",
    ) {
        let key = Signer::new(9).key();
        let grant = if is_signed { Grant::SignedBy(publisher.clone()) } else { Grant::Unsigned };
        let text = with_publisher(&before, &publisher, &key);
        let text = with_entry(&text, &NewEntry { id: &id, version: &version, sha256: &sha256, grant: &grant });
        let lock = Lock::parse(&text, NAME).map_err(|failure| TestCaseError::fail(failure.render()))?;
        let entry = &lock.entries()[0];
        prop_assert_eq!((&entry.id, &entry.version, &entry.sha256), (&id, &version, &sha256));
        prop_assert_eq!(&entry.grant, &grant);
        prop_assert_eq!(entry.hosting, Hosting::Auto);

        let changed = with_content(&text, entry, "2", &"e".repeat(64));
        let lock = Lock::parse(&changed, NAME).map_err(|failure| TestCaseError::fail(failure.render()))?;
        prop_assert_eq!((&*lock.entries()[0].version, &*lock.entries()[0].sha256), ("2", &*"e".repeat(64)));
        prop_assert_eq!(&lock.entries()[0].id, &id);
    }

    #[test]
    fn a_hostile_lock_is_refused_or_read(text in ".{0,300}") {
        drop(Lock::parse(&text, NAME));
    }

    /// Near to what is written, so that every check is reached.
    #[test]
    fn a_damaged_lock_is_refused_or_read(at in 0_usize..400, with in any::<char>(), cut in any::<bool>()) {
        let publisher = with_publisher(EMPTY, "acme", KEY);
        let grant = Grant::SignedBy("acme".to_owned());
        let entry = NewEntry { id: "com.acme.bms", version: "1.2.0", sha256: SHA256, grant: &grant };
        let mut text: Vec<char> = with_entry(&publisher, &entry).chars().collect();
        let at = at % text.len();
        if cut { text.truncate(at) } else { text[at] = with }
        let text: String = text.into_iter().collect();
        if let Ok(lock) = Lock::parse(&text, NAME) {
            for entry in lock.entries() {
                prop_assert_eq!(entry.sha256.len(), 64);
                if let Grant::SignedBy(publisher) = &entry.grant {
                    prop_assert!(lock.publishers().contains_key(publisher));
                }
            }
        }
    }

    #[test]
    fn a_hostile_key_is_refused_or_read(text in prop_oneof![".{0,80}", "RW[A-Za-z0-9+/]{54}", "[A-Za-z0-9+/]{56}"]) {
        if let Ok(key) = twinhub_trust::PublicKey::parse(&text) {
            prop_assert!(verify(&key, PREHASHED.as_bytes(), BYTES).is_err());
        }
    }

    #[test]
    fn a_hostile_signature_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let key = twinhub_trust::PublicKey::parse(KEY).unwrap();
        prop_assert!(verify(&key, &bytes, BYTES).is_err());
    }

    /// Every byte of it counts, but for the comment that is called untrusted, and line ends.
    #[test]
    fn a_damaged_signature_is_refused(at in 0_usize..400, with in any::<u8>(), is_legacy in any::<bool>()) {
        let mut bytes = if is_legacy { LEGACY } else { PREHASHED }.as_bytes().to_vec();
        let at = at % bytes.len();
        let untrusted = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let is_changed = bytes[at] != with;
        let is_in_line = at > untrusted && bytes[at] != b'\n';
        bytes[at] = with;
        let key = twinhub_trust::PublicKey::parse(KEY).unwrap();
        let outcome = verify(&key, &bytes, BYTES);
        if is_changed && is_in_line && with != b'\r' {
            prop_assert!(outcome.is_err(), "byte {at} with {with}");
        } else if !is_changed {
            prop_assert_eq!(outcome, Ok(()));
        }
    }

    #[test]
    fn a_signature_counts_for_its_bytes_alone(
        seed in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let signer = Signer::new(seed);
        let key = twinhub_trust::PublicKey::parse(&signer.key()).unwrap();
        for signature in [signer.prehashed(&bytes), signer.legacy(&bytes)] {
            prop_assert_eq!(verify(&key, signature.as_bytes(), &bytes), Ok(()));
            let mut other = bytes.clone();
            if other.is_empty() { other.push(0) } else { let at = at.index(other.len()); other[at] ^= 1 << bit }
            prop_assert!(verify(&key, signature.as_bytes(), &other).is_err());
        }
    }
}
