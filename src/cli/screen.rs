//! What people see on the terminal.
//!
//! Invariant: the only place that writes to standard output and standard error; text from outside is shown without
//! control characters, so that a hostile line cannot move the cursor or ring the bell.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::config::environment::Environment;
use crate::prompt::clean;

/// Standard output and error.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
}

/// How a piece of text is emphasised on a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
    /// Good news.
    Good,
    /// Something to look at.
    Warn,
    /// Bad news.
    Bad,
}

impl Screen {
    /// The process's standard output; colours only on a terminal that shows them to somebody who wants them.
    #[must_use]
    pub fn standard(environment: &Environment) -> Self {
        Self { colours: io::stdout().is_terminal() && environment.wants_colours() }
    }

    /// Writes one line of our own text, or of outside text that went through [`visible`].
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn line(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match (self.colours, tone) {
            (false, _) | (_, Tone::Plain) => writeln!(out, "{text}"),
            (true, tone) => writeln!(out, "\x1b[{}m{text}\x1b[0m", code(tone)),
        }
    }

    /// Writes text as it is, such as JSON or a prompt that goes into a file.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn raw(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Writes a line to standard error, beside a result that may go into a file.
    pub fn aside(&mut self, text: &str) {
        // Where standard error is closed, nobody is left to tell.
        let _ = writeln!(io::stderr().lock(), "{}", visible_block(text));
    }

    /// Writes an error to standard error; the exit code is 1.
    pub fn error(&mut self, text: &str) -> ExitCode {
        // Where standard error is closed, nobody is left to tell.
        let _ = writeln!(io::stderr().lock(), "patchwright: {}", visible_block(text));
        ExitCode::from(1)
    }
}

const fn code(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "0",
        Tone::Dim => "2",
        Tone::Bold => "1",
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
    }
}

/// One line of outside text, without control characters and without those that hide text or turn it round.
#[must_use]
pub fn visible(text: &str) -> String {
    clean::visible(text)
        .chars()
        .filter_map(|c| if c == '\t' { Some(' ') } else { Some(c).filter(|c| !c.is_control()) })
        .collect()
}

/// Several lines of outside text, without control characters other than line breaks.
#[must_use]
pub fn visible_block(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// JSON in which control characters are escaped that JSON itself lets through: U+009B alone begins an order to a terminal.
#[must_use]
pub fn visible_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, c| {
        if c.is_control() && c != '\n' {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
        text
    })
}

/// Whether an error is only that nobody reads our output any more, as in `patchwright jobs list | head -1`.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_cannot_drive_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\x07\tc\r"), "a[2Jb c");
        assert_eq!(visible("ok\u{202e}ko\u{200b}\u{9b}2J"), "okko2J");
        assert_eq!(visible_json("{\"a\": \"\u{9b}2J\u{7f}\"\n}"), "{\"a\": \"\\u009b2J\\u007f\"\n}");
        assert_eq!(visible_block("one\x1b[1m\ntwo\r\nthree"), "one[1m\ntwo\nthree");
    }
}
