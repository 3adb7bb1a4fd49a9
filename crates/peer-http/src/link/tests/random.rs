//! Random sequences of operations, on both sides at once: every get is told its own key's value or an
//! error, exactly once.

use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::test_runner::Config as Cases;

use super::*;

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Get,
    /// A get that waits for a moment only.
    HastyGet,
    /// The owner answers, in an order of its own, and so many bytes of that at first.
    Answer {
        at: usize,
        cut: usize,
    },
    Refuse(usize),
    Loading(usize),
    /// The owner answers what it has answered or was told to forget.
    AnswerAgain(usize),
    Wait(u64),
    Goaway,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Get),
        2 => Just(Step::HastyGet),
        5 => (0..8_usize, 0..60_usize).prop_map(|(at, cut)| Step::Answer { at, cut }),
        1 => (0..8_usize).prop_map(Step::Refuse),
        1 => (0..8_usize).prop_map(Step::Loading),
        2 => (0..8_usize).prop_map(Step::AnswerAgain),
        1 => (1..400_u64).prop_map(Step::Wait),
        1 => Just(Step::Goaway),
    ]
}

/// What the gets of one run were told, by number.
type Answers = Arc<Mutex<Vec<Vec<Told>>>>;

struct Run {
    asker: Asker,
    owner: Wire,
    /// What the owner was asked and has not answered, and what it has: ids and keys.
    open: Vec<(Id, String)>,
    closed: Vec<(Id, String)>,
    answers: Answers,
}

impl Run {
    async fn new() -> Self {
        let (asker, owner) = Asker::met().await;
        let (open, closed) = Default::default();
        Self { asker, owner, open, closed, answers: Answers::default() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Get => self.get(Duration::from_secs(2)).await,
            Step::HastyGet => self.get(Duration::from_millis(50)).await,
            Step::Answer { at, cut } => {
                if let Some((id, key)) = take(&mut self.open, at) {
                    let frame = value_frame(id, key.as_bytes());
                    let (begin, rest) = frame.split_at(cut.min(frame.len()));
                    self.send(begin).await;
                    tokio::task::yield_now().await;
                    self.send(rest).await;
                    self.closed.push((id, key));
                }
            }
            Step::Refuse(at) => {
                if let Some((id, key)) = take(&mut self.open, at) {
                    let mut frame = Vec::new();
                    encode_refusal(&mut frame, id, Refusal::Unknown, "");
                    self.send(&frame).await;
                    self.closed.push((id, key));
                }
            }
            Step::Loading(at) => {
                if let Some((id, _)) = self.open.get(at) {
                    self.send(&Header::bare(kind::LOADING, *id).encode()).await;
                }
            }
            Step::AnswerAgain(at) => {
                if let Some((id, key)) = take(&mut self.closed, at) {
                    self.send(&value_frame(id, key.as_bytes())).await;
                }
            }
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Goaway => {
                if self.answers.lock().unwrap().len() > 20 {
                    self.send(&Header::bare(kind::GOAWAY, Id::default()).encode()).await;
                }
            }
        }
    }

    /// Sends to an asker that may have left meanwhile: after a GOAWAY, or a silence.
    async fn send(&mut self, bytes: &[u8]) {
        drop(soon(self.owner.0.write_all(bytes)).await);
    }

    async fn get(&mut self, time: Duration) {
        let answers = Arc::clone(&self.answers);
        let number = answers.lock().unwrap().len();
        answers.lock().unwrap().push(Vec::new());
        let completion = Completion::new(move |told| answers.lock().unwrap()[number].push(told));
        let deadline = Instant::now() + time;
        let request = Request::new("g", format!("key {number}"), deadline.into_std());
        if let Err(unsent) = self.asker.link.get(Waiter::new(request, completion)) {
            // It is told by being dropped: it was given back.
            return drop(unsent);
        }
        // Whatever else stands before the get is of no interest to this owner.
        loop {
            let Some((header, payload)) = self.owner.try_read().await else { return };
            if let Ok(FromAsker::Get { id, get }) = FromAsker::decode(header, &payload) {
                return self.open.push((id, get.key.to_owned()));
            }
        }
    }

    /// Ends the link, and checks what everybody was told.
    async fn check(self) {
        drop(self.owner);
        self.asker.end().await;
        for (number, told) in self.answers.lock().unwrap().iter().enumerate() {
            assert_eq!(told.len(), 1, "get {number} was told once: {told:?}");
            if let Ok(answer) = &told[0] {
                let value = answer.entry.value().expect("no absent entries are sent");
                assert_eq!(value, format!("key {number}").as_str(), "the value is of its own key");
            }
        }
    }
}

fn take<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (at < list.len()).then(|| list.remove(at))
}

proptest! {
    #![proptest_config(Cases { cases: 200, ..Cases::default() })]

    #[test]
    fn every_get_is_told_its_own_value_or_an_error_once(steps in vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in steps {
                if run.asker.ended.is_finished() {
                    break;
                }
                run.step(step).await;
            }
            run.check().await;
        });
    }
}
