//! Downloads of parts of a run: shards, selections and layouts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use platform_download::verify;
use platform_resources::{ItemOutcome, Layout, ResultFolder, RunHandle, RunReport, Selection, Shard};

use crate::lab::Lab;

/// Returns an ended run of three slides.
async fn ended_run(lab: &Lab) -> RunHandle {
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides).await).await.unwrap();
    run.wait(None).await.unwrap();
    run
}

/// Returns the relative paths of all visible files in a folder, except manifests.
fn files(folder: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, folder: &Path, paths: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                walk(root, &entry.path(), paths);
            } else if !name.starts_with('.') && !name.starts_with("manifest") {
                paths.insert(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut paths = BTreeSet::new();
    walk(folder, folder, &mut paths);
    paths
}

async fn download_shard(run: &RunHandle, folder: &Path, index: u32, count: u32) -> RunReport {
    let folder = ResultFolder::open_shard(folder, Shard::new(index, count).unwrap()).await.unwrap();
    run.download(folder).follow().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_a_run_complete_one_folder() {
    let lab = Lab::open().await;
    let run = ended_run(&lab).await;
    let unsharded_folder = lab.folder.path().join("whole");
    assert!(run.download(ResultFolder::open(&unsharded_folder).await.unwrap()).follow().await.unwrap().is_complete());

    let shared_folder = lab.folder.path().join("shared");
    let (first_report, second_report) =
        tokio::join!(download_shard(&run, &shared_folder, 0, 2), download_shard(&run, &shared_folder, 1, 2));
    assert!(first_report.is_complete() && second_report.is_complete());
    assert_eq!(
        (first_report.items.len() + second_report.items.len(), first_report.left_out + second_report.left_out),
        (3, 3)
    );
    assert_eq!(files(&shared_folder), files(&unsharded_folder));
    let check = verify(&shared_folder).await.unwrap();
    assert!(check.is_intact() && check.files.len() == 9 && check.unlisted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_selected_results_are_fetched() {
    let lab = Lab::open().await;
    let run = ended_run(&lab).await;
    let fetch = async |name: &str, selection| {
        let folder = lab.folder.path().join(name);
        let results = ResultFolder::open(&folder).await.unwrap();
        let report = run.download(results).with_selection(selection).fetch().await.unwrap();
        assert!(report.is_complete() && report.is_verified(), "{report:?}");
        files(&folder)
    };
    let selection =
        Selection::default().with_item("smear.svs").with_artifact("tissue:{areas,polygons}".parse().unwrap());
    let expected = ["smear.svs/tissue_areas.csv", "smear.svs/tissue_polygons.geojson"];
    assert_eq!(fetch("one", selection).await, expected.map(str::to_owned).into());
    let tables = fetch("tables", Selection::default().with_media_type("Text/CSV; header=present")).await;
    assert!(tables.len() == 3 && tables.iter().all(|name| name.ends_with("/tissue_areas.csv")), "{tables:?}");
    for (selection, existing) in [
        (Selection::default().with_item("another"), "smear.svs"),
        (
            Selection::default().with_item("smear.svs").with_artifact("another*".parse().unwrap()),
            "tissue:areas (text/csv)",
        ),
    ] {
        let results = ResultFolder::open(lab.folder.path().join("none")).await.unwrap();
        let error = run.download(results).with_selection(selection).fetch().await.unwrap_err();
        let unmatched = error.unmatched_selection().unwrap();
        assert!(unmatched.existing().iter().any(|name| name == existing), "{unmatched:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layout_determines_the_paths_of_files() {
    let lab = Lab::open().await;
    let run = ended_run(&lab).await;
    let layout = Layout::default().with_folder_per_run(true).with_folder_per_item(false);
    let folder = lab.folder.path().join("flat");
    let results = ResultFolder::open(&folder).await.unwrap();
    assert!(run.download(results).with_layout(layout).fetch().await.unwrap().is_complete());
    let paths = files(&folder);
    assert!(paths.contains(&format!("{}/smear.svs--tissue_areas.csv", run.id())), "{paths:?}");
    assert_eq!(paths.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn available_results_are_fetched_without_waiting() {
    let lab =
        Lab::at(platform_emulator::Emulator::builder().with_config(toml::from_str("speed = 0.001").unwrap())).await;
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides).await).await.unwrap();
    let report = run.download(lab.results().await).fetch().await.unwrap();
    assert!(!report.is_complete() && report.items.is_empty() && report.item_count == 3);
    let items: Vec<_> = run.items().try_collect().await.unwrap();
    assert!(items.iter().all(|item| ItemOutcome::of(item) == ItemOutcome::InProgress));
}
