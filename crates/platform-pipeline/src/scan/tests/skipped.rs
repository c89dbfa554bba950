use std::fs;

use super::{TestFolder, file_name, ids, slide};
use crate::{Event, Prepare, Prepared, ScanOptions, SkipKind};

/// Returns the names of skipped files, each with the name of the kind.
fn skipped_names(prepared: &Prepared) -> Vec<(&str, &str)> {
    prepared.skipped.iter().map(|skipped| (file_name(&skipped.path), skipped.kind.name())).collect()
}

#[tokio::test]
async fn skipped_files_are_listed_with_their_kind() {
    let lab = TestFolder::new(&["a.tif", "sub/b.svs"]);
    for (name, content) in [
        ("._a.tif", &b"\0\x05\x16\x07"[..]),
        (".DS_Store", b"x"),
        (".cache/c.tif", b"II*\0"),
        ("#recycle/d.tif", b"II*\0"),
        ("$RECYCLE.BIN/e.tif", b"II*\0"),
        ("lost+found/f.tif", b"II*\0"),
        ("sub/@Recycle/g.tif", b"II*\0"),
        (".Trash-1000/h.tif", b"II*\0"),
        ("czi.czi", b"ZISRAWFILE"),
        ("i.mrxs", b"\xff\xd8\xff"),
        ("i/Data0000.dat", b"x"),
        ("notes.txt", b"x"),
        ("docx.zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("1.2.840", &[&[0; 128][..], b"DICM"].concat()),
        ("scan.btf", b"II+\0\x08\0\0\0"),
    ] {
        lab.write(name, content);
    }
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(ids(&prepared), ["a.tif", "sub/b.svs"]);
    let expected = [
        ("#recycle", "recycle_bin"),
        ("$RECYCLE.BIN", "recycle_bin"),
        (".DS_Store", "other"),
        (".Trash-1000", "recycle_bin"),
        ("._a.tif", "hidden"),
        (".cache", "hidden"),
        ("1.2.840", "other_name"),
        ("czi.czi", "other_format"),
        ("docx.zip", "archive"),
        ("Data0000.dat", "other"),
        ("i.mrxs", "other_format"),
        ("lost+found", "recycle_bin"),
        ("notes.txt", "other"),
        ("scan.btf", "other_name"),
        ("@Recycle", "recycle_bin"),
    ];
    assert_eq!(skipped_names(&prepared), expected);
    let mrxs = prepared.skipped.iter().find(|skipped| file_name(&skipped.path) == "i.mrxs").unwrap();
    assert!(mrxs.reason.contains("MRXS (3DHISTECH)"), "{mrxs:?}");
    assert!(prepared.skipped.iter().all(|skipped| !skipped.reason.is_empty()));
}

#[cfg(unix)]
#[tokio::test]
async fn links_to_files_are_followed_and_links_to_folders_only_on_request() {
    use std::os::unix::fs::symlink;

    let lab = TestFolder::new(&["a.tif"]);
    let outside = lab.folder.path().join("outside");
    for (shade, file) in [(5, "case/b.tif"), (10, "c.tif")] {
        fs::create_dir_all(outside.join(file).parent().unwrap()).unwrap();
        fs::write(outside.join(file), slide(shade)).unwrap();
    }
    symlink(outside.join("c.tif"), lab.path("c.tif")).unwrap();
    symlink(outside.join("case"), lab.path("case")).unwrap();
    symlink(outside.join("case"), lab.path("again")).unwrap();
    symlink(lab.path(""), lab.path("loop")).unwrap();
    symlink(outside.join("gone"), lab.path("gone")).unwrap();
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(ids(&prepared), ["a.tif", "c.tif"]);
    let [(link, target)] = prepared.links.as_slice() else { panic!("{:?}", prepared.links) };
    assert_eq!((file_name(link), target), ("c.tif", &outside.join("c.tif").canonicalize().unwrap()));
    assert_eq!(skipped_names(&prepared), [("again", "link"), ("case", "link"), ("gone", "link"), ("loop", "link")]);
    let followed =
        lab.prepare_successfully(Prepare::new().with_scan(ScanOptions::default().with_follow_links(true))).await;
    assert_eq!(ids(&followed), ["a.tif", "c.tif", "again/b.tif"]);
    assert_eq!(skipped_names(&followed), [("case", "link"), ("gone", "link"), ("loop", "link")]);
    // A second scan adds no rows, because paths are compared after links in them are resolved.
    let again =
        lab.prepare_successfully(Prepare::new().with_scan(ScanOptions::default().with_follow_links(true))).await;
    assert_eq!(ids(&again), ["a.tif", "c.tif", "again/b.tif"]);
    // A broken link to a slide is an error.
    symlink(outside.join("gone.tif"), lab.path("gone.tif")).unwrap();
    assert_eq!(file_name(&lab.prepare_successfully(Prepare::new()).await.unusable[0].0), "gone.tif");
}

#[tokio::test]
async fn files_that_a_manifest_lists_are_not_slides() {
    let lab = TestFolder::new(&["a.tif", "results/a/heatmap.tiff", "results/mine.tiff", "1-of-2/map.tif"]);
    let line = |file: &str| format!("{{\"run\":\"r\",\"file\":{file:?}}}\n");
    lab.write("results/manifest.jsonl", (line("a/heatmap.tiff") + "{\"run\":").as_bytes());
    lab.write("1-of-2/manifest.0-of-2.jsonl", line("map.tif").as_bytes());
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(ids(&prepared), ["a.tif", "results/mine.tiff"]);
    let results = prepared.skipped.iter().filter(|skipped| skipped.kind == SkipKind::Result);
    assert_eq!(results.map(|skipped| file_name(&skipped.path)).collect::<Vec<_>>(), ["map.tif", "heatmap.tiff"]);
    // The scanned folder may be inside a results folder.
    fs::write(lab.folder.path().join("manifest.jsonl"), line("slides/a.tif")).unwrap();
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(ids(&prepared), ["results/mine.tiff"], "its row is removed");
}

#[tokio::test]
async fn duplicate_slides_are_reported_and_excluded_on_request() {
    let lab = TestFolder::new(&["b.tif"]);
    lab.prepare_successfully(Prepare::new()).await;
    lab.write("a.tif", &slide(1));
    lab.write("c.tif", &slide(1));
    lab.write("other.tif", &slide(2));
    let (prepared, events) = lab.prepare(Prepare::new()).await.unwrap();
    assert_eq!(ids(&prepared), ["b.tif", "a.tif", "c.tif", "other.tif"]);
    let pairs: Vec<_> = prepared.duplicates.iter().map(|(file, same)| (file_name(file), file_name(same))).collect();
    // The slide in the table is the original, because the platform would bill another slide again.
    assert_eq!(pairs, [("a.tif", "b.tif"), ("c.tif", "b.tif")]);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::DuplicateSlide { .. })).count(), 2);
    fs::remove_file(lab.csv()).unwrap();
    let prepared = lab.prepare_successfully(Prepare::new().with_deduplicate(true)).await;
    assert_eq!((ids(&prepared), prepared.duplicates.len()), (vec!["a.tif", "other.tif"], 0));
    assert_eq!(skipped_names(&prepared), [("b.tif", "duplicate"), ("c.tif", "duplicate")]);
}

#[tokio::test]
async fn table_is_not_written_if_no_slide_is_usable() {
    let lab = TestFolder::new(&[]);
    lab.write("a.tif", b"not a slide");
    let error = lab.prepare(Prepare::new()).await.unwrap_err();
    assert!(error.is_stopped() && error.details()[0].contains("a.tif: neither TIFF"), "{error:?}");
    assert_eq!((error.slides().len(), lab.csv().exists()), (1, false));
    // An existing table is not changed.
    lab.write("a.tif", &slide(1));
    lab.prepare_successfully(Prepare::new()).await;
    let table = fs::read(lab.csv()).unwrap();
    lab.write("a.tif", b"not a slide any more");
    assert!(lab.prepare(Prepare::new().with_overwrite(true)).await.unwrap_err().is_stopped());
    assert_eq!(fs::read(lab.csv()).unwrap(), table);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn unreadable_folder_does_not_prevent_the_scan_of_other_folders() {
    let lab = TestFolder::new(&["a.tif", "z/c.tif"]);
    // The path is longer than the system permits, so even root cannot read the folder.
    let deep = |levels: usize| "d".repeat(200) + &format!("/{}", "d".repeat(200)).repeat(levels - 1);
    let long_folder = lab.folder.path().join("aside");
    fs::create_dir_all(long_folder.join(deep(12))).unwrap();
    fs::create_dir_all(lab.path(&deep(12))).unwrap();
    fs::rename(&long_folder, lab.path(&deep(12)).join("e")).unwrap();
    let prepared = lab.prepare_successfully(Prepare::new()).await;
    assert_eq!(ids(&prepared), ["a.tif", "z/c.tif"]);
    let [(_, reason)] = prepared.unusable.as_slice() else { panic!("{:?}", prepared.unusable) };
    assert!(reason.contains("the folder cannot be read") && prepared.require_all().is_err(), "{reason}");
}
