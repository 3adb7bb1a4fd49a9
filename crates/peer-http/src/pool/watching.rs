//! What a link tells of its peer: that it lives, how it ended, and which ring it has.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::link::asker::{Link, Watcher};
use crate::link::end::End;
use crate::link::frame::hello::Hello;
use crate::pool::judge::Judge;
use crate::pool::rings::LASTING;

/// Watches one link, for the judge of its peer.
pub(super) struct Watch {
    judge: Arc<Judge>,
    link: Weak<Link>,
    runtime: Handle,
    /// Whether the peer has spoken over an earlier link.
    has_met: bool,
}

/// How long the peer has to say which ring it has, if it has changed.
const ANSWER: Duration = Duration::from_secs(1);

impl Watch {
    /// Notes that the peer has agreed to a link, and watches that from now on.
    pub(super) fn begin(link: &Arc<Link>, judge: &Arc<Judge>, runtime: &Handle, has_met: bool) {
        judge.linked();
        let (judge, runtime) = (Arc::clone(judge), runtime.clone());
        link.watch(Arc::new(Self { judge, link: Arc::downgrade(link), runtime, has_met }));
    }
}

impl Watcher for Watch {
    fn met(&self, hello: Hello) {
        if self.judge.meet_ring(hello.ring) {
            watch_ring(&self.judge, self.link.clone(), &self.runtime);
        }
    }

    fn ended(&self, end: &Arc<End>, has_met: bool) {
        let why = || end.to_error().at(Arc::clone(self.judge.label()));
        let has_met = has_met || self.has_met;
        match **end {
            End::Silent { .. } if has_met => return self.judge.silent(&why()),
            _ => self.judge.unlinked(),
        }
        // One that agrees to frames and speaks none may be plain, and answers over HTTP. If not, the doubt
        // makes that show soon.
        let is_cut = has_met && matches!(**end, End::Closed | End::Broken(_));
        if is_cut || matches!(**end, End::Silent { .. }) {
            self.judge.refused(&why());
        }
    }
}

/// Looks at the rings again when a difference has lasted, in a task.
pub(super) fn watch_ring(judge: &Arc<Judge>, link: Weak<Link>, runtime: &Handle) {
    runtime.spawn(look_later(Arc::downgrade(judge), link));
}

/// Asks the peer which ring it has, when a difference has nearly lasted, and judges then.
///
/// # Cancel safety
///
/// Dropped only when its runtime shuts down. The next HELLO is looked at all the same.
async fn look_later(judge: Weak<Judge>, link: Weak<Link>) {
    sleep(LASTING.saturating_sub(ANSWER)).await;
    if let Some(link) = link.upgrade() {
        link.ping();
    }
    sleep(ANSWER).await;
    if let Some(judge) = judge.upgrade() {
        judge.look_at_ring();
    }
}
