use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{ClockAhead, TestFolder, slide};
use crate::scan::cache::SlideCache;
use crate::table::{CHECKSUM, RESOLUTION};
use crate::{Event, Prepare, Prepared};

fn cache(lab: &TestFolder) -> PathBuf {
    lab.folder.path().join(".aignostics/slides.jsonl")
}

/// Replaces all checksums in the cache with a wrong one. A slide gets the wrong checksum only if it is not read again.
fn forge(lab: &TestFolder) {
    let text = fs::read_to_string(cache(lab)).unwrap();
    let forged = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["crc32c"] = 7.into();
        format!("{entry}\n")
    });
    fs::write(cache(lab), forged.collect::<String>()).unwrap();
}

const FORGED: &str = "AAAABw==";

fn checksums(prepared: &Prepared) -> Vec<&str> {
    prepared.table.rows().iter().map(|row| row.get(CHECKSUM)).collect()
}

#[tokio::test]
async fn unchanged_slide_is_not_read_again() {
    let lab = TestFolder::new(&["a.tif", "b.tif"]);
    let first = lab.prepared(Prepare::new()).await;
    forge(&lab);
    assert_eq!(checksums(&lab.prepared(Prepare::new()).await), [FORGED, FORGED]);
    // A file is read again if its length differs, or if its modification time differs.
    lab.write("a.tif", &[slide(1), vec![0]].concat());
    lab.write("b.tif", &slide(9));
    let changed = lab.prepared(Prepare::new()).await;
    assert!(!checksums(&changed).contains(&FORGED) && checksums(&changed) != checksums(&first));
    forge(&lab);
    assert_eq!(checksums(&lab.prepared(Prepare::new()).await), [FORGED, FORGED], "what was read again is recorded");
    let again = lab.prepared(Prepare::new().with_rehash(true).with_parallel_reads(NonZeroUsize::MIN)).await;
    assert_eq!(checksums(&again), checksums(&changed));
    assert_eq!(checksums(&lab.prepared(Prepare::new()).await), checksums(&changed), "the forged entries are replaced");
}

#[tokio::test]
async fn cached_description_equals_the_description_that_was_read() {
    let lab = TestFolder::new(&["a.tif"]);
    // The resolution is 1/3 µm per pixel, which has no short decimal form.
    let text = lab.path("a.svs");
    let mut svs = slide(1);
    svs.splice(136..140, 29_999_u32.to_le_bytes());
    fs::write(&text, svs).unwrap();
    let first = lab.prepared(Prepare::new()).await;
    forge(&lab);
    let second = lab.prepared(Prepare::new()).await;
    let resolutions = |prepared: &Prepared| -> Vec<_> {
        prepared.table.rows().iter().map(|row| row.get(RESOLUTION).to_owned()).collect()
    };
    assert_eq!((resolutions(&first), &first.remarks), (resolutions(&second), &second.remarks));
    assert_eq!(checksums(&second), [FORGED; 2]);
}

#[tokio::test]
async fn slide_that_has_just_changed_is_not_recorded() {
    let lab = TestFolder::new(&["a.tif"]);
    let observer: crate::Observer = Arc::new(|_| {});
    for (ahead, is_recorded) in [(Duration::ZERO, false), (Duration::from_secs(60), true)] {
        // Without `ahead`, the file was changed just now.
        lab.write("a.tif", &slide(1));
        let prepare = Prepare::new().with_clock(Arc::new(ClockAhead(ahead)));
        prepare.run(&lab.csv(), &lab.path(""), &observer).await.unwrap();
        assert_eq!(fs::read_to_string(cache(&lab)).is_ok(), is_recorded, "{ahead:?}");
    }
}

#[test]
fn slide_that_changes_while_it_is_read_is_not_recorded() {
    let lab = TestFolder::new(&["a.tif"]);
    let cache = SlideCache::open(&lab.csv(), false, Arc::new(ClockAhead(Duration::from_secs(60))));
    let snapshot = cache.snapshot(&lab.path("a.tif")).unwrap();
    let read = slide_metadata::read(&lab.path("a.tif")).unwrap();
    lab.write("a.tif", &[slide(1), vec![0]].concat());
    assert!(!cache.put(snapshot, &read));
    assert!(cache.finish().is_none());
    let cache = SlideCache::open(&lab.csv(), false, Arc::new(ClockAhead(Duration::from_secs(60))));
    assert!(cache.get(&cache.snapshot(&lab.path("a.tif")).unwrap()).is_none());
}

#[tokio::test]
async fn damaged_or_unwritable_cache_only_causes_slides_to_be_read_again() {
    let lab = TestFolder::new(&["a.tif", "b.tif"]);
    lab.prepared(Prepare::new()).await;
    // A truncated last line invalidates neither the other entry nor the entry that is appended next.
    forge(&lab);
    let text = fs::read_to_string(cache(&lab)).unwrap();
    fs::write(cache(&lab), &text[..text.len() - 20]).unwrap();
    let partly = lab.prepared(Prepare::new()).await;
    assert_eq!(checksums(&partly).iter().filter(|checksum| **checksum == FORGED).count(), 1);
    forge_again(&lab);
    assert_eq!(checksums(&lab.prepared(Prepare::new()).await), [FORGED; 2]);
    // Entries of another version are ignored.
    let other = fs::read_to_string(cache(&lab)).unwrap().replace(env!("CARGO_PKG_VERSION"), "999.0.0");
    fs::write(cache(&lab), other).unwrap();
    let first = lab.prepared(Prepare::new()).await;
    assert!(!checksums(&first).contains(&FORGED));
    // A folder at the path of the cache file causes a warning.
    fs::remove_file(cache(&lab)).unwrap();
    fs::create_dir(cache(&lab)).unwrap();
    let (prepared, events) = lab.prepare(Prepare::new()).await.unwrap();
    assert_eq!(checksums(&prepared), checksums(&first));
    let warned = |event: &Event| matches!(event, Event::CacheUnusable { path, .. } if *path == cache(&lab));
    assert!(events.iter().any(warned), "{events:?}");
}

/// Removes damaged lines from the cache file, and forges the other entries.
fn forge_again(lab: &TestFolder) {
    let text = fs::read_to_string(cache(lab)).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let whole: String = whole.flat_map(|line| [line, "\n"]).collect();
    assert_ne!(whole.lines().count(), text.lines().filter(|line| !line.is_empty()).count());
    fs::write(cache(lab), whole).unwrap();
    forge(lab);
}
