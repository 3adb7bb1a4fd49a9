//! What the head of a reply says, and how much of it is believed.

use carrotcache_peer::PeerErrorKind;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, StatusCode};

use crate::wire::outcome::{OUTCOME, Outcome, PROTOBUF, kind_of_status, one_line};

/// What the head of a reply says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The body is a value.
    Value,
    /// There is no such key.
    Absent,
    /// Why there is no value; the body is a text about it.
    Refused(PeerErrorKind),
    /// Nothing that a node says, and why. The body is of no interest.
    Foreign(String),
}

/// Returns what a head says.
///
/// Whatever stands between two nodes, or listens in the place of one, speaks HTTP as well: proxies,
/// login pages, another service on a port that was ours. So a head is believed only where it is as
/// nodes send it: a value with its content type and its length, an outcome with the status that goes
/// with it. An outcome that this version does not know is passed over, and the status speaks alone.
pub(crate) fn read(status: StatusCode, headers: &HeaderMap) -> Said {
    if status == StatusCode::OK {
        return match fault_of_value(headers) {
            None => Said::Value,
            Some(fault) => Said::Foreign(fault),
        };
    }
    let mut outcomes = headers.get_all(OUTCOME).iter();
    let (outcome, is_only) = (outcomes.next(), outcomes.next().is_none());
    let known = outcome.and_then(Outcome::from_header);
    match known {
        Some(known) if known.status() != status || !is_only => {
            Said::Foreign(format!("status {status} with {OUTCOME} {}", known.as_str()))
        }
        Some(known) => known.kind().map_or(Said::Absent, Said::Refused),
        None => match kind_of_status(status) {
            PeerErrorKind::Foreign => Said::Foreign(format!("status {status}")),
            kind => Said::Refused(kind),
        },
    }
}

/// Returns why the body below a status of 200 is no value, if it is none.
fn fault_of_value(headers: &HeaderMap) -> Option<String> {
    if let Some(outcome) = headers.get(OUTCOME) {
        let outcome = one_line(&String::from_utf8_lossy(outcome.as_bytes()));
        return Some(format!("status {} with {OUTCOME} {outcome}", StatusCode::OK));
    }
    let mut content_types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(content_type), None) = (content_types.next(), content_types.next()) else {
        let count = if headers.contains_key(CONTENT_TYPE) { "with two" } else { "without a" };
        let plural = if headers.contains_key(CONTENT_TYPE) { "s" } else { "" };
        return Some(format!("a body {count} content type{plural}"));
    };
    // A proxy may compress what passes through it, or send a part. Compressed bytes can happen to be
    // a message.
    if let Some(name) =
        [CONTENT_ENCODING, CONTENT_RANGE].iter().find(|name| headers.contains_key(*name))
    {
        return Some(format!("a body with a {name}, which no node sends"));
    }
    if !is_protobuf(content_type.as_bytes()) {
        let content_type = one_line(&String::from_utf8_lossy(content_type.as_bytes()));
        return Some(format!("a body of type {content_type}"));
    }
    // Without either, the body ends where the connection does, and nobody can tell whether that is
    // too early. With both, they may say different things.
    let is_chunked = headers.get(TRANSFER_ENCODING).map(|coding| {
        headers.get_all(TRANSFER_ENCODING).iter().count() == 1
            && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    });
    let fault = match (is_chunked, headers.contains_key(CONTENT_LENGTH)) {
        (None, true) | (Some(true), false) => return None,
        (None, false) => "a body that does not say where it ends",
        (Some(true), true) => "a body that says twice where it ends",
        (Some(false), _) => "a body in a transfer coding that no node uses",
    };
    Some(fault.to_owned())
}

/// Returns whether a content type is that of a value, whatever parameters follow.
fn is_protobuf(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(PROTOBUF.as_bytes())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    /// Reads a head with these lines.
    fn read_lines(status: u16, lines: &[&str]) -> Said {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a line of a head");
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        read(StatusCode::from_u16(status).expect("a status"), &headers)
    }

    fn foreign(why: &str) -> Said {
        Said::Foreign(why.to_owned())
    }

    const PROTOBUF: &str = "content-type: application/x-protobuf";

    #[test]
    fn value_has_its_content_type_however_it_is_spelled() {
        for content_type in [
            "application/x-protobuf",
            "Application/X-Protobuf",
            "application/x-protobuf; charset=utf-8",
            " application/x-protobuf ;messageType=\"x;y\"",
        ] {
            let content_type = format!("content-type: {content_type}");
            assert_eq!(read_lines(200, &[&content_type, "content-length: 1"]), Said::Value);
        }
        for content_type in ["text/html; a=application/x-protobuf", "application/x-protobuffer", ""]
        {
            let line = format!("content-type: {content_type}");
            let said = read_lines(200, &[&line, "content-length: 1"]);
            assert_eq!(said, foreign(&format!("a body of type {content_type}")));
        }
        let said = read_lines(200, &["content-length: 1"]);
        assert_eq!(said, foreign("a body without a content type"));
    }

    #[test]
    fn text_of_a_content_type_becomes_one_short_line() {
        let line = format!("content-type: text/\u{e9}\t{}", "x".repeat(9_000));
        let Said::Foreign(why) = read_lines(200, &[&line]) else { panic!("not foreign") };
        assert!(why.starts_with("a body of type text/\u{e9} xxx") && why.len() < 600, "{why}");
    }

    #[test]
    fn value_says_once_where_it_ends() {
        let chunked = "transfer-encoding: Chunked";
        assert_eq!(read_lines(200, &[PROTOBUF, chunked]), Said::Value);
        for (lines, why) in [
            (&[PROTOBUF][..], "a body that does not say where it ends"),
            (&[PROTOBUF, chunked, "content-length: 1"], "a body that says twice where it ends"),
            (
                &[PROTOBUF, "transfer-encoding: gzip, chunked"],
                "a body in a transfer coding that no node uses",
            ),
            (&[PROTOBUF, chunked, chunked], "a body in a transfer coding that no node uses"),
        ] {
            assert_eq!(read_lines(200, lines), foreign(why));
        }
    }

    #[test]
    fn outcome_is_believed_with_its_own_status_only() {
        use PeerErrorKind::{
            BadRequest, LoadFailed, NoSuchGroup, Overloaded, TimedOut, TooManyLoads, Unauthorized,
        };
        for (word, status, said) in [
            ("not-found", 404, Said::Absent),
            ("load-failed", 500, Said::Refused(LoadFailed)),
            ("no-such-group", 404, Said::Refused(NoSuchGroup)),
            ("overloaded", 503, Said::Refused(Overloaded)),
            ("too-many-loads", 503, Said::Refused(TooManyLoads)),
            ("timed-out", 504, Said::Refused(TimedOut)),
            ("invalid", 400, Said::Refused(BadRequest)),
            ("unauthorized", 401, Said::Refused(Unauthorized)),
        ] {
            let line = format!("carrotcache-outcome: {word}");
            for other in [200, 204, 301, 400, 401, 404, 500, 502, 503, 504] {
                let read = read_lines(other, &[PROTOBUF, "content-length: 1", &line]);
                if other == status {
                    assert_eq!(read, said);
                } else {
                    let status = StatusCode::from_u16(other).expect("a status");
                    assert_eq!(
                        read,
                        foreign(&format!("status {status} with {}", &line.replace(':', "")))
                    );
                }
            }
        }
    }

    #[test]
    fn outcomes_that_contradict_each_other_are_not_believed() {
        let lines = ["carrotcache-outcome: not-found", "carrotcache-outcome: no-such-group"];
        let why = "status 404 Not Found with carrotcache-outcome not-found";
        assert_eq!(read_lines(404, &lines), foreign(why));
    }

    #[test]
    fn status_alone_is_no_verdict() {
        use PeerErrorKind::{BadRequest, Failed, NoSuchGroup, Overloaded, TimedOut, Unauthorized};
        for lines in [&[][..], &["carrotcache-outcome: of-a-later-version"]] {
            for (status, kind) in [
                (400, BadRequest),
                (401, Unauthorized),
                (404, NoSuchGroup),
                (500, Failed),
                (503, Overloaded),
                (504, TimedOut),
            ] {
                assert_eq!(read_lines(status, lines), Said::Refused(kind));
            }
            for status in [101, 201, 204, 206, 301, 304, 403, 407, 418, 501, 502, 511, 999] {
                assert!(matches!(read_lines(status, lines), Said::Foreign(_)), "{status}");
            }
        }
        let later = ["carrotcache-outcome: later", PROTOBUF, "content-length: 1"];
        assert_eq!(
            read_lines(200, &later),
            foreign("status 200 OK with carrotcache-outcome later")
        );
    }
}
