//! The `patchwright` program: the command line, or the supervisor of one command.
//!
//! Invariant: a supervisor is one before anything else happens in its process.

use std::process::ExitCode;

use patchwright::cli;
use patchwright::config::environment::Environment;
use patchwright::process::{adopt_orphans, harden_self, supervise};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == supervise::WORD) {
        return supervise::main(arguments);
    }
    // Children run under the same user; without this they could read our environment through /proc, and outlive their run.
    if let Err(error) = harden_self().and_then(|()| adopt_orphans()) {
        let mut screen = cli::screen::Screen::standard(&Environment::default());
        return screen.error(&format!("the process could not be hardened: {error}"));
    }
    cli::main()
}
