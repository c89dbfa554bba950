//! Who is who on the emulated platform.

use serde::{Deserialize, Serialize};

use crate::config::{Config, Role};
use crate::random::Random;

/// The audience of the emulator's tokens.
pub const AUDIENCE: &str = "https://aignostics-platform-emulator-samia";
/// The OAuth client for device logins.
pub const DEVICE_CLIENT_ID: &str = "emulator-device-client";
/// The region that requests to buckets are signed for.
pub const BUCKET_REGION: &str = "EUROPE-WEST3";

/// All organisations and users.
pub(crate) struct Accounts {
    organizations: Vec<Organization>,
    users: Vec<User>,
}

/// A person who can log in.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) organization: String,
    pub(crate) role: Role,
}

/// An organisation with its bucket and the key that signs requests to it.
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) bucket: String,
    pub(crate) slide_quota: Option<usize>,
    pub(crate) key: BucketKey,
}

/// A key that signs requests to a bucket.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct BucketKey {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl BucketKey {
    pub(crate) fn new(random: &Random) -> Self {
        let access_key_id = format!("GOOG{}", random.token().to_uppercase());
        Self { access_key_id, secret_access_key: random.token() }
    }
}

impl Accounts {
    /// The accounts of a configuration; `key` hands out the key of each organisation.
    pub(crate) fn new(config: &Config, mut key: impl FnMut(&str) -> BucketKey) -> Self {
        let organizations = config.organizations.iter().map(|organization| Organization {
            id: organization.id.clone(),
            name: organization.name.clone(),
            display_name: organization.display_name.clone().unwrap_or_else(|| organization.name.clone()),
            bucket: format!("{}-bucket", organization.name),
            slide_quota: organization.slide_quota,
            key: key(&organization.id),
        });
        let users = config.users.iter().map(|user| User {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            organization: user.organization.clone(),
            role: user.role,
        });
        Self { organizations: organizations.collect(), users: users.collect() }
    }

    pub(crate) fn users(&self) -> &[User] {
        &self.users
    }

    pub(crate) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(crate) fn organization(&self, id: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.id == id)
    }

    /// The organisation whose key has this id.
    pub(crate) fn owner_of_key(&self, access_key_id: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.key.access_key_id == access_key_id)
    }
}
