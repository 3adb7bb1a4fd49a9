//! Whom the node lets in, and how it proves itself: certificates, a secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use carrotcache::peer_http::HttpPoolBuilder;
use clap::Args;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Whom the node lets in, and how it proves itself.
#[derive(Args)]
#[command(next_help_heading = "Trust between nodes")]
pub(crate) struct Trust {
    /// This node's certificate and those that it rests on, as PEM; the nodes' URLs begin with https:// then
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The authorities whose certificates the other nodes show, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,

    /// A secret that all nodes share: a line of 16 letters or more, without blanks; that of a second line is
    /// accepted too, so that it can be changed node by node
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl Trust {
    /// Returns `pool` with these options set.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or what is in it cannot be used.
    pub(crate) fn apply(&self, mut pool: HttpPoolBuilder) -> Result<HttpPoolBuilder> {
        if let (Some(cert), Some(key), Some(ca)) = (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            let identity = Identity::read(cert, key, ca)?;
            pool = pool.tls_client(identity.client()?).tls_server(identity.server()?);
        }
        if let Some(path) = &self.secret_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read --secret-file {}", path.display()))?;
            let mut lines = text.lines();
            pool = pool.secret(lines.next().unwrap_or_default());
            if let Some(other) = lines.next() {
                pool = pool.other_secret(other);
            }
        }
        Ok(pool)
    }
}

/// What the files of a node hold.
struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    /// What is at fault if the first two do not belong together.
    files: String,
}

impl Identity {
    fn read(cert: &Path, key: &Path, ca: &Path) -> Result<Self> {
        let certificates = certificates("--tls-cert", cert)?;
        let named = || format!("--tls-key {}", key.display());
        let key = PrivateKeyDer::from_pem_file(key).with_context(named)?;
        let mut roots = RootCertStore::empty();
        for root in self::certificates("--tls-ca", ca)? {
            roots.add(root).with_context(|| format!("--tls-ca {}", ca.display()))?;
        }
        let files = format!("--tls-cert {} and {}", cert.display(), named());
        Ok(Self { certificates, key, roots: Arc::new(roots), files })
    }

    /// How the node asks: it trusts these authorities, and shows its certificate.
    fn client(&self) -> Result<Arc<ClientConfig>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.certificates.clone(), self.key.clone_key())
            .with_context(|| self.files.clone())?;
        Ok(Arc::new(config))
    }

    /// How it answers: it shows its certificate, and wants to see one of the same authorities.
    fn server(&self) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.build()?)
            .with_single_cert(self.certificates.clone(), self.key.clone_key())
            .with_context(|| self.files.clone())?;
        Ok(Arc::new(config))
    }
}

/// Reads at least one certificate.
fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>> {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!certificates.is_empty(), "it holds no certificate");
        Ok(certificates)
    };
    read().with_context(|| format!("{option} {}", path.display()))
}
