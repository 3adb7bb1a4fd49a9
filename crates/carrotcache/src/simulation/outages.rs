//! Nodes of a simulated cluster that cannot reach each other, or do not try.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::dice::{Pace, Pause};
use super::history::Label;
use super::nodes::Running;
use super::world::World;

impl World {
    /// Cuts two nodes off from each other for a while.
    pub(super) fn cut(&mut self) {
        let (one, other) = (self.users.label(), self.users.label());
        let time = Duration::from_millis(self.dice.pick(&[50, 400, 3_000, 8_000]));
        let (network, recorder) = (Arc::clone(&self.network), Arc::clone(&self.recorder));
        self.begun.spawn(async move {
            recorder.note(|| format!("{one} and {other} are cut off from each other"));
            network.cut(one, other, true);
            sleep(time).await;
            network.cut(one, other, false);
            recorder.note(|| format!("{one} and {other} reach each other again"));
        });
    }

    /// Cuts a node off from all others for a while, most of which find out.
    pub(super) fn be_away(&mut self) {
        let away = self.users.label();
        let time = Duration::from_millis(self.dice.pick(&[50, 400, 3_000, 8_000]));
        let (network, recorder) = (Arc::clone(&self.network), Arc::clone(&self.recorder));
        let others: Vec<_> = (0..self.plan.most_nodes).map(Label).collect();
        self.begun.spawn(async move {
            recorder.note(|| format!("{away} is away"));
            others.iter().for_each(|other| network.cut(away, *other, true));
            sleep(time).await;
            others.iter().for_each(|other| network.cut(away, *other, false));
            recorder.note(|| format!("{away} is back"));
        });
        self.eject(away, self.dice.pause(Pace::Quick));
    }

    /// Has some nodes take another for dead, soon and each for a time of its own, and so not ask it.
    pub(super) fn eject(&mut self, dead: Label, soon: Pause) {
        let askers = self.nodes.running().into_iter().filter(|label| *label != dead);
        for asker in askers.filter(|_| !self.dice.one_in(3)).collect::<Vec<_>>() {
            let Some(Running { ejected, process, .. }) = self.nodes.get(asker) else { continue };
            let time = Duration::from_millis(self.dice.pick(&[100, 1_000, 5_000]));
            let recorder = Arc::clone(&self.recorder);
            self.begun.spawn(async move {
                soon.wait().await;
                recorder.note(|| format!("{process} takes {dead} for dead"));
                ejected.set(dead, true);
                sleep(time).await;
                ejected.set(dead, false);
                recorder.note(|| format!("{process} asks {dead} again"));
            });
        }
    }
}
