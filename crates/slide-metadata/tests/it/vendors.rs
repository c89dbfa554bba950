//! Metadata from the structures of vendors, and unreadable markers.

use slide_metadata::{ReadOptions, ResolutionSource, Role, Vendor, Warning, read_with};

use super::corpus::tiff::{Image, Layout, Pixels, Tiff, Value};
use super::corpus::vendors::{self, OME_SIZES};
use super::*;

#[test]
fn size_and_resolution_of_all_vendors_are_read() {
    for case in vendors::all() {
        let slide = read_bytes(case.name, &case.tiff.bytes()).unwrap();
        assert_eq!((slide.width, slide.height), case.size, "{}", case.name);
        assert_eq!(slide.description.vendor.map(Vendor::name), case.vendor, "{}", case.name);
        let difference = (slide.resolution - case.resolution).abs();
        assert!(difference < 1e-8, "{}: {} instead of {}", case.name, slide.resolution, case.resolution);
        assert_eq!(slide.description.warnings, [], "{}", case.name);
    }
}

fn roles(name: &str) -> Vec<(String, Role, Option<u32>)> {
    let case = vendors::all().into_iter().find(|case| case.name == name).unwrap();
    let description = inspect_bytes(name, &case.tiff.bytes()).unwrap();
    description.images.into_iter().map(|image| (image.place, image.role, image.level)).collect()
}

#[test]
fn every_directory_has_a_role() {
    let roles_of = |name: &str| roles(name).into_iter().map(|(_, role, _)| role).collect::<Vec<_>>();
    assert_eq!(roles_of("tiled.tif"), [Role::Image, Role::Level, Role::Level]);
    assert_eq!(roles_of("preview-first.tif"), [Role::Level, Role::Image, Role::Level]);
    assert_eq!(roles_of("aperio.svs"), [Role::Image, Role::Thumbnail, Role::Level, Role::Label, Role::Macro]);
    assert_eq!(roles_of("ome.ome.tif"), [Role::Image, Role::Label, Role::Level, Role::Level]);
    assert_eq!(roles_of("philips.tiff"), [Role::Image, Role::Level, Role::Macro, Role::Label]);
    assert_eq!(roles_of("ventana.bif"), [Role::Label, Role::Image, Role::Level]);
    assert_eq!(roles_of("ventana-areas.bif"), [Role::Label, Role::Image, Role::Level]);
    assert_eq!(roles_of("leica.scn"), [Role::Macro, Role::Image, Role::Level]);
    assert_eq!(roles_of("hamamatsu.ndpi"), [Role::Image, Role::Level, Role::Macro]);
    assert_eq!(roles_of("trestle.tif"), [Role::Image, Role::Level]);
    let last = ("SubIFD 1 of directory 0".to_owned(), Role::Level, Some(2));
    assert_eq!(roles("ome.ome.tif")[3], last);
}

#[test]
fn focal_planes_and_maps_of_hamamatsu_are_not_the_image() {
    use corpus::tiff::Value;
    let image = |lens: f32, focus| {
        let image = Image::new(256, 128, Pixels::JpegStrip).resolution(40_000, 3).with(65420, Value::Long(vec![1]));
        image.with(65421, Value::Float(vec![lens])).with(65424, Value::SignedLong(focus))
    };
    let tiff = Tiff::of(Layout::Ndpi, [image(40.0, -2_000), image(40.0, 0), image(40.0, 2_000), image(-2.0, 0)]);
    let roles: Vec<_> =
        inspect_bytes("slide.ndpi", &tiff.bytes()).unwrap().images.iter().map(|image| image.role).collect();
    assert_eq!(roles, [Role::Plane, Role::Image, Role::Plane, Role::Mask]);
    let message = error_text("slide.ndpi", &Tiff::of(Layout::Ndpi, [image(-1.0, 0)]).bytes());
    assert!(message.contains("a directory with a positive SourceLens"), "{message}");
}

#[test]
fn caller_can_specify_a_resolution_if_the_vendor_resolution_is_unusable() {
    for (tiff, looked_for, found) in [
        (vendors::aperio(b"AppMag = 40|MPP = unknown"), "MPP in the ImageDescription of directory 0", "'unknown'"),
        (vendors::aperio(b"MPP = 0"), "MPP in the ImageDescription", "'0'"),
        (vendors::aperio(b"MPP ="), "MPP in the ImageDescription", "''"),
        (vendors::aperio(b"MPP = 0.25 um"), "MPP in the ImageDescription", "'0.25 um'"),
        (vendors::ventana("fine", "0"), "ScanRes of iScan in tag 700 of directory 0", "'fine'"),
        (vendors::philips("&quot;0.25&quot;"), "DICOM_PIXEL_SPACING", "'\\\"0.25\\\"'"),
        (vendors::ome(r#"PhysicalSizeX="wide" PhysicalSizeY="1""#), "PhysicalSizeX and PhysicalSizeY", "'wide µm'"),
        (vendors::ome(r#"PhysicalSizeX="1""#), "PhysicalSizeX and PhysicalSizeY", "only one of them"),
        (
            vendors::ome(r#"PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1""#),
            "PhysicalSizeX and PhysicalSizeY",
            "'1 pixel'",
        ),
        (vendors::trestle_with(0.0), "XResolution and YResolution", "0 × 0"),
    ] {
        let (_folder, path) = write_file("slide.tif", &tiff.bytes());
        let error = read(&path).unwrap_err();
        let message = error.to_string();
        assert!(error.is_resolution() && message.contains("--resolution-mpp"), "{message}");
        assert!(message.contains(looked_for) && message.contains(&format!("found {found}")), "{message}");
        // The resolution tags are not used instead.
        assert_eq!(inspect(&path).unwrap().resolution, None);
        let specified = read_with(&path, &ReadOptions::default().with_resolution(0.5)).unwrap();
        assert_eq!(specified.resolution.to_bits(), 0.5_f64.to_bits());
    }
}

#[test]
fn resolutions_that_contradict_each_other_are_an_error() {
    let message = error_text("slide.svs", &vendors::aperio(b"MPP = 0.25|MPP = 0.5").bytes());
    assert!(
        message.contains("the ImageDescription of directory 0 states more than one MPP: '0.25' and '0.5'"),
        "{message}"
    );
    let slide = read_bytes("slide.svs", &vendors::aperio(b"MPP = 0.2522|MPP = 0.25220").bytes()).unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.2522_f64.to_bits());
}

#[test]
fn quoted_marker_of_another_vendor_is_not_a_marker() {
    for quoted in [
        "&lt;DataObject ObjectType=&quot;DPUfsImport&quot;&gt;&lt;/DataObject&gt;",
        "&lt;scn xmlns=&quot;http://www.leica-microsystems.com/scn/2010/10/01&quot;&gt;",
        "&lt;x:scn xmlns:x=&quot;http://www.leica-microsystems.com/scn/2010/10/01&quot;&gt;",
        "&lt;x:OME xmlns:x=&quot;http://www.openmicroscopy.org/Schemas/OME/2016-06&quot;&gt;",
    ] {
        let xml = format!("<image xmlns='http://www.vips.ecs.soton.ac.uk/deepzoom'><value>{quoted}</value></image>");
        let image = Image::new(128, 96, Pixels::Tiles(32)).described(xml).resolution(40_000, 3);
        let slide = read_bytes("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
        assert_eq!((slide.resolution.to_bits(), slide.description.vendor), (0.25_f64.to_bits(), None), "{quoted}");
    }
}

#[test]
fn corrupt_vendor_metadata_is_an_error() {
    let image = |description: &str| Image::new(128, 96, Pixels::Tiles(32)).described(description).resolution(40_000, 3);
    for (image, vendor) in [
        (image("<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><Image>"), "OME"),
        (image("<OME><Image ID='a'/></OME>"), "OME"),
        (image("<scn xmlns='http://www.leica-microsystems.com/scn/2010/10/01'/>"), "Leica"),
        (image("<DataObject ObjectType='DPUfsImport'/>"), "Philips"),
        (image("no XML").with(305, corpus::tiff::text("Philips DP v1.0")), "Philips"),
        (
            image("").with(700, corpus::tiff::Value::Bytes(b"<Metadata><iScan ScanRes='0.25'/></Metadata>".to_vec())),
            "Ventana",
        ),
        (image("").with(65420, corpus::tiff::Value::Long(vec![1])), "Hamamatsu"),
    ] {
        let message = error_text("slide.tif", &Tiff::of(Layout::Classic, [image]).bytes());
        assert!(message.contains(&format!("marks it as a file of {vendor}")), "{message}");
    }
}

#[test]
fn descriptions_in_latin_1_and_with_a_decimal_comma_are_read() {
    for (fields, resolution) in [
        (&b"Title = Pr\xe4parat|MPP = 0.2522|ImageID = 1"[..], 0.2522),
        ("Title = Präparat|MPP = 0.2522".as_bytes(), 0.2522),
        (b"MPP = 0,5000", 0.5),
        (b"MPP=0.25", 0.25),
    ] {
        let slide = read_bytes("slide.svs", &vendors::aperio(fields).bytes()).unwrap();
        assert_eq!(slide.resolution.to_bits(), f64::to_bits(resolution));
        let source = slide.description.resolution.unwrap().source;
        assert_eq!(source, ResolutionSource::AperioDescription);
    }
}

#[test]
fn physical_sizes_are_read_in_all_units() {
    for (sizes, resolution) in [
        (OME_SIZES, 0.2522),
        (r#"PhysicalSizeX="0.25" PhysicalSizeY="0.25""#, 0.25),
        (r#"PhysicalSizeX="0.25" PhysicalSizeXUnit="µm" PhysicalSizeY="0.25" PhysicalSizeYUnit="&#181;m""#, 0.25),
        (r#"PhysicalSizeX="0.25" PhysicalSizeXUnit="&#956;m" PhysicalSizeY="2.5E-4" PhysicalSizeYUnit="mm""#, 0.25),
        (r#"PhysicalSizeX="0.25" PhysicalSizeXUnit="Âµm" PhysicalSizeY="0.25""#, 0.25),
        (r#"PhysicalSizeX="0.0009" PhysicalSizeXUnit="pt" PhysicalSizeY="0.3175""#, 0.3175),
        (r#"PhysicalSizeX="0.000025" PhysicalSizeXUnit="cm" PhysicalSizeY="2500" PhysicalSizeYUnit="Å""#, 0.25),
    ] {
        let slide = read_bytes("slide.ome.tif", &vendors::ome(sizes).bytes()).unwrap();
        assert_eq!(slide.resolution.to_bits(), f64::to_bits(resolution), "{sizes}");
    }
}

#[test]
fn resolution_tags_are_used_only_without_a_vendor_resolution() {
    let assert_tags_are_used = |tiff: Tiff, resolution: &str| {
        let error = read_bytes("slide.tif", &tiff.bytes()).unwrap_err();
        assert!(error.is_resolution() && error.to_string().contains(resolution), "{error}");
    };
    // Many programs write 72 dpi by default.
    assert_tags_are_used(vendors::ome(""), "352.7");
    assert_tags_are_used(vendors::aperio(b"AppMag = 40"), "352.7");
    let image =
        Image::new(128, 96, Pixels::Tiles(32)).described("Aperio Image\n128x96|AppMag = 40").resolution(40_000, 3);
    let slide = read_bytes("slide.svs", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.25_f64.to_bits());
    assert_eq!(slide.description.warnings, [Warning::ResolutionFromTags(Vendor::Aperio)]);
    let image =
        Image::new(128, 96, Pixels::Tiles(32)).described("Aperio Image\n128x96|MPP = 0.5").resolution(40_000, 3);
    let slide = read_bytes("slide.svs", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
    assert_eq!(slide.resolution.to_bits(), 0.5_f64.to_bits());
    assert_eq!(slide.description.warnings, [Warning::TagsDiffer { tags: 0.25, vendor: 0.5 }]);
}

#[test]
fn slides_of_several_files_are_rejected() {
    let tiff = vendors::ome(
        r#"PhysicalSizeX="1" PhysicalSizeY="1"><TiffData><UUID FileName="a.tif">a</UUID></TiffData><TiffData><UUID FileName="b.tif">b</UUID></TiffData></Pixels><Pixels a="b""#,
    );
    let message = error_text("slide.ome.tif", &tiff.bytes());
    assert!(message.contains("OME-TIFF of several files is not supported"), "{message}");
    let binary = r#"<OME><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:1"/></OME>"#;
    let image = Image::new(128, 96, Pixels::Tiles(32)).described(binary);
    let message = error_text("slide.ome.tif", &Tiff::of(Layout::Classic, [image]).bytes());
    assert!(message.contains("OME-TIFF of several files is not supported"), "{message}");
}

#[test]
fn aperio_size_that_differs_from_its_directory_is_an_error() {
    let tiff = |line: &str| {
        let description = format!("Aperio Image Library v12.0.15 \r\n{line}|AppMag = 40|MPP = 0.2522");
        Tiff::of(Layout::Classic, [Image::new(240, 128, Pixels::JpegTiles(64)).described(description)]).bytes()
    };
    for line in [
        "480x256 [0,0 240x128] (64x64) JPEG/RGB Q=70",
        "480x256 [100,64 240x128] (64x64) -> 240x128 JPEG/RGB Q=70;Aperio Image Library v10 480x256 [0,0 480x256]",
        "480x256 [0,0,240x128] (64x64) JPEG/YCC Q=91",
        "480x256 -> 240x128 - ",
        "480x256 (64x64) JPEG/RGB Q=70",
        "",
    ] {
        assert_eq!(read_bytes("slide.svs", &tiff(line)).unwrap().width, 240, "{line}");
    }
    for line in ["480x256 [0,0 480x256] (64x64) JPEG/RGB Q=70", "480x256 [0,0,480x256] (64x64)", "960x512 -> 480x256"] {
        let message = error_text("slide.svs", &tiff(line));
        assert!(message.contains("directory 0 is 240 × 128, but its ImageDescription states 480 × 256"), "{message}");
    }
}

#[test]
fn ome_is_recognized_with_any_prefix_and_white_space() {
    for (start, end) in [("<ome:OME\n  xmlns:ome='a'>", "</ome:OME>"), ("<o:OME>", "</o:OME>"), ("<OME\t>", "</OME>")] {
        let xml = format!(
            "{start}<Image><Pixels SizeX='128' SizeY='96' PhysicalSizeX='0.25' PhysicalSizeY='0.25'><TiffData IFD='0'/></Pixels></Image>{end}"
        );
        let image = Image::new(128, 96, Pixels::Tiles(32)).described(xml).resolution(20_000, 3);
        let slide = read_bytes("slide.ome.tif", &Tiff::of(Layout::Classic, [image]).bytes()).unwrap();
        assert_eq!((slide.resolution.to_bits(), slide.description.vendor), (0.25_f64.to_bits(), Some(Vendor::Ome)));
    }
}

#[test]
fn missing_ome_planes_are_an_error() {
    let tiff = |sizes: &str, channels: usize, samples: u16, copies: usize| {
        let channel = "<Channel/>".repeat(channels);
        let xml = format!(
            "<OME><Image><Pixels SizeX='128' SizeY='96' {sizes} PhysicalSizeX='0.25' PhysicalSizeY='0.25'>{channel}<TiffData/></Pixels></Image></OME>"
        );
        let image = Image::new(128, 96, Pixels::Tiles(32)).with(277, Value::Short(vec![samples]));
        let images = vec![image.clone().described(xml)].into_iter().chain(vec![image; copies]);
        Tiff::of(Layout::Classic, images).bytes()
    };
    for (sizes, channels, samples, copies) in [
        ("", 0, 3, 0),
        ("SizeZ='2' SizeC='3' SizeT='2'", 1, 3, 3),
        ("SizeC='3'", 3, 3, 0),
        ("SizeC='3'", 0, 3, 0),
        ("SizeC='4'", 4, 1, 3),
    ] {
        assert_eq!(read_bytes("slide.tif", &tiff(sizes, channels, samples, copies)).unwrap().width, 128, "{sizes}");
    }
    for (sizes, channels, samples, copies, found) in [
        ("SizeZ='2' SizeC='1' SizeT='2'", 1, 1, 0, "1 of 4"),
        ("SizeC='4'", 4, 1, 2, "3 of 4"),
        ("SizeT='18446744073709551615' SizeZ='3'", 1, 1, 0, "1 of 18446744073709551615"),
    ] {
        let message = error_text("slide.tif", &tiff(sizes, channels, samples, copies));
        assert!(message.contains("128 × 96") && message.contains(&format!("found {found}")), "{message}");
    }
}

#[test]
fn error_names_an_unsupported_encoding_of_an_aperio_description() {
    let thumbnail =
        Image::new(60, 32, Pixels::Strip).described("Aperio Image Library\r\n240x128 -> 60x32 - |AppMag = 40");
    let read = |description: &[u8]| {
        let image = Image::new(240, 128, Pixels::JpegTiles(64)).described(description);
        Tiff::of(Layout::Classic, [image, thumbnail.clone()]).bytes()
    };
    let text = "Aperio Image Library\r\n240x128 [0,0 240x128]|MPP = 0.2522";
    let slide = read_bytes("slide.svs", &read(format!("\u{feff}{text}").as_bytes())).unwrap();
    assert_eq!((slide.width, slide.resolution.to_bits()), (240, 0.2522_f64.to_bits()));
    let words =
        |order: fn(u16) -> [u8; 2]| format!("\u{feff}{text}").encode_utf16().flat_map(order).collect::<Vec<_>>();
    for description in [words(u16::to_le_bytes), words(u16::to_be_bytes)] {
        let message = error_text("slide.svs", &read(&description));
        assert!(
            message.contains("cannot read the ImageDescription of directory 0") && message.contains("UTF-16"),
            "{message}"
        );
    }
}
