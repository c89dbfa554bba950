//! Stores in Azure Blob Storage.

use object_store::ClientOptions;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::address::StoreAddress;
use super::blob_account::BlobAccount;
use super::connection::Connection;
use crate::retry::{RetryPolicy, for_object_store};

pub(super) fn open(
    address: &StoreAddress,
    connection: Connection,
    retry: &RetryPolicy,
) -> object_store::Result<MicrosoftAzure> {
    let store = MicrosoftAzureBuilder::from_env()
        .with_client_options(ClientOptions::new())
        .with_container_name(address.bucket().unwrap_or_default())
        .with_retry(for_object_store(retry));
    let name = store.get_config_value(&AzureConfigKey::AccountName).unwrap_or_default();
    let key = store.get_config_value(&AzureConfigKey::AccessKey);
    let account = BlobAccount::new(name, key.as_deref());
    store.with_http_connector(Connection { account: Some(account), ..connection }).build()
}
