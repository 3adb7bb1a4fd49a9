//! Nodes that prove to each other who they are: by a secret, by certificates.

use e2e::node::Node;
use e2e::node::addresses::{Addresses, Ports};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::process::{NodeProcess, describe, program, start, start_as};
use super::sample::{Sample, value_of};

const KEYS: [&str; 6] = ["Tom", "Jack", "Sam", "Bill", "Ann", "Eve"];

/// Files of a test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("it is writable");
        path.to_str().expect("the name is text").to_owned()
    }

    /// Makes an authority, and a certificate of it for this machine. Returns the files: authority,
    /// certificate, key.
    fn certificates(&self, name: &str) -> [String; 3] {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (ca_key, key) = (
            KeyPair::generate().expect("it can be made"),
            KeyPair::generate().expect("it can be made"),
        );
        let ca = params.self_signed(&ca_key).expect("it can be made").pem();
        let issuer = Issuer::new(params, ca_key);
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it can be made");
        let certificate = params.signed_by(&key, &issuer).expect("it can be made").pem();
        let files = [("ca", ca), ("cert", certificate), ("key", key.serialize_pem())];
        files.map(|(kind, text)| self.write(&format!("{name}.{kind}"), &text))
    }
}

/// Has each node asked for all keys. Returns how many queries that cost.
async fn ask_all(nodes: &[NodeProcess]) -> u64 {
    let mut queries = 0;
    for key in KEYS {
        for node in nodes {
            assert_eq!(node.get(key).await, (200, value_of(key).into_bytes()), "{key}");
        }
    }
    for node in nodes {
        queries += node.queries().await;
    }
    queries
}

#[tokio::test]
async fn nodes_with_a_secret_answer_each_other_and_nobody_without() {
    let (sample, files) = (Sample::with_scores(KEYS).await, Files::new());
    let secret = files.write("secret", "a-secret-of-the-nodes\nand-one-before-it\n");
    let nodes = start(2, &sample.file(), &[("--secret-file", &secret)]).await;
    assert_eq!(ask_all(&nodes).await, KEYS.len() as u64);
    let client = reqwest::Client::new();
    let url = format!("{}/_groupcache/scores/Tom", nodes[0].url);
    for (shown, status) in [
        (None, 401),
        (Some("a-secret-of-nobody"), 401),
        (Some("a-secret-of-the-nodes"), 200),
        (Some("and-one-before-it"), 200),
    ] {
        let request = client.get(&url);
        let request = shown.into_iter().fold(request, |it, of| it.header("carrotcache-secret", of));
        assert_eq!(request.send().await.unwrap().status(), status, "{shown:?}");
    }
    // People need none.
    assert_eq!(nodes[0].put("Tom", "631").await.0, 204);
}

#[tokio::test]
async fn nodes_speak_tls_with_certificates_of_one_authority() {
    let (sample, files) = (Sample::with_scores(KEYS).await, Files::new());
    let [ca, cert, key] = files.certificates("ours");
    let nodes = start_as(2, &sample.file(), |node: Node| {
        let secure = |node: Node, option: &str| {
            let urls = node.option(option).expect("it is set").replace("http://", "https://");
            node.with(option, &urls)
        };
        let node = secure(secure(node, "--addr"), "--peers");
        node.with("--tls-ca", &ca).with("--tls-cert", &cert).with("--tls-key", &key)
    })
    .await;
    assert_eq!(ask_all(&nodes).await, KEYS.len() as u64);
    assert_eq!(nodes[1].put("Tom", "631").await.0, 204);
    assert_eq!(nodes[0].get("Tom").await, (200, b"631".to_vec()));
    assert!(reqwest::get(format!("{}/_groupcache/scores/Tom", nodes[0].url)).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_used_is_named_in_one_line() {
    let (sample, files) = (Sample::with_scores([]).await, Files::new());
    let folder = files.0.path().to_str().unwrap().to_owned();
    let ([ca, cert, key], [_, _, other_key]) =
        (files.certificates("ours"), files.certificates("other"));
    let [short, empty] = [files.write("short", "fifteen letters"), files.write("empty", "")];
    let tls = |ca: &str, cert: &str, key: &str| {
        [("--tls-ca", ca), ("--tls-cert", cert), ("--tls-key", key)]
            .map(|(option, file)| (option.to_owned(), file.to_owned()))
            .to_vec()
    };
    let secret = |file: &str| vec![("--secret-file".to_owned(), file.to_owned())];
    let cases = [
        (secret(&short), "16"),
        (secret(&empty), "--secret-file"),
        (secret(&folder), &*folder),
        (secret("/no/such/file"), "/no/such/file"),
        (tls(&empty, &cert, &key), "--tls-ca"),
        (tls(&ca, &folder, &key), "--tls-cert"),
        (tls(&ca, &cert, "/no/such/file"), "/no/such/file"),
        (tls(&ca, &cert, &cert), "--tls-key"),
        (tls(&ca, &cert, &other_key), &*other_key),
    ];
    for (options, part) in cases {
        let addresses = Addresses::free(Ports::Any, 1).expect("there are free ports");
        let node = describe(&program(), &addresses, 0, &sample.file());
        let node = options.iter().fold(node, |node, (option, value)| node.with(option, value));
        let output = node.command().output().expect("the program runs");
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{options:?}: {text}");
        assert!(text.contains(part), "{options:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{options:?}: {text}");
    }
}
