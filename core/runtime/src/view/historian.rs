//! The way of values to a central database, as interfaces show it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a node writes into the central database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistorianView {
    /// `host:port/database`.
    pub database: String,
    /// Whether there is a connection; a standby has one, too.
    pub connected: bool,
    /// Whether this node writes now: it acts for a group, or all nodes write.
    pub writes: bool,
    /// Values that were not in the database before, since start.
    pub rows_written: u64,
    /// Values that were there already, since start.
    pub rows_known: u64,
    /// Values that the database refused while it took others, since start; they are left out.
    pub rows_refused: u64,
    /// Values that were deleted from this node's history before they were in the database, since start, about.
    pub rows_lost: u64,
    /// Damaged blocks of this node's history that were left out, since start. Their values are looked for in the journal and
    /// on other nodes, and follow from there.
    pub blocks_damaged: u64,
    /// Values that wait on this node, about; 0 on one that does not write.
    pub lag_rows: u64,
    /// For how long the database has not had all of them.
    pub lag_seconds: u64,
    /// How often a connection failed or broke, since start.
    pub errors: u64,
    /// Why there is none.
    pub error: Option<String>,
}
