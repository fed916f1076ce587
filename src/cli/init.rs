//! `patchwright init`: writes a commented configuration file.
//!
//! Invariant: never overwrites a file unless told to.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

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
    // In the repository the schema is with the documentation; here it is beside the file.
    let text = config::EXAMPLE.replacen("./docs/patchwright.schema.json", "./patchwright.schema.json", 1);
    write(&args.path, args.force, &text).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            CliError::Usage(format!("{shown} is there already; use --force to replace it, or name another file"))
        } else {
            CliError::Usage(format!("cannot write {shown}: {error}"))
        }
    })?;
    screen.line(Tone::Good, &format!("wrote {shown}"))?;
    let schema = args.path.with_file_name("patchwright.schema.json");
    match write(&schema, args.force, &config::schema::json_schema()) {
        Ok(()) => screen.line(Tone::Good, &format!("wrote {}, for editors", schema.display()))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => screen.line(Tone::Warn, &format!("cannot write {}, for editors: {error}", schema.display()))?,
    }
    screen.line(Tone::Plain, "Next: fill in [[project]], then run `patchwright doctor`.")?;
    Ok(())
}

fn write(path: &Path, force: bool, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path)?.write_all(text.as_bytes())
}
