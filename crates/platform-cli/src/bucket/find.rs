use clap::Args;
use platform_resources::{Bucket, ObjectEntry};
use serde_json::json;

use super::{What, shape};
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::sanitize::sanitize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Show sizes and times (always on)
    #[arg(long)]
    detail: bool,
    #[arg(long = "no-detail", hide = true)]
    _no_detail: bool,
    /// Add a signed URL to each object; anyone can read the object with it until it expires
    #[arg(long)]
    signed_urls: bool,
}

pub(super) async fn run(arguments: &Arguments, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let Arguments { what, signed_urls, .. } = arguments;
    let objects = what.objects(bucket).await?;
    let url = |entry: &ObjectEntry| bucket.get_url(&entry.key, None).map(|url| url.expose().to_string());
    let mut shapes = Vec::new();
    for entry in &objects {
        let mut shape = shape(bucket, entry);
        if *signed_urls {
            shape["signed_url"] = json!(url(entry).map_err(platform_resources::Error::from)?);
        }
        shapes.push(shape);
    }
    context.output.several(&shapes, || {
        let heads = ["size", "modified", "key", "signed URL"];
        let mut table = context.output.table(heads.into_iter().take(if *signed_urls { 4 } else { 3 }));
        for (entry, shape) in objects.iter().zip(&shapes) {
            let modified = entry.modified_at.map(|at| context.output.moment(at)).unwrap_or_default();
            let mut row = vec![context.output.size(entry.bytes), modified, sanitize(&entry.key)];
            row.extend(shape.get("signed_url").and_then(|url| url.as_str()).map(sanitize));
            table.add_row(row);
        }
        output::text(&table)
    })
}
