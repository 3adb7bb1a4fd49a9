//! Loopback ports for children to listen on.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Returns the first `count` ports from `first` up on which nobody listens on this machine's
/// loopback interface.
///
/// Another program may take one before the child does: a child that reports a taken port is to be
/// started again with others.
///
/// # Errors
///
/// When there are not as many.
pub fn free_from(first: u16, count: usize) -> Result<Vec<u16>> {
    let ports: Vec<_> = (first..=u16::MAX).filter(|&port| is_free(port)).take(count).collect();
    (ports.len() == count)
        .then_some(ports)
        .with_context(|| format!("fewer than {count} ports from {first} up are free"))
}

/// Returns whether a server could listen on `port` of the loopback interface now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!is_free(port));
        assert!(!free_from(port, 2).unwrap().contains(&port));
    }

    #[test]
    fn too_few_ports_are_an_error() {
        let error = free_from(u16::MAX, 2).unwrap_err().to_string();
        assert_eq!(error, "fewer than 2 ports from 65535 up are free");
    }
}
