//! Finds records in a source before their turn: by place, by id, or spread over all of it.
//!
//! Reads pages of its own and holds one at a time beside what it found; never moves a run. Blocks, so it
//! is for threads that may.

use std::ops::ControlFlow;

use super::RuntimeError;
use crate::{
    ids::{Cursor, Index},
    integration::source::{PageBounds, Record, RecordError, Source, SourceError},
    payload::Payload,
};

/// Text of a sample that is held and written in one commit, at most.
const SAMPLE_BYTES_MAX: usize = 256 << 20;

/// How somebody names a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemName {
    /// By its place in the dataset, from 0.
    Index(Index),
    /// By its own identity.
    Id(String),
}

impl ItemName {
    /// `#17` is a place; everything else is an id.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('#') {
            Some(index) => index.parse().map(Self::Index).map_err(|_| {
                format!(
                    "{text:?} names no record: behind # stands its place in the dataset, from 0"
                )
            }),
            None if text.is_empty() => Err("an id is not empty".to_owned()),
            None => Ok(Self::Id(text.to_owned())),
        }
    }
}

impl std::fmt::Display for ItemName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "#{index}"),
            Self::Id(id) => write!(f, "{id:?}"),
        }
    }
}

/// A record that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) index: Index,
    pub(super) id: Option<String>,
    /// The record, or what is wrong with it.
    pub(super) item: Result<Payload, RecordError>,
    /// The position in front of it.
    pub(super) before: Cursor,
}

/// Looks through a source.
pub(super) struct Finder<'a> {
    pub(super) source: &'a mut dyn Source,
    pub(super) bounds: PageBounds,
    /// Whether to give up: the daemon goes away.
    pub(super) closing: &'a dyn Fn() -> bool,
}

impl Finder<'_> {
    /// The first record of each name from that position on; what is not there is missing. Reads on
    /// until it has them all.
    pub(super) fn find(
        &mut self,
        from: (Index, Cursor),
        names: &[ItemName],
    ) -> Result<Vec<(ItemName, Found)>, RuntimeError> {
        let mut wanted: Vec<&ItemName> = names.iter().collect();
        let mut found = Vec::new();
        self.walk(from, |index, before, record| {
            let fits = |name: &&ItemName| match name {
                ItemName::Index(one) => *one == index,
                ItemName::Id(id) => record.id.as_deref() == Some(id),
            };
            if let Some(at) = wanted.iter().position(fits) {
                let name = wanted.swap_remove(at).clone();
                found.push((name, Found::of(index, before, record)));
            }
            if wanted.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// So many sound records spread evenly from that position to the end; fewer where there are not
    /// as many. The same source gives the same ones.
    pub(super) fn sample(
        &mut self,
        from: (Index, Cursor),
        records: u32,
    ) -> Result<Vec<Found>, RuntimeError> {
        let first = from.0;
        let mut total: u64 = 0;
        self.walk(from.clone(), |_, _, _| {
            total += 1;
            ControlFlow::Continue(())
        })?;
        let strata = u64::from(records).min(total);
        let (mut stratum, mut bytes) = (0, 0_usize);
        let mut sample: Vec<Found> = Vec::new();
        self.walk(from, |index, before, record| {
            let at = index - first;
            while stratum < strata && at >= border(stratum + 1, strata, total) {
                stratum += 1;
            }
            if stratum >= strata || bytes > SAMPLE_BYTES_MAX {
                return ControlFlow::Break(());
            }
            // Why from there on: a damaged record is tried by nobody, and the next one is as good.
            if at >= place(stratum, strata, total)
                && let Ok(payload) = &record.item
            {
                bytes += payload.text().len();
                sample.push(Found::of(index, before, record));
                stratum += 1;
            }
            ControlFlow::Continue(())
        })?;
        if bytes > SAMPLE_BYTES_MAX {
            return Err(RuntimeError::Conflict(format!(
                "the records of such a sample have more than {} MiB; take a smaller one",
                SAMPLE_BYTES_MAX >> 20
            )));
        }
        Ok(sample)
    }

    fn walk(
        &mut self,
        (mut index, mut at): (Index, Cursor),
        mut each: impl FnMut(Index, Cursor, Record) -> ControlFlow<()>,
    ) -> Result<(), RuntimeError> {
        let wrong = |error: SourceError| RuntimeError::Job(format!("the source: {error}"));
        loop {
            if (self.closing)() {
                return Err(RuntimeError::Closed);
            }
            let page = self.source.read(&at, self.bounds).map_err(wrong)?;
            let over = page.records.is_empty();
            for record in page.records {
                let before = std::mem::replace(&mut at, record.end.clone());
                if each(index, before, record).is_break() {
                    return Ok(());
                }
                index += 1;
            }
            if over || page.end {
                return Ok(());
            }
        }
    }
}

impl Found {
    /// Its id, and its record where that could be read.
    pub(super) fn record(&self) -> (Option<String>, Option<String>) {
        let payload = self.item.as_ref().ok();
        (
            self.id.clone(),
            payload.map(|payload| payload.text().to_owned()),
        )
    }

    fn of(index: Index, before: Cursor, record: Record) -> Self {
        Self {
            index,
            id: record.id.map(Into::into),
            item: record.item,
            before,
        }
    }
}

/// Where the stratum begins.
fn border(stratum: u64, strata: u64, total: u64) -> u64 {
    let border = u128::from(stratum) * u128::from(total) / u128::from(strata.max(1));
    u64::try_from(border).unwrap_or(u64::MAX)
}

/// The record of a stratum: anywhere in it, so that a period in the data is not met each time; and the
/// same each time it is asked for.
fn place(stratum: u64, strata: u64, total: u64) -> u64 {
    let (from, to) = (
        border(stratum, strata, total),
        border(stratum + 1, strata, total),
    );
    // splitmix64 of the stratum's number.
    let mut z = stratum.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    from + (z ^ (z >> 31)) % (to - from).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_one_record_of_each_part_and_is_the_same_each_time() {
        for (records, total) in [(1, 1), (3, 10), (10, 10), (7, 1000), (20, 3_200_000)] {
            let places: Vec<u64> = (0..records).map(|at| place(at, records, total)).collect();
            for (at, place) in (0..records).zip(&places) {
                assert!(*place >= border(at, records, total), "{places:?}");
                assert!(*place < border(at + 1, records, total), "{places:?}");
            }
            let again: Vec<u64> = (0..records).map(|at| place(at, records, total)).collect();
            assert_eq!(places, again);
        }
    }

    #[test]
    fn a_name_is_a_place_or_an_id() {
        assert_eq!(ItemName::parse("#17"), Ok(ItemName::Index(17)));
        assert_eq!(ItemName::parse("17"), Ok(ItemName::Id("17".to_owned())));
        assert!(ItemName::parse("#x").unwrap_err().contains("place"));
    }
}
