//! Certificates made on the spot, and the configurations of nodes that have them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Who says which certificates are in order.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
struct Identity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Returns an authority that nobody else knows.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns how a node asks that trusts this authority and shows a certificate of `shown`.
    pub(crate) fn client(&self, shown: Option<&Self>) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        Arc::new(match shown {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let Identity { certificates, key } = shown.identity("node");
                config.with_client_auth_cert(certificates, key).expect("a key that fits")
            }
        })
    }

    /// Returns how the node at `host` answers, which wants to see a certificate of this authority.
    pub(crate) fn server(&self, host: &str) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), provider());
        let Identity { certificates, key } = self.identity(host);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("an authority"))
            .with_single_cert(certificates, key);
        Arc::new(config.expect("a key that fits"))
    }

    /// Returns how a node answers who shows nothing.
    pub(crate) fn lenient_server(&self, host: &str) -> Arc<ServerConfig> {
        let Identity { certificates, key } = self.identity(host);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(certificates, key);
        Arc::new(config.expect("a key that fits"))
    }

    /// Returns a certificate for the name or address `host`.
    fn identity(&self, host: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([host.to_owned()]).expect("a host");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let certificates = vec![certificate.der().clone()];
        Identity { certificates, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it is a certificate");
        Arc::new(roots)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
