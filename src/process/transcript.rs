//! Reads what a program prints, as bytes, for as long as it prints.
//!
//! Invariant: memory stays bounded whatever is printed, and neither a slow nor a lost reader of the lines holds the
//! program up for long. What is cut is cut between words, since half a secret is not recognised as one.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How much of the end of an output is kept, in bytes.
const TAIL: usize = 64 << 10;
/// The longest line that is passed on, in bytes of UTF-8.
const LINE: usize = 8 << 10;
/// Bytes of a word that is not cut, where there is room for it.
const LONGEST_WORD: usize = 4 << 10;
/// How long a line waits for its reader before it, and those behind it, are left out.
const READER_PATIENCE: Duration = Duration::from_millis(100);
/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// The last part of some output.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    total: u64,
}

impl Tail {
    /// Adds what was printed next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.bytes.extend_from_slice(bytes);
        // Cut only now and then, so that each byte is moved at most once on average.
        if self.bytes.len() > 2 * TAIL {
            // One more: it tells whether what follows begins a word.
            self.bytes.drain(..self.bytes.len() - TAIL - 1);
        }
    }

    /// How many bytes were printed in all.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// The last 64 KiB as text; what is no UTF-8 becomes `U+FFFD`, a word or character cut in two at the start is left
    /// out.
    pub(super) fn text(&self) -> String {
        let (before, kept) = self.bytes.split_at(self.bytes.len().saturating_sub(TAIL));
        let starts_whole = before.last().is_none_or(u8::is_ascii_whitespace);
        let continued = if starts_whole {
            0
        } else if let Some(space) = kept.iter().take(LONGEST_WORD).position(u8::is_ascii_whitespace) {
            space + 1
        } else {
            kept.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count()
        };
        String::from_utf8_lossy(kept.get(continued..).unwrap_or_default()).into_owned()
    }
}

/// Reads `output` to its end, or until `close` once it is no longer waited for. Every byte is counted in `printed`
/// as it arrives; every line goes to `lines`.
pub(super) async fn transcribe(
    mut output: impl AsyncRead + Unpin,
    lines: Option<mpsc::Sender<String>>,
    printed: watch::Sender<u64>,
    close: CancellationToken,
) -> Tail {
    let mut tail = Tail::default();
    let mut lines = lines.map(Lines::new);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = output.read(&mut chunk) => read,
            () = close.cancelled() => break,
        };
        let bytes = read.ok().and_then(|length| chunk.get(..length)).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        tail.push(bytes);
        printed.send_replace(tail.total());
        if let Some(lines) = &mut lines {
            lines.push(bytes).await;
        }
    }
    if let Some(lines) = lines {
        lines.finish().await;
    }
    tail
}

/// Cuts output into lines and hands them over.
///
/// A line waits a moment for a reader that is busy, so that a live reader misses nothing. Once one had to be left out,
/// the following ones do not wait, until there is room again; then a line says how many are missing.
struct Lines {
    reader: mpsc::Sender<String>,
    line: Vec<u8>,
    /// The rest of the line is thrown away: it was too long, and its beginning is handed over.
    overlong: bool,
    missed: u64,
}

impl Lines {
    const fn new(reader: mpsc::Sender<String>) -> Self {
        Self { reader, line: Vec::new(), overlong: false, missed: 0 }
    }

    async fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.reader.is_closed() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, rest) = match end {
                Some(end) => (bytes.get(..end), bytes.get(end + 1..)),
                None => (Some(bytes), None),
            };
            bytes = rest.unwrap_or_default();
            if !self.overlong {
                let part = part.unwrap_or_default();
                let room = (LINE + 1).saturating_sub(self.line.len());
                self.line.extend_from_slice(part.get(..room).unwrap_or(part));
                self.overlong = self.line.len() > LINE;
                if self.overlong || end.is_some() {
                    self.hand_over().await;
                }
            }
            if end.is_some() {
                self.overlong = false;
            }
        }
    }

    async fn hand_over(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.missed == 0 {
            match timeout(READER_PATIENCE, self.reader.reserve()).await {
                Ok(Ok(place)) => place.send(text_of(&line)),
                Ok(Err(_)) | Err(_) => self.missed = 1,
            }
            return;
        }
        if let Ok(place) = self.reader.try_reserve() {
            place.send(note(self.missed));
            self.missed = 0;
        }
        match self.reader.try_reserve() {
            Ok(place) if self.missed == 0 => place.send(text_of(&line)),
            Ok(_) | Err(_) => self.missed += 1,
        }
    }

    async fn finish(mut self) {
        if !self.line.is_empty() {
            self.hand_over().await;
        }
        if self.missed > 0
            && let Ok(Ok(place)) = timeout(READER_PATIENCE, self.reader.reserve()).await
        {
            place.send(note(self.missed));
        }
    }
}

fn note(missed: u64) -> String {
    format!("[{missed} lines are not shown here: they came faster than they could be taken]")
}

/// The line as text of at most [`LINE`] bytes, with an ellipsis where it was cut.
fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::from_utf8_lossy(line).into_owned();
    if text.len() > LINE {
        text.truncate(text.floor_char_boundary(LINE - '…'.len_utf8()));
        if let Some(space) = text.rfind(char::is_whitespace).filter(|space| text.len() - space < LONGEST_WORD) {
            text.truncate(space + 1);
        }
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(chunks: &[&[u8]], room: usize) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(room);
        let mut lines = Lines::new(sender);
        for chunk in chunks {
            lines.push(chunk).await;
        }
        lines.finish().await;
        let mut got = Vec::new();
        while let Some(line) = receiver.recv().await {
            got.push(line);
        }
        got
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_bytes_arrive() {
        let all = b"one\r\ntwo\n\nthr\xC3\xA9e\nend";
        let expected = ["one", "two", "", "thrée", "end"];
        assert_eq!(lines_of(&[all], 9).await, expected);
        assert_eq!(lines_of(&all.chunks(1).collect::<Vec<_>>(), 9).await, expected);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_once_and_the_next_one_is_whole() {
        let mut all = vec![b'x'; 5_000_000];
        all.extend_from_slice(b"\nnext\n");
        let got = lines_of(&all.chunks(CHUNK).collect::<Vec<_>>(), 9).await;
        assert_eq!(got.len(), 2);
        assert!(got[0].len() <= LINE && got[0].ends_with("x…"), "{}", got[0].len());
        assert_eq!(got[1], "next");
        let fitting = format!("{}\n", "y".repeat(LINE));
        assert_eq!(lines_of(&[fitting.as_bytes()], 9).await, [fitting.trim_end()]);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_stay_within_the_length_of_a_line() {
        let got = lines_of(&[&[0xFF; LINE], b"\n"], 9).await;
        assert!(got.len() == 1 && got[0].len() <= LINE && got[0].starts_with('\u{FFFD}'));
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_costs_one_moment_and_is_told_what_is_missing() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut lines = Lines::new(sender);
        let start = tokio::time::Instant::now();
        lines.push(b"1\n2\n3\n4\n5\n").await;
        assert!(start.elapsed() < 2 * READER_PATIENCE);
        assert_eq!((receiver.recv().await.unwrap(), receiver.recv().await.unwrap()), ("1".into(), "2".into()));
        lines.push(b"6\n").await;
        assert_eq!((receiver.recv().await.unwrap(), receiver.recv().await.unwrap()), (note(3), "6".into()));
        drop(receiver);
        lines.push(b"7\n8\n").await;
        lines.finish().await;
    }

    #[test]
    fn the_tail_is_the_end_and_all_is_counted() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'a'; 1000]);
        }
        tail.push("é".as_bytes());
        assert_eq!(tail.total(), 1_000_002);
        assert!(tail.bytes.len() <= 2 * TAIL);
        assert_eq!(tail.text(), format!("{}é", "a".repeat(TAIL - 2)));
    }

    #[test]
    fn a_word_cut_in_two_by_the_tail_is_left_out_and_a_whole_one_is_kept() {
        for (printed, kept) in [("ghp_0123456789 b ", "b "), ("ab ghp_012 c ", "ghp_012 c ")] {
            let mut tail = Tail::default();
            tail.push(&vec![b'x'; 2 * TAIL]);
            tail.push(printed.as_bytes());
            // Three of the bytes no longer fit.
            tail.push(&vec![b'y'; TAIL + 3 - printed.len()]);
            assert_eq!(tail.text().trim_end_matches('y'), kept, "{printed}");
        }
    }

    #[tokio::test]
    async fn a_long_line_is_cut_between_words() {
        let text = format!("{} ghp_{}\n", "a".repeat(LINE - 10), "0".repeat(36));
        assert_eq!(lines_of(&[text.as_bytes()], 9).await, [format!("{} …", "a".repeat(LINE - 10))]);
    }

    #[test]
    fn a_character_cut_in_two_by_the_tail_is_left_out() {
        let mut tail = Tail::default();
        tail.push("é".repeat(TAIL).as_bytes());
        tail.push(b"x");
        assert_eq!(tail.text(), format!("{}x", "é".repeat(TAIL / 2 - 1)));
    }
}
