//! Who is who on the emulated platform.

use crate::random;

/// The audience of the emulator's tokens.
pub const AUDIENCE: &str = "https://aignostics-platform-emulator-samia";
/// The OAuth client for device logins.
pub const DEVICE_CLIENT_ID: &str = "emulator-device-client";
/// The region that requests to the bucket are signed for.
pub const BUCKET_REGION: &str = "EUROPE-WEST3";

/// A person who can approve a login.
pub(crate) struct User {
    pub(crate) id: &'static str,
    pub(crate) email: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const USER: User = User { id: "auth0|emulator-1", email: "ada@emulator.test", name: "Ada Emulator" };

/// An organisation with its bucket and the key that signs requests to it.
pub(crate) struct Organization {
    pub(crate) id: &'static str,
    pub(crate) bucket: &'static str,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Organization {
    /// An organisation with a new key.
    pub(crate) fn new() -> Self {
        Self {
            id: "org_emulator",
            bucket: "emulator-bucket",
            access_key_id: format!("GOOG{}", random::token().to_uppercase()),
            secret_access_key: random::token(),
        }
    }
}
