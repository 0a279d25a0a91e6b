//! TLS: whom to trust, and who we are.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

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

/// What to do about a failure of TLS.
pub(crate) fn remedy(why: &str) -> &'static str {
    // What a server without TLS says is no record of it.
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["InvalidContentType"]) {
        "is this a server without TLS? Then its URL begins with http://"
    } else if has(&["Expired", "NotValidYet", "expired", "not valid yet"]) {
        "renew the server's certificate, or correct the clock of this machine"
    } else if has(&["NotValidForName", "not valid for name"]) {
        "use a host name of the certificate in --base-url"
    } else if has(&["CertificateRequired", "HandshakeFailure", "BadCertificate", "certificate required"]) {
        "the server may require a certificate of the client: give --client-cert and --client-key"
    } else {
        "name the authority that signed the server's certificate with --ca-cert"
    }
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
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| certificate(path, error))?;
    BufReader::new(file).take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| certificate(path, error))?;
    Ok(bytes)
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(certificate(path, "it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(certificate(path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, HttpError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| certificate(path, error))
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
