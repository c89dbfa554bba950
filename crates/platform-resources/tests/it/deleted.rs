//! Results that the platform has deleted.

use std::fs;

use platform_resources::{Actor, RunHandle, RunReport};

use crate::lab::Lab;

/// Downloads the results. The checksums are read from these metadata keys.
async fn download(lab: &Lab, run: &RunHandle, keys: &[&str]) -> RunReport {
    run.download(lab.results().await).with_checksum_keys(keys.iter().copied()).follow().await.unwrap()
}

#[tokio::test]
async fn intact_file_of_a_deleted_result_counts_as_downloaded() {
    // The checksums are in the metadata of the artifacts, or only in the manifest.
    for keys in [&["checksum_base64_crc32c"][..], &[]] {
        let lab = Lab::open().await;
        let submission = lab.submission(&lab.slides()[..1]).await;
        let run = lab.client.runs().submit(submission).await.unwrap();
        let first = download(&lab, &run, keys).await;
        assert!(first.is_complete() && !first.items[0].artifacts.is_empty());
        run.delete_results().await.unwrap();
        let again = download(&lab, &run, keys).await;
        assert!(again.is_complete() && again.deleted().count() == 0, "{keys:?}: {again:?}");
        assert_eq!(again.is_verified(), first.is_verified(), "{keys:?}");

        let lost = lab.output().join(&first.items[0].artifacts[0].file);
        let content = fs::read(&lost).unwrap();
        fs::write(&lost, [&content[..], b"x"].concat()).unwrap();
        let report = download(&lab, &run, keys).await;
        assert!(!report.is_complete());
        assert_eq!((report.deleted().by_user, report.deleted().by_retention), (1, 0), "{keys:?}: {report:?}");
        let gone: Vec<_> =
            report.items[0].artifacts.iter().filter_map(platform_resources::ArtifactReport::deleted_by).collect();
        assert_eq!(gone, [Actor::User]);
        let parts = fs::read_dir(lost.parent().unwrap()).unwrap();
        let parts = parts.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
        assert_eq!(parts.count(), 0, "a partial file is left");
    }
}
