//! The servers: connections, TLS, and middleware for every request.
pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod listener;
pub(crate) mod tls;
