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
        let first_report = download(&lab, &run, keys).await;
        assert!(first_report.is_complete() && !first_report.items[0].artifacts.is_empty());
        run.delete_results().await.unwrap();
        let second_report = download(&lab, &run, keys).await;
        assert!(second_report.is_complete() && second_report.deleted().count() == 0, "{keys:?}: {second_report:?}");
        assert_eq!(second_report.is_verified(), first_report.is_verified(), "{keys:?}");

        let damaged_file = lab.output().join(&first_report.items[0].artifacts[0].file);
        let content = fs::read(&damaged_file).unwrap();
        fs::write(&damaged_file, [&content[..], b"x"].concat()).unwrap();
        let report = download(&lab, &run, keys).await;
        assert!(!report.is_complete());
        assert_eq!((report.deleted().by_user, report.deleted().by_retention), (1, 0), "{keys:?}: {report:?}");
        let deleted_by: Vec<_> =
            report.items[0].artifacts.iter().filter_map(platform_resources::ArtifactReport::deleted_by).collect();
        assert_eq!(deleted_by, [Actor::User]);
        let parts = fs::read_dir(damaged_file.parent().unwrap()).unwrap();
        let parts = parts.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
        assert_eq!(parts.count(), 0, "a partial file is left");
    }
}
