//! Closes the windows through which a child with our own user id could look into us.
//!
//! Invariant: after [`harden_self`], `/proc/<our pid>/environ`, `mem` and `fd` belong to root, and no core file of us
//! is ever written.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Makes this process unreadable to others of the same user (`PR_SET_DUMPABLE`, ptrace(2) "access mode checking").
/// Programs that it starts are not affected. To be called before any secret is read and any program is started.
///
/// # Errors
/// Where the kernel refuses, as it may in an unusual sandbox; then nothing that holds credentials should go on.
pub fn harden_self() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn afterwards_this_process_can_neither_be_read_nor_dumped() {
        harden_self().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
