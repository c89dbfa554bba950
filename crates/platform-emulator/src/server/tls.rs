//! TLS for the three servers, with certificates of an authority created at each start.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::server::connection::{Connection, ConnectionInfo};

#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

/// Creates an authority, writes its certificate to `file`, and returns an acceptor whose certificate is valid for
/// `names`.
pub(crate) fn create_acceptor(file: &Path, names: Vec<String>, http2: bool) -> io::Result<Acceptor> {
    let authority = create_authority().map_err(io::Error::other)?;
    std::fs::write(file, authority.pem())
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write '{}': {error}", file.display())))?;
    let (certificate, key) = server_certificate(&authority, names).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("no certificate for the host: {error}"))
    })?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

/// Creates an authority that is valid from 1975 to 4095, so that clients with any clock can use it.
fn create_authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Aignostics emulator authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn server_certificate(
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: Vec<String>,
) -> Result<(CertificateDer<'static>, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Aignostics emulator");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict clients, such as Python 3.13, require this extension.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, authority)?.der().clone(), key))
}

/// A connection with or without TLS. The handshake is performed by the first read, so that a slow client does not delay
/// the acceptance of other connections.
pub(crate) enum MaybeTls {
    Plain(Connection),
    Handshake(Box<Accept<Connection>>, ConnectionInfo),
    Secure(Box<TlsStream<Connection>>),
    /// The handshake failed.
    Failed(ConnectionInfo),
}

impl MaybeTls {
    pub(crate) fn new(connection: Connection, tls: Option<&Acceptor>) -> Self {
        match tls {
            Some(Acceptor(acceptor)) => {
                let info = connection.info();
                Self::Handshake(Box::new(acceptor.accept(connection)), info)
            }
            None => Self::Plain(connection),
        }
    }

    pub(crate) fn info(&self) -> ConnectionInfo {
        match self {
            Self::Plain(connection) => connection.info(),
            Self::Handshake(_, info) | Self::Failed(info) => info.clone(),
            Self::Secure(stream) => stream.get_ref().0.info(),
        }
    }

    /// Returns the stream that carries HTTP, after the handshake.
    fn poll_stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn AsyncStream>>> {
        if let Self::Handshake(accept, info) = self {
            let handshake_result = ready!(Pin::new(accept.as_mut()).poll(context));
            let info = info.clone();
            *self = handshake_result.map_or_else(
                |error| {
                    tracing::debug!(%error, "TLS handshake failed");
                    Self::Failed(info)
                },
                |stream| Self::Secure(Box::new(stream)),
            );
        }
        match self {
            Self::Plain(connection) => Poll::Ready(Ok(Pin::new(connection))),
            Self::Secure(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            Self::Handshake(..) | Self::Failed(_) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

trait AsyncStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncStream for T {}

impl AsyncRead for MaybeTls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for MaybeTls {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(context))?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_stream(context))?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_stream(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.as_mut().get_mut() {
            // `close_notify` can be sent only after the handshake.
            Self::Handshake(..) | Self::Failed(_) => Poll::Ready(Ok(())),
            Self::Plain(connection) => Pin::new(connection).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
