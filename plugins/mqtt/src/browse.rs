//! What topics there are: questions of people, answered from what a broker gives in two seconds.
//!
//! A broker has no list of its topics. A connection of its own, with a session that ends with it, subscribes to everything
//! below a topic and hears what is retained and what is published meanwhile; the interface's own session knows nothing of
//! it. What it heard is kept for a minute, so that pages and folders belong together.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use twinhub_plugin::{Browse, Code, Error, Page, Result};

use crate::link::Link;

pub mod catalog;
pub mod listener;

use catalog::{Catalog, Place};

/// What was heard last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Rc<RefCell<Option<(Instant, Catalog)>>>);

impl Heard {
    /// Answers, after listening if need be.
    pub(crate) async fn answer(self, link: Rc<Link>, browse: Browse) {
        let page = self.page(&link, browse.parent(), browse.cursor(), browse.limit()).await;
        match page {
            Ok(page) => browse.answer(&page),
            Err(error) => browse.refuse(&error),
        }
    }

    /// Forgets it.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().take();
    }

    async fn page(
        &self,
        link: &Rc<Link>,
        parent: &serde_json::Value,
        cursor: &str,
        limit: usize,
    ) -> Result<Page> {
        let place = Place::parse(parent).map_err(Error::invalid)?;
        let begin: usize = if cursor.is_empty() {
            0
        } else {
            cursor
                .parse()
                .map_err(|_| Error::invalid("the cursor is not of an answer before; leave it out"))?
        };
        let is_known = |heard: &Option<(Instant, Catalog)>| {
            heard.as_ref().is_some_and(|(at, known)| {
                at.elapsed() < KEPT && known.answers(&place) && (begin > 0 || !known.is_of(&place))
            })
        };
        if !is_known(&self.0.borrow()) {
            let heard = listener::listen(link, &place).await?;
            *self.0.borrow_mut() = Some((Instant::now(), heard));
        }
        let heard = self.0.borrow();
        let (_, known) = heard.as_ref().ok_or_else(|| Error::new(Code::Stopped, "the plugin stops"))?;
        Ok(known.page(&place, begin, limit))
    }
}

/// What was heard answers for so long.
const KEPT: Duration = Duration::from_secs(60);
