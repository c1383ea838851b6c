//! Checks an etcd cluster that is named as the witness.

use crate::assembly::Assembly;
use crate::file;
use crate::site::{Etcd, Profile};

impl Assembly<'_> {
    pub(crate) fn etcd(&mut self, etcd: &file::Etcd, profile: Profile) -> Etcd {
        let place = ["cluster".into(), "witness".into()];
        if etcd.etcd.is_empty() {
            let help = "write `witness = { etcd = [\"http://10.0.0.13:2379\"] }`";
            self.error(&place, "an etcd cluster without members".to_owned(), "no address", help);
        }
        for url in &etcd.etcd {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            match rest {
                Some(address) => self.address(&place, address.strip_suffix('/').unwrap_or(address)),
                None => self.error(
                    &place,
                    format!("`{}` is no address of an etcd member", url.escape_debug()),
                    "no http:// or https://",
                    "write `http://host:2379` or `https://host:2379`",
                ),
            }
        }
        if etcd.etcd.iter().any(|url| url.starts_with("https://")) && etcd.ca.is_none() {
            let help = "write `ca = \"FILE\"` with the authority that signed the members' certificates";
            self.error(&place, "https without an authority".to_owned(), "no `ca`", help);
        }
        for (has, other, missing) in [
            (&etcd.certificate, &etcd.key, "key"),
            (&etcd.key, &etcd.certificate, "certificate"),
            (&etcd.user, &etcd.password_file, "password_file"),
            (&etcd.password_file, &etcd.user, "user"),
        ] {
            if has.is_some() && other.is_none() {
                let help = "write both or neither: `certificate` with `key`, `user` with `password_file`";
                self.error(&place, format!("`{missing}` is missing"), "incomplete", help);
            }
        }
        if profile == Profile::Lan {
            self.warn(
                &place,
                "profile `lan` renews every 25 ms, and each renewal is a write that etcd puts on its disks"
                    .to_owned(),
                "likely too slow",
                "use profile `fast`, or `twinhub witness` on a third machine",
            );
        }
        Etcd {
            endpoints: etcd.etcd.clone(),
            ca: etcd.ca.clone(),
            certificate: etcd.certificate.clone(),
            key: etcd.key.clone(),
            user: etcd.user.clone(),
            password_file: etcd.password_file.clone(),
        }
    }
}
