use clap::Args;
use platform_pipeline::{ObjectKeys, SelectedApplication};
use platform_resources::Client;

use crate::context::bucket_user;
use crate::error::CliError;

/// The location of uploaded slides.
#[derive(Args, Clone, Default)]
pub(super) struct UploadArgs {
    /// Folder in the bucket, below that of the user. Without it, each slide has its own folder, derived from its path
    /// and checksum. Object keys in the table do not change
    #[arg(long, value_name = "PREFIX")]
    pub(super) upload_prefix: Option<String>,
}

impl UploadArgs {
    pub(super) async fn keys(
        &self,
        client: &Client,
        to: &SelectedApplication,
        portal: bool,
    ) -> Result<ObjectKeys, CliError> {
        let keys = ObjectKeys::new(client, to, &bucket_user()).await?.with_portal(portal);
        Ok(match &self.upload_prefix {
            Some(prefix) => keys.with_prefix(prefix)?,
            None => keys,
        })
    }
}
