//! What a process prints, kept for the message that tells why it failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// How many of a child's last lines are kept.
const KEPT_LINES: usize = 40;

/// The last lines of a process, filled by one background task per stream.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<VecDeque<String>>>);

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
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Returns the lines, on whichever stream they were printed.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let output = Output::default();
        (0..100).for_each(|line| output.push(line.to_string()));
        assert_eq!(output.lines().len(), KEPT_LINES);
        assert_eq!(output.lines().last().map(String::as_str), Some("99"));
    }
}
