//! `monitor`: what goes over the line of an interface.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use twinhub_runtime::view::{MessageView, MonitorView};

use crate::cli::{Global, MonitorArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, plain};

/// Follows the messages of a line until it is stopped.
pub(crate) fn monitor(global: &Global, args: &MonitorArgs, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    let path = format!("/api/v1/interfaces/{}/monitor", escape(&args.interface));
    let mut view: MonitorView = client.get(&format!("{path}?limit={}", args.last.clamp(1, LIMIT)))?;
    if args.last == 0 {
        view.messages.clear();
    }
    let mut left = args.count;
    let mut seen = view.messages.first().map_or(view.last, |message| message.number.saturating_sub(1));
    loop {
        if view.last < seen {
            show_gap("the plugin was started anew", answer)?;
            seen = 0;
        }
        for message in &view.messages {
            let lost = message.number.saturating_sub(seen + 1);
            if lost > 0 {
                show_gap(&format!("{lost} messages came too fast to be shown"), answer)?;
            }
            seen = message.number;
            if !is_about(message, args.to.as_deref()) {
                continue;
            }
            answer.give_line(message, line)?;
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                return Ok(Code::Ok);
            }
        }
        if view.messages.is_empty() {
            std::thread::sleep(INTERVAL);
        }
        view = next(&client, &format!("{path}?limit={LIMIT}&after={seen}"))?;
    }
}

/// Asks until there is an answer: a node that restarts is back after a while.
fn next(client: &Client, path: &str) -> Result<MonitorView, Failure> {
    loop {
        match client.get(path) {
            Err(failure) if failure.code == Code::Unreachable => {
                tracing::warn!(reason = failure.text, "the node does not answer, trying again");
                std::thread::sleep(RETRY);
            }
            answered => return answered,
        }
    }
}

/// Something that is missing.
#[derive(Debug, Serialize)]
struct Gap<'a> {
    gap: &'a str,
}

fn show_gap(text: &str, answer: Answer) -> Result<(), Failure> {
    answer.give_line(&Gap { gap: text }, |gap| format!("-- {}", gap.gap)).map(drop)
}

fn is_about(message: &MessageView, prefix: Option<&str>) -> bool {
    prefix.is_none_or(|prefix| message.to.starts_with(prefix) || message.name.starts_with(prefix))
}

fn line(message: &MessageView) -> String {
    let arrow = if message.direction == "out" { ">" } else { "<" };
    let mut text = format!("{} {arrow} {} -> {}", message.time, or_dash(&message.from), or_dash(&message.to));
    for part in [&message.kind, &message.value].into_iter().filter(|part| !part.is_empty()) {
        text.push(' ');
        text.push_str(part);
    }
    if !message.raw.is_empty() {
        write!(text, " [{}]", message.raw).expect("writing to a String cannot fail");
    }
    if !message.name.is_empty() {
        text.push_str("  ");
        text.push_str(&message.name);
    }
    plain(&text)
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Most messages that are asked for at once.
const LIMIT: u32 = 500;
/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);
/// Before a node is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_is_known_and_keeps_the_terminal() {
        let message = MessageView {
            number: 3,
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            direction: "in".to_owned(),
            from: "1.1.5".to_owned(),
            to: "1/2/3".to_owned(),
            name: "Lobby\u{1b}[2J".to_owned(),
            kind: "write".to_owned(),
            value: "21.5 \u{b0}C".to_owned(),
            raw: "0c33".to_owned(),
        };
        assert_eq!(
            line(&message),
            "2026-01-02T03:04:05.678Z < 1.1.5 -> 1/2/3 write 21.5 \u{b0}C [0c33]  Lobby [2J"
        );
        assert!(is_about(&message, Some("1/2")) && is_about(&message, Some("Lobby")));
        assert!(!is_about(&message, Some("1/3")));
    }
}
