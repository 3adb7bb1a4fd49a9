//! What a process uses of the system, as Linux tells it below `/proc`.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

/// What a process uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident, in bytes.
    pub resident_bytes: u64,
    /// Threads, those of the runtime and of others.
    pub threads: u64,
    /// Open files and sockets.
    pub descriptors: u64,
}

impl Usage {
    /// Returns what the process `id` uses now.
    ///
    /// # Errors
    ///
    /// When there is no such process of this user, or the system has no `/proc`.
    pub fn of(id: u32) -> Result<Self> {
        let path = format!("/proc/{id}/status");
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let usage = Self::parse(&status).with_context(|| format!("{path} lacks a field"))?;
        let descriptors = fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64;
        Ok(Self { descriptors, ..usage })
    }

    /// Reads what stands in `status`, which leaves the descriptors out.
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line?.split_whitespace().next()?.parse::<u64>().ok()
        };
        let resident_bytes = field("VmRSS")? << 10;
        Some(Self { resident_bytes, threads: field("Threads")?, descriptors: 0 })
    }

    /// Returns the larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// A TCP socket over IPv4 that a process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// The port at this end.
    pub local_port: u16,
    /// The port at the other end; 0 while it listens.
    pub remote_port: u16,
}

/// Returns the sockets of the process `id`, also those that the other side has closed.
///
/// # Errors
///
/// When there is no such process of this user, or the system has no `/proc`.
pub fn sockets(id: u32) -> Result<Vec<Socket>> {
    let own: BTreeSet<_> = fs::read_dir(format!("/proc/{id}/fd"))?
        // One that is gone by now is closed.
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| inode(link.to_str()?))
        .collect();
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp"))?;
    let rows = table.lines().skip(1).filter_map(row);
    Ok(rows.filter(|(inode, _)| own.contains(inode)).map(|(_, socket)| socket).collect())
}

/// Reads `socket:[4711]`, which is what a descriptor of a socket is a link to.
fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads a line of `/proc/net/tcp`.
fn row(line: &str) -> Option<(u64, Socket)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let port = |at: usize| u16::from_str_radix(fields.get(at)?.split_once(':')?.1, 16).ok();
    let socket = Socket { local_port: port(1)?, remote_port: port(2)? };
    Some((fields.get(9)?.parse().ok()?, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_one_that_lacks_a_field_is_not() {
        let status = "Name:\tnode\nVmRSSX:\t1 kB\nVmRSS:\t   20480 kB\nThreads:\t11\n";
        let expected = Usage { resident_bytes: 20 << 20, threads: 11, descriptors: 0 };
        assert_eq!(Usage::parse(status), Some(expected));
        assert_eq!(Usage::parse("Name:\tnode\nThreads:\t11\n"), None);
        assert_eq!(Usage::parse("VmRSS:\tmuch kB\nThreads:\t11\n"), None);
    }

    #[test]
    fn a_peak_is_that_of_each() {
        let usage =
            |of: [u64; 3]| Usage { resident_bytes: of[0], threads: of[1], descriptors: of[2] };
        assert_eq!(usage([1, 5, 3]).max(usage([2, 4, 3])), usage([2, 5, 3]));
    }

    #[test]
    fn a_line_of_the_table_is_read_and_its_heading_is_not() {
        let line = "   3: 0100007F:1F41 0100007F:C3B2 08 00000000:00000001 00:00000000 00000000  \
                    1000        0 4711 1 0000000000000000 20 4 30 10 -1";
        let socket = Socket { local_port: 8001, remote_port: 50098 };
        assert_eq!(row(line), Some((4711, socket)));
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(row(heading), None);
        assert_eq!(row(""), None);
        assert_eq!(inode("socket:[4711]"), Some(4711));
        assert_eq!(inode("/dev/null"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_socket_is_seen_until_it_is_closed_and_others_are_not() {
        use std::net::{TcpListener, TcpStream};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();
        let before = Usage::of(own).unwrap();
        assert!(before.resident_bytes > 1 << 20 && before.threads > 0 && before.descriptors > 2);
        let listening = Socket { local_port: port, remote_port: 0 };
        assert!(sockets(own).unwrap().contains(&listening));

        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let client_port = client.local_addr().unwrap().port();
        let ours = Socket { local_port: client_port, remote_port: port };
        let theirs = Socket { local_port: port, remote_port: client_port };
        let seen = sockets(own).unwrap();
        assert!(seen.contains(&ours) && seen.contains(&theirs), "{seen:?}");
        // The one in CLOSE_WAIT is open still; the other belongs to the kernel alone.
        drop(client);
        let seen = sockets(own).unwrap();
        assert!(!seen.contains(&ours) && seen.contains(&theirs), "{seen:?}");
        drop(accepted);
        assert!(!sockets(own).unwrap().contains(&theirs));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Ids are below 2²².
        assert!(Usage::of(u32::MAX).is_err() && sockets(u32::MAX).is_err());
    }
}
