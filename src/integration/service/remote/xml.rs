//! Answers in XML, as a tree of elements.
//!
//! Pure. Invariant: whatever the text is, the tree is no deeper than [`DEPTH_MAX`] and no larger than the
//! text; entities are those of XML and of characters, a document type is passed over unread.

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};
use serde_json::{Map, Value};

/// Deepest nesting that is read; answers of services have some ten levels.
const DEPTH_MAX: usize = 64;

/// An element. Attributes are passed over: in answers they name namespaces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Its name without a namespace.
    pub(super) name: String,
    /// The text within it, its children's not included.
    pub(super) text: String,
    /// What is within it, in order.
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The root of a document; `None` where the text is no whole one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) if open.len() <= DEPTH_MAX => {
                    open.push(Self::named(start.local_name().as_ref()));
                }
                Event::Start(_) => return None,
                Event::Empty(start) => {
                    let empty = Self::named(start.local_name().as_ref());
                    open.last_mut()?.children.push(empty);
                }
                Event::End(_) => {
                    let closed = open.pop()?;
                    open.last_mut()?.children.push(closed);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(entity) => {
                    let into = &mut open.last_mut()?.text;
                    match entity.resolve_char_ref().ok()? {
                        Some(c) => into.push(c),
                        None => into.push_str(resolve_predefined_entity(&entity.xml10_content())?),
                    }
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
                Event::Eof => break,
            }
        }
        let mut outside = open.pop().filter(|_| open.is_empty())?;
        outside.children.pop()
    }

    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// The first child of a name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The first element of a name at any depth, itself included.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// As JSON: elements with others within are objects, `member`s and `entry`s are lists and maps as the
    /// query protocol has them, and all else is what `leaf` makes of its text. Names in `lists` are lists
    /// however many there are of them.
    pub(super) fn value(&self, lists: &[&str], leaf: fn(&str, &str) -> Value) -> Value {
        if self.children.is_empty() {
            return leaf(&self.name, self.text.trim());
        }
        if self.children.iter().all(|child| child.name == "member") {
            let members = self.children.iter();
            return members.map(|child| child.value(lists, leaf)).collect();
        }
        if self.children.iter().all(|child| child.name == "entry") {
            let entries = self.children.iter().filter_map(|entry| {
                let value = entry.child("value")?.value(lists, leaf);
                Some((entry.text_of("key")?.to_owned(), value))
            });
            return entries.collect::<Map<_, _>>().into();
        }
        let mut members = Map::new();
        for child in &self.children {
            let value = child.value(lists, leaf);
            match members.get_mut(&child.name) {
                Some(Value::Array(values)) if lists.contains(&child.name.as_str()) => {
                    values.push(value);
                }
                Some(_) => {}
                None if lists.contains(&child.name.as_str()) => {
                    members.insert(child.name.clone(), Value::Array(vec![value]));
                }
                None => drop(members.insert(child.name.clone(), value)),
            }
        }
        members.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_become_objects_lists_and_maps() {
        let text = "<?xml version=\"1.0\"?><a xmlns=\"x\"><n:b>1 &lt; 2 &#65;</n:b><c><member>x</member><member>y</member></c><d><entry><key>k</key><value>v</value></entry></d><e><![CDATA[<&>]]></e><f/><g><h>1</h></g></a>";
        let root = Element::parse(text).unwrap();
        let leaf = |_: &str, text: &str| Value::from(text);
        assert_eq!(
            root.value(&["g"], leaf),
            json!({"b": "1 < 2 A", "c": ["x", "y"], "d": {"k": "v"}, "e": "<&>", "f": "", "g": [{"h": "1"}]})
        );
        assert_eq!(root.find("h").unwrap().text, "1");
    }

    #[test]
    fn what_is_no_document_is_none() {
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a>&no;</a>",
            "<a>&#1114112;</a>",
            "<!DOCTYPE a [<!ENTITY no \"x\">]><a>&no;</a>",
            &"<a>".repeat(100_000),
            &format!("{}{}", "<a>".repeat(65), "</a>".repeat(65)),
        ] {
            assert_eq!(
                Element::parse(text),
                None,
                "{}",
                &text[..text.len().min(50)]
            );
        }
        let deep = format!("{}{}", "<a>".repeat(64), "</a>".repeat(64));
        assert!(Element::parse(&deep).is_some());
    }
}
