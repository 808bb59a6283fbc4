//! How much may be decoded: of one piece (all of it is read in one callback, while the gateway waits), and of one body.

use std::cell::Cell;

/// Bytes decoded of one body at the most: a bomb of 1 MB inflates to 1 GB.
pub(super) const OUTPUT_MAX: usize = 16 * 1024 * 1024;
/// Bytes decoded of one piece at the most.
pub(super) const PIECE_MAX: usize = 4 * 1024 * 1024;
/// Bytes that may come at once of those that were held back: a window of zstd, and a block.
pub(super) const LATE_MAX: usize = (8 * 1024 + 128) * 1024;
/// Bytes that may be decoded whatever they were made of, and beyond that, how many of each compressed byte. Event streams,
/// which repeat themselves most, reach some 15.
pub(super) const RATIO: (usize, usize) = (1024 * 1024, 32);

/// What all codings of a body together may put out.
#[derive(Debug, Default)]
pub(super) struct Quota {
    consumed: usize,
    produced: Cell<usize>,
    limit: Cell<usize>,
}

impl Quota {
    /// A piece of that many encoded bytes came.
    pub(super) fn begin_piece(&mut self, bytes: usize) {
        self.consumed = self.consumed.saturating_add(bytes);
        self.allow(PIECE_MAX);
    }

    /// What comes now was decoded in earlier pieces, and held back.
    pub(super) fn allow_late(&self) {
        self.allow(LATE_MAX);
    }

    fn allow(&self, bytes: usize) {
        let by_ratio = RATIO.0.saturating_add(self.consumed.saturating_mul(RATIO.1));
        self.limit.set(by_ratio.min(OUTPUT_MAX).min(self.produced.get().saturating_add(bytes)));
    }

    /// Notes that `bytes` were decoded; false where that is more than may be.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let produced = self.produced.get().saturating_add(bytes);
        self.produced.set(produced);
        produced <= self.limit.get()
    }
}
