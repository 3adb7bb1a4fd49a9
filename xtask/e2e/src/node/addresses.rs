//! Where the nodes of a ring listen.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

use crate::process::ports;

/// Where usual ports begin: those for peers at the first, those for people at the second.
const FIRST: [u16; 2] = [8001, 9999];
/// How far apart two searches are.
const STRIDE: u16 = 100;
/// How often to start on other ports when somebody else takes one meanwhile.
const TRIES: u16 = 3;

/// Which ports are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Those that people know from the documentation, or the next that are free.
    Usual,
    /// Any that are free, so that tests which run side by side do not want the same.
    Any,
}

/// The addresses of the nodes of one ring, all on the loopback interface.
#[derive(Clone, Debug)]
pub struct Addresses {
    ports: Vec<u16>,
    urls: Vec<String>,
    apis: Vec<String>,
}

impl Addresses {
    /// Returns addresses for `count` nodes on which nobody listens at the moment.
    ///
    /// # Errors
    ///
    /// When there are not as many.
    pub fn free(ports: Ports, count: usize) -> Result<Self> {
        Self::search(ports, count, 0)
    }

    /// Returns free addresses; of the usual ports the first `skipped` are passed over.
    fn search(ports: Ports, count: usize, skipped: u16) -> Result<Self> {
        let (own, apis) = match ports {
            Ports::Usual => {
                let [own, apis] = FIRST.map(|first| ports::free_from(first + skipped, count));
                (own?, apis?)
            }
            Ports::Any => {
                let mut own = any_free(2 * count)?;
                let apis = own.split_off(count);
                (own, apis)
            }
        };
        let apis = apis.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(Self::of(own, apis))
    }

    /// Returns addresses that others have found: the ports of the base URLs, and where the APIs listen.
    #[must_use]
    pub fn of(ports: Vec<u16>, apis: Vec<String>) -> Self {
        let urls = ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        Self { ports, urls, apis }
    }

    /// Returns the base URLs, by which the ring knows the nodes.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the ports of the base URLs.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Returns where the nodes' APIs listen, in the same order.
    #[must_use]
    pub fn apis(&self) -> &[String] {
        &self.apis
    }
}

/// Returns ports on which nobody listened a moment ago, chosen by the system.
fn any_free(count: usize) -> Result<Vec<u16>> {
    // All are held until the last is found, so that no two are the same.
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<std::io::Result<Vec<_>>>().context("no port is free")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Runs `start` with addresses that are free, and again with others when somebody else listens on one
/// of them before the nodes do.
///
/// # Errors
///
/// When there are no free addresses, and those of `start`.
///
/// # Cancel safety
///
/// As that of `start`.
pub async fn on_free_addresses<T>(
    ports: Ports,
    count: usize,
    start: impl AsyncFn(&Addresses) -> Result<T>,
) -> Result<T> {
    let mut tries = 0..TRIES;
    loop {
        let skipped = tries.next().unwrap_or(0) * STRIDE;
        match start(&Addresses::search(ports, count, skipped)?).await {
            Err(error) if is_taken(&error) && !tries.is_empty() => {}
            outcome => return outcome,
        }
    }
}

/// Returns whether a process says that somebody else listens where it should.
fn is_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("address already in use")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use anyhow::{anyhow, bail};

    use super::*;

    #[tokio::test]
    async fn others_are_tried_when_one_is_taken_meanwhile() {
        let tried = RefCell::new(Vec::new());
        let started = on_free_addresses(Ports::Usual, 2, async |addresses: &Addresses| {
            tried.borrow_mut().push(addresses.urls().to_vec());
            let taken = tried.borrow().len() == 1;
            if taken { bail!("it ended: Address already in use (os error 98)") } else { Ok("up") }
        });
        assert_eq!(started.await.unwrap(), "up");
        let tried = tried.into_inner();
        assert_eq!(tried.len(), 2);
        assert!(tried[0].iter().all(|url| !tried[1].contains(url)), "{tried:?}");
    }

    #[tokio::test]
    async fn what_fails_otherwise_or_too_often_is_an_error() {
        for (text, expected) in [("no such table", 1), ("bind: address already in use", TRIES)] {
            let tries = RefCell::new(0);
            let started = on_free_addresses(Ports::Any, 1, async |_: &Addresses| {
                *tries.borrow_mut() += 1;
                Err::<(), _>(anyhow!(text))
            });
            assert_eq!(started.await.unwrap_err().to_string(), text);
            assert_eq!(tries.into_inner(), expected);
        }
    }

    #[test]
    fn no_two_addresses_are_the_same() {
        for ports in [Ports::Usual, Ports::Any] {
            let addresses = Addresses::free(ports, 3).unwrap();
            let own = addresses.urls().iter().map(|url| url.trim_start_matches("http://"));
            let all: BTreeSet<_> = own.chain(addresses.apis().iter().map(String::as_str)).collect();
            assert_eq!(all.len(), 6, "{all:?}");
        }
    }
}
