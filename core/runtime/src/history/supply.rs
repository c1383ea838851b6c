//! Gives other nodes what their histories lack, on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;

use twinhub_history::{Exchange, Reader};
use twinhub_model::NodeRank;

use super::lines::{Lines, Question};
use crate::error::StartError;
use crate::shared::Shared;

/// No portion is larger, whoever asks.
const PORTION_BYTES_MAX: u32 = 256 * 1024;

/// Answers until the lines are closed. Without a history the answer says so.
pub(super) fn spawn(
    lines: Arc<Lines>,
    reader: Option<Reader>,
    shared: Arc<Shared>,
) -> Result<JoinHandle<()>, StartError> {
    let run = move || {
        while let Some(question) = lines.wait_for_question() {
            let (peer, number) = (question.peer, question.number);
            let answer = answer(reader.as_ref(), &question, &shared);
            lines.answer(peer, &answer.unwrap_or_else(|text| Exchange::Refusal { number, text }));
        }
    };
    std::thread::Builder::new()
        .name("history-supply".to_owned())
        .spawn(run)
        .map_err(|source| StartError::Thread { what: "the history for other nodes", source })
}

fn answer(reader: Option<&Reader>, question: &Question, shared: &Shared) -> Result<Exchange, String> {
    let reader = reader.ok_or("this node keeps no values")?;
    let Question { number, range, from, bytes, .. } = question;
    // An item of an interface that is configured no more may have been in any group.
    let is_wanted = |key: &str| {
        let interface = key.split('/').next().unwrap_or_default();
        let known = shared.site.interfaces.iter().find(|known| known.id == interface);
        known.is_none_or(|known| known.group == range.group)
    };
    let bytes = (*bytes).min(PORTION_BYTES_MAX) as usize;
    let (portion, lack) = reader.portion(range, from.as_ref(), &is_wanted, bytes).map_err(|error| {
        tracing::warn!(%error, peer = name(shared, question.peer), "the history cannot be read for another node");
        error.to_string()
    })?;
    Ok(Exchange::Answer { number: *number, portion, lack })
}

fn name(shared: &Shared, peer: NodeRank) -> String {
    shared.name_of(peer)
}
