//! `patchwright init`: writes a commented configuration file.
//!
//! Invariant: never overwrites a file unless told to.

use std::io::Write;
use std::path::PathBuf;

use super::CliError;
use super::screen::{Screen, Tone};
use crate::config;

/// Arguments of `patchwright init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write it.
    #[arg(default_value = "patchwright.toml")]
    path: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
    /// Print the JSON Schema for editors instead.
    #[arg(long)]
    schema: bool,
}

/// Runs the command.
///
/// # Errors
/// Where the file is there already or cannot be written.
pub fn run(args: &Args, screen: &mut Screen) -> Result<(), CliError> {
    if args.schema {
        return Ok(screen.raw(&config::schema::json_schema())?);
    }
    let shown = args.path.display();
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(&args.path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            CliError::Usage(format!("{shown} is there already; use --force to replace it, or name another file"))
        } else {
            CliError::Usage(format!("cannot write {shown}: {error}"))
        }
    })?;
    file.write_all(config::EXAMPLE.as_bytes())?;
    screen.line(Tone::Good, &format!("wrote {shown}"))?;
    screen.line(Tone::Plain, "Next: fill in [[project]], then run `patchwright doctor`.")?;
    Ok(())
}
