//! `plugins.lock` through the real binary: what is trusted runs, what is not is never mapped, and nodes compare.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod command;
mod nodes;
mod site;
// Signs as minisign does.
#[path = "../../../trust/tests/lock/signer.rs"]
mod signer;

use signer::Signer;
use site::Site;

/// The hub loads what its publisher signed, by either form of signature, and says so.
#[test]
fn what_the_named_publisher_signed_is_loaded_and_told() {
    let site = Site::new("0.1.0");
    let signer = Signer::new(1);
    site.sign(&signer.prehashed(&site.library()));
    site.lock(&site.entry(&signer, "publisher = \"acme\""));
    {
        let node = site.start();
        assert!(site.was_mapped());
        let plugins = node.get("/api/v1/plugins");
        let plugin = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "hello_c").unwrap();
        assert_eq!((&plugin["trust"], &plugin["publisher"]), (&"trusted".into(), &"acme".into()), "{plugin}");
        let events = node.events();
        let told = events.iter().find(|event| event["code"] == "TH-TRUST-001").unwrap();
        let said = "plugin org.twinhub.hello-c 0.1.0 was loaded: trusted, signed by `acme`, hosting auto";
        assert_eq!((&told["text"], &told["severity"]), (&said.into(), &"info".into()));
    }
    site.sign(&signer.legacy(&site.library()));
    site.start();
}

/// The bytes are judged, not the name: neither a changed library nor a changed hash helps.
#[test]
fn a_changed_byte_is_refused_before_the_library_is_mapped() {
    let site = Site::new("0.1.0");
    let signer = Signer::new(1);
    site.sign(&signer.prehashed(&site.library()));
    let entry = site.entry(&signer, "publisher = \"acme\"");
    site.lock(&entry);
    let (before, first) = (site.sha256(), site.library());
    let at = first.windows(12).position(|bytes| bytes == b"hello from C").unwrap();
    let mut changed = first.clone();
    changed[at + 1] = b'u';
    site.install(&changed);
    let after = site.sha256();
    site.refuses(&["is not the file that", "plugins.lock:5 names", &before, &after, "--update"]);
    // Whoever can write the library may write the hash, too, but has no key.
    site.lock(&entry.replace(&before, &after));
    site.refuses(&["is not signed by publisher `acme`", "it was made for another file"]);
    // That the test would notice.
    site.install(&first);
    site.lock(&entry);
    let _node = site.start();
    assert!(site.was_mapped());
}

#[test]
fn what_the_lock_does_not_allow_is_never_mapped() {
    let site = Site::new("0.1.0");
    let (signer, other) = (Signer::new(1), Signer::new(2));
    let signed = site.entry(&signer, "publisher = \"acme\"");

    site.lock("# Nothing is trusted.\n");
    site.refuses(&["(org.twinhub.hello-c 0.1.0) is not in", "plugins.lock; if it is to run"]);

    site.lock(&signed);
    site.refuses(&["is not signed: there is no", ".minisig", "publisher `acme`"]);
    site.sign("no signature\n");
    site.refuses(&["it is no signature of minisign"]);
    site.sign(&other.prehashed(&site.library()));
    site.refuses(&["another key made it"]);
    site.sign(&other.with_key_id_of(&signer.key()).prehashed(&site.library()));
    site.refuses(&["it was made for another file"]);
    site.sign(&signer.prehashed(&site.library()));
    site.lock(&signed.replace("0.1.0", "0.1.1"));
    site.refuses(&["is called org.twinhub.hello-c 0.1.1 at", "plugins.lock:5: correct the entry"]);

    // Not in the process of the hub.
    for entry in ["publisher = \"acme\"\nhosting = \"isolated\"", "allow_unsigned = true"] {
        site.lock(&site.entry(&signer, entry));
        site.refuses_configuration(&["which is no leave to run in the hub's process"]);
        site.host("auto");
        let node = site.start();
        assert_eq!(node.get("/api/v1/interfaces")[0]["hosting"], "isolated");
        assert!(!site.was_mapped());
        drop(node);
        site.host("inproc");
    }

    // A file that is wrong is as good as one that allows nothing.
    site.lock(&site.entry(&signer, "allow_unsigned = true\nhosting = \"inproc\""));
    site.refuses(&["plugins.lock:10:", "may not run in the process of the hub"]);
    site.lock(&site.entry(&signer, "publisher = \"acne\""));
    site.refuses(&["plugins.lock:9:", "publisher `acne`", "did you mean `acme`?"]);
    site.lock(&signed.replace("[[plugin]]", "[[plugins]]"));
    site.refuses(&["plugins.lock:5:", "did you mean `plugin`?"]);
    site.lock_is_link_to_nowhere();
    site.refuses(&["cannot read", "plugins.lock"]);

    site.lock(&signed);
    let _node = site.start();
    assert!(site.was_mapped());
}

/// A running hub judges another version as it does at its start, by what the lock says then.
#[test]
fn an_upgrade_is_judged_like_a_start() {
    let site = Site::new("0.1.0");
    let signer = Signer::new(1);
    site.sign(&signer.prehashed(&site.library()));
    site.lock(&site.entry(&signer, "publisher = \"acme\""));
    let node = site.start();
    let url = node.url();
    let upgrade = ["plugin", "upgrade", "hello_c", "--url", &url];
    let runs = || node.get("/api/v1/plugins")[0].clone();

    site.install(&site::compiled("0.2.0", "hello from C"));
    let (code, said) = site.said(&upgrade);
    assert!(code == Some(1) && said.contains("plugins.lock:5 names"), "{said}");
    site.lock(&site.entry(&signer, "publisher = \"acme\"").replace("0.1.0", "0.2.0"));
    let (code, said) = site.said(&upgrade);
    assert!(code == Some(1) && said.contains("it was made for another file"), "{said}");
    assert_eq!(runs()["version"], "0.1.0");

    site.sign(&signer.prehashed(&site.library()));
    let (code, said) = site.said(&upgrade);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&runs()["version"], &runs()["trust"]), (&"0.2.0".into(), &"trusted".into()));
    let lock = node.status()["groups"][0]["nodes"][0]["plugins_lock"].clone();
    let (code, said) = site.said(&["plugin", "rollback", "hello_c", "--url", &url]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(runs()["version"], "0.1.0");
    assert!(lock.as_str().is_some_and(|hash| hash.len() == 64));
}

#[test]
fn without_a_lock_everything_is_loaded_and_the_log_says_so() {
    let site = Site::new("0.1.0");
    let node = site.start();
    assert!(site.was_mapped());
    let plugins = node.get("/api/v1/plugins");
    assert_eq!((&plugins[0]["trust"], &plugins[0]["publisher"]), (&"unlocked".into(), &().into()));
    assert!(node.log().contains("not checked, there is no plugins.lock"), "{}", node.log());
    assert!(node.events().iter().all(|event| event["code"] != "TH-TRUST-001"));
}
