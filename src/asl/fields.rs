//! Takes the fields of one object of a definition, each at most once.
//!
//! A reader asks for the fields it knows; what nobody asked for is reported when it is done, with
//! the nearest known name. So no field is ever ignored. Wrong kinds and values out of range are
//! reported where they stand, and reading goes on.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{
    diagnostic::{Problems, quote},
    text::{Json, Member, Node},
};

/// The fields of one object, and which of them were asked for.
pub(crate) struct Fields<'n> {
    pub(crate) node: &'n Node,
    members: &'n [Member],
    known: Vec<&'static str>,
    what: &'static str,
}

impl<'n> Fields<'n> {
    /// The object's fields; `what` names the object in messages ("a Task state"). A `Comment` is
    /// allowed in each.
    pub(crate) fn of(node: &'n Node, what: &'static str, problems: &mut Problems) -> Option<Self> {
        let Json::Object(members) = &node.json else {
            problems.schema(
                node.span,
                format!("{what} must be an object, this is {}", node.kind()),
            );
            return None;
        };
        let mut fields = Self {
            node,
            members,
            known: Vec::with_capacity(24),
            what,
        };
        fields.string("Comment", problems);
        Some(fields)
    }

    /// Names the object more closely, once its type is known.
    pub(crate) fn rename(&mut self, what: &'static str) {
        self.what = what;
    }

    /// The value of a field, whatever its kind; `None` where it is absent.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.members
            .iter()
            .find(|member| &*member.key == key)
            .map(|member| &member.value)
    }

    /// Fields that the object can have, whether or not they are asked for.
    pub(crate) fn know(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// The value of a field that must be there.
    pub(crate) fn required(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<&'n Node> {
        let node = self.take(key);
        if node.is_none() {
            problems.schema(
                self.node.span,
                format!("{} needs the field {key:?}", self.what),
            );
        }
        node
    }

    pub(crate) fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'n str> {
        let node = self.take(key)?;
        let text = node.as_str();
        if text.is_none() {
            wrong_kind(node, key, "a string", problems);
        }
        text
    }

    pub(crate) fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.take(key)?;
        if let Json::Bool(value) = node.json {
            return Some(value);
        }
        wrong_kind(node, key, "true or false", problems);
        None
    }

    /// A whole number within the range.
    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<u64> {
        let node = self.take(key)?;
        if let Json::Number(number) = &node.json
            && let Some(value) = number.as_u64()
            && range.contains(&value)
        {
            return Some(value);
        }
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        wrong_kind(node, key, &wanted, problems);
        None
    }

    /// A number within the range, fractions allowed.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<f64>,
        problems: &mut Problems,
    ) -> Option<f64> {
        let node = self.take(key)?;
        if let Json::Number(number) = &node.json
            && let Some(value) = number.as_f64()
            && range.contains(&value)
        {
            return Some(value);
        }
        let wanted = if range.end().is_finite() {
            format!("a number from {} to {}", range.start(), range.end())
        } else {
            format!("a number of at least {}", range.start())
        };
        wrong_kind(node, key, &wanted, problems);
        None
    }

    /// The items of an array; an absent field has none.
    pub(crate) fn array(&mut self, key: &'static str, problems: &mut Problems) -> &'n [Node] {
        let Some(node) = self.take(key) else {
            return &[];
        };
        if let Json::Array(items) = &node.json {
            return items;
        }
        wrong_kind(node, key, "an array", problems);
        &[]
    }

    /// One of the given words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.take(key)?;
        let found = words.iter().find(|(word, _)| node.as_str() == Some(*word));
        if found.is_none() {
            let wanted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            wrong_kind(node, key, &wanted.join(" or "), problems);
        }
        found.map(|(_, value)| *value)
    }

    /// Whether the field is there, without asking for it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| &*member.key == key)
    }

    /// All members, for objects whose keys are the user's.
    pub(crate) fn members(&self) -> &'n [Member] {
        self.members
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(self, problems: &mut Problems) {
        for member in self.members {
            if self.known.contains(&&*member.key) {
                continue;
            }
            if problems.is_full() {
                problems.schema(member.key_span, String::new());
                return;
            }
            // Why: nearness costs the product of both lengths, and a key may be a megabyte.
            let nearest = self
                .known
                .iter()
                .filter(|_| member.key.len() <= 64)
                .map(|known| (strsim::damerau_levenshtein(known, &member.key), known))
                .min()
                .filter(|(distance, known)| *distance * 3 <= known.len());
            let mut message = format!("{} has no field {}", self.what, quote(&member.key));
            if let Some((_, known)) = nearest {
                message.push_str("; did you mean ");
                message.push_str(&quote(known));
                message.push('?');
            }
            problems.schema(member.key_span, message);
        }
    }
}

/// Reports that a field's value is not what it must be.
pub(crate) fn wrong_kind(node: &Node, key: &str, wanted: &str, problems: &mut Problems) {
    let found = match &node.json {
        Json::String(text) => quote(text),
        Json::Number(number) => number.to_string(),
        Json::Bool(value) => Value::Bool(*value).to_string(),
        Json::Null | Json::Array(_) | Json::Object(_) => node.kind().to_owned(),
    };
    problems.schema(
        node.span,
        format!("{key:?} must be {wanted}, this is {found}"),
    );
}
