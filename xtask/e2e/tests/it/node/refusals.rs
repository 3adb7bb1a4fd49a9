//! A node that cannot start says why, in one line, and exits with 2.

use std::net::TcpListener;
use std::path::Path;

use e2e::node::addresses::{Addresses, Ports};

use super::process::{describe, program};
use super::sample::Sample;

/// Starts a node with `changed` options in place of those that work; returns its exit code and what
/// it says.
fn refused(file: &Path, changed: &[(&str, &str)]) -> (Option<i32>, String) {
    let addresses = Addresses::free(Ports::Any, 1).expect("there are free ports");
    let node = describe(&program(), &addresses, 0, file);
    let node = changed.iter().fold(node, |node, (option, value)| node.with(option, value));
    let output = node.command().output().expect("the program runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test]
async fn the_line_names_the_option_or_the_address_at_fault() {
    let sample = Sample::with_scores([]).await;
    let letter = Sample::absent();
    std::fs::write(letter.file(), "Dear reader, ".repeat(100)).unwrap();
    let letter = format!("sqlite:{}", letter.file().display());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let taken_url = format!("http://{taken}");

    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("--addr", "ftp://127.0.0.1")], "ftp://127.0.0.1"),
        (&[("--peers", "http://127.0.0.1:1")], "--peers"),
        (&[("--peers", "not a URL")], "not a URL"),
        (&[("--max-loads", "0")], "max_loads"),
        (&[("--db", "mongodb://127.0.0.1/x")], "mongodb:"),
        (&[("--db", "sqlite:/no/such/folder/x.db")], "/no/such/folder/x.db"),
        (&[("--db", &letter)], &letter),
        (&[("--api", &taken)], &taken),
        (&[("--addr", &taken_url), ("--peers", &taken_url)], &taken),
    ];
    for (changed, part) in cases {
        let (code, text) = refused(&sample.file(), changed);
        assert_eq!(code, Some(2), "{changed:?}: {text}");
        assert!(text.contains(part), "{changed:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{changed:?}: {text}");
    }
}

#[tokio::test]
async fn a_peers_file_that_is_no_good_is_named() {
    let sample = Sample::with_scores([]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        (folder.path().join("absent").to_str().unwrap().to_owned(), "cannot read"),
        (folder.path().to_str().unwrap().to_owned(), "cannot read"),
        (file("empty", ""), "names no node"),
        (file("others", "http://127.0.0.1:1"), "missing from the list"),
        (file("binary", "http://127.0.0.1:1\0"), "127.0.0.1:1"),
    ];
    for (path, part) in cases {
        let addresses = Addresses::free(Ports::Any, 1).expect("there are free ports");
        let node = describe(&program(), &addresses, 0, &sample.file());
        let node = node.without("--peers").with("--peers-file", &path);
        let output = node.command().output().expect("the program runs");
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{path}: {text}");
        assert!(text.contains(&path) && text.contains(part), "{path}: {text}");
        assert_eq!(text.lines().count(), 1, "{path}: {text}");
    }
    let (code, text) = refused(&sample.file(), &[("--peers-file", "x")]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--peers"), "{text}");
}

#[tokio::test]
async fn a_value_that_cannot_be_read_or_stands_alone_is_a_usage_error() {
    let sample = Sample::with_scores([]).await;
    let (code, text) = refused(&sample.file(), &[("--log", "a=b=c")]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--log") && text.contains("a=b=c"), "{text}");
    let (code, text) = refused(&sample.file(), &[("--serve-stale", "1s")]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--time-to-live"), "{text}");
}
