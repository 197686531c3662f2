//! Pages of a bucket's keys, with what is between delimiters told once.

use super::{Bucket, BucketError, Object};

/// Keys and common beginnings that a page has at the most: S3's bound.
pub const PAGE_MAX: usize = 1000;

/// What a page is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What keys begin with.
    pub prefix: String,
    /// Keys in which this follows the prefix are told by their common beginning; empty: all are told.
    pub delimiter: String,
    /// Only what comes after this.
    pub after: String,
    /// At most so many, of both; beyond [`PAGE_MAX`] that many.
    pub keys_max: usize,
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub objects: Vec<Object>,
    /// What keys have in common up to the delimiter.
    pub prefixes: Vec<String>,
    /// Where the next page begins; `None`: there is no more.
    pub next: Option<String>,
}

impl Bucket {
    /// A page of the keys of a bucket that is a folder.
    pub fn page(&self, wanted: &Wanted) -> Result<Page, BucketError> {
        let keys_max = wanted.keys_max.min(PAGE_MAX);
        let mut page = Page::default();
        let mut after = wanted.after.clone();
        if keys_max == 0 {
            return Ok(page);
        }
        // Why one more: it tells that there is a next page.
        let mut walk =
            self.folder("a page of its keys")?
                .walk(&wanted.prefix, &after, keys_max + 1);
        if common(&after, wanted) == Some(&*after) {
            // The page before ended with it.
            walk.pass_below(&after);
        }
        while let Some(object) = walk.next()? {
            if page.objects.len() + page.prefixes.len() == keys_max {
                page.next = Some(after);
                break;
            }
            if let Some(common) = common(&object.key, wanted) {
                common.clone_into(&mut after);
                walk.pass_below(common);
                page.prefixes.push(after.clone());
            } else {
                object.key.clone_into(&mut after);
                page.objects.push(object);
            }
        }
        Ok(page)
    }
}

/// The beginning that a key shares with others, where it has the delimiter.
fn common<'k>(key: &'k str, wanted: &Wanted) -> Option<&'k str> {
    if wanted.delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(&*wanted.prefix)?;
    let at = rest.find(&*wanted.delimiter)?;
    key.get(..wanted.prefix.len() + at + wanted.delimiter.len())
}
