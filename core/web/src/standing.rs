//! Whether who follows a stream may still do so: a stream outlives the moment at which it was asked for.

use std::sync::Arc;

use axum::http::HeaderMap;
use tokio::time::Instant;

use crate::access::{self, Caller};
use crate::limits;
use crate::web::Web;

/// Who follows.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The name, and what proves it; none for this machine and for the token of the node, which count as long as the node
    /// runs.
    shown: Option<(String, Arc<str>)>,
    /// When it is looked at next.
    due: Instant,
}

impl Standing {
    /// Of one that was let in.
    pub(crate) fn of(caller: &Caller, headers: &HeaderMap) -> Standing {
        let shown = caller.who.clone().zip(access::secret_of(headers).map(Arc::from));
        Standing { shown, due: Instant::now() + limits::STANDING_LOOK }
    }

    /// Whether the session or token does not count any more, as far as it is time to look.
    pub(crate) fn is_lost(&mut self, web: &Web) -> bool {
        let Some((who, secret)) = self.shown.as_ref().filter(|_| Instant::now() >= self.due) else {
            return false;
        };
        self.due = Instant::now() + limits::STANDING_LOOK;
        web.handle.identify(secret).is_none_or(|identity| identity.name != *who)
    }

    /// Waits until the session or token does not count any more.
    pub(crate) async fn lost(&mut self, web: &Web) {
        if self.shown.is_none() {
            std::future::pending::<()>().await;
        }
        while !self.is_lost(web) {
            tokio::time::sleep_until(self.due).await;
        }
    }
}
