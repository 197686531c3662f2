//! Positions in many objects, as texts.
//!
//! Owns the two forms that there are: `1:FILE:INNER` is read and not written any more, `2:FILE:E:K:ETAGKEYINNER`
//! names the object, with the lengths of its ETag and its key in bytes. Invariant: what is written is read
//! again, whatever is in an ETag or a key.

use std::fmt;

/// A position in one of many objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position<'a> {
    /// The place of the object among them, when it was read.
    pub(super) file: usize,
    /// The object's key and ETag; not known of old positions.
    pub(super) of: Option<(&'a str, &'a str)>,
    /// The position in it.
    pub(super) inner: &'a str,
}

impl<'a> Position<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (form, rest) = text.split_once(':')?;
        let (file, rest) = rest.split_once(':')?;
        let file = file.parse().ok()?;
        match form {
            "1" => Some(Self {
                file,
                of: None,
                inner: rest,
            }),
            "2" => {
                let (etag_bytes, rest) = rest.split_once(':')?;
                let (key_bytes, rest) = rest.split_once(':')?;
                let (etag, rest) = rest.split_at_checked(etag_bytes.parse().ok()?)?;
                let (key, inner) = rest.split_at_checked(key_bytes.parse().ok()?)?;
                let of = Some((key, etag));
                Some(Self { file, of, inner })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, of, inner } = self;
        match of {
            None => write!(f, "1:{file}:{inner}"),
            Some((key, etag)) => {
                let (etag_bytes, key_bytes) = (etag.len(), key.len());
                write!(f, "2:{file}:{etag_bytes}:{key_bytes}:{etag}{key}{inner}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for of in [None, Some(("a:b/ü", "e:1")), Some(("", ""))] {
            for inner in ["", "1:17", "1:2:3"] {
                let (file, text) = (7, Position { file: 7, of, inner }.to_string());
                assert_eq!(Position::parse(&text), Some(Position { file, of, inner }));
            }
        }
        for none in ["", "1", "1:x:", "2:1:9:9:short", "2:1:1:1:üü", "3:1:2"] {
            assert_eq!(Position::parse(none), None, "{none}");
        }
    }
}
