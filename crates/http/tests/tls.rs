//! TLS: who is trusted, who we are, and that stamps come through.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sagellm_core::{Backend, Clock, OutcomeKind, Stamp, UserError};
use sagellm_http::{Access, BlockingClient, HttpBackend, HttpError, HttpOptions, Target};

use support::wire::{Server, answer, keep_answering, read_request, tunnel};
use support::{Client, options, request};

/// A server with a certificate for `localhost`, and the folder with the certificates of those who deal with it.
struct World {
    folder: tempfile::TempDir,
    server: Server,
}

impl World {
    /// `serve` gets every connection once TLS stands.
    fn new(asks_for_client: bool, serve: impl Fn(Tls) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).unwrap();
        write("ca.pem", root.pem());
        let issuer = Issuer::new(authority, authority_key);
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap(), key)
        };
        let (client, client_key) = signed("client");
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        write("empty.pem", String::new());

        let (certificate, key) = signed("localhost");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_client {
            let mut roots = RootCertStore::empty();
            roots.add(root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap());
        let server = Server::start(move |_, stream| {
            serve(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream));
        });
        Self { folder, server }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name))
    }

    /// Options that trust the authority.
    fn options(&self, host: &str) -> HttpOptions {
        let mut options = options(&format!("https://{host}:{}", self.server.address.port()));
        options.tls.ca_cert = self.file("ca.pem");
        options.connections = 1;
        options
    }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn start(options: HttpOptions) -> Result<Client, HttpError> {
    let clock = Clock::start();
    HttpBackend::start(options.clone(), None, clock)?;
    Ok(Client::start(options, clock))
}

fn why(options: HttpOptions) -> String {
    start(options).err().expect("no connection").to_string()
}

#[test]
fn requests_go_through_tls_and_stamps_come_back() {
    let world = World::new(false, keep_answering);
    let mut client = start(world.options("localhost")).unwrap();
    assert_eq!(client.backend.info().settings["tls_verification"], "on");
    for id in 0..3 {
        let ended = client.ask(request(id));
        assert_eq!((ended.record.outcome, ended.record.output_tokens), (OutcomeKind::Success, 2));
        assert_eq!(ended.http.connect_ns, None, "the handshake was ahead of the first request");
        if cfg!(target_os = "linux") {
            assert_eq!(ended.record.stamp, Stamp::Kernel);
            assert!(ended.record.chunks.iter().all(|chunk| chunk.delay_ns.is_some()), "{:?}", ended.record);
            assert!(ended.http.sent_kernel_ns.is_some(), "{:?}", ended.record);
        }
    }
}

#[test]
fn strangers_are_not_trusted_unless_told_to() {
    let world = World::new(false, keep_answering);
    let mut stranger = world.options("localhost");
    stranger.tls.ca_cert = None;
    let error = why(stranger.clone());
    assert!(error.contains("TLS: invalid peer certificate: UnknownIssuer"), "{error}");
    let error = why(world.options("127.0.0.1"));
    assert!(error.contains("TLS: invalid peer certificate: certificate not valid for name"), "{error}");

    stranger.tls.insecure = true;
    let mut client = start(stranger).unwrap();
    assert_eq!(client.backend.info().settings["tls_verification"], "off");
    assert_eq!(client.ask(request(0)).record.outcome, OutcomeKind::Success);
}

#[test]
fn a_connection_that_fails_in_its_handshake_fails_its_request() {
    let world = World::new(false, keep_answering);
    let mut options = world.options("127.0.0.1");
    options.connections = 0;
    let ended = start(options).unwrap().ask(request(0));
    assert_eq!((ended.record.outcome, ended.record.sent_ns), (OutcomeKind::Connection, None));
    assert!(ended.record.reason.unwrap().contains("certificate not valid for name"));
}

#[test]
fn a_client_shows_its_certificate() {
    let world = World::new(true, keep_answering);
    let mut anonymous = world.options("localhost");
    anonymous.connections = 0;
    let ended = start(anonymous).unwrap().ask(request(0));
    assert_eq!(ended.record.outcome, OutcomeKind::Connection, "{:?}", ended.record);

    let mut known = world.options("localhost");
    known.tls.client_cert = world.file("client.pem");
    known.tls.client_key = world.file("client.key");
    assert_eq!(start(known.clone()).unwrap().ask(request(0)).record.outcome, OutcomeKind::Success);

    known.tls.client_key = None;
    assert!(why(known).contains("given together"));
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let world = World::new(false, keep_answering);
    for (name, expected) in [("empty.pem", "it holds no certificate"), ("absent.pem", "No such file")] {
        let mut options = world.options("localhost");
        options.tls.ca_cert = world.file(name);
        let error = HttpBackend::start(options, None, Clock::start()).err().unwrap();
        assert_eq!(error.exit(), sagellm_core::Exit::Input);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(expected), "{text}");
    }
}

#[test]
fn a_key_of_another_certificate_is_an_error_of_both_clients() {
    let world = World::new(true, keep_answering);
    std::fs::write(world.file("other.key").unwrap(), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let mut options = world.options("localhost");
    options.tls.client_cert = world.file("client.pem");
    options.tls.client_key = world.file("other.key");
    let access = Access { tls: options.tls.clone(), ..Access::new(options.target.clone()) };
    let errors = [
        BlockingClient::new(access).map(drop).unwrap_err(),
        HttpBackend::start(options, None, Clock::start()).map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.exit(), sagellm_core::Exit::Input);
        assert!(error.to_string().contains("other.key"), "{error}");
    }
}

#[test]
fn an_end_that_is_not_announced_is_a_broken_connection() {
    for announced in [true, false] {
        let world = World::new(false, move |mut stream: Tls| {
            if read_request(&mut stream).is_none() {
                return;
            }
            let until_close = answer("").replace("content-length", "x-length").replace("data: [DONE]\n\n", "");
            stream.write_all(until_close.replace("\"length\"", "null").as_bytes()).unwrap();
            stream.write_all(b"data: [D").unwrap();
            if announced {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let ended = start(world.options("localhost")).unwrap().ask(request(0));
        let expected = if announced { OutcomeKind::Truncated } else { OutcomeKind::Connection };
        assert_eq!((ended.record.outcome, ended.record.chunks.len()), (expected, 2), "{:?}", ended.record.reason);
    }
}

#[test]
fn plain_http_where_tls_is_expected_and_the_other_way_round() {
    for (answer, expected) in [("HTTP/1.1 400 Bad Request\r\n\r\n", "TLS: "), ("", "no TLS handshake within 0.3 s")] {
        let plain = Server::start(move |_, mut stream| {
            let _ = stream.write_all(answer.as_bytes());
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let mut options = options(&format!("https://localhost:{}", plain.address.port()));
        options.connections = 1;
        options.tls.insecure = true;
        options.timeout_connect = Duration::from_millis(300);
        let error = why(options);
        assert!(error.contains(expected), "{error}");
    }

    let world = World::new(false, keep_answering);
    let mut plain = world.options("localhost");
    plain.target.https = false;
    let ended = start(plain).unwrap().ask(request(0));
    assert!(ended.record.outcome.is_failure(), "{:?}", ended.record);
}

/// A proxy that opens tunnels to `to`, or refuses with `refusal`.
fn proxy(to: std::net::SocketAddr, refusal: Option<&'static str>) -> Server {
    Server::start(move |_, mut stream| {
        let Some((head, _)) = read_request(&mut stream) else { return };
        assert!(head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", to.port())), "{head}");
        match refusal {
            Some(refusal) => stream.write_all(refusal.as_bytes()).unwrap(),
            None => {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                tunnel(stream, TcpStream::connect(to).unwrap());
            }
        }
    })
}

#[test]
fn tls_goes_through_a_tunnel_of_the_proxy() {
    let world = World::new(false, keep_answering);
    let proxy = proxy(world.server.address, None);
    let mut options = world.options("localhost");
    options.proxy = Some(Target::parse(&proxy.url()).unwrap());
    let mut client = start(options).unwrap();
    assert_eq!(client.backend.info().settings["proxy"], proxy.url());
    assert_eq!(client.ask(request(0)).record.outcome, OutcomeKind::Success);
    assert!(proxy.connections() > 0);
}

#[test]
fn a_proxy_that_refuses_is_quoted() {
    let world = World::new(false, keep_answering);
    let proxy =
        proxy(world.server.address, Some("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"));
    let mut options = world.options("localhost");
    options.proxy = Some(Target::parse(&proxy.url()).unwrap());
    let error = why(options);
    assert!(error.contains("the proxy answered HTTP 407 Proxy Authentication Required"), "{error}");
}

#[test]
fn plain_requests_go_through_a_tunnel_as_probes_do() {
    let server = Server::start(|_, stream| keep_answering(stream));
    let proxy = proxy(server.address, None);
    let mut options = options(&format!("http://localhost:{}", server.address.port()));
    options.proxy = Some(Target::parse(&proxy.url()).unwrap());
    let access = Access { proxy: options.proxy.clone(), ..Access::new(options.target.clone()) };
    let limit = Duration::from_secs(10);
    let probe = BlockingClient::new(access).unwrap().post("/v1/completions", b"{}", limit, limit).unwrap();
    assert!(probe.is_success() && probe.body.ends_with("data: [DONE]\n\n"), "{probe:?}");
    assert_eq!(start(options).unwrap().ask(request(0)).record.outcome, OutcomeKind::Success);
    assert_eq!(server.connections(), proxy.connections());
}

#[test]
fn a_proxy_behind_tls_is_refused_by_both() {
    let mut options = options("http://localhost:1");
    options.proxy = Some(Target::parse("https://localhost:2").unwrap());
    let access = Access { proxy: options.proxy.clone(), ..Access::new(options.target.clone()) };
    let refusal = "a proxy is spoken to over http, not https";
    assert!(why(options).contains(refusal));
    assert!(BlockingClient::new(access).err().unwrap().to_string().contains(refusal));
}
