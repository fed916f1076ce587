//! The `patchwright` program: hands over to the command line, or to the supervisor of a command.

use std::process::ExitCode;

use patchwright::{cli, process};

fn main() -> ExitCode {
    // The supervisor is this same program, started again; it must not set up anything else.
    if let Some(code) = process::supervise::main_if_asked() {
        return code;
    }
    // Children run under the same user; without this they could read our environment through /proc.
    process::harden::harden_self();
    cli::main()
}
