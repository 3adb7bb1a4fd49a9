//! Three nodes in one process that ask each other in TLS, and show each other certificates.
//!
//! ```text
//! cargo run --example tls_cluster
//! ```
//!
//! The certificates are made at the start, by an authority that exists for as long as the program
//! runs. A deployment reads them from files, for instance with
//! `rustls::pki_types::pem::PemObject`; the rest of [`Certificates`] is the same there.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, ensure};
use carrotcache::{Group, HttpPool, Node};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;

/// Where the nodes are, and what their certificates are for.
const HOST: &str = "127.0.0.1";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind((HOST, 0)).await?);
    }
    let urls = listeners.iter().map(url).collect::<Result<Vec<_>, _>>()?;
    let members = listeners.into_iter().map(|it| Member::start(it, &urls, &certificates));
    let members = members.collect::<Result<Vec<_>, _>>()?;

    // Whoever is asked: a key is loaded by its owner, and the others get it from there.
    for key in (0..100).map(|key| key.to_string()) {
        for member in &members {
            ensure!(member.greetings.get(&key).await?.as_str()? == format!("Hello, {key}!"));
        }
    }
    for member in &members {
        let stats = member.greetings.stats();
        ensure!(stats.peer_errors == 0, "a peer could not be asked");
        println!("{} loaded {}, got {} in TLS", member.url, stats.local_loads, stats.peer_loads);
        member.greetings.remove("7").await.context("not all nodes were told")?;
    }

    // Somebody who trusts the same authority and has no certificate of it.
    let stranger = Member::stranger(&urls, &certificates)?;
    for key in (0..100).map(|key| key.to_string()) {
        stranger.greetings.get(&key).await?;
    }
    let stats = stranger.greetings.stats();
    ensure!(stats.peer_loads == 0 && stats.peer_errors > 0, "a stranger was let in");
    ensure!(stranger.greetings.remove("7").await.is_err(), "a stranger was listened to");
    println!("the stranger was refused {} times, and loaded for itself", stats.peer_errors);
    Ok(())
}

fn url(listener: &TcpListener) -> std::io::Result<String> {
    Ok(format!("https://{}", listener.local_addr()?))
}

/// A node, and the group that its users ask.
struct Member {
    url: String,
    greetings: Group,
}

impl Member {
    /// Starts a node that asks and answers in TLS, and shows its own certificate either way.
    fn start(
        listener: TcpListener,
        urls: &[String],
        certificates: &Certificates,
    ) -> anyhow::Result<Self> {
        let url = url(&listener)?;
        let pool = HttpPool::builder(&*url)
            .tls_client(certificates.client()?)
            .tls_server(certificates.server()?)
            .build()?;
        pool.set_peers(urls)?;
        let node = Node::builder().peers(pool.clone()).build();
        let greetings = greetings(&node)?;
        tokio::spawn(pool.serve(listener, node, std::future::pending()));
        Ok(Self { url, greetings })
    }

    /// Makes a node that only asks, and has nothing to show.
    fn stranger(urls: &[String], certificates: &Certificates) -> anyhow::Result<Self> {
        let url = "https://stranger.example:8001".to_owned();
        let pool = HttpPool::builder(&*url).tls_client(certificates.stranger()?).build()?;
        pool.set_peers(urls.iter().chain([&url]))?;
        let greetings = greetings(&Node::builder().peers(pool).build())?;
        Ok(Self { url, greetings })
    }
}

/// Stands for what an application caches.
fn greetings(node: &Node) -> anyhow::Result<Group> {
    let greet = |name: String| async move { Ok::<_, Infallible>(Some(format!("Hello, {name}!"))) };
    Ok(node.group("greetings").loader(greet).build()?)
}

/// An authority that all nodes trust, and what it certifies.
struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

impl Certificates {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key)?.der().clone())?;
        Ok(Self { issuer: Issuer::new(params, key), roots: Arc::new(roots) })
    }

    /// How a node asks: it trusts the authority, and shows a certificate.
    fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let (certificates, key) = self.certify(HOST)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(certificates, key)?;
        Ok(Arc::new(config))
    }

    /// How a node answers: it shows a certificate, and wants to see one of the same authority.
    fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let (certificates, key) = self.certify(HOST)?;
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.build()?)
            .with_single_cert(certificates, key)?;
        Ok(Arc::new(config))
    }

    /// How somebody asks who has no certificate.
    fn stranger(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        Ok(Arc::new(config))
    }

    /// Makes a certificate for `host` and its key.
    fn certify(
        &self,
        host: &str,
    ) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new([host.to_owned()])?.signed_by(&key, &self.issuer)?;
        let certificates = vec![certificate.der().clone()];
        Ok((certificates, PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    }
}
