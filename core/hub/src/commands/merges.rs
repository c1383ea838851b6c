//! `merge`.

use twinhub_runtime::view::MergeView;

use crate::cli::Global;
use crate::cli::merges::{MergeCommand, MergeLsArgs, MergeShowArgs};
use crate::client::{Client, escape};
use crate::exit::Outcome;
use crate::output::{Answer, plain, table};

pub(crate) fn merge(global: &Global, command: &MergeCommand, answer: Answer) -> Outcome {
    match command {
        MergeCommand::Ls(args) => list(global, args, answer),
        MergeCommand::Show(args) => show(global, args, answer),
    }
}

fn list(global: &Global, args: &MergeLsArgs, answer: Answer) -> Outcome {
    let mut path = "/api/v1/merges".to_owned();
    if let Some(group) = &args.group {
        path.extend(["?group=", &escape(group)]);
    }
    let list: Vec<MergeView> = Client::new(global)?.get(&path)?;
    answer.give(&list, |list| {
        let rows = list.iter().cloned().map(|row| {
            let counts = row.counts;
            [
                row.id,
                row.node,
                row.began,
                row.state,
                counts.values.to_string(),
                counts.events.to_string(),
                counts.commands.to_string(),
                (counts.conflicts + counts.commands_in_doubt).to_string(),
            ]
        });
        table(["id", "node", "began", "state", "values", "events", "commands", "to look at"], rows)
    })
}

fn show(global: &Global, args: &MergeShowArgs, answer: Answer) -> Outcome {
    let path = format!("/api/v1/merges/{}", escape(&args.id));
    let report: MergeView = Client::new(global)?.get(&path)?;
    answer.give(&report, text_of)
}

fn text_of(report: &MergeView) -> String {
    let mut lines = vec![
        format!("what node `{}` wrote alone in group `{}` after {}", report.node, report.group, report.after),
        match &report.ended {
            Some(ended) => format!("taken in by node `{}` from {} to {ended}", report.active, report.began),
            None => format!(
                "being taken in by node `{}` since {}, looked at up to {}",
                report.active, report.began, report.through
            ),
        },
        format!("kept: everything that node `{}` had, up to {}", report.active, report.kept_through),
        format!("files of node `{}`, {} bytes: {}", report.node, report.bytes, report.files.join(", ")),
    ];
    let counted = report.counts.named();
    lines.extend(
        counted.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count:>9} {what}")),
    );
    lines.extend(report.lines.iter().cloned());
    if report.more_lines > 0 {
        lines.push(format!("and {} lines more", report.more_lines));
    }
    lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
}
