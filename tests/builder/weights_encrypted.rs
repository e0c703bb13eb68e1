//! Downloads over TLS, and through a proxy.

use std::path::PathBuf;
use std::sync::Arc;

use crate::common::home::{Home, NAME, fails, file, names, succeeds};
use crate::common::server::{Server, serve, status};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// An authority of one's own, as a company has for its proxy: its certificate for clients, and TLS for a server on
/// loopback.
fn authority(home: &Home) -> (PathBuf, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let trusted = home.path().join("authority.pem");
    std::fs::write(&trusted, certificate.pem()).unwrap();
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &Issuer::new(params, key)).unwrap();
    let private = PrivateKeyDer::Pkcs8(server_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    (trusted, Arc::new(tls.with_single_cert(vec![server.der().clone()], private).unwrap()))
}

#[test]
fn the_systems_authorities_are_trusted_and_no_others() {
    let home = Home::new();
    let (trusted, tls) = authority(&home);
    let server = Server::start_tls(tls, |request, out| serve(request, out, file()));
    fails(&mut home.build(&server.url()), 4, &["certificate", "into the folder"]);
    home.assert_no_model_and_in_cache(&[]);
    assert_eq!(server.requests(), [], "nothing is asked of a stranger");
    let mut command = home.build(&server.url());
    command.env("SSL_CERT_FILE", trusted);
    succeeds(command);
    assert_eq!(names(&home.cache()), [NAME]);
}

#[test]
fn no_redirect_leads_from_encrypted_to_plain() {
    let home = Home::new();
    let (trusted, tls) = authority(&home);
    let plain = Server::start(|request, out| serve(request, out, file()));
    let target = format!("Location: {}/{NAME}\r\n", plain.url());
    let encrypted = Server::start_tls(tls, move |_, out| status(out, "302 Found", &target));
    let mut command = home.build(&encrypted.url());
    command.env("SSL_CERT_FILE", &trusted);
    let said = format!("redirected to {}/{NAME}, which is not encrypted", plain.url());
    fails(&mut command, 4, &[&said, "into the folder"]);
    assert_eq!(plain.requests(), []);
    home.assert_no_model_and_in_cache(&[]);
    // From plain to encrypted is no loss; back again is.
    let target = format!("Location: {}/{NAME}\r\n", encrypted.url());
    let first = Server::start(move |_, out| status(out, "302 Found", &target));
    let mut command = home.build(&first.url());
    command.env("SSL_CERT_FILE", &trusted);
    fails(&mut command, 4, &["which is not encrypted"]);
    home.assert_no_model_and_in_cache(&[]);
}

#[test]
fn proxies_are_used_and_named_when_they_fail() {
    let home = Home::new();
    let proxy = Server::start(|request, out| serve(request, out, file()));
    let mut command = home.build("http://weights.invalid");
    command.env("HTTPS_PROXY", proxy.url());
    succeeds(command);
    let asked: Vec<_> = proxy.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(asked, ["CONNECT weights.invalid:80".to_owned(), format!("GET /{NAME}")]);
    let (home, server) = (Home::new(), Server::start(|request, out| serve(request, out, file())));
    let dead = "http://127.0.0.1:1";
    let mut command = home.build("http://weights.invalid");
    command.env("HTTPS_PROXY", dead);
    fails(&mut command, 4, &["through the proxy 127.0.0.1:1", "into the folder"]);
    let mut command = home.build(&server.url());
    command.env("HTTPS_PROXY", dead).env("NO_PROXY", "127.0.0.1");
    succeeds(command);
}
