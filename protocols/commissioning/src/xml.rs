//! XML as it comes: start and end of elements, with a bound on how deep they are.
//!
//! Nothing is expanded but the five entities of XML and references to characters, and a document type is refused: so a
//! small file cannot become a large text.

use std::borrow::Cow;
use std::cell::Cell;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::error::Error;
use crate::imported::Place;

/// Reads a document.
pub(crate) struct Xml<'a> {
    name: &'a str,
    text: &'a str,
    reader: Reader<&'a [u8]>,
    depth: usize,
    depth_max: usize,
    has_root: bool,
    /// Up to where lines were counted, and how many: a file may have as many findings as elements.
    counted: Cell<(usize, u32)>,
    /// Text since it was taken, if anybody wants it.
    gathered: Option<String>,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// An element begins.
    Start(Element<'a>),
    /// The last element that began and did not end yet ends.
    End,
}

/// The start of an element.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    start: BytesStart<'a>,
}

/// Attributes of an element.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    pairs: Vec<(String, String)>,
}

impl<'a> Xml<'a> {
    /// A document called `name` in messages.
    pub(crate) fn new(name: &'a str, text: &'a str, depth_max: usize) -> Xml<'a> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Xml {
            name,
            text,
            reader,
            depth: 0,
            depth_max,
            has_root: false,
            counted: Cell::new((0, 1)),
            gathered: None,
        }
    }

    /// Keeps the text between elements, too.
    pub(crate) fn with_text(mut self) -> Xml<'a> {
        self.gathered = Some(String::new());
        self
    }

    /// The text since the last element began or ended.
    pub(crate) fn take_text(&mut self) -> String {
        self.gathered.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn gather(&mut self, text: &str) {
        if let Some(gathered) = &mut self.gathered {
            gathered.push_str(text);
        }
    }

    /// The next start or end; none behind the last one.
    pub(crate) fn step(&mut self) -> Result<Option<Step<'a>>, Error> {
        loop {
            let event = self.reader.read_event();
            match event {
                Ok(Event::Start(start)) => {
                    if self.depth == 0 && self.has_root {
                        return Err(self.wrong("a second document follows"));
                    }
                    self.has_root = true;
                    self.gathered.iter_mut().for_each(String::clear);
                    self.depth += 1;
                    if self.depth > self.depth_max {
                        return Err(Error::TooMuch {
                            place: self.place(),
                            what: "the depth of elements",
                            limit: self.depth_max as u64,
                            remedy: "the file was not written by the tool it should be from",
                        });
                    }
                    return Ok(Some(Step::Start(Element { start })));
                }
                Ok(Event::End(_)) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Some(Step::End));
                }
                Ok(Event::DocType(_)) => return Err(self.wrong("a document type is not allowed")),
                Ok(Event::Eof) if self.depth > 0 => return Err(self.wrong("the file ends within an element")),
                Ok(Event::Eof) if !self.has_root => return Err(self.wrong("this is no XML")),
                Ok(Event::Eof) => return Ok(None),
                Ok(Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => {}
                Ok(Event::Text(text)) => self.gather(&text),
                Ok(Event::CData(text)) => self.gather(&text),
                Ok(Event::GeneralRef(reference)) => {
                    let letter =
                        reference.resolve_char_ref().map_err(|error| self.wrong(&error.to_string()))?;
                    let known = quick_xml::escape::resolve_predefined_entity(&reference);
                    match (letter, known) {
                        (Some(letter), _) => self.gather(letter.encode_utf8(&mut [0; 4])),
                        (None, Some(text)) => self.gather(text),
                        (None, None) => return Err(self.wrong("an entity is not known")),
                    }
                }
                Err(error) => return Err(self.wrong(&error.to_string())),
            }
        }
    }

    /// The attributes of an element that began.
    pub(crate) fn attributes(&self, element: &Element<'_>) -> Result<Attributes, Error> {
        let mut pairs = Vec::new();
        for attribute in element.start.attributes() {
            let attribute = attribute.map_err(|error| self.wrong(&error.to_string()))?;
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|error| self.wrong(&error.to_string()))?;
            let name = text_of(attribute.key.as_ref());
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Attributes { pairs })
    }

    /// The name of the document.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    /// Where the reader is.
    pub(crate) fn place(&self) -> Place {
        let at = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX).min(self.text.len());
        let (from, line) = self.counted.get();
        let lines = self.text.get(from..at).map_or(0, |text| text.matches('\n').count());
        let line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.counted.set((at.max(from), line));
        Place::line(self.name, line)
    }

    /// The file is not what it should be, here.
    pub(crate) fn wrong(&self, what: &str) -> Error {
        Error::malformed(self.place(), what, "export the file again")
    }
}

impl Element<'_> {
    /// The name without the prefix of its name space.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        let name = self.start.name();
        match text_of(name.as_ref()) {
            Cow::Borrowed(text) => {
                Cow::Owned(text.rsplit_once(':').map_or(text, |(_, local)| local).to_owned())
            }
            Cow::Owned(text) => Cow::Owned(text),
        }
    }
}

impl Attributes {
    /// An attribute's value; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// An attribute's value by its name without a prefix.
    pub(crate) fn find_local(&self, name: &str) -> Option<&str> {
        let is_it = |known: &str| known.rsplit(':').next() == Some(name);
        self.pairs.iter().find(|(known, _)| is_it(known)).map(|(_, value)| value.as_str())
    }

    /// An attribute's value, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn text_of(name: &(impl AsRef<[u8]> + ?Sized)) -> Cow<'_, str> {
    String::from_utf8_lossy(name.as_ref())
}
