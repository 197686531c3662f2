//! The pure core of limiters: pace, quota, closed-until, and what is shared fairly.
