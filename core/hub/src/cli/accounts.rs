//! `users`, `tokens`, `audit`.

use clap::{Args, Subcommand, ValueEnum};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleWord {
    /// See everything but users, tokens and the audit list
    Viewer,
    /// Write items and move roles, too
    Operator,
    /// Change the configuration and who votes, too
    Engineer,
    /// Change users and tokens, too
    Admin,
}

impl RoleWord {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            RoleWord::Viewer => "viewer",
            RoleWord::Operator => "operator",
            RoleWord::Engineer => "engineer",
            RoleWord::Admin => "admin",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List users
    Ls,
    /// Make a user; the password is asked for, or read from standard input
    Add {
        /// The name: letters, digits, `.`, `-`, `_` and `@`
        name: String,
        /// What the user may do
        #[arg(long, value_enum)]
        role: RoleWord,
        #[command(flatten)]
        alone: Alone,
    },
    /// Log in: print a session for `TWINHUB_TOKEN`; it counts on every node
    Login {
        /// The user
        name: String,
    },
    /// End the session in `TWINHUB_TOKEN`
    Logout,
    /// Give a user another password and end its sessions; whoever is logged in gives the one before, too. They are asked
    /// for, or read from standard input, one a line
    Passwd {
        /// The user; whoever is logged in if left out
        name: Option<String>,
        #[command(flatten)]
        alone: Alone,
    },
    /// Give a user another role
    Role {
        /// The user
        name: String,
        /// What the user may do
        #[arg(value_enum)]
        role: RoleWord,
        #[command(flatten)]
        alone: Alone,
    },
    /// Remove a user and end its sessions
    Rm {
        /// The user
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// List tokens, without their secrets
    Ls,
    /// Make a token and print its secret, this once
    Create {
        /// The name: letters, digits, `.`, `-`, `_` and `@`
        name: String,
        /// What who shows it may do
        #[arg(long, value_enum)]
        role: RoleWord,
        /// How long it counts, such as 400d; for ever if left out
        #[arg(long, value_name = "TIME")]
        lasts: Option<String>,
        #[command(flatten)]
        alone: Alone,
    },
    /// Revoke a token
    Revoke {
        /// The token
        name: String,
    },
}

/// Whether no majority is needed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Alone {
    /// Also if no majority of the nodes is there; it may be a conflict later
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// So many of the newest
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) limit: usize,
}
