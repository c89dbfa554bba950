use std::io::Cursor;

use crc::{CRC_32_ISCSI, Crc};
use serde_json::{Value, json};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use crate::client::User;

fn checksum(bytes: &[u8]) -> String {
    use base64::Engine;
    let crc = Crc::<u32>::new(&CRC_32_ISCSI).checksum(bytes);
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

/// Returns the name, the content and the metadata of each sample slide.
pub(crate) fn samples() -> Vec<(String, Vec<u8>, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let paths = platform_emulator::samples::write(folder.path()).unwrap();
    let read_sample = |path: std::path::PathBuf| {
        let slide = slide_metadata::read(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let metadata = json!({
            "checksum_base64_crc32c": checksum(&bytes), "width_px": slide.width, "height_px": slide.height,
            "resolution_mpp": slide.resolution, "media_type": "image/tiff",
        });
        (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes, metadata)
    };
    paths.into_iter().map(read_sample).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_computed_from_the_pixels_of_the_slide() {
    let user = User::new().await;
    let mut items = Vec::new();
    for (name, bytes, metadata) in samples() {
        items.push(user.upload_item(&name, bytes, metadata).await);
    }
    let (run, items) = user.run_tissue(items).await;
    assert_eq!((run["output"].as_str(), run["statistics"]["item_succeeded_count"].as_i64()), (Some("FULL"), Some(3)));
    let mut tables = Vec::new();
    for item in &items {
        let [heatmap, polygons, areas] = item["output_artifacts"].as_array().unwrap().as_slice() else {
            panic!("{item}")
        };
        let mut files = Vec::new();
        for artifact in [heatmap, polygons, areas] {
            let bytes = user.download_artifact(&run, artifact).await;
            assert_eq!(artifact["metadata"]["checksum_base64_crc32c"], checksum(&bytes));
            assert_eq!(artifact["metadata"]["size_bytes"], bytes.len());
            files.push(bytes);
        }
        let input = &item["input_artifacts"][0]["metadata"];
        assert_heatmap(&files[0], input);
        let polygons: Value = serde_json::from_slice(&files[1]).unwrap();
        let table = String::from_utf8(files[2].clone()).unwrap();
        assert_polygons(&polygons, &table, input);
        tables.push(table);
    }
    assert!(tables[0] != tables[1] && tables[1] != tables[2], "different slides have different tissue");
}

/// Asserts that the heatmap has the aspect ratio of the slide, contains tissue, and has glass in its corner.
fn assert_heatmap(bytes: &[u8], input: &Value) {
    let mut image = Decoder::new(Cursor::new(bytes)).unwrap();
    let (width, height) = image.dimensions().unwrap();
    let aspect_ratio = input["width_px"].as_f64().unwrap() / input["height_px"].as_f64().unwrap();
    assert!((f64::from(width) / f64::from(height) / aspect_ratio - 1.0).abs() < 0.01, "{width} × {height}");
    let DecodingResult::U8(cells) = image.read_image().unwrap() else {
        panic!("the heatmap does not have 8 bits per pixel")
    };
    let tissue = cells.iter().filter(|cell| **cell > 0).count();
    assert!(tissue * 20 > cells.len() && tissue * 2 < cells.len(), "{tissue} of {} cells", cells.len());
    assert_eq!(cells[0], 0);
}

/// Asserts that two large pieces of tissue were found, one of them with a hole, and that the first is within the slide.
fn assert_polygons(polygons: &Value, table: &str, input: &Value) {
    let features = polygons["features"].as_array().unwrap();
    let ring_count = |feature: &Value| feature["geometry"]["coordinates"].as_array().unwrap().len();
    let large_features: Vec<_> =
        features.iter().filter(|feature| feature["properties"]["area_um2"].as_f64().unwrap() > 1000.0).collect();
    assert_eq!(large_features.len(), 2, "{table}");
    assert_eq!(large_features.iter().map(|feature| ring_count(feature)).sum::<usize>(), 3, "{table}");
    let is_inside = |point: &Value| {
        let coordinate = |axis: usize| point[axis].as_f64().unwrap();
        (0.0..=input["width_px"].as_f64().unwrap()).contains(&coordinate(0))
            && (0.0..=input["height_px"].as_f64().unwrap()).contains(&coordinate(1))
    };
    assert!(large_features[0]["geometry"]["coordinates"][0].as_array().unwrap().iter().all(is_inside));
    assert_eq!(table.lines().count(), features.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn slide_that_differs_from_its_metadata_is_a_user_error() {
    let user = User::new().await;
    let (_, bytes, metadata) = samples().swap_remove(2);
    let metadata_with = |name: &str, value: Value| {
        let mut metadata = metadata.clone();
        metadata[name] = value;
        metadata
    };
    let damaged = damage(&bytes);
    let damaged_metadata = metadata_with("checksum_base64_crc32c", json!(checksum(&damaged)));
    let unreachable_item = json!({ "external_id": "unreachable", "input_artifacts": [
        { "name": "whole_slide_image", "download_url": "http://127.0.0.1:9/slide?X-Amz-Signature=canary", "metadata": metadata },
    ] });
    let items = vec![
        user.upload_item("good", bytes.clone(), metadata.clone()).await,
        user.upload_item("checksum", bytes.clone(), metadata_with("checksum_base64_crc32c", json!("AAAAAA=="))).await,
        user.upload_item("size", bytes.clone(), metadata_with("width_px", json!(7))).await,
        user.upload_item("damaged", damaged, damaged_metadata).await,
        user.upload_item(
            "no slide",
            b"text".to_vec(),
            metadata_with("checksum_base64_crc32c", json!(checksum(b"text"))),
        )
        .await,
        unreachable_item,
    ];
    let (run, items) = user.run_tissue(items).await;
    assert_eq!(
        (run["output"].as_str(), run["statistics"]["item_user_error_count"].as_i64()),
        (Some("PARTIAL"), Some(5))
    );
    assert_eq!(items[0]["termination_reason"], "SUCCEEDED");
    for (item, reason) in
        items[1..].iter().zip(["CRC32C", "7 ×", "cannot be decoded", "cannot be decoded", "cannot be fetched"])
    {
        assert_eq!(
            (item["termination_reason"].as_str(), item["output_artifacts"].as_array().unwrap().len()),
            (Some("USER_ERROR"), 0)
        );
        let message = item["error_message"].as_str().unwrap();
        assert!(message.contains(reason) && !message.contains("canary"), "{message}");
    }
}

/// Returns the slide with overwritten pixels in the second image of its pyramid. All tags are intact.
fn damage(slide: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new(Cursor::new(slide)).unwrap();
    decoder.next_image().unwrap();
    let mut first_value = |tag| usize::try_from(decoder.get_tag_u64_vec(tag).unwrap()[0]).unwrap();
    let (start, length) = (first_value(Tag::StripOffsets), first_value(Tag::StripByteCounts));
    let mut slide = slide.to_vec();
    slide[start..start + length].fill(0x5A);
    slide
}
