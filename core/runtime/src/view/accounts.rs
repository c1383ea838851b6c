//! Users, tokens, logins, and who did what.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The name.
    pub name: String,
    /// `viewer operator engineer admin`.
    pub role: String,
    /// Sessions that have not ended.
    pub sessions: u64,
    /// Counts the changes.
    pub revision: u64,
    /// Who changed it last.
    pub author: String,
    /// When, RFC 3339.
    pub at: String,
}

/// A secret of a program, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// The name.
    pub name: String,
    /// `viewer operator engineer admin`.
    pub role: String,
    /// When it ends, RFC 3339; never if left out.
    pub expires: Option<String>,
    /// Who made it.
    pub author: String,
    /// When, RFC 3339.
    pub at: String,
}

/// A new token. The secret is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMadeView {
    /// The name.
    pub name: String,
    /// What a client sends as `Authorization: Bearer`.
    pub token: String,
    /// `viewer operator engineer admin`.
    pub role: String,
    /// When it ends, RFC 3339; never if left out.
    pub expires: Option<String>,
    /// Whether a majority of the nodes has it on disk.
    pub confirmed: bool,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginView {
    /// Who.
    pub user: String,
    /// `viewer operator engineer admin`.
    pub role: String,
    /// What a client sends as `Authorization: Bearer`, on any node; browsers have it as a cookie.
    pub session: String,
    /// When it ends, RFC 3339.
    pub expires: String,
    /// Seconds that it counts.
    #[serde(default)]
    pub lasts_s: u64,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// Where it is in the journal of the first group.
    pub position: String,
    /// Whether a majority of the nodes has it on disk.
    pub confirmed: bool,
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Where it is in the journal of the first group.
    pub position: String,
    /// When, RFC 3339.
    pub at: String,
    /// Who.
    pub author: String,
    /// From where.
    pub origin: String,
    /// What.
    pub text: String,
}

/// How much the nodes have in common beside values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DocumentCounts {
    /// Users.
    pub users: u64,
    /// Tokens.
    pub tokens: u64,
    /// Sessions that have not ended.
    pub sessions: u64,
    /// The revision of the configuration in force, or 0.
    pub revision: u64,
    /// What nodes changed alone and is not in force.
    pub conflicts: u64,
}
