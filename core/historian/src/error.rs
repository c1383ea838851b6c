//! What can go wrong with a database.

use std::time::Duration;

use tokio_postgres::error::SqlState;

/// Why a database did not do what was asked. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It did not answer in time.
    #[error("the database does not answer: {what} took longer than {patience:?}")]
    Silent {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        patience: Duration,
    },
    /// The certificate authority's file is none.
    #[error("the authority of the database's certificate: {0}")]
    Authority(String),
    /// The tables were made by a newer version.
    #[error(
        "the tables in schema {schema} have format {got}, this version writes format {known}: install the newer version \
         on this node, too, or name another schema"
    )]
    Newer {
        /// Their schema.
        schema: String,
        /// The format found.
        got: i32,
        /// The format known.
        known: i32,
    },
    /// The server refused.
    #[error("the database refuses {what}: {message} (SQLSTATE {code}){help}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The server's words.
        message: String,
        /// The server's code.
        code: String,
        /// What to do, with a leading separator.
        help: &'static str,
    },
    /// There is no connection, or it broke.
    #[error("no connection to the database, {what}: {message}")]
    Connection {
        /// What was asked.
        what: &'static str,
        /// Why.
        message: String,
    },
}

impl DatabaseError {
    pub(crate) fn of(what: &'static str, error: &tokio_postgres::Error) -> DatabaseError {
        if let Some(refusal) = error.as_db_error() {
            let code = refusal.code();
            // It stops, crashed, or begins: nothing was refused.
            if code.code().starts_with("57P") {
                return DatabaseError::Connection { what, message: refusal.message().to_owned() };
            }
            return DatabaseError::Refused {
                what,
                message: refusal.message().to_owned(),
                code: code.code().to_owned(),
                help: help(code),
            };
        }
        // The cause is what says it: the error's own words are "error connecting to server".
        let mut message = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let words = cause.to_string();
            if !message.contains(&words) {
                message = format!("{message}: {words}");
            }
            source = cause.source();
        }
        DatabaseError::Connection { what, message }
    }

    /// Whether it is about the rows themselves, and the same rows would be refused again: data exceptions, constraints,
    /// and what is too long for an index.
    pub(crate) fn is_about_data(&self) -> bool {
        let code = match self {
            DatabaseError::Refused { code, .. } => code.as_str(),
            DatabaseError::Silent { .. }
            | DatabaseError::Authority(_)
            | DatabaseError::Newer { .. }
            | DatabaseError::Connection { .. } => return false,
        };
        ["22", "23", "54"].iter().any(|class| code.starts_with(class))
    }
}

fn help(code: &SqlState) -> &'static str {
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        "; grant the user what the reference of `[historian]` lists"
    } else if *code == SqlState::DISK_FULL {
        "; make room on its disk: values wait in the history of this node"
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        "; create the database"
    } else if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        "; check `user` and `password`, and pg_hba.conf on the server"
    } else if *code == SqlState::UNDEFINED_TABLE
        || *code == SqlState::UNDEFINED_COLUMN
        || *code == SqlState::DATATYPE_MISMATCH
        || *code == SqlState::INVALID_COLUMN_REFERENCE
    {
        "; somebody changed the tables: restore them, or name another schema"
    } else {
        ""
    }
}
