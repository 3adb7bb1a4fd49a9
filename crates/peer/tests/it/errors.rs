//! What an error tells, and to whom.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use carrotcache_peer::{BoxError, PeerError, PeerErrorKind};

/// Every kind, and the sentence that it makes of a peer.
const SENTENCES: [(PeerErrorKind, &str); 14] = [
    (PeerErrorKind::LoadFailed, "the peer failed to load the key"),
    (PeerErrorKind::Failed, "the peer failed to answer"),
    (PeerErrorKind::NoSuchGroup, "the peer has no such group"),
    (PeerErrorKind::Overloaded, "the peer is overloaded"),
    (PeerErrorKind::TimedOut, "the peer did not answer in time"),
    (PeerErrorKind::BadRequest, "the peer does not take the request"),
    (PeerErrorKind::Unauthorized, "the peer does not let this node in"),
    (PeerErrorKind::Unreachable, "the peer cannot be reached"),
    (PeerErrorKind::Truncated, "the peer cut its answer short"),
    (PeerErrorKind::TooLarge, "the peer sent an answer that is larger than is accepted"),
    (PeerErrorKind::Malformed, "the peer sent an answer that cannot be read"),
    (PeerErrorKind::Foreign, "the peer does not answer as a node of the cache does"),
    (
        PeerErrorKind::Dropped,
        "the peer was not asked to the end: the transport dropped the request",
    ),
    (PeerErrorKind::Runtime, "the peer cannot be asked on this runtime"),
];

#[test]
fn every_kind_makes_a_sentence_with_and_without_the_name_of_the_peer() {
    for (kind, sentence) in SENTENCES {
        let error = PeerError::new(kind);
        assert_eq!(error.to_string(), sentence);
        let named = error.at("http://10.0.0.2:8001").to_string();
        assert_eq!(named, sentence.replacen("the peer", "peer http://10.0.0.2:8001", 1));
    }
}

#[test]
fn only_the_answer_of_the_owners_loader_is_a_verdict() {
    for (kind, _) in SENTENCES {
        assert_eq!(
            PeerError::new(kind).is_verdict(),
            kind == PeerErrorKind::LoadFailed,
            "{kind:?}"
        );
    }
}

#[test]
fn the_cause_is_the_source_and_not_repeated_in_the_text() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let text = refused.to_string();
    let error = PeerError::new(PeerErrorKind::Unreachable).at("red").with_source(refused);
    assert_eq!(error.to_string(), "peer red cannot be reached");
    let source = error.source().unwrap();
    assert_eq!(source.to_string(), text);
    assert!(source.is::<io::Error>(), "its type is kept: {source:?}");
}

#[test]
fn a_clone_shares_its_cause() {
    let error = PeerError::new(PeerErrorKind::LoadFailed).with_source("no disk");
    let clone = error.clone();
    assert!(Arc::ptr_eq(error.source.as_ref().unwrap(), clone.source.as_ref().unwrap()));
}

#[test]
fn a_cause_may_be_a_text_an_error_or_one_that_is_shared() {
    let shared: Arc<dyn std::error::Error + Send + Sync> = Arc::new(io::Error::other("shared"));
    let boxed: BoxError = "boxed".into();
    let base = || PeerError::new(PeerErrorKind::LoadFailed);
    for (error, causes) in [
        (base().with_source("text"), "text"),
        (base().with_source(String::from("owned")), "owned"),
        (base().with_source(boxed), "boxed"),
        (base().with_source(shared), "shared"),
        (base().with_source(base().with_source("inner")), "the peer failed to load the key: inner"),
        (base(), ""),
    ] {
        assert_eq!(error.causes(), causes);
    }
}

#[test]
fn the_first_name_of_a_peer_stays() {
    let error = PeerError::from(PeerErrorKind::Overloaded).at("red").at("green");
    assert_eq!(error.peer.as_deref(), Some("red"));
}
