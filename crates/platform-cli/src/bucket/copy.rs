use anyhow::anyhow;
use clap::Args;
use platform_pipeline::key_prefix;
use platform_resources::{Bucket, Client, CopyObject, StoreAddress, UploadReport};
use terminal::Column;

use super::upload;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::upload_bar;
use crate::transfers::UploadTransferArgs;

pub(super) const HELP: &str = "\
Objects with the same content are skipped. After an interruption, repeat the command: it continues large objects after their
confirmed parts. The source is accessed with the credentials that the tools of its provider use.

Exit codes: 0 all objects are in the bucket; 6 some could not be copied.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Objects to copy: `s3://`, `gs://` or `az://` with a bucket and a prefix or a key
    #[arg(value_name = "URL")]
    source: StoreAddress,
    /// Prefix of the keys in the bucket; {username} and {timestamp} are replaced
    #[arg(value_name = "PREFIX")]
    prefix: String,
    /// List the objects and copy nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) transfer: UploadTransferArgs,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    bucket: Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let prefix = key_prefix(&arguments.prefix)?;
    let copy = client.bucket_copy(bucket.clone(), &arguments.source).map_err(CliError::bad_input)?;
    let found = copy.find(&prefix).await.map_err(platform_resources::Error::from)?;
    found.skipped().into_iter().for_each(terminal::warn);
    let (objects, output) = (found.objects, &context.output);
    if objects.is_empty() {
        return Err(CliError::bad_input(anyhow!("no object exists at {}", arguments.source)));
    }
    if arguments.dry_run {
        let columns: [Column<'_, CopyObject>; 2] =
            [("size", &|object| output.size(object.bytes())), ("key", &|object| object.key().to_owned())];
        return Ok(output.print_array(&objects, || output.table(&objects, &columns))?);
    }
    let bar = upload_bar(output, objects.iter().map(CopyObject::bytes).sum());
    let observer_bar = bar.clone();
    let copies = copy.with_observer(move |event| observer_bar.set_position(event.total_done)).copy(objects).await;
    bar.finish();
    upload::print(&copies, &UploadReport::new(&copies, &found.folders, &bucket), context)
}
