//! Where the nodes of a ring listen.

use anyhow::Result;

use crate::process::ports;

/// Where ports are looked for: those for peers from the first on, those for people from the second.
const FIRST: [u16; 2] = [8001, 9999];
/// How far apart two searches are.
const STRIDE: u16 = 100;
/// How often to start on other ports when somebody else takes one meanwhile.
const TRIES: u16 = 3;

/// The addresses of the nodes of one ring, all on the loopback interface.
#[derive(Clone, Debug)]
pub struct Addresses {
    urls: Vec<String>,
    apis: Vec<String>,
}

impl Addresses {
    /// Returns addresses for `count` nodes on which nobody listens at the moment.
    ///
    /// # Errors
    ///
    /// When there are not as many.
    pub fn free(count: usize) -> Result<Self> {
        Self::search(count, 0)
    }

    fn search(count: usize, skipped: u16) -> Result<Self> {
        let [own, apis] = FIRST.map(|first| ports::free_from(first + skipped, count));
        Ok(Self {
            urls: own?.iter().map(|port| format!("http://127.0.0.1:{port}")).collect(),
            apis: apis?.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        })
    }

    /// Returns the base URLs, by which the ring knows the nodes.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns where the nodes' APIs listen, in the same order.
    #[must_use]
    pub fn apis(&self) -> &[String] {
        &self.apis
    }
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
    count: usize,
    start: impl AsyncFn(&Addresses) -> Result<T>,
) -> Result<T> {
    let mut tries = 0..TRIES;
    loop {
        let skipped = tries.next().unwrap_or(0) * STRIDE;
        match start(&Addresses::search(count, skipped)?).await {
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
        let started = on_free_addresses(2, async |addresses: &Addresses| {
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
            let started = on_free_addresses(1, async |_: &Addresses| {
                *tries.borrow_mut() += 1;
                Err::<(), _>(anyhow!(text))
            });
            assert_eq!(started.await.unwrap_err().to_string(), text);
            assert_eq!(tries.into_inner(), expected);
        }
    }

    #[test]
    fn no_two_addresses_are_the_same() {
        let addresses = Addresses::free(3).unwrap();
        let own = addresses.urls().iter().map(|url| url.trim_start_matches("http://"));
        let all: BTreeSet<_> = own.chain(addresses.apis().iter().map(String::as_str)).collect();
        assert_eq!(all.len(), 6, "{all:?}");
    }
}
