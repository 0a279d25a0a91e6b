//! TLS: whom to trust, and who we are.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use sagellm_core::file;

use crate::{HttpError, TlsOptions};

/// A file of certificates beyond this is none.
const MAX_FILE: u64 = 16 << 20;

/// Makes TLS sessions with one server.
#[derive(Clone)]
pub(crate) struct TlsMaker {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsMaker {
    /// Reads the certificates and the key.
    pub(crate) fn new(options: &TlsOptions, host: &str) -> Result<Self, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = |error: rustls::Error| HttpError::Tls(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let builder = if options.insecure {
            if let Some(path) = &options.ca_cert {
                let why = format!("{} is not looked at when nobody is distrusted", path.display());
                return Err(HttpError::Setting(why));
            }
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
        } else {
            builder.with_root_certificates(roots(options.ca_cert.as_deref())?)
        };
        let mut config = match (&options.client_cert, &options.client_key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let refused = |error: rustls::Error| certificate(key, error);
                builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(refused)?
            }
            _ => return Err(HttpError::Setting("a client's certificate and its key are given together".into())),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HttpError::Tls(format!("`{host}` is no name that a certificate can have")))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// A new session, at its beginning.
    pub(crate) fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)
    }
}

/// What to do about a failure of TLS, by the words of rustls.
const REMEDIES: [(&[&str], &str); 6] = [
    // What a server without TLS sends is not a record of it.
    (&["InvalidContentType"], "is this a server without TLS? Then its URL begins with http://"),
    (
        &["certificate expired", "certificate not valid yet", "Expired", "NotValidYet"],
        "renew the server's certificate, or correct the clock of this machine; --insecure measures without verification",
    ),
    (
        &["not valid for name", "NotValidForName"],
        "put a name of the certificate into --base-url; --insecure measures without verification",
    ),
    (
        &[
            "CertificateRequired",
            "BadCertificate",
            "UnknownCA",
            "CertificateExpired",
            "CertificateRevoked",
            "AccessDenied",
        ],
        "the server refuses this client's certificate, or has been given none: see --client-cert and --client-key",
    ),
    (
        &["HandshakeFailure", "ProtocolVersion"],
        "the server accepts no version or cipher of TLS that this client has, or expects a certificate: --client-cert",
    ),
    (
        &["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"],
        "name the authority that signed the server's certificate with --ca-cert",
    ),
];

/// What to do about a failure of TLS.
pub(crate) fn remedy(why: &str) -> &'static str {
    let known = REMEDIES.iter().find(|(signs, _)| signs.iter().any(|sign| why.contains(sign)));
    known.map_or("see the server's log for its side of the handshake", |(_, remedy)| remedy)
}

fn certificate(path: &Path, why: impl ToString) -> HttpError {
    HttpError::Certificate { path: path.into(), why: why.to_string() }
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    let found = authorities(file)?;
    match file {
        Some(path) => found.into_iter().try_for_each(|found| roots.add(found)).map_err(|why| certificate(path, why))?,
        // A system may trust authorities of a kind that is not understood here.
        None => {
            roots.add_parsable_certificates(found);
        }
    }
    Ok(roots)
}

/// The authorities of a file, or else the system's.
pub(crate) fn authorities(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    if let Some(path) = file {
        return certificates(path);
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or("the system trusts no authority".into(), ToString::to_string);
        return Err(HttpError::Tls(why));
    }
    Ok(found.certs)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, HttpError> {
    file::read(path, MAX_FILE).map_err(|error| certificate(path, error))
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    certificates_in(&read(path)?).map_err(|why| certificate(path, why))
}

pub(crate) fn certificates_in(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|why| describe(&why))?;
    if found.is_empty() { Err("it holds no certificate".into()) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, HttpError> {
    private_key_in(&read(path)?).map_err(|why| certificate(path, why))
}

pub(crate) fn private_key_in(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|why| describe(&why))
}

/// Returns what is wrong with a PEM file, without the bytes of it: they may be long, and part of a private key.
fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end marker".into(),
        pem::Error::IllegalSectionStart { .. } => "the start marker of a section is malformed".into(),
        other => other.to_string(),
    }
}

/// Trusts whoever answers, but still checks that he holds the key of the certificate that he shows.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_quote_the_file() {
        let open = format!("-----BEGIN CERTIFICATE{}-----\nAAAA\n", "X".repeat(5000));
        let malformed = format!("-----BEGIN {}\nAAAA\n", "SECRET".repeat(900));
        for text in [open, malformed] {
            for why in [certificates_in(text.as_bytes()).unwrap_err(), private_key_in(text.as_bytes()).unwrap_err()] {
                assert!(why.len() < 100 && !why.contains("69") && !why.contains("SECRET"), "{why}");
            }
        }
    }
}
