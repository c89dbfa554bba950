//! The JSON of runs and items: the members of the platform's API and the derived outcome, without URLs that grant
//! access to an object. `docs/schemas/run.json` and `docs/schemas/item.json` describe it.

use platform_api::JsonValue;
use platform_api::models::{Item, Run};
use serde_json::json;

use crate::outcome::{ItemOutcome, RunOutcome};

/// Returns a run as JSON with its `outcome`, for programs.
///
/// ```no_run
/// # async fn example(client: platform_resources::Client) -> Result<(), platform_resources::Error> {
/// let run = client.run("0c9a1e0e-6b0c-4c52-9a0e-2f5a7c1d0b11").get().await?;
/// println!("{}", platform_resources::run_record(&run));
/// # Ok(()) }
/// ```
pub fn run_record(run: &Run) -> JsonValue {
    let mut record = json!(run);
    record["outcome"] = json!(RunOutcome::of(run).name());
    record
}

/// Returns an item as JSON with its `outcome`, for programs. Signed URLs are left out.
pub fn item_record(item: &Item) -> JsonValue {
    let mut record = json!(item);
    for kind in ["input_artifacts", "output_artifacts"] {
        let artifacts = record.get_mut(kind).and_then(JsonValue::as_array_mut);
        for artifact in artifacts.into_iter().flatten().filter_map(JsonValue::as_object_mut) {
            artifact.remove("download_url");
        }
    }
    // The tool that uploaded a slide may have stored the signed URL of the slide here.
    let bucket = record.pointer_mut("/custom_metadata/sdk/platform_bucket").and_then(JsonValue::as_object_mut);
    if let Some(bucket) = bucket {
        bucket.remove("signed_download_url");
    }
    record["outcome"] = json!(ItemOutcome::of(item).name());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_of_an_item_has_no_signed_url() {
        let item = json!({
            "item_id": "1", "external_id": "slide", "state": "TERMINATED", "output": "FULL",
            "termination_reason": "SUCCEEDED", "input_artifacts": [],
            "output_artifacts": [{ "output_artifact_id": "2", "name": "x", "state": "TERMINATED", "output": "AVAILABLE",
                "metadata": {}, "download_url": "https://storage.test/canary?signature=canary" }],
            "custom_metadata": { "sdk": { "platform_bucket": { "signed_download_url": "https://storage.test/canary" } } },
        });
        let record = item_record(&serde_json::from_value(item).unwrap());
        assert_eq!(record["outcome"], "succeeded");
        assert!(!record.to_string().contains("canary"), "{record}");
    }
}
