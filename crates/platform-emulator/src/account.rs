//! Users and organizations of the emulated platform.

use serde::{Deserialize, Serialize};

use crate::config::{Config, Role};
use crate::random::Random;

/// The audience of the emulator's tokens.
pub const AUDIENCE: &str = "https://aignostics-platform-emulator-samia";
/// The OAuth client for device logins.
pub const DEVICE_CLIENT_ID: &str = "emulator-device-client";
/// The OAuth client for logins in a browser.
pub const INTERACTIVE_CLIENT_ID: &str = "emulator-interactive-client";
/// The confidential OAuth client for machines.
pub const MACHINE_CLIENT_ID: &str = "emulator-machine-client";
/// The secret of [`MACHINE_CLIENT_ID`]. It is not confidential, because all emulators use the same secret.
pub const MACHINE_CLIENT_SECRET: &str = "emulator-machine-secret";
/// The region in the signatures of storage requests.
pub const BUCKET_REGION: &str = "EUROPE-WEST3";

/// The name of the bucket with results and documents, and the id of its owner. The bucket of an organization cannot
/// have this name, because its name ends in `-bucket`.
const FILES_BUCKET: &str = "platform-files";

/// All organizations and users.
pub(crate) struct Accounts {
    organizations: Vec<Organization>,
    users: Vec<User>,
    /// The owner of the bucket with results and documents.
    files_owner: Organization,
}

/// A user who can log in, or a machine.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) organization: String,
    pub(crate) role: Role,
    is_machine: bool,
}

/// An organization with its bucket and the key that signs requests to the bucket.
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

impl User {
    /// Returns true if `name` is the id or the email address of the user.
    pub(crate) fn has_id_or_email(&self, name: &str) -> bool {
        self.id == name || self.email.eq_ignore_ascii_case(name)
    }
}

impl Organization {
    /// Returns the email address of the organization's service account.
    pub(crate) fn service_account_email(&self) -> String {
        format!("{}@emulator.iam.gserviceaccount.com", self.name)
    }
}

impl Accounts {
    /// Creates the accounts of a configuration. `bucket_key` returns the bucket key for the id of an
    /// organization.
    pub(crate) fn new(config: &Config, mut bucket_key: impl FnMut(&str) -> BucketKey) -> Self {
        let organizations = config.organizations.iter().map(|organization| Organization {
            id: organization.id.clone(),
            name: organization.name.clone(),
            display_name: organization.display_name.clone().unwrap_or_else(|| organization.name.clone()),
            bucket: format!("{}-bucket", organization.name),
            slide_quota: organization.slide_quota,
            key: bucket_key(&organization.id),
        });
        let users = config.users.iter().map(|user| User {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            organization: user.organization.clone(),
            role: user.role,
            is_machine: false,
        });
        let machine = config.organizations.first().map(|organization| User {
            id: format!("{MACHINE_CLIENT_ID}@clients"),
            email: format!("machine@{}.test", organization.name),
            name: "Machine".to_owned(),
            organization: organization.id.clone(),
            role: Role::Member,
            is_machine: true,
        });
        let (organizations, users) = (organizations.collect(), users.chain(machine).collect());
        let files_owner = Organization {
            id: FILES_BUCKET.to_owned(),
            name: FILES_BUCKET.to_owned(),
            display_name: FILES_BUCKET.to_owned(),
            bucket: FILES_BUCKET.to_owned(),
            slide_quota: None,
            key: bucket_key(FILES_BUCKET),
        };
        Self { organizations, users, files_owner }
    }

    /// Returns the owner of the bucket with results and documents. Users cannot obtain the key of this bucket.
    pub(crate) fn files_owner(&self) -> &Organization {
        &self.files_owner
    }

    /// Returns the users who can log in.
    pub(crate) fn human_users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().filter(|user| !user.is_machine)
    }

    /// Returns the users who can log in, optionally of one organization.
    pub(crate) fn users_of(&self, organization: Option<&str>) -> impl Iterator<Item = &User> {
        self.human_users().filter(move |user| organization.is_none_or(|id| user.organization == id))
    }

    pub(crate) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(crate) fn user_by_email(&self, email: &str) -> Option<&User> {
        self.users.iter().find(|user| user.email.eq_ignore_ascii_case(email))
    }

    pub(crate) fn organization(&self, id: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.id == id)
    }

    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        self.files_owner.bucket == bucket || self.organizations.iter().any(|organization| organization.bucket == bucket)
    }

    /// Returns the organization that owns the service account with this email address.
    pub(crate) fn owner_of_service_account(&self, email: &str) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.service_account_email() == email)
    }

    /// Returns the organization whose key has this id.
    pub(crate) fn owner_of_key(&self, access_key_id: &str) -> Option<&Organization> {
        let mut organizations = self.organizations.iter().chain([&self.files_owner]);
        organizations.find(|organization| organization.key.access_key_id == access_key_id)
    }
}
