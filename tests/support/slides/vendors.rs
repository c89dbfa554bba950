//! A slide for each structure of the vendors, with the expected results.

use super::tiff::{Image, Layout, Pixels, Tiff, Value, text};

/// A slide and the expected result of reading it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) tiff: Tiff,
    pub(crate) vendor: Option<&'static str>,
    pub(crate) size: (u32, u32),
    pub(crate) resolution: f64,
}

/// Returns all slides.
pub(crate) fn all() -> Vec<Case> {
    let case = |name, tiff, vendor, size, resolution| Case { name, tiff, vendor, size, resolution };
    vec![
        case("tiled.tif", generic(Layout::Classic, Pixels::JpegTiles(64)), None, (256, 192), 0.25),
        case("tiled-big.tif", generic(Layout::Big, Pixels::JpegTiles(64)), None, (256, 192), 0.25),
        case("strips.tif", generic(Layout::Classic, Pixels::Strip), None, (256, 192), 0.25),
        case("preview-first.tif", preview_first(), None, (256, 192), 0.25),
        case("aperio.svs", aperio(APERIO), Some("aperio"), (240, 128), 0.2522),
        case("ome.ome.tif", ome(OME_SIZES), Some("ome"), (128, 96), 0.2522),
        case("philips.tiff", philips(PHILIPS_SPACING), Some("philips"), (128, 96), 0.227_273),
        case("ventana.bif", ventana("0.2325", "8"), Some("ventana"), (120, 128), 0.2325),
        case("ventana-areas.bif", ventana_two_areas(), Some("ventana"), (369, 185), 0.2325),
        case("leica.scn", leica("24000"), Some("leica"), (200, 150), 0.25),
        case("leica-scales.scn", leica("24200"), Some("leica"), (200, 150), 0.25),
        case("hamamatsu.ndpi", hamamatsu(0), Some("hamamatsu"), (256, 128), 10_000.0 / 43_478.0),
        case("trestle.tif", trestle(), Some("trestle"), (120, 128), 0.230_000_004),
    ]
}

/// Returns a pyramid at 40,000 pixels per centimeter.
pub(crate) fn generic(layout: Layout, pixels: Pixels) -> Tiff {
    let image = Image::new(256, 192, pixels).resolution(40_000, 3);
    Tiff::of(layout, [image, Image::new(128, 96, pixels).reduced(), Image::new(64, 48, pixels).reduced()])
}

/// Returns a slide whose first directory is a preview that is not marked as such.
pub(crate) fn preview_first() -> Tiff {
    let pixels = Pixels::JpegTiles(32);
    let image = |width, height, per_centimeter| Image::new(width, height, pixels).resolution(per_centimeter, 3);
    Tiff::of(Layout::Classic, [image(64, 48, 10_000), image(256, 192, 40_000), image(128, 96, 20_000)])
}

pub(crate) const APERIO: &[u8] = b"AppMag = 40|MPP = 0.2522|Date = 01/02/26|Time = 12:00:00|User = u|Filename = f";

/// Returns an SVS file, whose fields are `fields`.
pub(crate) fn aperio(fields: &[u8]) -> Tiff {
    let head = |line: &str| [b"Aperio Image Library v12.0.15 \r\n", line.as_bytes()].concat();
    let pixels = Pixels::JpegTiles(64);
    let image = [&head("240x128 [0,0 240x128] (64x64) JPEG/RGB Q=70|"), fields].concat();
    let thumbnail = head("240x128 -> 60x32 - |AppMag = 40");
    Tiff::of(
        Layout::Classic,
        [
            Image::new(240, 128, pixels).described(image).resolution(72, 2),
            Image::new(60, 32, Pixels::Strip).described(thumbnail),
            Image::new(120, 64, pixels).described(head("240x128 -> 120x64|AppMag = 40")),
            Image::new(40, 48, Pixels::Strip).described(head("label 40x48")).reduced(),
            Image::new(80, 32, Pixels::Strip).described(head("macro 80x32")).with(254, Value::Long(vec![9])),
        ],
    )
}

pub(crate) const OME_SIZES: &str =
    r#"PhysicalSizeX="252.2" PhysicalSizeXUnit="nm" PhysicalSizeY="252.2" PhysicalSizeYUnit="nm""#;

/// Returns an OME-TIFF with a pyramid in `SubIFDs`, a label, and a resolution tag of 72 dpi. Its pixels have the
/// attributes `sizes`.
pub(crate) fn ome(sizes: &str) -> Tiff {
    let image = |name: &str, ifd, width, height, sizes: &str| {
        format!(
            r#"<Image ID="Image:{ifd}" Name="{name}"><AcquisitionDate>2026-01-02T12:00:00</AcquisitionDate><Pixels ID="Pixels:{ifd}" DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="3" SizeZ="1" SizeT="1" {sizes}><Channel ID="Channel:{ifd}:0" SamplesPerPixel="3"/><TiffData IFD="{ifd}" PlaneCount="1"/></Pixels></Image>"#
        )
    };
    let xml = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}{}</OME>"#,
        image("slide", 0, 128, 96, sizes),
        image("label image", 1, 40, 48, ""),
    );
    let pixels = Pixels::Tiles(32);
    let levels = [Image::new(64, 48, pixels).reduced(), Image::new(32, 32, pixels).reduced()];
    let slide = Image::new(128, 96, pixels).described(xml).resolution(72, 2);
    let slide = levels.into_iter().fold(slide, Image::with_sub);
    Tiff::of(Layout::Big, [slide, Image::new(40, 48, Pixels::Strip)])
}

pub(crate) const PHILIPS_SPACING: &str = "&quot;0.000227273&quot; &quot;0.000227273&quot;";

pub(crate) fn philips_xml(spacing: &str) -> String {
    let attribute = |name: &str, group: &str, kind: &str, value: &str| {
        format!(r#"<Attribute Name="{name}" Group="{group}" Element="0x0030" PMSVR="{kind}">{value}</Attribute>"#)
    };
    let spacing_of = |value: &str| attribute("DICOM_PIXEL_SPACING", "0x0028", "IDoubleArray", value);
    let level = |number: usize, value: &str| {
        let number = attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", "0x1001", "IUInt16", &number.to_string());
        format!(r#"<DataObject ObjectType="PixelDataRepresentation">{}{number}</DataObject>"#, spacing_of(value))
    };
    let levels =
        format!("<Array>{}{}</Array>", level(0, spacing), level(1, "&quot;0.000454546&quot; &quot;0.000454546&quot;"));
    let image = [
        spacing_of(spacing),
        attribute("PIM_DP_IMAGE_TYPE", "0x301D", "IString", "WSI"),
        attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "0x1001", "IDataObjectArray", &levels),
    ];
    let images = format!(r#"<Array><DataObject ObjectType="DPScannedImage">{}</DataObject></Array>"#, image.concat());
    let content = [
        attribute("DICOM_MANUFACTURER", "0x0008", "IString", "PHILIPS"),
        attribute("DICOM_ACQUISITION_DATETIME", "0x0008", "IString", "20260102120000.000000"),
        attribute("PIM_DP_UFS_BARCODE", "0x301D", "IString", "QUJD"),
        attribute("PIM_DP_SCANNED_IMAGES", "0x301D", "IDataObjectArray", &images),
    ];
    format!(
        r#"<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">{}</DataObject>"#,
        content.concat()
    )
}

/// Returns a Philips TIFF with resolution tags of 72 dpi.
pub(crate) fn philips(spacing: &str) -> Tiff {
    let pixels = Pixels::JpegTiles(32);
    let image = |width, height, description: &str| {
        Image::new(width, height, pixels).described(description).with(305, text("Philips DP v1.0"))
    };
    let small = |description: &str| Image::new(40, 48, Pixels::JpegStrip).described(description).reduced();
    Tiff::of(
        Layout::Classic,
        [
            image(128, 96, &philips_xml(spacing)).resolution(72, 2),
            image(64, 64, "level=1 mag=20 quality=80").reduced(),
            small("Macro -offset=(0,0)-pixelsize=(0.0315,0.0315)"),
            small("Label"),
        ],
    )
}

/// A scanned area of Ventana: 2 × 2 tiles of 64 pixels.
pub(crate) struct Area {
    /// The position of its tiles in the directory.
    pub(crate) origin: (u32, u32),
    /// `Pos-X` and `Pos-Y`: the position on the slide, from the left and from below.
    pub(crate) position: (&'static str, &'static str),
    /// The overlap of its tiles from left to right and from top to bottom.
    pub(crate) overlap: (&'static str, &'static str),
}

/// Returns a Ventana BIF of one area whose tiles overlap by `overlap` from left to right.
pub(crate) fn ventana(scan_res: &str, overlap: &'static str) -> Tiff {
    ventana_areas(scan_res, (128, 128), &[Area { origin: (0, 0), position: ("0", "0"), overlap: (overlap, "0") }])
}

/// Returns a Ventana BIF of two areas at different heights.
pub(crate) fn ventana_two_areas() -> Tiff {
    let area = |origin, position, overlap| Area { origin, position, overlap };
    let areas = [area((0, 0), ("0", "100.0"), ("8.0", "4")), area((128, 0), ("250.0", "40"), ("10.5", "3"))];
    ventana_areas("0.2325", (256, 128), &areas)
}

/// Returns a Ventana BIF, label first.
pub(crate) fn ventana_areas(scan_res: &str, size: (u32, u32), areas: &[Area]) -> Tiff {
    let scan = format!(
        r#"<iScan Magnification="40" ScanRes="{scan_res}" UnitNumber="X" UserName="u" BuildVersion="3.3.1.1" SlideAnnotation="" ShowLabel="1" LabelBoundary="0" Z-layers="1" Z-spacing="1"/>"#
    );
    let (mut stitched, mut origins) = (String::new(), String::new());
    for (number, area) in areas.iter().enumerate() {
        let Area { origin, position: (x, y), overlap: (across, down) } = *area;
        let joint = |direction: &str, a: u8, b: u8, x: &str, y: &str| {
            format!(
                r#"<TileJointInfo FlagJoined="1" Confidence="100" Direction="{direction}" Tile1="{a}" Tile2="{b}" OverlapX="{x}" OverlapY="{y}"/>"#
            )
        };
        let joints = [
            joint("RIGHT", 1, 2, across, "0"),
            joint("UP", 1, 4, "0", down),
            joint("UP", 2, 3, "0", down),
            joint("RIGHT", 4, 3, across, "0"),
        ];
        stitched += &format!(
            r#"<ImageInfo AOIScanned="1" AOIIndex="{number}" NumRows="2" NumCols="2" Width="64" Height="64" Pos-X="{x}" Pos-Y="{y}">{}</ImageInfo>"#,
            joints.concat()
        );
        origins += &format!(r#"<AOI{number} OriginX="{}" OriginY="{}"/>"#, origin.0, origin.1);
    }
    let info = format!(
        r#"<?xml version="1.0"?><EncodeInfo Ver="2"><SlideInfo>{scan}</SlideInfo><SlideStitchInfo>{stitched}</SlideStitchInfo><AoiOrigin>{origins}</AoiOrigin></EncodeInfo>"#
    );
    let xml = |text: String| Value::Bytes(text.into_bytes());
    let metadata = xml(format!(r#"<?xml version="1.0"?><Metadata>{scan}</Metadata>"#));
    let pixels = Pixels::JpegTiles(64);
    Tiff::of(
        Layout::Big,
        [
            Image::new(200, 300, Pixels::Strip).described("Label_Image").resolution(600, 2).with(700, metadata),
            Image::new(size.0, size.1, pixels).described("level=0 mag=40 quality=90").with(700, xml(info)),
            Image::new(size.0 / 2, size.1 / 2, pixels).described("level=1 mag=20 quality=90"),
        ],
    )
}

/// Returns a Leica SCN: a collection of 50 × 37.5 µm, its macro image, and one region of it with a height in nanometers.
pub(crate) fn leica(height: &str) -> Tiff {
    let image = |name: &str, view: &str, dimensions: &str| {
        format!(
            r#"<image name="{name}" uuid="urn:uuid:0"><creationDate>2026-01-02T12:00:00.000Z</creationDate><device model="Leica SCN400" version="1.4"/><pixels sizeX="0" sizeY="0">{dimensions}</pixels><view {view}/><scanSettings><objectiveSettings><objective>40</objective></objectiveSettings><illuminationSettings><numericalAperture>0.65</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"#
        )
    };
    let dimension =
        |ifd, level, width, height| format!(r#"<dimension sizeX="{width}" sizeY="{height}" r="{level}" ifd="{ifd}"/>"#);
    let whole = r#"sizeX="50000" sizeY="37500""#;
    let xml = format!(
        r#"<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c" uuid="urn:uuid:1" {whole}><barcode>QUJD</barcode>{}{}</collection></scn>"#,
        image("macro", &format!(r#"{whole} offsetX="0" offsetY="0""#), &dimension(0, 0, 40, 30)),
        image(
            "slide",
            &format!(r#"sizeX="32000" sizeY="{height}" offsetX="8000" offsetY="6000""#),
            &[dimension(1, 0, 128, 96), dimension(2, 1, 64, 48)].concat()
        ),
    );
    let pixels = Pixels::JpegTiles(32);
    Tiff::of(
        Layout::Big,
        [
            Image::new(40, 30, pixels).described(xml).resolution(8_000, 3),
            Image::new(128, 96, pixels).resolution(40_000, 3),
            Image::new(64, 48, pixels).resolution(20_000, 3),
        ],
    )
}

/// Returns a Hamamatsu NDPI whose pixels and directories are behind `hole`.
pub(crate) fn hamamatsu(hole: u64) -> Tiff {
    let image = |width, height, lens: f32| {
        Image::new(width, height, Pixels::JpegStrip)
            .with(271, text("Hamamatsu"))
            .with(272, text("C9600-12"))
            .with(65420, Value::Long(vec![1]))
            .with(65421, Value::Float(vec![lens]))
            .with(65422, Value::SignedLong(0))
            .with(65423, Value::SignedLong(0))
            .with(65424, Value::SignedLong(0))
            .with(65427, text("ABC-1"))
    };
    let mut tiff = Tiff::new(Layout::Ndpi);
    tiff.skip_to(hole);
    tiff.add(&image(256, 128, 40.0).resolution(43_478, 3).with(306, text("2026:01:02 12:00:00")));
    tiff.add(&image(128, 64, 20.0).resolution(21_739, 3));
    tiff.add(&image(120, 40, -1.0).resolution(100, 3));
    tiff
}

/// Returns a Trestle TIFF: 2 × 2 tiles of 64 pixels that overlap by 8 from left to right.
pub(crate) fn trestle() -> Tiff {
    trestle_with(0.23)
}

/// Returns a Trestle TIFF with a resolution in micrometers.
pub(crate) fn trestle_with(resolution: f32) -> Tiff {
    let pixels = Pixels::JpegTiles(64);
    let description =
        "Background Color=FFFFFF;White Balance=FFFFFF;Objective Power=40;JPEG Quality=70;OverlapsXY= 8 0 0 0";
    let image = |width, height, resolution: f32| {
        let value = || Value::Float(vec![resolution]);
        Image::new(width, height, pixels)
            .described(description)
            .with(305, text("MedScan"))
            .with(282, value())
            .with(283, value())
    };
    Tiff::of(Layout::Classic, [image(128, 128, resolution), image(64, 64, 2.0 * resolution)])
}
