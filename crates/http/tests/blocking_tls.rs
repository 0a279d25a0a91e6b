//! Probes through TLS: whom we trust, and as whom we come.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};
use sagellm_core::{NoProgress, UserError};
use sagellm_http::{
    Access, BlockingClient, EndpointType, HttpError, NoAnswer, ProbeOptions, Profile, Target, TlsOptions, prepare,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// An authority, a server that it signed for, and a client that it signed for.
struct World {
    folder: tempfile::TempDir,
    port: u16,
}

impl World {
    fn new(asks_for_client: bool) -> Self {
        Self::valid_until(asks_for_client, 4000)
    }

    /// The server's certificate is valid until the beginning of a year.
    fn valid_until(asks_for_client: bool, year: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
            (certificate, key)
        };
        let (client, client_key) = signed("client");
        std::fs::write(folder.path().join("client.pem"), client.pem()).unwrap();
        std::fs::write(folder.path().join("client.key"), client_key.serialize_pem()).unwrap();

        let server_key = KeyPair::generate().unwrap();
        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server.not_after = rcgen::date_time_ymd(year, 1, 1);
        let server = server.signed_by(&server_key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_client {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(server_key.serialize_der().into());
        let config = Arc::new(builder.with_single_cert(vec![server.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, mut tls) = (socket.unwrap(), ServerConnection::new(Arc::clone(&config)).unwrap());
                let mut stream = Stream::new(&mut tls, &mut socket);
                let mut request = [0; 4096];
                // A client that distrusts us breaks off here.
                if stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer).and_then(|()| stream.flush());
                }
            }
        });
        Self { folder, port }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name))
    }

    fn client(&self, host: &str, tls: TlsOptions) -> Result<BlockingClient, HttpError> {
        let target = Target::parse(&format!("https://{host}:{}", self.port)).unwrap();
        BlockingClient::new(Access { tls, ..Access::new(target) })
    }

    fn get(&self, host: &str, tls: TlsOptions) -> Result<String, NoAnswer> {
        self.client(host, tls).unwrap().get("/health", TIMEOUT).map(|answer| answer.body)
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_for_its_names_only() {
    let world = World::new(false);
    let tls = || TlsOptions { ca_cert: world.file("ca.pem"), ..TlsOptions::default() };
    assert_eq!(world.get("localhost", tls()).unwrap(), "ok");
    let other_name = world.get("127.0.0.1", tls()).unwrap_err();
    assert!(matches!(&other_name, NoAnswer::Tls(why) if why.contains("certificate")), "{other_name:?}");
    assert!(!other_name.may_pass());
}

#[test]
fn a_stranger_is_not_trusted_unless_everybody_is() {
    let world = World::new(false);
    // The authority is real, but not the server's.
    let other = World::new(false);
    let stranger = TlsOptions { ca_cert: other.file("ca.pem"), ..TlsOptions::default() };
    assert!(matches!(world.get("localhost", stranger).unwrap_err(), NoAnswer::Tls(_)));
    let anybody = TlsOptions { insecure: true, ..TlsOptions::default() };
    assert_eq!(world.get("localhost", anybody).unwrap(), "ok");
}

#[test]
fn the_client_shows_its_certificate() {
    let world = World::new(true);
    let without = TlsOptions { ca_cert: world.file("ca.pem"), ..TlsOptions::default() };
    world.get("localhost", without.clone()).unwrap_err();
    let with = TlsOptions { client_cert: world.file("client.pem"), client_key: world.file("client.key"), ..without };
    assert_eq!(world.get("localhost", with).unwrap(), "ok");
}

#[test]
fn files_that_are_none_are_named() {
    let world = World::new(false);
    let error = |tls| world.client("localhost", tls).unwrap_err();
    let missing = error(TlsOptions { ca_cert: world.file("none.pem"), ..TlsOptions::default() });
    assert!(matches!(&missing, HttpError::Certificate { path, .. } if path.ends_with("none.pem")), "{missing:?}");
    let empty = error(TlsOptions { ca_cert: world.file("client.key"), ..TlsOptions::default() });
    assert!(matches!(&empty, HttpError::Certificate { path, .. } if path.ends_with("client.key")), "{empty:?}");
    let no_key = error(TlsOptions {
        client_cert: world.file("client.pem"),
        client_key: world.file("client.pem"),
        ..TlsOptions::default()
    });
    assert!(matches!(&no_key, HttpError::Certificate { path, .. } if path.ends_with("client.pem")), "{no_key:?}");
    let half = error(TlsOptions { client_cert: world.file("client.pem"), ..TlsOptions::default() });
    assert!(matches!(half, HttpError::Setting(_)));
}

#[test]
fn each_cause_has_its_own_remedy() {
    let hint = |world: &World, host: &str, tls: TlsOptions| {
        let options = ProbeOptions::new(Profile::named("openai").unwrap(), EndpointType::Completions);
        let error = prepare(&world.client(host, tls).unwrap(), &options, &|| Ok(()), &NoProgress).unwrap_err();
        error.hint().unwrap()
    };
    let world = World::new(false);
    let trusting = |world: &World| TlsOptions { ca_cert: world.file("ca.pem"), ..TlsOptions::default() };
    let expired = World::valid_until(false, 2001);
    let asking = World::new(true);
    let found = [
        hint(&expired, "localhost", trusting(&expired)),
        hint(&world, "127.0.0.1", trusting(&world)),
        hint(&world, "localhost", trusting(&expired)),
        hint(&asking, "localhost", trusting(&asking)),
    ];
    for (hint, expected) in
        found.iter().zip(["renew the server's certificate", "--base-url", "--ca-cert", "--client-cert"])
    {
        assert!(hint.contains(expected), "{expected}: {hint}");
    }
}
