//! The asker's side, while the owner answers.

use std::error::Error;

use carrotcache_peer::PeerErrorKind;

use super::*;
use crate::link::asker::waiter::Why;
use crate::wire::outcome::Outcome;

#[tokio::test(start_paused = true)]
async fn a_get_goes_out_behind_the_hello_and_is_told_its_value() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    let told = asker.get("Tom");
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let id = owner.read_get("Tom").await;
    owner.hello().await;
    owner.value(id, b"630").await;
    assert_eq!(value(told).await, "630");
    assert_eq!(asker.link.in_flight(), 0);
    assert_eq!(asker.link.hello(), Some(LinkConfig::default().hello()));
}

#[tokio::test(start_paused = true)]
async fn answers_reach_their_own_gets_in_any_order() {
    let (asker, mut owner) = Asker::met().await;
    let a = asker.get("a");
    let b = asker.get("b");
    let c = asker.get("c");
    let ids = [owner.read_get("a").await, owner.read_get("b").await, owner.read_get("c").await];
    owner.value(ids[2], b"C").await;
    owner.value(ids[0], b"A").await;
    owner.value(ids[1], b"").await;
    assert_eq!(
        (value(a).await, value(b).await, value(c).await),
        ("A".into(), "".into(), "C".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_never_reaches_who_has_the_slot_now() {
    let (asker, mut owner) = Asker::met().await;
    let left = asker.get_for("old", Duration::from_millis(1));
    let old = owner.read_get("old").await;
    owner.expect(kind::CANCEL, old).await;
    let new = asker.get("new");
    let id = owner.read_get("new").await;
    assert_eq!(id.slot, old.slot, "the slot is used again");
    owner.value(old, b"of the old key").await;
    owner.bare(kind::LOADING, old).await;
    owner.refuse(old, Refusal::NOT_FOUND, "").await;
    owner.value(id, b"of the new key").await;
    assert_eq!(value(new).await, "of the new key");
    assert_eq!(told(left).await.unwrap_err().kind, PeerErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_in_time_is_not_given_up_later() {
    let (asker, mut owner) = Asker::met().await;
    let told = asker.get_for("k", Duration::from_millis(1));
    let id = owner.read_get("k").await;
    owner.value(id, b"v").await;
    assert_eq!(value(told).await, "v");
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Nothing was sent for it: the next frame is the next get.
    let _next = asker.get("next");
    owner.read_get("next").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_to_one_get_is_nobodys() {
    let (asker, mut owner) = Asker::met().await;
    let told = asker.get("a");
    let id = owner.read_get("a").await;
    owner.send(&[value_frame(id, b"1"), value_frame(id, b"2")].concat()).await;
    assert_eq!(value(told).await, "1");
    let told = asker.get("b");
    let id = owner.read_get("b").await;
    owner.value(id, b"3").await;
    assert_eq!(value(told).await, "3");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_as_http_would_tell_them() {
    let (asker, mut owner) = Asker::met().await;
    let cases = [
        (Outcome::LoadFailed, PeerErrorKind::LoadFailed),
        (Outcome::NoSuchGroup, PeerErrorKind::NoSuchGroup),
        (Outcome::Overloaded, PeerErrorKind::Overloaded),
        (Outcome::TimedOut, PeerErrorKind::TimedOut),
        (Outcome::Invalid, PeerErrorKind::BadRequest),
    ];
    for (outcome, kind) in cases {
        let get = asker.get("k");
        let id = owner.read_get("k").await;
        owner.refuse(id, Refusal::Outcome(outcome), "because").await;
        let error = told(get).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert_eq!(error.source().unwrap().to_string(), "because");
    }
    let get = asker.get("k");
    let id = owner.read_get("k").await;
    owner.refuse(id, Refusal::NOT_FOUND, "no such key").await;
    assert_eq!(told(get).await.unwrap().entry, Entry::absent());
}

#[tokio::test(start_paused = true)]
async fn a_value_too_large_for_a_link_takes_the_detour() {
    let (mut asker, mut owner) = Asker::met().await;
    let _told = asker.get("large");
    let id = owner.read_get("large").await;
    owner.refuse(id, Refusal::OverHttp, "").await;
    let waiter = soon(asker.detoured.recv()).await.expect("the get");
    assert_eq!(&*waiter.request.key, "large");
    assert_eq!(asker.link.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn values_of_every_size_arrive_whole_however_they_are_cut() {
    let (asker, mut owner) = Asker::met().await;
    for bytes in [0, 1, 8 << 10, (8 << 10) + 1, 100_000, 1 << 20] {
        for cut in [1, 15, 16, 17, 5_000, 64 << 10] {
            let sent: Vec<u8> = (0..=255).cycle().take(bytes).collect();
            let get = asker.get("k");
            let small = asker.get("small");
            let ids = [owner.read_get("k").await, owner.read_get("small").await];
            let frames = [value_frame(ids[0], &sent), value_frame(ids[1], b"s")].concat();
            let (first, rest) = frames.split_at(cut.min(frames.len()));
            owner.send(first).await;
            tokio::task::yield_now().await;
            owner.send(rest).await;
            let answer = told(get).await.expect("a value");
            assert!(answer.entry.value().unwrap() == &sent[..], "{bytes} bytes cut at {cut}");
            assert_eq!(value(small).await, "s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_value_that_nobody_waits_for_is_passed_over() {
    let (asker, mut owner) = Asker::met().await;
    let _told = asker.get_for("large", Duration::from_millis(1));
    let large = owner.read_get("large").await;
    owner.expect(kind::CANCEL, large).await;
    let small = asker.get("small");
    let id = owner.read_get("small").await;
    owner.value(large, &vec![7; 1 << 20]).await;
    owner.value(id, b"s").await;
    assert_eq!(value(small).await, "s");
}

#[tokio::test(start_paused = true)]
async fn the_first_get_and_what_came_early_are_answered() {
    let (first, told) = waiter("first");
    let early = [hello(), value_frame(Id::FIRST, b"v")].concat();
    let (_asker, _owner) = Asker::with(LinkConfig::default(), &early, Some(first));
    assert_eq!(value(told).await, "v");
}

#[tokio::test(start_paused = true)]
async fn a_get_beyond_the_bound_is_given_back() {
    let config = LinkConfig { max_in_flight: 2, ..LinkConfig::default() };
    let (asker, mut owner) = Asker::met_with(config).await;
    let a = asker.get("a");
    let _b = asker.get("b");
    let (third, _told) = waiter("c");
    let unsent = asker.link.get(third).expect_err("it is one too many");
    assert_eq!((unsent.why, &*unsent.waiter.request.key), (Why::Full, "c"));
    let id = owner.read_get("a").await;
    owner.value(id, b"A").await;
    assert_eq!(value(a).await, "A");
    assert!(asker.link.get(unsent.waiter).is_ok(), "there is room again");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_written_are_bounded() {
    let config = LinkConfig { max_unsent_bytes: 10_000, ..LinkConfig::default() };
    let (asker, _owner) = Asker::met_with(config).await;
    // The task does not run in between, so nothing is written.
    let mut sent = Vec::new();
    let unsent = loop {
        let (get, told) = waiter(&"k".repeat(1_000));
        match asker.link.get(get) {
            Ok(_) => sent.push(told),
            Err(unsent) => break unsent,
        }
    };
    assert_eq!(unsent.why, Why::Full);
    assert_eq!(sent.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_name_longer_than_a_frame_is_given_back() {
    let (asker, _owner) = Asker::met().await;
    for (group, key) in [("g".repeat(65_536), "k".into()), ("g".into(), "k".repeat(2 << 20))] {
        let request = Request::new(group, key, (Instant::now() + TIME).into_std());
        let (completion, _told) = completion();
        let unsent = asker.link.get(Waiter::new(request, completion)).expect_err("it is too long");
        assert_eq!(unsent.why, Why::TooLong);
    }
}

#[tokio::test(start_paused = true)]
async fn values_of_a_later_version_fail_their_own_get_alone() {
    let (asker, mut owner) = Asker::met().await;
    let strange = asker.get("strange");
    let plain = asker.get("plain");
    let ids = [owner.read_get("strange").await, owner.read_get("plain").await];
    let header = Header { len: 3, flags: 0x40, ..Header::bare(kind::VALUE, ids[0]) };
    owner.send(&[&header.encode()[..], b"???"].concat()).await;
    let unknown = Header { len: 3, ..Header::bare(200, ids[1]) };
    owner.send(&[&unknown.encode()[..], b"???"].concat()).await;
    let harmless = Header { len: 1, flags: 0x08, ..Header::bare(kind::VALUE, ids[1]) };
    owner.send(&[&harmless.encode()[..], b"v"].concat()).await;
    assert_eq!(told(strange).await.unwrap_err().kind, PeerErrorKind::Malformed);
    assert_eq!(value(plain).await, "v");
}

#[tokio::test(start_paused = true)]
async fn the_owner_may_tell_how_often_a_key_is_asked_for() {
    let (asker, mut owner) = Asker::met().await;
    for bytes in [1, 100_000] {
        let get = asker.get("k");
        let id = owner.read_get("k").await;
        let prefix = Prefix { minute_qps: Some(12.5), times: None };
        owner.send(ValueHead::new(id, prefix, bytes).as_bytes()).await;
        owner.send(&vec![7; bytes]).await;
        let answer = told(get).await.unwrap();
        assert_eq!(answer.minute_qps, Some(12.5));
        assert_eq!(answer.entry.value().unwrap().len(), bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_may_tell_for_how_long_a_value_is_good() {
    let (asker, mut owner) = Asker::met().await;
    for bytes in [1, 100_000] {
        let get = asker.get("k");
        let id = owner.read_get("k").await;
        let entry = Entry::new(vec![7; bytes]).with_fresh_for(TIME).with_stale_for(TIME / 2);
        let prefix = Prefix { minute_qps: None, times: Times::of(&entry) };
        // Byte by byte, since a long value is read to where it stays once its times are known.
        for byte in ValueHead::new(id, prefix, bytes).as_bytes() {
            owner.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        owner.send(&vec![7; bytes]).await;
        assert_eq!(told(get).await.unwrap().entry, entry);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_tell_which_process_gave_them() {
    let (asker, mut owner) = Asker::new(LinkConfig::default());
    assert_eq!(owner.read().await.0.kind, kind::HELLO);
    let mut frame = Vec::new();
    LinkConfig { incarnation: 77, ..LinkConfig::default() }.hello().encode(&mut frame);
    owner.send(&frame).await;
    let (short, long, absent) = (asker.get("short"), asker.get("long"), asker.get("absent"));
    for (key, bytes) in [("short", 1), ("long", 100_000)] {
        let id = owner.read_get(key).await;
        owner.value(id, &vec![7; bytes]).await;
    }
    let id = owner.read_get("absent").await;
    owner.refuse(id, Refusal::NOT_FOUND, "no such key").await;
    for get in [short, long, absent] {
        assert_eq!(told(get).await.unwrap().incarnation, Some(77));
    }
}
