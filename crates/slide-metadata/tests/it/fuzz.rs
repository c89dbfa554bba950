//! Damaged headers lead to a result or an error, never to a panic, and need little memory.

use std::ops::Range;
use std::path::Path;

use super::corpus::vendors;
use super::files::{Dicom, JPEG, PLAIN};
use super::*;

/// The number of damaged headers per structure.
const ROUNDS: usize = 20_000;
/// The maximum memory allocated at a time, in bytes, for files of about 10 KiB.
const MAX_MEMORY: u64 = 128 * 1024 * 1024;

/// A linear congruential generator with the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// Changes some bytes within the ranges.
fn change_bytes(content: &mut [u8], ranges: &[Range<usize>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let range = &ranges[random.below(ranges.len())];
        let offset = range.start + random.below(range.len());
        let length = (range.end - offset).min([1, 2, 4, 8][random.below(4)]);
        let source = random.below(content.len() - length);
        let small = u8::try_from(random.below(256)).unwrap();
        let target = offset..offset + length;
        match random.below(6) {
            0 => content[offset] ^= 1 << random.below(8),
            1 => content[target].fill(0xff),
            2 => content[target].fill(0),
            3 => content[offset] = small,
            4 => content.copy_within(source..source + length, offset),
            _ => content[offset] = b"<>&\"0.,|=;"[random.below(10)],
        }
    }
}

/// Reads damaged variants of a file and returns the number of errors. Asserts that no variant needs much memory.
fn count_rejected_variants(path: &Path, content: &[u8], ranges: &[Range<usize>]) -> usize {
    let (mut random, mut rejected_count) = (Random(1), 0);
    for _ in 0..ROUNDS {
        let mut damaged = content.to_vec();
        change_bytes(&mut damaged, ranges, &mut random);
        fs::write(path, &damaged).unwrap();
        let mut outcome = None;
        let memory = allocation_counter::measure(|| outcome = Some(inspect(path)));
        assert!(memory.bytes_max < MAX_MEMORY, "{} bytes", memory.bytes_max);
        rejected_count += usize::from(outcome.unwrap().is_err());
    }
    rejected_count
}

fn assert_vendor_does_not_panic(name: &str) {
    let case = vendors::all().into_iter().find(|case| case.name == name).unwrap();
    let (_folder, path) = write_file(name, &[]);
    let rejected_count = count_rejected_variants(&path, &case.tiff.bytes(), &case.tiff.headers());
    assert!((1_000..ROUNDS - 1_000).contains(&rejected_count), "{name}: {rejected_count} are rejected");
}

macro_rules! vendors {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            assert_vendor_does_not_panic($name);
        })*
    };
}

vendors! {
    corrupt_headers_of_classic_tiff_do_not_panic: "tiled.tif",
    corrupt_headers_of_big_tiff_do_not_panic: "tiled-big.tif",
    corrupt_headers_of_aperio_do_not_panic: "aperio.svs",
    corrupt_headers_of_ome_do_not_panic: "ome.ome.tif",
    corrupt_headers_of_philips_do_not_panic: "philips.tiff",
    corrupt_headers_of_ventana_do_not_panic: "ventana.bif",
    corrupt_headers_of_leica_do_not_panic: "leica.scn",
    corrupt_headers_of_hamamatsu_do_not_panic: "hamamatsu.ndpi",
    corrupt_headers_of_trestle_do_not_panic: "trestle.tif",
}

#[test]
fn corrupt_dicom_does_not_panic() {
    for syntax in [PLAIN, JPEG] {
        let content = Dicom { syntax, columns: 8, rows: 8, private: true, ..Dicom::default() }.bytes();
        let (_folder, path) = write_file("slide.dcm", &[]);
        let ranges = std::slice::from_ref(&(132..content.len())).to_vec();
        let rejected_count = count_rejected_variants(&path, &content, &ranges);
        assert!((1_000..ROUNDS - 1_000).contains(&rejected_count), "{rejected_count} are rejected");
        let _ = DicomFiles::group([path]);
    }
}

#[test]
fn corrupt_archives_do_not_panic() {
    let content = archive::zip_archive(&[("0.dcm", &archive::level(PLAIN)), ("1.dcm", &archive::level(JPEG))]);
    let (_folder, path) = write_file("slide.zip", &[]);
    let length = content.len();
    let rejected_count = count_rejected_variants(&path, &content, &[4..400, length - 400..length]);
    assert!(rejected_count > 1_000, "{rejected_count} are rejected");
}

#[test]
fn long_texts_need_little_memory() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff};
    let latin = [vec![b'<', b'a', b'/', b'>'], vec![0xe4; 60 << 20]].concat();
    let xml = format!("<OME><Image Name='{}'/></OME>", "n".repeat(60 << 20)).into_bytes();
    for text in [latin, xml] {
        let image = Image::new(128, 96, Pixels::Tiles(32)).described(text).resolution(40_000, 3);
        let (_folder, path) = write_file("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        let mut outcome = None;
        let memory = allocation_counter::measure(|| outcome = Some(inspect(&path)));
        assert!(memory.bytes_max < MAX_MEMORY, "{} bytes", memory.bytes_max);
        assert!(outcome.unwrap().is_err());
    }
}
