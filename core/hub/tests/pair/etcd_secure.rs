//! An etcd that lets in only who has a certificate of its authority and a password.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::etcd_process::Etcd;
use crate::site::Pair;

#[test]
fn an_etcd_with_certificates_and_passwords_votes_for_who_has_both() {
    let files = Files::new();
    let mut etcd = Etcd::secure(files.dir.path());
    etcd.run();
    require_login(&etcd);
    files.write("password", "right\n");
    let login = format!(
        "witness = {{ etcd = [\"{}\"], ca = \"{}\", certificate = \"{}\", key = \"{}\", user = \"twinhub\", \
         password_file = \"{}\" }}",
        etcd.url(),
        files.path("ca.pem").display(),
        files.path("client.pem").display(),
        files.path("client.key").display(),
        files.path("password").display(),
    );
    let mut pair = Pair::start_nodes(&["main", "backup"], &login);
    pair.wait("main active, backup standby, etcd up", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby" && error(pair, "backup").is_none()
    });
    let tested = pair.ask("backup", &["peer", "test", "witness"]);
    assert_eq!(tested.status.code(), Some(0), "{tested:?}");
    let test = &pair.json("backup", &["peer", "test", "witness"])[0]["paths"][0];
    assert!(
        test["tls"] == true
            && test["rtt_us"].is_u64()
            && test["version"].as_str().unwrap().starts_with("etcd 3"),
        "{test}"
    );

    // Its vote counts: the main is gone, and the backup alone is no majority.
    pair.kill("main");
    pair.wait("the backup takes over", |pair| pair.state("backup") == "active");

    // Another password: no vote, said once, and the two nodes go on.
    files.write("password", "wrong\n");
    let before = warnings(&pair);
    pair.restart("main");
    pair.wait("the refusal", |pair| {
        error(pair, "main").is_some_and(|error| error.contains("authentication failed"))
    });
    pair.wait("main standby", |pair| pair.state("main") == "standby");
    let until = Instant::now() + Duration::from_secs(2);
    pair.wait("many more attempts", |_| Instant::now() > until);
    assert_eq!(warnings(&pair), before + 1, "{}", pair.log("main"));
    assert!(!pair.log("main").contains("wrong"), "a password in the log");
    let tested = pair.ask("main", &["peer", "test", "witness"]);
    assert_eq!(tested.status.code(), Some(1), "{tested:?}");
    let test = &pair.json("main", &["peer", "test", "witness"])[0]["paths"][0];
    assert!(test["error"].as_str().is_some_and(|error| error.contains("authentication failed")), "{test}");

    files.write("password", "right\n");
    pair.kill("main");
    pair.restart("main");
    pair.wait("etcd up again", |pair| pair.state("main") == "standby" && error(pair, "main").is_none());
}

#[test]
fn an_etcd_that_asks_for_certificates_gives_no_vote_without_one_and_the_pair_goes_on() {
    let files = Files::new();
    let mut etcd = Etcd::secure(files.dir.path());
    etcd.run();
    let line =
        format!("witness = {{ etcd = [\"{}\"], ca = \"{}\" }}", etcd.url(), files.path("ca.pem").display());
    let pair = Pair::start_nodes(&["main", "backup"], &line);
    pair.wait("main active, backup standby", |pair| {
        pair.state("main") == "active" && pair.state("backup") == "standby"
    });
    for node in ["main", "backup"] {
        pair.wait("the refusal", |pair| error(pair, node).is_some_and(|error| error.contains("ertificate")));
    }
    let tested = pair.ask("main", &["peer", "test", "witness"]);
    assert_eq!(tested.status.code(), Some(1), "{tested:?}");
    let table = pair.table("main", &["peer", "test", "witness"]);
    assert!(table.contains("https://127.0.0.1:") && table.contains("ertificate"), "{table}");
}

/// Why the witness is not there, if it is not.
fn error(pair: &Pair, node: &str) -> Option<String> {
    let witness = pair.json(node, &["status"])["witness"].clone();
    if witness["up"] == true { None } else { Some(witness["error"].as_str().unwrap_or("unknown").to_owned()) }
}

fn warnings(pair: &Pair) -> usize {
    pair.log("main").matches("etcd gives no vote").count()
}

/// Users, and the rights that the README names: reading and writing below `/twinhub/`.
fn require_login(etcd: &Etcd) {
    let encode = |text: &str| STANDARD.encode(text);
    for (path, body) in [
        ("/v3/auth/user/add", json!({ "name": "root", "password": "administrator" })),
        ("/v3/auth/user/add", json!({ "name": "twinhub", "password": "right" })),
        ("/v3/auth/role/add", json!({ "name": "root" })),
        ("/v3/auth/role/add", json!({ "name": "arbiter" })),
        (
            "/v3/auth/role/grant",
            json!({ "name": "arbiter", "perm": {
                "permType": "READWRITE", "key": encode("/twinhub/"), "range_end": encode("/twinhub0") } }),
        ),
        ("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })),
        ("/v3/auth/user/grant", json!({ "user": "twinhub", "role": "arbiter" })),
        ("/v3/auth/enable", json!({})),
    ] {
        let answer: Value = etcd.admin(path, &body);
        assert!(answer.get("error").is_none(), "{path}: {answer}");
    }
}

/// An authority with a certificate for the server and one for the client.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        files.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        // The gateway of etcd is a client of its own server.
        let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for (name, purposes) in [("server", &both[..]), ("client", &both[1..])] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            // A user by the name of the certificate is not what is tried here.
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.extended_key_usages = purposes.to_vec();
            files.write(&format!("{name}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}
