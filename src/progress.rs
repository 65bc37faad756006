//! How far long work is: a bar with rate and time left on a terminal, elsewhere a line now and then.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// How often a line is written where standard error is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// Work of which the amount is known.
pub struct Progress {
    bar: ProgressBar,
    noun: &'static str,
    total: u64,
    /// How much was done before this run.
    before: u64,
    began: Instant,
    /// None on a terminal.
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// Work on `total` of what the noun says, of which `before` is done already.
    #[must_use]
    pub fn new(noun: &'static str, total: u64, before: u64) -> Self {
        let template = "{bar:30} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        // Drawn to standard error, and not at all where that is no terminal.
        let bar = ProgressBar::new(total).with_style(style).with_message(noun).with_position(before);
        bar.reset_eta();
        let began = Instant::now();
        let last_line = (!std::io::stderr().is_terminal()).then(|| Mutex::new(began));
        Self { bar, noun, total, before, began, last_line }
    }

    /// That much more is done.
    pub fn advance(&self, count: u64) {
        self.bar.inc(count);
        let Some(last_line) = &self.last_line else { return };
        let Ok(mut last_line) = last_line.lock() else { return };
        if last_line.elapsed() >= INTERVAL {
            *last_line = Instant::now();
            let done = self.bar.position();
            let new = done.saturating_sub(self.before).max(1);
            let elapsed = self.began.elapsed();
            let left = elapsed.as_secs() * self.total.saturating_sub(done) / new;
            let rate = new / elapsed.as_secs().max(1);
            let (done, total, rate) = (HumanCount(done), HumanCount(self.total), HumanCount(rate));
            let left = HumanDuration(Duration::from_secs(left));
            let _ = writeln!(std::io::stderr(), "{done} of {total} {}, {rate}/s, {left} left", self.noun);
        }
    }

    /// How much is done.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.bar.position()
    }
}

/// The bar goes away, however the work ended.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
