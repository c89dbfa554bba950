use std::io::{Read, Seek};

use tiff::decoder::Decoder;
use tiff::decoder::ifd::Value;
use tiff::tags::Tag;

/// Pixels are taken for square if their sides differ by less than this fraction.
const TOLERANCE: f64 = 0.01;

/// Micrometres per pixel of the first image: from the description that Aperio scanners write
/// (`…|MPP = 0.2522|…`), or else from the resolution tags (TIFF 6.0, section 8). The error says what is wrong.
pub(crate) fn of_first_image(decoder: &mut Decoder<impl Read + Seek>) -> Result<f64, &'static str> {
    let description = decoder.get_tag_ascii_string(Tag::ImageDescription).unwrap_or_default();
    if let Some(resolution) = aperio(&description) {
        return Ok(resolution);
    }
    let micrometres = match decoder.find_tag_unsigned::<u16>(Tag::ResolutionUnit) {
        Ok(None | Some(2)) => 25_400.0,
        Ok(Some(3)) => 10_000.0,
        _ => return Err("its resolution tags name no unit"),
    };
    let mut axis = |tag| {
        let pixels = decoder.find_tag(tag).ok().flatten().as_ref().and_then(ratio);
        pixels.map(|pixels| micrometres / pixels).filter(|resolution| resolution.is_finite() && *resolution > 0.0)
    };
    match (axis(Tag::XResolution), axis(Tag::YResolution)) {
        (Some(x), Some(y)) => of_square(x, y),
        _ => Err("it has no resolution"),
    }
}

/// Micrometres per pixel where both axes state theirs.
pub(crate) fn of_square(x: f64, y: f64) -> Result<f64, &'static str> {
    if !(x.is_finite() && x > 0.0) {
        Err("its resolution is no length")
    } else if (x - y).abs() < TOLERANCE * x {
        Ok(x)
    } else {
        Err("its pixels are not square")
    }
}

fn aperio(description: &str) -> Option<f64> {
    let mut parts = description.split('|').map(str::trim);
    parts.next().filter(|head| head.starts_with("Aperio"))?;
    let (_, value) = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim() == "MPP")?;
    value.trim().parse().ok().filter(|resolution: &f64| resolution.is_finite() && *resolution > 0.0)
}

fn ratio(value: &Value) -> Option<f64> {
    match value {
        Value::Rational(numerator, denominator) => Some(f64::from(*numerator) / f64::from(*denominator)),
        Value::Float(value) => Some(f64::from(*value)),
        Value::Double(value) => Some(*value),
        _ => None,
    }
}
