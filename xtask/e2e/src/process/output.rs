//! What a process prints, kept for the message that tells why it failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// How many of a child's last lines are kept.
const KEPT_LINES: usize = 40;

/// The last lines of a process, filled by one background task per stream.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    last: VecDeque<String>,
    /// How many there were, with those that are not kept.
    count: u64,
}

impl Output {
    /// Keeps what comes out of `stream`, until it ends.
    pub(super) fn collect(
        &self,
        stream: impl AsyncRead + Unpin + 'static + Send,
    ) -> JoinHandle<()> {
        let output = self.clone();
        // Ends by itself when the process closes the stream. It must go on reading until then: a
        // full pipe would stop the process.
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                output.push(line);
            }
        })
    }

    fn push(&self, line: String) {
        let mut lines = self.lock();
        lines.count += 1;
        if lines.last.len() == KEPT_LINES {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    /// Returns the lines, on whichever stream they were printed.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }

    /// Returns how many lines were printed until now.
    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_are_counted_and_the_last_kept() {
        let output = Output::default();
        (0..100).for_each(|line| output.push(line.to_string()));
        assert_eq!((output.count(), output.lines().len()), (100, KEPT_LINES));
        assert_eq!(output.lines().last().map(String::as_str), Some("99"));
    }
}
