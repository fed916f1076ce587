//! What a supervisor tells the process that started it: one line for each piece of news.
//!
//! Invariant: the lines travel over a socket that the supervised program never holds, so it cannot forge them.

use std::fmt;
use std::str::FromStr;

/// One piece of news, in the order in which they come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// All walls are up and the program is about to be started. Said before it is, as it may kill us in its first instant.
    Ready,
    /// The program could not be started; nothing follows.
    Failed {
        /// The system's error number.
        errno: i32,
    },
    /// The program ended by itself with this code.
    Exit(i32),
    /// A signal ended the program.
    Signal(i32),
    /// A signal told the supervisor itself to end. Whoever sends one to us all at once, as service managers do, meant no
    /// program in particular.
    Told,
    /// The end: no descendant is left, and so many besides the program had to be ended.
    Gone {
        /// How many.
        leftovers: usize,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Failed { errno } => write!(f, "failed {errno}"),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Told => f.write_str("told"),
            Self::Gone { leftovers } => write!(f, "gone {leftovers}"),
        }
    }
}

/// A line that no supervisor writes.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct NoNews;

impl FromStr for News {
    type Err = NoNews;

    fn from_str(line: &str) -> Result<Self, NoNews> {
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        let number = || value.parse().map_err(|_| NoNews);
        match word {
            "ready" if value.is_empty() => Ok(Self::Ready),
            "told" if value.is_empty() => Ok(Self::Told),
            "failed" => Ok(Self::Failed { errno: number()? }),
            "exit" => Ok(Self::Exit(number()?)),
            "signal" => Ok(Self::Signal(number()?)),
            "gone" => Ok(Self::Gone { leftovers: value.parse().map_err(|_| NoNews)? }),
            _ => Err(NoNews),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_survive_the_way() {
        let ends = [News::Exit(255), News::Signal(9), News::Told, News::Gone { leftovers: 200 }];
        for news in [News::Failed { errno: 8 }, News::Ready].into_iter().chain(ends) {
            assert_eq!(news.to_string().parse(), Ok(news));
        }
    }

    #[test]
    fn anything_else_is_no_news() {
        for line in [
            "",
            "exit",
            "exit x",
            "exit 1 2",
            "gone -1",
            "ready 3",
            "told 15",
            "thread 'main' panicked at src/main.rs:1",
        ] {
            assert_eq!(line.parse::<News>(), Err(NoNews), "{line}");
        }
    }
}
