//! Whether a change can be made.

use std::collections::BTreeSet;

use super::Documents;
use crate::body::{Body, Configuration};
use crate::change::{Action, Change};
use crate::error::Refusal;
use crate::kind::Kind;
use crate::limits;

/// The one configuration of a site.
const CONFIGURATION_NAME: &str = "site";

pub(super) fn check(documents: &Documents, change: &Change) -> Result<(), Refusal> {
    for text in [&change.author, &change.origin] {
        short("an author or origin", text)?;
    }
    match &change.action {
        Action::Put { name, body, base } => {
            name_fits(body.kind(), name)?;
            let before = documents.get(body.kind(), name);
            let is_there = before.is_some_and(|before| before.body.is_some());
            let revision = before.filter(|_| is_there).map_or(0, |before| before.revision);
            if let Some(base) = *base
                && base != revision
            {
                return Err(Refusal::Stale { kind: body.kind(), name: name.clone(), revision, base });
            }
            if !is_there {
                has_room(documents, body.kind())?;
            }
            body_fits(documents, name, body)
        }
        Action::Remove { kind, name } => {
            if *kind == Kind::Configuration {
                return Err(invalid("a configuration is replaced, not removed"));
            }
            match documents.get(*kind, name) {
                Some(document) if document.body.is_some() => Ok(()),
                Some(_) | None => Err(Refusal::Unknown { kind: *kind, name: name.clone() }),
            }
        }
        Action::Note { text } => short("a note", text),
        Action::Keep { conflict } => {
            short("a node's name", &conflict.node)?;
            short("an author", &conflict.document.author)?;
            name_fits(conflict.document.kind, &conflict.document.name)?;
            match &conflict.document.body {
                Some(Body::Configuration(configuration)) => configuration_fits(configuration),
                Some(Body::User(_) | Body::Token(_) | Body::Session(_)) | None => Ok(()),
            }
        }
        Action::Forget { kind, name } => {
            let is_known = documents
                .conflicts()
                .any(|conflict| conflict.document.kind == *kind && conflict.document.name == *name);
            if is_known { Ok(()) } else { Err(Refusal::Unknown { kind: *kind, name: name.clone() }) }
        }
    }
}

fn has_room(documents: &Documents, kind: Kind) -> Result<(), Refusal> {
    let (what, limit) = match kind {
        Kind::User => ("users", limits::USERS_MAX),
        Kind::Token => ("tokens", limits::TOKENS_MAX),
        // The oldest ones make room.
        Kind::Configuration | Kind::Session => return Ok(()),
    };
    if documents.list(kind).count() < limit {
        Ok(())
    } else {
        Err(Refusal::Full { what, limit: limit as u64 })
    }
}

fn body_fits(documents: &Documents, name: &str, body: &Body) -> Result<(), Refusal> {
    match body {
        Body::Configuration(configuration) => configuration_fits(configuration),
        Body::User(user) => {
            let hash = &user.password;
            let fits = (8..=64).contains(&hash.salt.len()) && (16..=64).contains(&hash.hash.len());
            if fits { Ok(()) } else { Err(invalid("a password hash has another length than it should")) }
        }
        Body::Token(token) => match documents.token(&token.digest) {
            Some((other, _)) if other != name => Err(invalid("another token has the same secret")),
            Some(_) | None => Ok(()),
        },
        Body::Session(session) => match documents.user(&session.user) {
            Some(_) => Ok(()),
            None => Err(Refusal::Unknown { kind: Kind::User, name: session.user.clone() }),
        },
    }
}

fn configuration_fits(configuration: &Configuration) -> Result<(), Refusal> {
    short("a message", &configuration.message)?;
    if configuration.files.len() > limits::FILES_MAX {
        return Err(Refusal::Invalid {
            what: format!("a configuration has at most {} files", limits::FILES_MAX),
        });
    }
    let mut names = BTreeSet::new();
    let mut bytes = 0_u64;
    for file in &configuration.files {
        if !is_inside(&file.name) {
            let what = format!("`{}` is no name for a file beside twinhub.toml", file.name.escape_debug());
            return Err(Refusal::Invalid { what });
        }
        if !names.insert(file.name.as_str()) {
            return Err(Refusal::Invalid { what: format!("the file `{}` is there twice", file.name) });
        }
        if file.pieces.len() as u64 != file.size.div_ceil(limits::PIECE_BYTES_MAX as u64) {
            let what = format!("the pieces of `{}` do not make {} bytes", file.name, file.size);
            return Err(Refusal::Invalid { what });
        }
        bytes = bytes.saturating_add(file.size);
    }
    if !names.contains("twinhub.toml") {
        return Err(invalid("a configuration has a file twinhub.toml"));
    }
    if bytes > limits::CONFIGURATION_BYTES_MAX {
        let limit = limits::CONFIGURATION_BYTES_MAX >> 20;
        return Err(Refusal::Invalid { what: format!("a configuration has at most {limit} MiB") });
    }
    Ok(())
}

/// Whether a name leads to a file below the directory, on every system.
fn is_inside(name: &str) -> bool {
    let part_fits = |part: &str| !part.is_empty() && part != "." && part != "..";
    let letter_fits = |letter: char| !letter.is_control() && !"\\:*?\"<>|".contains(letter);
    name.len() <= limits::FILE_NAME_BYTES_MAX
        && name.chars().all(letter_fits)
        && name.split('/').all(part_fits)
}

fn name_fits(kind: Kind, name: &str) -> Result<(), Refusal> {
    let fits = match kind {
        Kind::Configuration => name == CONFIGURATION_NAME,
        Kind::Session => name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        Kind::User | Kind::Token => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
            (1..=limits::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
        }
    };
    let shown = || name.escape_debug().take(limits::NAME_BYTES_MAX).collect();
    if fits { Ok(()) } else { Err(Refusal::Name { kind, name: shown() }) }
}

fn short(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() <= limits::TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::Invalid { what: format!("{what} has at most {} bytes", limits::TEXT_BYTES_MAX) })
}

fn invalid(what: &str) -> Refusal {
    Refusal::Invalid { what: what.to_owned() }
}
