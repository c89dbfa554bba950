//! Grants without user interaction. Each sends one request to the token endpoint.

mod client_credentials;
mod jwt_bearer;
mod refresh;
mod token_exchange;

pub use client_credentials::ClientCredentials;
pub use jwt_bearer::JwtBearer;
pub use refresh::RefreshGrant;
pub use token_exchange::{TokenExchange, TokenType};
