//! How much one client may take.

use std::time::Duration;

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections at once from one address; loopback is exempt, since tools and proxies share it.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;
/// Of them, those that only an address with few connections gets, so that one that takes many locks nobody out.
pub const CONNECTIONS_RESERVED: usize = 64;
/// How many are few.
pub const FEW_CONNECTIONS: usize = 4;
/// KiB of answers that clients have not taken yet, all together.
pub const ANSWERS_KIB_MAX: u32 = 64 * 1024;
/// An answer up to this size does not count towards them.
pub const SMALL_ANSWER_BYTES: usize = 64 * 1024;
/// From the first byte awaited to the end of the header; also how long an idle connection is kept.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of a header.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// From the header to the answer, including the body's arrival and the device's reply.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is disconnected.
pub const BLOCKED_WRITE_MAX: Duration = Duration::from_secs(20);
/// Bytes of a message that a WebSocket client sends; those that the hub expects are short.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a configuration in one `POST /config`.
pub const CONFIGURATION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Values in one `POST /items:bulk`.
pub const BULK_ITEMS_MAX: usize = 10_000;
/// Writes of one bulk request that are under way at once.
pub const BULK_PARALLEL: usize = 64;
/// Requests carried over to the active node at once.
pub const FORWARDS_MAX: usize = 16;
/// Values in one Parquet file of `GET /history`.
pub const FILE_ROWS_MAX: usize = 1_000_000;
/// A request that another node carries over may come so long before its word.
pub const VOUCH_TIME_MAX: Duration = Duration::from_secs(2);
/// How often the word is looked for.
pub const VOUCH_LOOK: Duration = Duration::from_millis(10);
/// Requests that read the history at once.
pub const QUERIES_MAX: usize = 4;
/// How long open requests may take to finish when the server stops.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);
/// How often it is looked whether who follows a stream may still do so.
pub const STANDING_LOOK: Duration = Duration::from_secs(1);
/// A stream without values says so at this interval.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Rows in a page if the client does not say.
pub const PAGE_DEFAULT: usize = 1000;
/// Rows in a page at most.
pub const PAGE_MAX: usize = 10_000;
/// Wrong passwords from one address, or for one user, before it has to wait.
pub const LOGIN_ATTEMPTS_FREE: u32 = 5;
/// The first wait; each further wrong password doubles it.
pub const LOGIN_WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait for an address.
pub const LOGIN_WAIT_MAX: Duration = Duration::from_secs(300);
/// The longest wait for a user, whom somebody else may want to lock out.
pub const LOGIN_WAIT_USER_MAX: Duration = Duration::from_secs(30);
/// Without a wrong password for so long, all is forgotten.
pub const LOGIN_MEMORY: Duration = Duration::from_secs(900);
/// Addresses and users that are remembered.
pub const LOGIN_REMEMBERED_MAX: usize = 4096;
