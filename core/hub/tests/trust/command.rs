//! `plugin lock` and `plugin verify`.

use serde_json::Value;

use crate::signer::Signer;
use crate::site::{Site, compiled};

fn locked(site: &Site) -> String {
    std::fs::read_to_string(site.path("plugins.lock")).unwrap()
}

/// One story: a plugin is locked, updated, and locked unsigned, and nothing is ever replaced without being told to.
#[test]
fn a_lock_is_made_kept_and_updated_only_when_told_to() {
    let site = Site::new("0.1.0");
    let signer = Signer::new(1);
    let publisher = format!("acme={}", signer.key());

    let (code, said) = site.said(&["plugin", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not checked, there is no plugins.lock"), "{said}");

    // Nobody signed it, or nobody who is known.
    let (code, said) = site.said(&["plugin", "lock"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("it is not signed") && said.contains("--allow-unsigned"), "{said}");
    site.sign(&signer.prehashed(&site.library()));
    let (code, said) = site.said(&["plugin", "lock"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("no publisher of") && said.contains("--publisher NAME=KEY"), "{said}");
    assert!(!site.path("plugins.lock").exists(), "nothing is written");

    // By a key that is named.
    let (code, said) = site.said(&["plugin", "lock", "--publisher", &publisher]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("added     org.twinhub.hello-c 0.1.0, signed by `acme`"), "{said}");
    let (code, said) = site.said(&["plugin", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ok    hello_c 0.1.0: trusted, signed by `acme`, hosting auto"), "{said}");
    let verified: Value =
        serde_json::from_slice(&site.run(&["--output", "json", "plugin", "verify"]).stdout).unwrap();
    assert_eq!(
        (&verified[0]["verdict"], &verified[0]["sha256"]),
        (&"trusted".into(), &site.sha256().into()),
        "{verified}"
    );

    // What operators wrote stays.
    let mine =
        locked(&site).replace("publisher = \"acme\"", "publisher = \"acme\" # Ours.\nhosting = 'inproc'");
    site.lock(&mine);
    let (code, said) = site.said(&["plugin", "lock", "--publisher", &publisher]);
    assert_eq!((code, said.contains("unchanged org.twinhub.hello-c 0.1.0")), (Some(0), true), "{said}");
    assert_eq!(locked(&site), mine);
    let (code, said) =
        site.said(&["plugin", "lock", "--publisher", &format!("acme={}", Signer::new(2).key())]);
    assert_eq!((code, said.contains("change it there by hand")), (Some(64), true), "{said}");

    // Another content is taken over when told to, if it is signed by the same publisher.
    let old = site.sha256();
    site.install(&compiled("0.2.0", "hullo from C"));
    let new = site.sha256();
    let step = format!("0.1.0 → 0.2.0, {old} → {new}");
    let (code, said) = site.said(&["plugin", "lock"]);
    assert_eq!((code, said.contains(&step) && said.contains("--update takes")), (Some(64), true), "{said}");
    let (code, said) = site.said(&["plugin", "lock", "--update"]);
    assert_eq!((code, said.contains("no signature of publisher `acme`")), (Some(64), true), "{said}");
    let (code, said) = site.said(&["plugin", "lock", "--update", "--allow-unsigned"]);
    assert_eq!((code, said.contains("no signature of publisher `acme`")), (Some(64), true), "{said}");
    assert_eq!(locked(&site), mine);
    site.sign(&signer.legacy(&site.library()));
    let (code, said) = site.said(&["plugin", "lock", "--update"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{old} → {new}")), "{said}");
    assert_eq!(locked(&site), mine.replace(&old, &new).replace("0.1.0", "0.2.0"));
    assert_eq!(site.said(&["plugin", "verify"]).0, Some(0));

    // Both versions, for nodes that are upgraded one after the other.
    site.install(&compiled("0.3.0", "hello from C"));
    site.sign(&signer.prehashed(&site.library()));
    assert_eq!(site.said(&["plugin", "lock", "--add", "--update"]).0, Some(2));
    assert_eq!(site.said(&["plugin", "lock", "--add"]).0, Some(0));
    assert!(locked(&site).contains(&new) && locked(&site).contains(&site.sha256()));
    assert_eq!(site.said(&["plugin", "verify"]).0, Some(0));
    site.install(&compiled("0.4.0", "hello from C"));
    let (code, said) = site.said(&["plugin", "lock", "--update"]);
    assert_eq!((code, said.contains("has 2 entries in")), (Some(64), true), "{said}");

    // A hash that is allowed unsigned is one hash.
    std::fs::remove_file(site.path("plugins/libtwinhub_hello_c.so.minisig")).unwrap();
    std::fs::remove_file(site.path("plugins.lock")).unwrap();
    let (code, said) = site.said(&["plugin", "lock", "--allow-unsigned"]);
    assert_eq!((code, said.contains("unsigned, only isolated")), (Some(0), true), "{said}");
    assert!(locked(&site).contains("allow_unsigned = true"));
    site.install(&compiled("0.2.1", "hallo from C"));
    let (code, said) = site.said(&["plugin", "lock", "--update"]);
    assert_eq!((code, said.contains("say --allow-unsigned, too")), (Some(64), true), "{said}");
    assert_eq!(site.said(&["plugin", "lock", "--update", "--allow-unsigned"]).0, Some(0));
    assert!(locked(&site).contains(&site.sha256()));
    assert!(!site.was_mapped(), "none of this runs code of the library");
}

#[test]
fn what_cannot_be_locked_is_refused_with_what_to_do() {
    let site = Site::new("0.1.0");
    for (given, part) in
        [("acme", "write NAME=KEY"), ("=RW", "write NAME=KEY"), ("acme=RWQ", "begins with RW")]
    {
        let (code, said) = site.said(&["plugin", "lock", "--publisher", given]);
        assert_eq!((code, said.contains(part)), (Some(2), true), "{said}");
    }
    let (code, said) = site.said(&["plugin", "lock", "nosuch"]);
    assert_eq!((code, said.contains("plugin `nosuch` is not installed")), (Some(64), true), "{said}");
    // A form to which no table can be added.
    site.lock("plugin = []\n");
    let (code, said) = site.said(&["plugin", "lock", "--allow-unsigned"]);
    assert_eq!((code, said.contains("write its tables as [[plugin]]")), (Some(64), true), "{said}");
    site.lock("[[plugin]]\n");
    let (code, said) = site.said(&["plugin", "lock", "--allow-unsigned"]);
    assert_eq!((code, said.contains("has no `sha256`")), (Some(64), true), "{said}");
}
