//! A page of rows, bounded by rows and by bytes: records and results may be a megabyte each.

/// No further row is read once a page holds this many bytes of text; some ten milliseconds of
/// reading, and little beside the pages of a source that a run holds anyway.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Rows in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for; at least one where there is one.
    pub rows: Vec<T>,
    /// The page is full, by rows or by bytes: more may follow.
    pub more: bool,
}

impl<T> Page<T> {
    pub(super) fn read(
        found: impl Iterator<Item = rusqlite::Result<T>>,
        rows_max: u32,
        bytes: impl Fn(&T) -> usize,
    ) -> rusqlite::Result<Self> {
        let (mut rows, mut held) = (Vec::new(), 0_usize);
        for row in found {
            let row = row?;
            held = held.saturating_add(bytes(&row));
            rows.push(row);
            if rows.len() >= rows_max as usize || held >= PAGE_BYTES_MAX {
                return Ok(Self { rows, more: true });
            }
        }
        Ok(Self { rows, more: false })
    }
}
