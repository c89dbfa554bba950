//! Sources of both the credentials and the servers: the service binding and the environment.

mod binding;
mod document;
mod environment;

pub use binding::ServiceBinding;
pub use environment::Environment;
