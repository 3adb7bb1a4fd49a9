//! Running a server as somebody who may do little: PostgreSQL refuses to run as root, and none of
//! the servers started here needs to.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Whom a server runs as where the task runs as root.
const NOBODY: &str = "nobody";

/// Returns a command that runs `program` as an ordinary user: as this one, or as nobody if this one
/// is root.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    // `setpriv` becomes the program, so a signal sent to its process id reaches the server. Changing
    // the user undoes the tie between the server's life and ours; the last option ties it again.
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--clear-groups", "--pdeathsig", "KILL"]).arg(program);
    command
}

/// Gives `folder` to the user whom [`command`] runs as.
///
/// # Errors
///
/// When there is no such user, or the folder cannot be given away.
pub(super) fn give(folder: &Path) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let id = user_id(&users, NOBODY).with_context(|| format!("there is no user {NOBODY}"))?;
    std::os::unix::fs::chown(folder, Some(id), None)
        .with_context(|| format!("cannot give {} to {NOBODY}", folder.display()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns the id of the user `name` in a file of lines `name:password:id:…`.
fn user_id(users: &str, name: &str) -> Option<u32> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields.first() == Some(&name));
    found.next()?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:7::/:\nnobody:x:65534:65534::/:\n";
        assert_eq!(user_id(users, "nobody"), Some(65534));
        assert_eq!(user_id(users, "no"), None);
    }
}
