//! Checks the central database.

use std::time::Duration;

use crate::assembly::{Assembly, span};
use crate::file::{self, File, Tls};
use crate::site::{Historian, Interface};

impl Assembly<'_> {
    pub(crate) fn historian(&mut self, file: &File, interfaces: &[Interface]) -> Option<Historian> {
        let historian = file.historian.as_ref()?;
        let host = &historian.host;
        let is_clean = !host.chars().any(|c| c.is_whitespace() || c.is_control());
        let is_name = !host.contains('/') && !host.contains('@') && host.split(':').count() != 2;
        if !is_clean || !(host.starts_with('/') || is_name) {
            self.error(
                &["historian".into(), "host".into()],
                format!("`{}` is no host", host.escape_debug()),
                "no name, address or folder",
                "write the name or address alone, `host = \"db.example\"`; the port goes to `port`",
            );
        }
        match (historian.tls, &historian.ca) {
            (Tls::Required, None) if !host.starts_with('/') => {
                let help = "write `ca = \"FILE\"` with the authority that signed the server's certificate, or \
                            `tls = \"off\"`";
                self.error(&["historian".into()], "TLS without an authority".to_owned(), "no `ca`", help);
            }
            (Tls::Off, Some(_)) => {
                let help = "remove `ca`, or write `tls = \"required\"`";
                self.error(
                    &["historian".into(), "ca".into()],
                    "an authority without TLS".to_owned(),
                    "not used",
                    help,
                );
            }
            (Tls::Off, None) if !is_local(host) => self.warn(
                &["historian".into(), "tls".into()],
                "values go to another machine in clear text".to_owned(),
                "not encrypted",
                "write `tls = \"required\"` with `ca`",
            ),
            (Tls::Required | Tls::Off, _) => {}
        }
        if let Some(password) = &historian.password
            && password.file.is_some() == password.env.is_some()
        {
            self.error(
                &["historian".into(), "password".into()],
                "it is not said where the password stands".to_owned(),
                "here",
                "write `{ file = \"NAME\" }` or `{ env = \"NAME\" }`",
            );
        }
        let schema = historian.schema.clone().unwrap_or_else(|| "twinhub".to_owned());
        let is_plain = schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_plain || schema.starts_with(|c: char| c.is_ascii_digit()) || schema.starts_with("pg_") {
            self.error(
                &["historian".into(), "schema".into()],
                format!("`{}` is no name of a schema", schema.escape_debug()),
                "here",
                "write letters a to z, digits and `_`, with a letter or `_` first, not beginning with `pg_`",
            );
        }
        let interval = span(historian.interval.as_ref(), Duration::from_secs(1));
        let timeout = span(historian.timeout.as_ref(), Duration::from_secs(30));
        for (key, value, least, most, help) in [
            (
                "interval",
                interval,
                Duration::from_millis(10),
                Duration::from_secs(3600),
                "write \"10ms\" to \"1h\"",
            ),
            (
                "timeout",
                timeout,
                Duration::from_millis(100),
                Duration::from_secs(600),
                "write \"100ms\" to \"10m\"",
            ),
        ] {
            if value < least || value > most {
                let message = format!("`historian.{key}` is out of range");
                self.error(&["historian".into(), key.into()], message, "here", help);
            }
        }
        if !interfaces.iter().any(|interface| interface.items.iter().any(|item| item.historize)) {
            self.warn(
                &["historian".into()],
                "no item is kept, so the database gets no values".to_owned(),
                "nothing to write",
                "write `true` into the column `historize` of the items file",
            );
        }
        Some(Historian {
            host: host.clone(),
            port: historian.port.unwrap_or(5432),
            database: historian.database.clone().unwrap_or_else(|| "twinhub".to_owned()),
            user: historian.user.clone().unwrap_or_else(|| "twinhub".to_owned()),
            password: historian.password.as_ref().and_then(reference),
            ca: historian.ca.clone(),
            schema,
            write: historian.write,
            interval,
            batch: historian.batch.unwrap_or(5000),
            timeout,
        })
    }
}

fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// As [`crate::resolve_secrets`] reads it.
fn reference(place: &file::SecretPlace) -> Option<serde_json::Value> {
    match (&place.file, &place.env) {
        (Some(name), None) => Some(serde_json::json!({ "file": name })),
        (None, Some(name)) => Some(serde_json::json!({ "env": name })),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{Failure, Files, Historian, Loaded, MAIN_FILE, Writers};

    fn load(section: &str) -> Result<Loaded, Failure> {
        let text = format!(
            "version = 1\nsite = \"tower\"\n[cluster]\nnodes = [\"a\"]\n[nodes.a]\nlinks = [\"127.0.0.1:7400\"]\n\
             [[interface]]\nid = \"sim1\"\nplugin = \"sim\"\nitems = \"sim1.csv\"\n{section}"
        );
        let items = "path,address,type,access,unit,description,historize\ncount,counter,int64,r,,,yes\n";
        let files = [(MAIN_FILE, text.as_str()), ("sim1.csv", items)];
        Files(files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()).check()
    }

    fn found(section: &str) -> String {
        match load(section) {
            Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_database_needs_little_to_be_said() {
        assert!(load("").unwrap().site.historian.is_none());
        let loaded =
            load("[historian]\nhost = \"db.example\"\nca = \"ca.pem\"\npassword = { env = \"P\" }\n")
                .unwrap();
        assert!(loaded.warnings.iter().all(|warning| !warning.to_string().contains("historian")));
        let Historian { host, port, database, user, password, ca, schema, write, batch, .. } =
            loaded.site.historian.unwrap();
        assert_eq!((host.as_str(), port, database.as_str()), ("db.example", 5432, "twinhub"));
        assert_eq!((user.as_str(), schema.as_str(), ca.as_deref()), ("twinhub", "twinhub", Some("ca.pem")));
        assert_eq!(
            (write, batch, password),
            (Writers::Active, 5000, Some(serde_json::json!({ "env": "P" })))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = BTreeMap::from([
            ("host = \"db.example\"", "TLS without an authority"),
            ("host = \"db.example:5432\"\ntls = \"off\"", "is no host"),
            ("host = \"postgresql://db\"\ntls = \"off\"", "is no host"),
            ("host = \"::1\"\ntls = \"off\"\nca = \"ca.pem\"", "an authority without TLS"),
            ("host = \"db.example\"\ntls = \"off\"", "in clear text"),
            ("host = \"::1\"\ntls = \"off\"\npassword = { }", "where the password stands"),
            ("host = \"::1\"\ntls = \"off\"\npassword = \"plain\"", "password"),
            ("host = \"::1\"\ntls = \"off\"\nschema = \"Site\"", "is no name of a schema"),
            ("host = \"::1\"\ntls = \"off\"\ninterval = \"1ms\"", "`historian.interval` is out of range"),
            ("host = \"::1\"\ntls = \"off\"\nport = 0", "port"),
        ]);
        for (section, words) in cases {
            let text = found(&format!("[historian]\n{section}\n"));
            assert!(text.contains(words), "{section}\n{text}");
        }
        assert_eq!(
            found("[historian]\nhost = \"/run/postgresql\"\n"),
            "",
            "a socket of this machine needs no TLS"
        );
    }
}
