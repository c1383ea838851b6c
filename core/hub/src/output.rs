//! Answers on stdout: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::OutputForm;
use crate::exit::{Code, Failure, Outcome};

/// Prints answers in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    form: OutputForm,
}

impl Answer {
    pub(crate) const fn new(form: OutputForm) -> Answer {
        Answer { form }
    }

    pub(crate) fn is_json(self) -> bool {
        self.form == OutputForm::Json
    }

    pub(crate) fn is_csv(self) -> bool {
        self.form == OutputForm::Csv
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    pub(crate) fn give<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        let printed = match self.form {
            OutputForm::Json => {
                serde_json::to_string_pretty(value).map_err(|error| Failure::of(Code::Internal, &error))?
            }
            OutputForm::Table => text(value),
            OutputForm::Csv => return Err(no_csv()),
        };
        print(&printed)
    }

    /// Prints one of many, on one line.
    pub(crate) fn give_line<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        let printed = match self.form {
            OutputForm::Json => {
                serde_json::to_string(value).map_err(|error| Failure::of(Code::Internal, &error))?
            }
            OutputForm::Table => text(value),
            OutputForm::Csv => return Err(no_csv()),
        };
        print(&printed)
    }
}

fn no_csv() -> Failure {
    Failure::new(Code::Usage, "this command gives no CSV: write --output table or --output json")
}

/// Prints lines on stdout. A reader that is gone, as with `| head`, ends the command without an error.
pub(crate) fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Ok(()) => Ok(Code::Ok),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Code::Error, format!("cannot print the answer: {error}"))),
    }
}

/// A table without lines, as wide as the terminal at most.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    // Scripts get whole lines, people get what fits their terminal.
    let arrangement =
        if io::stdout().is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text from outside without control characters, which could rewrite the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A JSON value as a person reads it.
pub(crate) fn value_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_aligned_columns_and_no_trailing_blanks() {
        let rows = [["plc1/a".to_owned(), "1".to_owned()], ["b".to_owned(), "200".to_owned()]];
        let text = table(["key", "value"], rows);
        assert_eq!(text, "KEY     VALUE\nplc1/a  1\nb       200");
    }

    #[test]
    fn values_from_outside_do_not_rewrite_the_terminal() {
        let text = table(["key"], [["a\u{1b}[2Jb\nc".to_owned()]]);
        assert_eq!(text, "KEY\na [2Jb c");
    }
}
