//! Grants without a user in front of the screen. Each is one question to the token endpoint.

mod client_credentials;
mod jwt_bearer;
mod refresh;
mod token_exchange;

pub use client_credentials::ClientCredentials;
pub use jwt_bearer::JwtBearer;
pub use refresh::RefreshGrant;
pub use token_exchange::{TokenExchange, TokenType};
