use super::corpus::vendors;
use super::*;

#[test]
fn slide_that_is_cut_at_any_boundary_is_refused() {
    for case in vendors::all() {
        let whole = case.tiff.bytes();
        let around = case.tiff.boundaries().into_iter().flat_map(|boundary| [boundary, boundary.saturating_sub(1)]);
        let (folder, path) = written(case.name, &whole);
        let mut cuts: Vec<_> = around.filter(|cut| *cut < whole.len() as u64).collect();
        cuts.dedup();
        assert!(cuts.len() > 20, "{}", case.name);
        for cut in cuts {
            fs::write(&path, &whole[..usize::try_from(cut).unwrap()]).unwrap();
            let error = inspect(&path).expect_err(&format!("{} at {cut} of {}", case.name, whole.len()));
            let is_about_the_end =
                error.to_string().contains("cut off") || error.to_string().contains("by its first bytes");
            assert!(error.is_invalid() && is_about_the_end, "{error}");
        }
        drop(folder);
    }
}

#[test]
fn slide_that_is_cut_in_the_pixels_of_any_image_is_refused() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    for layout in [Layout::Classic, Layout::Big, Layout::Ndpi] {
        let mut tiff = Tiff::new(layout);
        tiff.put_pixels_behind(4096);
        let pixels = if layout == Layout::Ndpi { Pixels::JpegStrip } else { Pixels::JpegTiles(32) };
        let image = |width, height| {
            let image = Image::new(width, height, pixels).resolution(40_000, 3);
            if layout == Layout::Ndpi {
                image.with(65420, Value::Long(vec![1])).with(65421, Value::Float(vec![20.0]))
            } else {
                image
            }
        };
        tiff.add(&image(128, 96).with_sub(image(64, 48)));
        tiff.add(&image(32, 24));
        let whole = tiff.bytes();
        inspect_bytes("slide.tif", &whole).unwrap();
        let late: Vec<_> = tiff.boundaries().into_iter().filter(|boundary| *boundary >= 4096).collect();
        assert_eq!(late.len(), 6);
        for cut in late.into_iter().map(|boundary| usize::try_from(boundary).unwrap() - 1) {
            let shown = refusal("slide.tif", &whole[..cut]);
            assert!(shown.contains("cut off: the pixels of"), "{layout:?} at {cut}: {shown}");
        }
    }
}

#[test]
fn pixels_beyond_the_end_are_counted() {
    let tiff = vendors::generic(corpus::tiff::Layout::Classic, corpus::tiff::Pixels::Strip);
    let mut bytes = tiff.bytes();
    let claimed = (256 * 192 * 3_u32).to_le_bytes();
    let place = bytes.windows(4).position(|window| window == claimed).unwrap();
    bytes[place..place + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let shown = refusal("slide.tif", &bytes);
    assert!(shown.contains("the pixels of directory 0 should end at byte 1000008"), "{shown}");
    assert!(shown.contains(&format!("ends at byte {}", bytes.len())), "{shown}");
}

#[test]
fn fewer_tiles_than_the_image_has_are_refused() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    for tag in [324, 325] {
        let image = Image::new(256, 192, Pixels::Tiles(64)).resolution(40_000, 3);
        let image =
            image.with(tag, if tag == 324 { Value::Offsets(vec![8; 11]) } else { Value::Long(vec![12_288; 11]) });
        let shown = refusal("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        assert!(shown.contains("directory 0 states 11 strips or tiles of 12"), "{shown}");
    }
}

#[test]
fn tiles_without_bytes_are_left_out_on_purpose() {
    use corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
    let image = Image::new(128, 64, Pixels::Tiles(64)).resolution(40_000, 3);
    let image = image.with(324, Value::Offsets(vec![8, 4_000_000_000])).with(325, Value::Long(vec![12_288, 0]));
    let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    assert_eq!((slide.width, slide.height), (128, 64));
}
