//! Other TOML files beside `twinhub.toml`, read and complained about in the same way.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::check::check_document;
use crate::describe::close;
use crate::diagnostic::{Diagnostic, Failure, Source};
use crate::tree::{Step, Tree};

/// A TOML file whose keys and values know their places.
#[derive(Debug, Clone)]
pub struct Document {
    source: Source,
    tree: Tree,
}

impl Document {
    /// Takes the text of the file, called `name` in messages, which must fit `schema`: a JSON Schema of the type `T`.
    /// Unknown keys are errors.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong.
    pub fn parse<T: DeserializeOwned>(
        text: &str,
        name: &str,
        mut schema: Json,
    ) -> Result<(T, Document), Failure> {
        close(&mut schema);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source::new(name, text.to_owned());
        let tree = Tree::parse(&source).map_err(Failure::new)?;
        let found = check_document(&source, &tree, &schema);
        if !found.is_empty() {
            return Err(Failure::new(found));
        }
        match serde_json::from_value(tree.json_without(&[])) {
            Ok(value) => Ok((value, Document { source, tree })),
            Err(error) => {
                let found = Diagnostic::error(format!("the file cannot be read: {error}"));
                Err(Failure::new(vec![found.at(&source, 0..0, "")]))
            }
        }
    }

    /// Its text, without a byte order mark.
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// Where the value at that path stands in the text; that of the deepest part of the path that exists otherwise.
    pub fn span(&self, path: &[Step<'_>]) -> Range<usize> {
        self.tree.span_of(path)
    }

    /// The line of what is at that path, from 1.
    pub fn line(&self, path: &[Step<'_>]) -> u32 {
        self.source.line_and_column(self.span(path).start).0
    }

    /// An error with the place of what is at that path.
    #[must_use]
    pub fn error(&self, path: &[Step<'_>], message: String, label: &str) -> Diagnostic {
        Diagnostic::error(message).at(&self.source, self.span(path), label)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_file_is_checked_with_line_and_what_was_meant() {
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        let parse =
            |text: &str| Document::parse::<Json>(text, "/etc/twinhub/other.toml", schema.clone()).map(drop);
        parse("name = \"x\"\n").unwrap();
        let found = parse("\nnam = 1\n").unwrap_err();
        assert_eq!(found.diagnostics[0].line, Some(2));
        assert!(found.render().contains("did you mean `name`?"), "{}", found.render());
        assert!(parse("name = ").unwrap_err().to_string().contains("this is no TOML"));
    }

    #[test]
    fn values_know_their_places() {
        let schema = json!({});
        let text = "a = 1\n[[b]]\nc = \"d\"\n";
        let (_, document) = Document::parse::<Json>(text, "x", schema).unwrap();
        let path = ["b".into(), 0.into(), "c".into()];
        assert_eq!(&document.text()[document.span(&path)], "\"d\"");
        assert_eq!(document.line(&path), 3);
        assert_eq!(document.error(&path, "no".to_owned(), "").line, Some(3));
    }
}
