//! Every bound, and what is wrong with those that cannot work.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use carrotcache_consistenthash::{Ring, RingBuilder};

use crate::error::{BuildError, MAX_PATH_BYTES};
use crate::link::config::LinkConfig;
use crate::link::frame::hello::MIN_REQUEST_BYTES;
use crate::secret::Secrets;
use crate::tls::Tls;
use crate::wire::path;

/// The settings, as client and server read them. The methods of the pool's builder say what
/// they mean.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    // Both sides.
    pub(crate) base_path: String,
    /// Scheme and points, without nodes.
    pub(crate) ring: RingBuilder,
    pub(crate) max_key_bytes: usize,
    pub(crate) max_group_bytes: usize,
    /// Whether links are asked for, and agreed to.
    pub(crate) links: bool,
    pub(crate) link: LinkConfig,
    /// By which nodes know each other, if by any.
    pub(crate) secrets: Option<Secrets>,
    pub(crate) tls: Tls,
    /// For how long former peers and rings are remembered.
    pub(crate) hand_off: Duration,
    // The client.
    pub(crate) connect_timeout: Duration,
    pub(crate) tls_handshake_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_idle_connections: usize,
    pub(crate) max_answer_bytes: u64,
    /// Four of the largest answers unless set.
    pub(crate) max_bytes_under_way: Option<u64>,
    pub(crate) max_wait_percent: u8,
    pub(crate) ejects: bool,
    pub(crate) first_ejection: Duration,
    pub(crate) longest_ejection: Duration,
    // The server.
    pub(crate) max_time_left: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_connection_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) max_unsent_bytes: u64,
    pub(crate) drain_timeout: Duration,
    pub(crate) max_accepted: usize,
    /// Whether peers on other machines may purge without showing who they are.
    pub(crate) purges_from_anyone: bool,
}

/// Longer than anyone waits, and short enough to be added to any point in time.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Config {
    /// Cuts every time down to one that can be added to the present without an overflow.
    pub(crate) fn bound_times(&mut self) {
        let times = [
            &mut self.hand_off,
            &mut self.connect_timeout,
            &mut self.tls_handshake_timeout,
            &mut self.idle_timeout,
            &mut self.first_ejection,
            &mut self.longest_ejection,
            &mut self.max_time_left,
            &mut self.head_timeout,
            &mut self.idle_connection_timeout,
            &mut self.write_timeout,
            &mut self.drain_timeout,
            &mut self.link.ping_after,
            &mut self.link.pong_within,
            &mut self.link.idle_timeout,
        ];
        for time in times {
            *time = LONGEST_TIME.min(*time);
        }
        self.longest_ejection = self.longest_ejection.max(self.first_ejection);
    }

    /// Gives links the times that they share with HTTP, and a number to know this process by.
    pub(crate) fn settle_link(&mut self) {
        self.link.max_request_bytes = self.link.max_request_bytes.max(MIN_REQUEST_BYTES);
        self.link.hello_within = self.head_timeout;
        self.link.write_within = self.write_timeout;
        // Longer than the server waits, which cuts what is busy then, and tells how much that was.
        self.link.drain_timeout = self.drain_timeout.saturating_add(Duration::from_secs(1));
        self.link.incarnation = RandomState::new().build_hasher().finish();
    }

    /// Returns what is wrong with the settings, if anything is.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if !path::is_base_path(&self.base_path) {
            return Err(BuildError::BasePath { base_path: self.base_path.clone() });
        }
        let bounds = [
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("tls_handshake_timeout", self.tls_handshake_timeout.is_zero()),
            ("max_connections", self.max_connections == 0),
            ("first_ejection", self.first_ejection.is_zero()),
            ("max_key_bytes", self.max_key_bytes == 0),
            ("max_group_bytes", self.max_group_bytes == 0),
            ("head_timeout", self.head_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("max_unsent_bytes", self.max_unsent_bytes == 0),
            ("max_accepted", self.max_accepted == 0),
            ("max_gets_in_flight", self.link.max_in_flight == 0),
            ("max_link_loads", self.link.max_loads == 0),
            ("max_link_value_bytes", self.link.max_value_bytes == 0),
            ("max_link_queued_bytes", self.link.max_queued_bytes == 0),
            ("link_ping_after", self.link.ping_after.is_zero()),
            ("link_pong_timeout", self.link.pong_within.is_zero()),
            ("link_idle_timeout", self.link.idle_timeout.is_zero()),
        ];
        if let Some((setting, _)) = bounds.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(BuildError::Zero { setting });
        }
        let (max_bytes_under_way, max_answer_bytes) =
            (self.max_bytes_under_way(), self.max_answer_bytes);
        if max_bytes_under_way < max_answer_bytes {
            return Err(BuildError::NoRoomForAnswer { max_bytes_under_way, max_answer_bytes });
        }
        let Self { max_group_bytes, max_key_bytes, .. } = *self;
        let path_bytes = self.base_path.len().saturating_add(self.max_names_bytes());
        if path_bytes > MAX_PATH_BYTES {
            return Err(BuildError::NamesTooLong { max_group_bytes, max_key_bytes });
        }
        Ok(())
    }

    /// Returns how many bytes of answers may be under way at one moment.
    pub(crate) fn max_bytes_under_way(&self) -> u64 {
        self.max_bytes_under_way.unwrap_or(self.max_answer_bytes.saturating_mul(4))
    }

    /// Returns how many bytes the longest group and key take in a path: a byte may become three, and
    /// a slash stands between the two.
    pub(crate) fn max_names_bytes(&self) -> usize {
        self.max_key_bytes.saturating_add(self.max_group_bytes).saturating_mul(3).saturating_add(1)
    }

    /// Returns why a group or a key that came from the network is not taken, if it is not.
    pub(crate) fn refuse(&self, group: &str, key: &str) -> Option<String> {
        self.refuse_group(group).or_else(|| self.refuse_key(key))
    }

    /// Returns why a group that came from the network is not taken, if it is not.
    pub(crate) fn refuse_group(&self, group: &str) -> Option<String> {
        refuse_name("group", group, self.max_group_bytes)
    }

    /// Returns why a key that came from the network is not taken, if it is not.
    pub(crate) fn refuse_key(&self, key: &str) -> Option<String> {
        refuse_name("key", key, self.max_key_bytes)
    }
}

/// Returns why a name is not taken, if it is empty or too long.
fn refuse_name(what: &str, name: &str, max_bytes: usize) -> Option<String> {
    let bytes = name.len();
    if bytes == 0 {
        Some(format!("{what} is empty"))
    } else if bytes > max_bytes {
        Some(format!("{what} of {bytes} bytes is over {max_bytes}"))
    } else {
        None
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_path: "/_groupcache/".to_owned(),
            ring: Ring::builder(),
            links: true,
            link: LinkConfig::default(),
            secrets: None,
            tls: Tls::default(),
            hand_off: Duration::from_secs(60),
            connect_timeout: Duration::from_millis(250),
            tls_handshake_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(25),
            max_connections: 128,
            max_idle_connections: 128,
            max_answer_bytes: 64 << 20,
            max_bytes_under_way: None,
            max_wait_percent: 20,
            ejects: true,
            first_ejection: Duration::from_secs(1),
            longest_ejection: Duration::from_secs(30),
            max_key_bytes: 1 << 10,
            max_group_bytes: 64,
            max_time_left: Duration::from_secs(60),
            head_timeout: Duration::from_secs(5),
            idle_connection_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            max_unsent_bytes: 64 << 20,
            drain_timeout: Duration::from_secs(10),
            max_accepted: 4096,
            purges_from_anyone: false,
        }
    }
}
