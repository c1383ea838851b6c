//! REST, streams and metrics over a running hub.
//!
//! [`serve`] answers on one address: `/health/*`, `/metrics`, `/openapi.json` and `/api/v1/*`. Handlers only
//! translate between HTTP and [`twinhub_runtime::Handle`]; they decide nothing.
//!
//! # Who may do what
//! - `/health/*` and `/metrics` answer everybody.
//! - Everything else asks who it is, as `Authorization: Bearer <secret>` or, for a session, as a cookie:
//!   - the **token of the node**, 64 hexadecimal digits in the file `token` of the node's state directory (made at the
//!     first start, readable only by its owner), or in the file that `[web] token_file` names: may do everything. What it
//!     asks of another node, that node lets in by the word of this one;
//!   - a **session**, which `POST /api/v1/login` gives for a name and password, and a **token** made with
//!     `twinhub tokens create`: may do what its role may, on every node of the site. [`limits`] has what stops guessing.
//! - Roles: a `viewer` reads; an `operator` writes items and moves roles, too; an `engineer` changes the configuration and
//!   who votes, too; an `admin` changes users and tokens and sees the audit list, too.
//! - With `[web] trust_loopback = true`, the default, requests from this machine need no token, provided that their `Host`
//!   is `localhost`, a loopback address or an address of this node, and that their `Origin`, if there is one, is the
//!   same: a web page from elsewhere in a browser on this machine gets nothing.
//!
//! # Limits
//! Connections in all and per address, time for the header, for the request and for a blocked reader, size of
//! header, body and WebSocket message, memory of all answers that clients have not taken: see [`limits`]. What exceeds
//! one gets an answer or a closed connection, is counted in `twinhub_web_dropped_total` with its cause, and nothing
//! else suffers.
//!
//! # Errors
//! Every error is `application/problem+json` with a stable `code`; see [`problem::Problem`].
#![warn(missing_docs)]
#![expect(clippy::result_large_err, reason = "a problem is the answer itself, made at most once per request")]

mod access;
mod api;
mod attempts;
mod clients;
mod forward;
pub mod limits;
pub mod metrics;
mod openapi;
pub mod problem;
mod server;
mod standing;
pub mod token;
mod web;

pub use openapi::document as openapi_document;
pub use server::{WebError, WebOptions, serve};
pub use token::Token;
