//! What other threads see of the way to the database.

use std::sync::{Mutex, MutexGuard, PoisonError};

use twinhub_historian::Written;
use twinhub_model::Timestamp;

use crate::clock;
use crate::view::HistorianView;

/// See the module; empty without a database.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<Option<State>>,
}

#[derive(Debug, Default)]
struct State {
    view: HistorianView,
    /// What came before was there, as far as this node knows.
    complete_at: Option<Timestamp>,
    /// It was said that there is trouble, and not yet that it is over.
    in_trouble: bool,
}

impl Board {
    pub(super) fn begin(&self, database: String) {
        let view = HistorianView { database, ..HistorianView::default() };
        *self.lock() = Some(State { view, ..State::default() });
    }

    /// What status and metrics show, with rows that were taken up and are not sent; `None` if there is no database.
    pub(crate) fn view(&self, taken_up: u64) -> Option<HistorianView> {
        let state = self.lock();
        let state = state.as_ref()?;
        let mut view = state.view.clone();
        view.lag_rows += taken_up;
        if view.lag_rows > 0
            && let Some(at) = state.complete_at
        {
            let behind = clock::utc().0.saturating_sub(at.0);
            view.lag_seconds = u64::try_from(behind / 1_000_000_000).unwrap_or(0);
        }
        Some(view)
    }

    /// Returns whether this is news.
    pub(super) fn on_trouble(&self, text: &str) -> bool {
        let Some(state) = &mut *self.lock() else { return false };
        state.view.connected = false;
        state.view.errors += 1;
        let is_news = !std::mem::replace(&mut state.in_trouble, true);
        state.view.error = Some(text.to_owned());
        is_news
    }

    pub(super) fn on_connected(&self) {
        self.update(|state| {
            state.view.connected = true;
            state.view.error = None;
        });
    }

    /// Nothing is known that the database lacks; returns whether that ends trouble.
    pub(super) fn on_complete(&self, at: Timestamp) -> bool {
        let Some(state) = &mut *self.lock() else { return false };
        state.complete_at = Some(at);
        state.view.lag_rows = 0;
        std::mem::take(&mut state.in_trouble)
    }

    pub(super) fn on_written(&self, written: &Written) {
        self.update(|state| {
            state.view.rows_written += written.new;
            state.view.rows_known += written.known;
            state.view.rows_refused += written.refused;
        });
    }

    pub(super) fn on_lost(&self, rows: u64) {
        self.update(|state| state.view.rows_lost += rows);
    }

    pub(super) fn on_damaged(&self, blocks: u64) {
        self.update(|state| state.view.blocks_damaged += blocks);
    }

    pub(super) fn set_writes(&self, writes: bool) {
        self.update(|state| state.view.writes = writes);
    }

    /// So many rows are not there; the oldest of them came at this time.
    pub(super) fn set_lag(&self, rows: u64, oldest: Option<Timestamp>) {
        self.update(|state| {
            state.view.lag_rows = rows;
            state.complete_at = state.complete_at.or(oldest);
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = &mut *self.lock() {
            change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
