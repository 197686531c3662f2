//! The pure core of a run: cursor, window, watermark, slots, parked children, breaker.
