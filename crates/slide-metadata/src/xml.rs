//! A parser for XML written by scanners. The size and the depth of the element tree are limited.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// The maximum number of elements and attributes in a document, and the maximum nesting depth.
const MAX_NODES: usize = 1 << 19;
const MAX_DEPTH: usize = 64;

/// An XML element. Names of elements and attributes are stored without their namespace prefix.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Parses a document and returns its root. The error is the reason why the document cannot be parsed.
    pub(crate) fn parse(document: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(document.trim_start_matches('\u{feff}').trim());
        let (mut open_elements, mut node_count) = (vec![Self::default()], 0);
        loop {
            let event = reader.read_event().map_err(|error| error.to_string())?;
            let last = open_elements.len() - 1;
            match event {
                Event::Start(start) => open_elements.push(Self::parse_start_tag(&start, &mut node_count)?),
                Event::Empty(start) => {
                    open_elements[last].children.push(Self::parse_start_tag(&start, &mut node_count)?);
                }
                Event::End(_) => match open_elements.pop() {
                    Some(element) if last > 0 => open_elements[last - 1].children.push(element),
                    _ => return Err("an end tag has no start tag".to_owned()),
                },
                Event::Text(text) => {
                    open_elements[last].text.push_str(&text.decode().map_err(|error| error.to_string())?);
                }
                Event::CData(text) => {
                    open_elements[last].text.push_str(&text.decode().map_err(|error| error.to_string())?);
                }
                Event::GeneralRef(reference) => open_elements[last].text.push_str(&resolve_reference(&reference)?),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            if node_count > MAX_NODES || open_elements.len() > MAX_DEPTH {
                return Err("it has too many elements".to_owned());
            }
        }
        let root = if open_elements.len() == 1 {
            open_elements.pop().and_then(|mut document| document.children.pop())
        } else {
            None
        };
        root.ok_or_else(|| "its root element has no end tag".to_owned())
    }

    fn parse_start_tag(start: &BytesStart<'_>, node_count: &mut usize) -> Result<Self, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut element = Self { name: text(start.local_name().as_ref()), ..Self::default() };
        *node_count += 1;
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let value = String::from_utf8_lossy(&attribute.value).into_owned();
            let value = unescape(&value).map_err(|error| error.to_string())?.into_owned();
            element.attributes.push((text(attribute.key.local_name().as_ref()), value));
            *node_count += 1;
            if *node_count > MAX_NODES {
                return Err("it has too many attributes".to_owned());
            }
        }
        Ok(element)
    }

    /// Returns the first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Returns all children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the names and values of all attributes.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the first element of this name in document order, including this one.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// Calls `visit` for this element and all its descendants.
    pub(crate) fn visit_all<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        self.children.iter().for_each(|child| child.visit_all(visit));
    }
}

fn resolve_reference(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character.to_string());
    }
    let name = reference.decode().map_err(|error| error.to_string())?;
    unescape(&format!("&{name};")).map(std::borrow::Cow::into_owned).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_attributes_and_references_are_parsed() {
        let root =
            Element::parse("\u{feff}<?xml version='1.0'?><a x:b='1 &lt; 2'>&quot;0.5&quot; &#181;<c/></a>\n").unwrap();
        assert_eq!((root.attribute("b"), root.text.as_str()), (Some("1 < 2"), "\"0.5\" µ"));
        assert!(root.child("c").is_some());
    }

    #[test]
    fn malformed_and_too_large_documents_are_rejected() {
        let deep = "<a>".repeat(100);
        let wide = format!("<a>{}</a>", "<b/>".repeat(MAX_NODES));
        for document in ["", "text", "<a>", "<a></b>", "<a b='&nothing;'/>", "<a>&lol;</a>", &deep, &wide] {
            assert!(Element::parse(document).is_err());
        }
    }
}
