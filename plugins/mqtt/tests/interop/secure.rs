//! TLS with an authority of the test's own.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use twinhub_mqtt::link::{Role, State};
use twinhub_mqtt::payload::Value;
use twinhub_mqtt::session::Outcome;

use crate::broker::Broker;
use crate::rig::{Rig, row, run, until};

const TLS: &str =
    "cafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true";

#[test]
fn both_sides_prove_themselves_with_certificates() {
    run(async {
        let broker = Broker::prepared(TLS, write_certificates);
        let dir = broker.dir.path().display();
        for version in ["3.1.1", "5"] {
            let settings = format!(
                r#""version":"{version}","ca_file":"{dir}/ca.pem","cert_file":"{dir}/client.pem","key_file":"{dir}/client.key""#
            );
            let rig = Rig::new(broker.port, "main", &settings, &[(1, "rw", row("loop", "i64"))]);
            rig.role(Role::Active, 1).await;
            rig.write([(1, Value::I64(1))]);
            rig.answered(Outcome::Done, 1).await;
            until("its own value", || rig.hub.values(1) == [Value::I64(1)]).await;
            rig.link.stop(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn a_broker_of_another_authority_is_not_trusted() {
    run(async {
        let broker = Broker::prepared(TLS, write_certificates);
        let other = tempfile::TempDir::new().unwrap();
        write_certificates(other.path());
        let (dir, other) = (broker.dir.path().display(), other.path().display());
        let settings = format!(
            r#""ca_file":"{other}/ca.pem","cert_file":"{dir}/client.pem","key_file":"{dir}/client.key""#
        );
        let rig = Rig::new(broker.port, "main", &settings, &[]);
        rig.link.change_role(Role::Hot, 1, Duration::ZERO).await;
        let is_refused =
            |(state, cause): &(State, String)| *state == State::Connecting && cause.contains("certificate");
        until("the refusal", || rig.hub.states.borrow().iter().any(is_refused)).await;
        assert!(rig.hub.states.borrow().iter().all(|(state, _)| *state != State::Suppressed));
    });
}

fn write_certificates(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate whose subject is its issuer for a self-signed one.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let ca = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
