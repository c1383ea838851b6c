//! How much is kept.

/// Users.
pub const USERS_MAX: usize = 1000;
/// Tokens.
pub const TOKENS_MAX: usize = 1000;
/// Sessions of all users; the oldest one ends when there is one more.
pub const SESSIONS_MAX: usize = 2000;
/// Sessions of one user; the oldest one ends when there is one more.
pub const SESSIONS_OF_USER_MAX: usize = 32;
/// Marks of what was removed; the oldest is forgotten when there is one more.
pub const REMOVED_MAX: usize = 4096;
/// Conflicts; the oldest is forgotten when there is one more.
pub const CONFLICTS_MAX: usize = 64;
/// Revisions of the configuration; the oldest is forgotten when there is one more.
pub const REVISIONS_MAX: usize = 50;
/// Entries of the audit list; the oldest is forgotten when there is one more.
pub const AUDIT_MAX: usize = 5000;
/// Files of one configuration.
pub const FILES_MAX: usize = 500;
/// Bytes of one configuration, all files.
pub const CONFIGURATION_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one piece of a file: fits a record and a piece of a copy.
pub const PIECE_BYTES_MAX: usize = 192 * 1024;
/// Bytes of the name of a user or token.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of the name of a file of the configuration.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of an author, an origin, a message, a note.
pub const TEXT_BYTES_MAX: usize = 1000;
