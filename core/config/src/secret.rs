//! Secrets stand in files or in the environment, never in the configuration.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// Why a secret could not be read. No message contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file is missing or may not be read.
    #[error("secret `{key}`: cannot read {}: put the secret into that file, readable by the hub", path.display())]
    File {
        /// Where it is used.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too long to be a secret, or is no text.
    #[error("secret `{key}`: {} is {what}: write one text of at most 64 KiB", path.display())]
    Content {
        /// Where it is used.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The variable is not set.
    #[error("secret `{key}`: the environment variable {name} is not set: set it for the hub's service")]
    Variable {
        /// Where it is used.
        key: String,
        /// The variable.
        name: String,
    },
}

/// Puts the secrets in place of `{ file = … }` and `{ env = … }`; files are relative to `base_dir`. One line end at the
/// end of a file is not part of the secret. What a setting names whose key ends with `_file`, a plugin reads by itself: it
/// is given the path from `base_dir` on, too.
///
/// # Errors
/// [`SecretError`] for the first one that cannot be read.
pub fn resolve_secrets(settings: &mut Json, base_dir: &Path) -> Result<(), SecretError> {
    resolve(settings, base_dir, "settings", 0)
}

fn resolve(value: &mut Json, base_dir: &Path, key: &str, depth: usize) -> Result<(), SecretError> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    if let Some((word, name)) = reference(value) {
        *value = Json::String(match word {
            "file" => read(key, &base_dir.join(name))?,
            _ => std::env::var(name)
                .map_err(|_| SecretError::Variable { key: key.to_owned(), name: name.to_owned() })?,
        });
        return Ok(());
    }
    match value {
        Json::Object(map) => map.iter_mut().try_for_each(|(name, below)| {
            if let Some(file) = named_file(name, below) {
                if let Some(path) = base_dir.join(file).to_str() {
                    *below = path.into();
                }
                return Ok(());
            }
            resolve(below, base_dir, &format!("{key}.{name}"), depth + 1)
        }),
        Json::Array(list) => list
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, below)| resolve(below, base_dir, &format!("{key}[{index}]"), depth + 1)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

/// The file that a setting names for its plugin to read: its key ends with `_file`.
pub(crate) fn named_file<'a>(key: &str, value: &'a Json) -> Option<&'a str> {
    value.as_str().filter(|name| key.ends_with("_file") && !name.is_empty())
}

fn reference(value: &Json) -> Option<(&'static str, &str)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let text = |word: &'static str| map.get(word).and_then(Json::as_str).map(|name| (word, name));
    text("file").or_else(|| text("env"))
}

fn read(key: &str, path: &Path) -> Result<String, SecretError> {
    let failed = |source| SecretError::File { key: key.to_owned(), path: path.to_path_buf(), source };
    let wrong = |what| SecretError::Content { key: key.to_owned(), path: path.to_path_buf(), what };
    let bytes = crate::load::read_limited(path, SECRET_BYTES_MAX).map_err(failed)?;
    let text =
        String::from_utf8(bytes.ok_or_else(|| wrong("too long"))?).map_err(|_| wrong("no UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(wrong("empty")) } else { Ok(text.to_owned()) }
}

const SECRET_BYTES_MAX: u64 = 64 << 10;
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_take_the_place_of_their_reference() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pass"), "s3cret\n").unwrap();
        let mut settings = serde_json::json!({ "user": "u", "auth": [{ "password": { "file": "pass" } }] });
        resolve_secrets(&mut settings, dir.path()).unwrap();
        assert_eq!(settings, serde_json::json!({ "user": "u", "auth": [{ "password": "s3cret" }] }));
    }

    #[test]
    fn a_file_that_a_plugin_reads_by_itself_is_found_from_the_folder_of_the_configuration() {
        let mut settings = serde_json::json!({
            "tls": { "ca_file": "ca.pem", "key_file": "/etc/key.pem", "cert_file": null, "other_file": "" },
            "file": "x", "profile": "y",
        });
        resolve_secrets(&mut settings, Path::new("/site")).unwrap();
        let expected = serde_json::json!({
            "tls": { "ca_file": "/site/ca.pem", "key_file": "/etc/key.pem", "cert_file": null, "other_file": "" },
            "file": "x", "profile": "y",
        });
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_missing_secret_says_which_key_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = serde_json::json!({ "password": { "file": "absent" } });
        let error = resolve_secrets(&mut settings, dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("secret `settings.password`: cannot read "), "{error}");
        assert!(error.ends_with("absent: put the secret into that file, readable by the hub"), "{error}");

        let mut settings = serde_json::json!({ "token": { "env": "TWINHUB_TEST_NEVER_SET" } });
        let error = resolve_secrets(&mut settings, dir.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            "secret `settings.token`: the environment variable TWINHUB_TEST_NEVER_SET is not set: set it for the hub's service"
        );
    }

    #[test]
    fn an_empty_or_binary_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, what) in [(&b"\n"[..], "empty"), (&b"\xff\xfe"[..], "no UTF-8 text")] {
            std::fs::write(dir.path().join("pass"), bytes).unwrap();
            let mut settings = serde_json::json!({ "password": { "file": "pass" } });
            let error = resolve_secrets(&mut settings, dir.path()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
