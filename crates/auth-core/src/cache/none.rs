use async_trait::async_trait;

use crate::{AccessToken, TokenCache, TokenError, TokenKey};

/// A cache that stores nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoTokenCache;

impl TokenCache for NoTokenCache {
    fn get(&self, _key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(None)
    }

    fn set(&self, _key: &TokenKey, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    fn delete(&self, _key: &TokenKey) -> Result<(), TokenError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        Ok(())
    }

    fn get_local(&self, _key: &TokenKey) -> Option<Option<AccessToken>> {
        Some(None)
    }

    fn is_persistent(&self) -> bool {
        false
    }
}
#[async_trait]
impl crate::AsyncTokenCache for NoTokenCache {
    async fn get(&self, _key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(None)
    }

    async fn set(&self, _key: &TokenKey, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    async fn delete(&self, _key: &TokenKey) -> Result<(), TokenError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), TokenError> {
        Ok(())
    }

    fn get_local(&self, _key: &TokenKey) -> Option<Option<AccessToken>> {
        Some(None)
    }

    fn is_persistent(&self) -> bool {
        false
    }
}
