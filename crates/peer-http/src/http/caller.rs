//! Who is at the other end of a connection that was accepted, as far as that is known.

use std::net::SocketAddr;

use crate::config::Config;

/// What is known of whoever asks over a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Caller {
    /// Where it connects from. `None` if the server does not say, as one need not that this crate does
    /// not run.
    pub(crate) remote: Option<SocketAddr>,
    /// Whether it has shown a certificate that this node's TLS configuration accepts.
    pub(crate) is_certified: bool,
}

impl Caller {
    /// Returns whether it may tell this node what to forget, and what to keep instead.
    ///
    /// A get reads. A purge that a stranger sends makes the database work, and one with a value puts
    /// the stranger's in the place of the database's. So whoever comes from another machine has to
    /// show that it belongs here. With a secret all who get this far have done so.
    pub(crate) fn may_purge(&self, config: &Config) -> bool {
        config.secrets.is_some()
            || config.purges_from_anyone
            || self.is_certified
            || self.remote.is_some_and(|remote| remote.ip().to_canonical().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Draft;

    fn from(remote: &str) -> Caller {
        Caller { remote: Some(remote.parse().expect("an address")), is_certified: false }
    }

    #[test]
    fn only_this_machine_may_purge_without_showing_who_it_is() {
        let config = Config::default();
        for near in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(from(near).may_purge(&config), "{near}");
        }
        for far in ["10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1", "0.0.0.0:1", "[::]:1"] {
            assert!(!from(far).may_purge(&config), "{far}");
        }
        assert!(!Caller::default().may_purge(&config), "from who knows where");
    }

    #[test]
    fn whoever_has_shown_it_may_purge_from_anywhere_and_so_may_all_if_the_builder_says_so() {
        let far = from("10.0.0.1:1");
        assert!(Caller { is_certified: true, ..far }.may_purge(&Config::default()));
        let draft = Draft { sent: Some("sixteen-letters!".to_owned()), other: None };
        let secrets = draft.settle().expect("a secret");
        assert!(far.may_purge(&Config { secrets, ..Config::default() }));
        assert!(far.may_purge(&Config { purges_from_anyone: true, ..Config::default() }));
    }
}
