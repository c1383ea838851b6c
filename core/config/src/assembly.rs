//! What every step from file to site has at hand, and what is found on the way.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Failure, Severity, Source};
use crate::duration::parse_duration;
use crate::file;
use crate::site::Site;
use crate::tree::{Step, Tree};

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub site: Site,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// See the module.
pub(crate) struct Assembly<'a> {
    pub(crate) source: &'a Source,
    pub(crate) tree: &'a Tree,
    pub(crate) found: Vec<Diagnostic>,
}

impl Assembly<'_> {
    pub(crate) fn error(&mut self, path: &[Step<'_>], message: String, label: &str, help: impl Into<String>) {
        let span = self.tree.span_of(path);
        self.found.push(Diagnostic::error(message).at(self.source, span, label).help(help));
    }

    pub(crate) fn warn(&mut self, path: &[Step<'_>], message: String, label: &str, help: impl Into<String>) {
        let span = self.tree.span_of(path);
        self.found.push(Diagnostic::warning(message).at(self.source, span, label).help(help));
    }

    /// The line of what is at that path.
    pub(crate) fn line(&self, path: &[Step<'_>]) -> u32 {
        self.source.line_and_column(self.tree.span_of(path).start).0
    }

    pub(crate) fn end(self, site: Site) -> Result<Loaded, Failure> {
        let (errors, warnings): (Vec<_>, Vec<_>) =
            self.found.into_iter().partition(|found| found.severity == Severity::Error);
        if errors.is_empty() {
            Ok(Loaded { site, warnings })
        } else {
            Err(Failure::new(errors.into_iter().chain(warnings).collect()))
        }
    }
}

/// What the schema check has refused already counts as not given.
pub(crate) fn span(given: Option<&file::Span>, default: Duration) -> Duration {
    given.and_then(|span| parse_duration(&span.0)).unwrap_or(default)
}

pub(crate) const GROUP: &str = "site";
