//! The children between the watermark and the next one to dispatch, in order of their index.
//!
//! Owns the watermark: it stands behind the last child from the front on that is settled (finished,
//! or with a row of its own), and the cursor there is where a restart reads again.

use std::collections::VecDeque;

use crate::ids::{Cursor, Index};

/// The window.
#[derive(Debug, Clone)]
pub(super) struct Window {
    watermark: Index,
    low: Cursor,
    next: Index,
    children: VecDeque<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    index: Index,
    settled: bool,
    end: Cursor,
}

impl Window {
    /// An empty window there.
    pub(super) fn new(watermark: Index, low: Cursor) -> Self {
        Self {
            watermark,
            next: watermark,
            low,
            children: VecDeque::new(),
        }
    }

    /// Everything below is settled.
    pub(super) const fn watermark(&self) -> Index {
        self.watermark
    }

    /// The position of the watermark.
    pub(super) const fn low(&self) -> &Cursor {
        &self.low
    }

    /// The first index that the window does not hold.
    pub(super) const fn next(&self) -> Index {
        self.next
    }

    /// How many children it holds.
    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    /// Takes in the child that follows.
    pub(super) fn push(&mut self, items: u32, end: Cursor, settled: bool) {
        self.children.push_back(Entry {
            index: self.next,
            settled,
            end,
        });
        self.next += u64::from(items);
        self.advance();
    }

    /// The child is finished or has a row; an index outside the window is settled already.
    pub(super) fn settle(&mut self, index: Index) {
        if let Some(at) = self.position(index) {
            self.children[at].settled = true;
            if at == 0 {
                self.advance();
            }
        }
    }

    /// The first child that is not settled: what holds the watermark back.
    pub(super) fn front(&self) -> Option<Index> {
        self.children.front().map(|entry| entry.index)
    }

    /// What is settled above the watermark, as ranges in order, each from its first index to
    /// behind its last.
    pub(super) fn done_ranges(&self) -> Vec<(Index, Index)> {
        let mut ranges: Vec<(Index, Index)> = Vec::new();
        for (at, entry) in self.children.iter().enumerate() {
            if !entry.settled {
                continue;
            }
            let end = self.children.get(at + 1).map_or(self.next, |e| e.index);
            match ranges.last_mut() {
                Some(last) if last.1 == entry.index => last.1 = end,
                _ => ranges.push((entry.index, end)),
            }
        }
        ranges
    }

    fn position(&self, index: Index) -> Option<usize> {
        // Why: where each child is one item, which is nearly always, its place is its distance.
        let guess = usize::try_from(index.checked_sub(self.watermark)?).ok()?;
        if self.children.get(guess).is_some_and(|e| e.index == index) {
            return Some(guess);
        }
        self.children
            .binary_search_by_key(&index, |entry| entry.index)
            .ok()
    }

    fn advance(&mut self) {
        while self.children.front().is_some_and(|entry| entry.settled) {
            if let Some(entry) = self.children.pop_front() {
                self.low = entry.end;
            }
            self.watermark = self.children.front().map_or(self.next, |e| e.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(at: u64) -> Cursor {
        Cursor::new(format!("1:{at}"))
    }

    #[test]
    fn the_watermark_waits_for_the_slowest_child() {
        let mut window = Window::new(0, Cursor::start());
        for at in 1..=5 {
            window.push(1, cursor(at), false);
        }
        window.settle(1);
        window.settle(3);
        assert_eq!((window.watermark(), window.low()), (0, &Cursor::start()));
        assert_eq!(window.done_ranges(), [(1, 2), (3, 4)]);
        window.settle(0);
        assert_eq!((window.watermark(), window.low()), (2, &cursor(2)));
        window.settle(2);
        assert_eq!((window.watermark(), window.low()), (4, &cursor(4)));
        assert_eq!((window.next(), window.front()), (5, Some(4)));
    }

    #[test]
    fn batches_count_by_their_first_item() {
        let mut window = Window::new(10, cursor(10));
        window.push(7, cursor(17), false);
        window.push(3, cursor(20), false);
        window.settle(17);
        assert_eq!(window.done_ranges(), [(17, 20)]);
        window.settle(10);
        assert_eq!((window.watermark(), window.low()), (20, &cursor(20)));
    }
}
