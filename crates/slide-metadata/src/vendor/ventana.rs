//! Ventana (Roche) BIF and TIFF, according to openslide.
//!
//! | fact | source |
//! |---|---|
//! | marker | tag 700 has XML with an element `iScan` |
//! | image | the directory whose description has `level=0`; other numbers are levels |
//! | label, thumbnail, mask | descriptions that begin with `Label`, `Thumbnail` and `Probability` |
//! | size | the tiles of all scanned areas less their overlap, in `EncodeInfo` of tag 700 of the image |
//! | resolution | `ScanRes` of `iScan`, in micrometers |

use std::io::{Read, Seek};

use super::{Findings, confidential, first, unreadable};
use crate::description::{Role, Vendor};
use crate::error::{Kind, quoted};
use crate::resolution::{Resolution, ResolutionSource, length};
use crate::stated::Stated;
use crate::tiff::{Tiff, tags};
use crate::xml::Element;

/// Returns the directory with the marker.
pub(super) fn find<R: Read + Seek>(tiff: &mut Tiff<R>) -> Result<Option<usize>, Kind> {
    for number in 0..tiff.directories.len() {
        let has_packet = tiff.directories[number].entry(tags::XML_PACKET).is_some();
        if has_packet && tiff.text(number, tags::XML_PACKET)?.is_some_and(|packet| packet.contains("<iScan")) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

pub(super) fn read<R: Read + Seek>(tiff: &mut Tiff<R>, marked: usize) -> Result<Findings, Kind> {
    let mut findings = Findings::new(Some(Vendor::Ventana), tiff);
    let place = format!("tag 700 of {}", tiff.directories[marked].place);
    let root = packet(tiff, marked)?;
    let scan = root.find("iScan").ok_or_else(|| unreadable(Vendor::Ventana, format!("iScan in {place}"), "nothing"))?;
    let looked_for = format!("ScanRes of iScan in {place}");
    findings.resolution = match scan.attribute("ScanRes") {
        None => Stated::Missing { looked_for, found: "nothing".to_owned() },
        Some(text) => match length(text) {
            Some(side) => Stated::Here(Resolution::new(side, side, ResolutionSource::VentanaXml)),
            None => return Err(unreadable(Vendor::Ventana, looked_for, quoted(text))),
        },
    };
    findings.identifiers = confidential::in_xml(&root, &format!("in {place}"));
    let nothing = || unreadable(Vendor::Ventana, "a directory with the description level=0", "none");
    let named = first(tiff, |directory| level(&directory.description) == Some(0)).ok_or_else(nothing)?;
    for (number, directory) in tiff.directories.iter().enumerate() {
        findings.roles[number] = match findings.roles[number] {
            _ if directory.description.starts_with("Probability") => Role::Mask,
            role if role.is_associated() => role,
            _ => Role::Level,
        };
    }
    findings.name(tiff, named);
    findings.size = size(tiff, named)?;
    Ok(findings)
}

fn packet<R: Read + Seek>(tiff: &mut Tiff<R>, number: usize) -> Result<Element, Kind> {
    let text = tiff.text(number, tags::XML_PACKET)?.unwrap_or_default();
    let place = tiff.directories[number].place;
    Element::parse(&text).map_err(|reason| unreadable(Vendor::Ventana, format!("XML in tag 700 of {place}"), reason))
}

/// Returns the number of a level: `level=1 mag=20 quality=90`.
fn level(description: &str) -> Option<u32> {
    description.split_whitespace().find_map(|field| field.strip_prefix("level=")?.parse().ok())
}

/// The overlap of tiles in one direction, averaged with confidence as the weight.
#[derive(Default)]
struct Overlap {
    sum: f64,
    weight: f64,
}

impl Overlap {
    fn mean(&self) -> f64 {
        if self.weight > 0.0 { self.sum / self.weight } else { 0.0 }
    }
}

/// Returns width and height of all scanned areas; `None` if the directory has no `EncodeInfo`.
fn size<R: Read + Seek>(tiff: &mut Tiff<R>, number: usize) -> Result<Option<(u32, u32)>, Kind> {
    if tiff.directories[number].entry(tags::XML_PACKET).is_none() {
        return Ok(None);
    }
    let root = packet(tiff, number)?;
    let (Some((across, down)), Some(info)) = (tiff.directories[number].tile, root.find("EncodeInfo")) else {
        return Ok(None);
    };
    let areas: Vec<_> = info.child("SlideStitchInfo").into_iter().flat_map(|info| info.all("ImageInfo")).collect();
    let origins: Vec<_> = info.child("AoiOrigin").into_iter().flat_map(|origins| &origins.children).collect();
    if areas.len() != origins.len() {
        let found = format!("{} areas and {} origins", areas.len(), origins.len());
        return Err(unreadable(Vendor::Ventana, "the areas of EncodeInfo", found));
    }
    let (mut x, mut y) = (Overlap::default(), Overlap::default());
    let mut end = (0, 0);
    for (area, origin) in areas.into_iter().zip(origins) {
        if integer(area, "AOIScanned")? == 0 {
            continue;
        }
        let tile = (integer(area, "Width")?, integer(area, "Height")?);
        if tile != (across.into(), down.into()) {
            let found = format!("{} × {} there and {across} × {down} in the directory", tile.0, tile.1);
            return Err(unreadable(Vendor::Ventana, "the size of tiles in EncodeInfo", found));
        }
        end.0 = end.0.max(integer(origin, "OriginX")? / tile.0 + integer(area, "NumCols")?);
        end.1 = end.1.max(integer(origin, "OriginY")? / tile.1 + integer(area, "NumRows")?);
        for joint in area.all("TileJointInfo") {
            let (overlap, axis) = match joint.attribute("Direction") {
                Some("UP") => (&mut y, "OverlapY"),
                _ => (&mut x, "OverlapX"),
            };
            let confidence = decimal(integer(joint, "Confidence")?);
            overlap.sum += confidence * decimal(integer(joint, axis)?);
            overlap.weight += confidence;
        }
    }
    match end {
        (0, _) | (_, 0) => Ok(None),
        end => Ok(Some((side(end.0, across, x.mean())?, side(end.1, down, y.mean())?))),
    }
}

/// Returns the pixels of `tiles` tiles with an overlap of `overlap`.
fn side(tiles: i64, tile: u32, overlap: f64) -> Result<u32, Kind> {
    let pixels = decimal(tiles - 1) * (f64::from(tile) - overlap) + f64::from(tile);
    if !(1.0..f64::from(u32::MAX)).contains(&pixels) {
        return Err(unreadable(Vendor::Ventana, "the tiles of EncodeInfo", quoted(&tiles.to_string())));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(pixels.ceil() as u32)
}

/// Parses a 32-bit integer, so that sums do not overflow.
fn integer(element: &Element, name: &str) -> Result<i64, Kind> {
    let text = element.attribute(name);
    let found = || text.map_or_else(|| "nothing".to_owned(), quoted);
    let number = text.and_then(|text| text.trim().parse::<i32>().ok()).map(i64::from);
    number.ok_or_else(|| unreadable(Vendor::Ventana, format!("{name} of {}", element.name), found()))
}

fn decimal(number: i64) -> f64 {
    i32::try_from(number).map_or(f64::INFINITY, f64::from)
}
