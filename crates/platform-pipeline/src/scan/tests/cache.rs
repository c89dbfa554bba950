use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{ClockAhead, TestFolder, slide};
use crate::scan::cache::SlideCache;
use crate::table::{CHECKSUM, RESOLUTION};
use crate::{Event, Prepare, Prepared};

fn cache_path(lab: &TestFolder) -> PathBuf {
    lab.folder.path().join(".aignostics/slides.jsonl")
}

/// Replaces all checksums in the cache with a forged checksum. A slide gets the forged checksum only if it is not read
/// again.
fn forge_checksums(lab: &TestFolder) {
    let text = fs::read_to_string(cache_path(lab)).unwrap();
    let forged = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["crc32c"] = 7.into();
        format!("{entry}\n")
    });
    fs::write(cache_path(lab), forged.collect::<String>()).unwrap();
}

const FORGED_CHECKSUM: &str = "AAAABw==";

fn checksums(prepared: &Prepared) -> Vec<&str> {
    prepared.table.rows().iter().map(|row| row.get(CHECKSUM)).collect()
}

#[tokio::test]
async fn unchanged_slide_is_not_read_again() {
    let lab = TestFolder::new(&["a.tif", "b.tif"]);
    let first = lab.prepare_successfully(Prepare::new()).await;
    forge_checksums(&lab);
    assert_eq!(checksums(&lab.prepare_successfully(Prepare::new()).await), [FORGED_CHECKSUM, FORGED_CHECKSUM]);
    // A file is read again if its length differs, or if its modification time differs.
    lab.write("a.tif", &[slide(1), vec![0]].concat());
    lab.write("b.tif", &slide(9));
    let changed = lab.prepare_successfully(Prepare::new()).await;
    assert!(!checksums(&changed).contains(&FORGED_CHECKSUM) && checksums(&changed) != checksums(&first));
    forge_checksums(&lab);
    assert_eq!(
        checksums(&lab.prepare_successfully(Prepare::new()).await),
        [FORGED_CHECKSUM, FORGED_CHECKSUM],
        "slides that were read again are recorded"
    );
    let reread =
        lab.prepare_successfully(Prepare::new().with_rehash(true).with_parallel_reads(NonZeroUsize::MIN)).await;
    assert_eq!(checksums(&reread), checksums(&changed));
    assert_eq!(
        checksums(&lab.prepare_successfully(Prepare::new()).await),
        checksums(&changed),
        "the forged entries are replaced"
    );
}

#[tokio::test]
async fn cached_description_equals_the_description_that_was_read() {
    let lab = TestFolder::new(&["a.tif"]);
    // The resolution is 1/3 µm per pixel, which has no short decimal form.
    let path = lab.path("a.svs");
    let mut svs = slide(1);
    svs.splice(136..140, 29_999_u32.to_le_bytes());
    fs::write(&path, svs).unwrap();
    let first = lab.prepare_successfully(Prepare::new()).await;
    forge_checksums(&lab);
    let second = lab.prepare_successfully(Prepare::new()).await;
    let resolutions = |prepared: &Prepared| -> Vec<_> {
        prepared.table.rows().iter().map(|row| row.get(RESOLUTION).to_owned()).collect()
    };
    assert_eq!((resolutions(&first), &first.remarks), (resolutions(&second), &second.remarks));
    assert_eq!(checksums(&second), [FORGED_CHECKSUM; 2]);
}

#[tokio::test]
async fn slide_that_has_just_changed_is_not_recorded() {
    let lab = TestFolder::new(&["a.tif"]);
    let observer: crate::Observer = Arc::new(|_| {});
    for (ahead, is_recorded) in [(Duration::ZERO, false), (Duration::from_secs(60), true)] {
        // With `Duration::ZERO`, the last change of the file is recent.
        lab.write("a.tif", &slide(1));
        let prepare = Prepare::new().with_clock(Arc::new(ClockAhead(ahead)));
        prepare.run(&lab.csv(), &lab.path(""), &observer).await.unwrap();
        assert_eq!(fs::read_to_string(cache_path(&lab)).is_ok(), is_recorded, "{ahead:?}");
    }
}

#[test]
fn slide_that_changes_while_it_is_read_is_not_recorded() {
    let lab = TestFolder::new(&["a.tif"]);
    let cache = SlideCache::open(&lab.csv(), false, Arc::new(ClockAhead(Duration::from_secs(60))));
    let snapshot = cache.snapshot(&lab.path("a.tif")).unwrap();
    let metadata = slide_metadata::read(&lab.path("a.tif")).unwrap();
    lab.write("a.tif", &[slide(1), vec![0]].concat());
    assert!(!cache.put(snapshot, &metadata));
    assert!(cache.finish().is_none());
    let cache = SlideCache::open(&lab.csv(), false, Arc::new(ClockAhead(Duration::from_secs(60))));
    assert!(cache.get(&cache.snapshot(&lab.path("a.tif")).unwrap()).is_none());
}

#[tokio::test]
async fn damaged_or_unwritable_cache_only_causes_slides_to_be_read_again() {
    let lab = TestFolder::new(&["a.tif", "b.tif"]);
    lab.prepare_successfully(Prepare::new()).await;
    // A truncated last line invalidates neither the other entry nor the entry that is appended next.
    forge_checksums(&lab);
    let text = fs::read_to_string(cache_path(&lab)).unwrap();
    fs::write(cache_path(&lab), &text[..text.len() - 20]).unwrap();
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(checksums(&prepared).iter().filter(|checksum| **checksum == FORGED_CHECKSUM).count(), 1);
    repair_and_forge(&lab);
    assert_eq!(checksums(&lab.prepare_successfully(Prepare::new()).await), [FORGED_CHECKSUM; 2]);
    // Entries of another version are ignored.
    let other_version = fs::read_to_string(cache_path(&lab)).unwrap().replace(env!("CARGO_PKG_VERSION"), "999.0.0");
    fs::write(cache_path(&lab), other_version).unwrap();
    let first = lab.prepare_successfully(Prepare::new()).await;
    assert!(!checksums(&first).contains(&FORGED_CHECKSUM));
    // A folder at the path of the cache file causes a warning.
    fs::remove_file(cache_path(&lab)).unwrap();
    fs::create_dir(cache_path(&lab)).unwrap();
    let (prepared, events) = lab.prepare(Prepare::new()).await.unwrap();
    assert_eq!(checksums(&prepared), checksums(&first));
    let is_warning = |event: &Event| matches!(event, Event::CacheUnusable { path, .. } if *path == cache_path(&lab));
    assert!(events.iter().any(is_warning), "{events:?}");
}

/// Removes damaged lines from the cache file, and forges the other entries.
fn repair_and_forge(lab: &TestFolder) {
    let text = fs::read_to_string(cache_path(lab)).unwrap();
    let valid_lines = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let valid_lines: String = valid_lines.flat_map(|line| [line, "\n"]).collect();
    assert_ne!(valid_lines.lines().count(), text.lines().filter(|line| !line.is_empty()).count());
    fs::write(cache_path(lab), valid_lines).unwrap();
    forge_checksums(lab);
}
