//! Servers with certificates of an [`Authority`].

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use url::Url;

use crate::authority::Authority;

impl Authority {
    /// Serves HTTPS on localhost. With `clients`, it serves only clients with a certificate of that authority.
    #[allow(dead_code, reason = "only some tests use it")]
    pub(crate) async fn serve<A>(
        &self,
        clients: Option<&Self>,
        respond: impl Fn(TlsStream<TcpStream>) -> A + Clone + Send + 'static,
    ) -> Url
    where
        A: Future<Output = ()> + Send,
    {
        Self::serve_by(self.config(clients), respond).await
    }

    /// Serves HTTPS like [`serve`](Self::serve), but offers HTTP/2 and HTTP/1.1 without implementing either.
    #[allow(dead_code, reason = "only some tests use it")]
    pub(crate) async fn serve_offering_h2<A>(
        &self,
        respond: impl Fn(TlsStream<TcpStream>) -> A + Clone + Send + 'static,
    ) -> Url
    where
        A: Future<Output = ()> + Send,
    {
        let mut config = self.config(None);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::serve_by(config, respond).await
    }

    fn config(&self, clients: Option<&Self>) -> ServerConfig {
        let (certificate, key) = self.sign("localhost");
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.issuer.der().clone()).unwrap();
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        builder.with_single_cert(chain, key).unwrap()
    }

    async fn serve_by<A>(
        config: ServerConfig,
        respond: impl Fn(TlsStream<TcpStream>) -> A + Clone + Send + 'static,
    ) -> Url
    where
        A: Future<Output = ()> + Send,
    {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, respond) = (acceptor.clone(), respond.clone());
                tokio::spawn(async move {
                    // A client that does not trust the server closes the connection.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        respond(stream).await;
                    }
                });
            }
        });
        url
    }
}
