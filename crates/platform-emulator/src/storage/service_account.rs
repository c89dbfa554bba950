//! Service accounts, whose RSA keys sign URLs (GOOG4-RSA-SHA256). The key of an organization is created on the first
//! request.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

use crate::account::Organization;
use crate::state::store::{Changes, Store, StoredRecords};

/// The credentials for signing URLs as a service account.
#[derive(Clone, serde::Deserialize)]
#[non_exhaustive]
pub struct ServiceAccount {
    /// The name of the account in a signed URL.
    pub client_email: String,
    /// The private key, PKCS #8 in PEM. It is a secret.
    pub private_key: String,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServiceAccount").field("client_email", &self.client_email).finish_non_exhaustive()
    }
}

/// The keys of all accounts, by organization.
pub(crate) struct ServiceAccounts(Mutex<HashMap<String, Arc<KeyPair>>>);

impl ServiceAccounts {
    pub(crate) fn new(stored: &mut StoredRecords) -> io::Result<Self> {
        let records = stored.take::<Vec<u8>>("service-account/")?.into_iter();
        let keys = records.map(|(organization, der)| {
            let key = KeyPair::from_pkcs8(&der).map_err(io::Error::other)?;
            Ok((organization, Arc::new(key)))
        });
        Ok(Self(Mutex::new(keys.collect::<io::Result<_>>()?)))
    }

    /// Returns the account of an organization. Creates and stores its key if necessary.
    pub(crate) async fn find_or_create(
        &self,
        organization: &Organization,
        store: &Store,
    ) -> io::Result<ServiceAccount> {
        let existing_key = self.0.lock().get(&organization.id).cloned();
        let to_der = |key: &KeyPair| AsDer::<Pkcs8V1Der<'_>>::as_der(key).map(|der| der.as_ref().to_vec());
        let key = if let Some(key) = existing_key {
            key
        } else {
            let new_key = KeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)?;
            // A concurrent request may have created a key first.
            let key = self.0.lock().entry(organization.id.clone()).or_insert_with(|| Arc::new(new_key)).clone();
            let mut changes = Changes::default();
            changes.put(format!("service-account/{}", organization.id), &to_der(&key).map_err(io::Error::other)?);
            store.write(changes).await.map_err(io::Error::other)?;
            key
        };
        let encoded_key = STANDARD.encode(to_der(&key).map_err(io::Error::other)?);
        let lines = encoded_key.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        let lines = lines.collect::<String>();
        let private_key = format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n");
        Ok(ServiceAccount { client_email: organization.service_account_email(), private_key })
    }

    /// Returns true if the account of an organization signed the text.
    pub(super) fn verify_signature(&self, organization: &Organization, text: &str, signature: &[u8]) -> bool {
        let key = self.0.lock().get(&organization.id).cloned();
        key.is_some_and(|key| {
            let public_key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
            public_key.verify(text.as_bytes(), signature).is_ok()
        })
    }
}
