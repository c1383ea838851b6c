//! What is wrong, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// The text of one file, shared by everything found in it.
#[derive(Debug, Clone)]
pub struct Source {
    name: Arc<str>,
    text: Arc<NamedSource<String>>,
}

impl Source {
    /// The file `name` with its text.
    pub fn new(name: &str, text: String) -> Source {
        Source { name: name.into(), text: Arc::new(NamedSource::new(name, text)) }
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        self.text.inner()
    }

    /// Line and column of a byte, both from 1.
    pub fn line_and_column(&self, byte: usize) -> (u32, u32) {
        let bytes = self.text().as_bytes();
        let before = &bytes[..byte.min(bytes.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started with this.
    Error,
    /// Probably not meant, but it works.
    Warning,
}

/// One thing that is wrong, with its place and what to do.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// File, if known.
    pub file: Option<Arc<str>>,
    /// Line from 1, if known.
    pub line: Option<u32>,
    /// Column from 1, if known.
    pub column: Option<u32>,
    label: Option<String>,
    span: Option<Range<usize>>,
    source: Option<Source>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            help: None,
            file: None,
            line: None,
            column: None,
            label: None,
            span: None,
            source: None,
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
    }

    /// With what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// With its place in a text.
    #[must_use]
    pub fn at(mut self, source: &Source, span: Range<usize>, label: impl Into<String>) -> Diagnostic {
        let end = source.text().len();
        let span = span.start.min(end)..span.end.clamp(span.start.min(end), end);
        let (line, column) = source.line_and_column(span.start);
        self.file = Some(source.name.clone());
        self.line = Some(line);
        self.column = Some(column);
        self.label = Some(label.into());
        self.span = Some(span);
        self.source = Some(source.clone());
        self
    }

    /// With its place as file and line, where the text is not at hand any more.
    #[must_use]
    pub fn at_line(mut self, file: &str, line: u32) -> Diagnostic {
        self.file = Some(file.into());
        self.line = Some(line);
        self
    }

    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    fn place(&self) -> (Severity, Option<&str>, Option<u32>, Option<u32>) {
        (self.severity, self.file.as_deref(), self.line, self.column)
    }

    /// Without a place, where the text was made up.
    pub(crate) fn without_place(self) -> Diagnostic {
        Diagnostic { file: None, line: None, column: None, label: None, span: None, source: None, ..self }
    }

    /// The message with the text around its place, a caret and the help; without colors.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .with_links(false)
            .with_context_lines(1);
        if handler.render_report(&mut out, self).is_err() {
            out = self.to_string();
        }
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
    }
}

impl fmt::Display for Diagnostic {
    /// One line: file, line, column, message; for logs. With a place in a text, `render` shows more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_none()
            && let Some(file) = &self.file
        {
            write!(f, "{file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| &source.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        let label = self.label.clone().filter(|label| !label.is_empty());
        Some(Box::new(std::iter::once(LabeledSpan::new(label, span.start, span.len()))))
    }
}

/// Everything that is wrong with a configuration; at least one error.
#[derive(Debug)]
pub struct Failure {
    /// The errors, then the warnings, in the order of their places; at most [`Failure::SHOWN_MAX`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are.
    pub left_out: usize,
}

impl Failure {
    /// The most diagnostics that are kept.
    pub const SHOWN_MAX: usize = 100;

    /// With everything that was found; the worst first, in the order of places.
    pub fn new(mut diagnostics: Vec<Diagnostic>) -> Failure {
        diagnostics.sort_by(|a, b| a.place().cmp(&b.place()));
        let left_out = diagnostics.len().saturating_sub(Failure::SHOWN_MAX);
        diagnostics.truncate(Failure::SHOWN_MAX);
        Failure { diagnostics, left_out }
    }

    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|found| found.severity == Severity::Error)
    }

    /// Every diagnostic with the text around its place; without colors.
    pub fn render(&self) -> String {
        let mut parts: Vec<String> = self.diagnostics.iter().map(Diagnostic::render).collect();
        if self.left_out > 0 {
            parts.push(format!("… and {} more", self.left_out));
        }
        parts.join("\n\n")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors().count() + self.left_out;
        match (errors, self.errors().next()) {
            (1, Some(only)) => write!(f, "configuration is not usable: {}", one_line(only)),
            (_, Some(first)) => {
                write!(f, "configuration is not usable: {errors} errors, the first: {}", one_line(first))
            }
            (_, None) => f.write_str("configuration is not usable"),
        }
    }
}

impl std::error::Error for Failure {}

impl miette::Diagnostic for Failure {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.diagnostics.iter().map(|found| found as &dyn miette::Diagnostic)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (self.left_out > 0).then(|| Box::new(format!("{} more are not shown", self.left_out)) as Box<_>)
    }
}

fn one_line(found: &Diagnostic) -> String {
    match (&found.source, &found.file, found.line, found.column) {
        (Some(_), Some(file), Some(line), Some(column)) => {
            format!("{file}:{line}:{column}: {}", found.message)
        }
        _ => found.to_string(),
    }
}

/// The candidate that is most like `text`, if one is close enough to be meant.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    if length > COMPARED_CHARS_MAX {
        return None;
    }
    let limit = (length / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(text.len()) <= 4 * limit)
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(text.len())))
        .map(|(_, candidate)| candidate)
}

/// Edit distance with swaps of neighbors (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

const COMPARED_CHARS_MAX: usize = 128;

/// `Did you mean`, then all names.
pub(crate) fn with_nearest<'a>(
    text: &str,
    names: impl Iterator<Item = &'a str>,
    rest: impl FnOnce(String) -> String,
) -> String {
    let names: Vec<&str> = names.collect();
    let meant = nearest(text, names.iter().copied());
    let shown = names.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMES_MAX {
        format!(" and {} more", names.len() - NAMES_MAX)
    } else {
        String::new()
    };
    let rest = rest(format!("{shown}{more}"));
    meant.map_or(rest.clone(), |meant| format!("did you mean `{meant}`? {rest}"))
}

const NAMES_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_word_that_was_meant() {
        assert_eq!(nearest("witnes", ["witness", "profile"]), Some("witness"));
        assert_eq!(nearest("nodse", ["node", "nodes"]), Some("nodes"));
        assert_eq!(nearest("temperature", ["pressure"]), None);
    }
}
