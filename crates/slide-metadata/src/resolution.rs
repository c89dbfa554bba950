//! Resolutions, their sources and their plausibility.

use std::fmt;
use std::ops::RangeInclusive;

/// Plausible resolutions of a slide, in micrometers per pixel.
pub const PLAUSIBLE: RangeInclusive<f64> = 0.05..=20.0;
/// The maximum relative difference of two resolutions that are considered equal.
const TOLERANCE: f64 = 0.01;
/// Micrometers per inch.
pub(crate) const INCH: f64 = 25_400.0;
/// Micrometers per centimeter.
pub(crate) const CENTIMETER: f64 = 10_000.0;
/// The number of micrometers in a millimeter, as a power of ten.
pub(crate) const MILLIMETER: i32 = 3;
/// The number of micrometers in a nanometer, as a power of ten.
pub(crate) const NANOMETER: i32 = -3;

/// The source of a resolution in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum ResolutionSource {
    /// The tags `XResolution`, `YResolution` and `ResolutionUnit` (TIFF 6.0, section 8).
    Tags,
    /// `MPP` in the description written by Aperio scanners.
    AperioDescription,
    /// The size of the view in nanometers in Leica's XML.
    LeicaXml,
    /// `PhysicalSizeX` and `PhysicalSizeY` in OME-XML.
    OmeXml,
    /// `DICOM_PIXEL_SPACING` in the XML of Philips.
    PhilipsXml,
    /// `XResolution` and `YResolution`, which Trestle writes in micrometers.
    TrestleTags,
    /// `ScanRes` of the element `iScan` in Ventana's XML.
    VentanaXml,
    /// Pixel Spacing in the shared functional groups of a DICOM file.
    DicomPixelSpacing,
    /// Specified by the caller, see [`ReadOptions::with_resolution`](crate::ReadOptions::with_resolution).
    Stated,
}

impl ResolutionSource {
    /// Returns a stable name of the source, for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::AperioDescription => "aperio_description",
            Self::LeicaXml => "leica_xml",
            Self::OmeXml => "ome_xml",
            Self::PhilipsXml => "philips_xml",
            Self::TrestleTags => "trestle_tags",
            Self::VentanaXml => "ventana_xml",
            Self::DicomPixelSpacing => "dicom_pixel_spacing",
            Self::Stated => "stated",
        }
    }
}

impl fmt::Display for ResolutionSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tags => "the resolution tags",
            Self::AperioDescription => "`MPP` in the Aperio description",
            Self::LeicaXml => "the view in the Leica XML",
            Self::OmeXml => "`PhysicalSizeX` in OME-XML",
            Self::PhilipsXml => "`DICOM_PIXEL_SPACING` in the Philips XML",
            Self::TrestleTags => "the resolution tags of Trestle",
            Self::VentanaXml => "`ScanRes` in the Ventana XML",
            Self::DicomPixelSpacing => "Pixel Spacing",
            Self::Stated => "the caller",
        })
    }
}

/// A resolution and its source.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub struct Resolution {
    /// Micrometers per pixel from left to right.
    #[cfg_attr(feature = "serde", serde(with = "exact"))]
    pub x: f64,
    /// Micrometers per pixel from top to bottom.
    #[cfg_attr(feature = "serde", serde(with = "exact"))]
    pub y: f64,
    /// The source of the resolution.
    pub source: ResolutionSource,
}

/// The plausibility of a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plausibility {
    /// Within [`PLAUSIBLE`], with square pixels.
    Plausible,
    /// Outside [`PLAUSIBLE`].
    OutOfRange,
    /// The sides of a pixel differ by more than 1 %.
    NotSquare,
}

impl Plausibility {
    /// Returns the plausible range as text.
    pub(crate) fn range() -> String {
        format!("{} to {} µm per pixel", PLAUSIBLE.start(), PLAUSIBLE.end())
    }
}

impl Resolution {
    pub(crate) fn new(x: f64, y: f64, source: ResolutionSource) -> Self {
        Self { x, y, source }
    }

    /// Returns whether the resolution is within the plausible range and the pixels are square.
    ///
    /// ```
    /// # fn plausible(slide: &slide_metadata::SlideDescription) -> bool {
    /// use slide_metadata::Plausibility;
    /// slide.resolution.is_some_and(|resolution| resolution.plausibility() == Plausibility::Plausible)
    /// # }
    /// ```
    pub fn plausibility(&self) -> Plausibility {
        if !(PLAUSIBLE.contains(&self.x) && PLAUSIBLE.contains(&self.y)) {
            Plausibility::OutOfRange
        } else if !is_similar(self.x, self.y) {
            Plausibility::NotSquare
        } else {
            Plausibility::Plausible
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_similar(self.x, self.y) {
            write!(formatter, "{} µm per pixel from {}", self.x, self.source)
        } else {
            write!(formatter, "{} × {} µm per pixel from {}", self.x, self.y, self.source)
        }
    }
}

/// Returns true if two resolutions differ by at most 1 %.
pub(crate) fn is_similar(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// Returns true if a number is a valid length: finite and positive.
pub(crate) fn is_length(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Parses a positive number with a decimal point or a decimal comma, because scanners write both. Returns `None` if the
/// text is not such a number.
pub(crate) fn parse_length(text: &str) -> Option<f64> {
    parse_scaled_length(text, 0)
}

/// Parses a positive number like [`parse_length`] and multiplies it by ten to the `power`. The result is rounded only
/// once, so that 0.000227273 mm is exactly 0.227273 µm.
pub(crate) fn parse_scaled_length(text: &str, power: i32) -> Option<f64> {
    let text = text.trim();
    let text = if text.contains('.') { text.to_owned() } else { text.replacen(',', ".", 1) };
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let exponent = exponent.parse::<i32>().ok()?.checked_add(power)?;
    // Rejects `inf` and `nan`, which Rust parses as numbers.
    let is_number = digits.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    format!("{digits}e{exponent}").parse().ok().filter(|value| is_number && is_length(*value))
}

/// Serializes numbers as text, because some JSON readers round numbers, and JSON has no infinity or NaN.
#[cfg(feature = "serde")]
pub(crate) mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_decimal_point_or_comma_and_are_rounded_once() {
        for (text, power, expected) in [
            ("0.2522", 0, Some(0.2522)),
            (" 0,5000 ", 0, Some(0.5)),
            ("252.2", -3, Some(0.2522)),
            ("2.27273E-4", 3, Some(0.227_273)),
            ("0.000227273", 3, Some(0.227_273)),
            ("1,000.5", 0, None),
            ("unknown", 0, None),
            ("inf", 0, None),
            ("NaN", 0, None),
            ("0", 0, None),
            ("-1", 0, None),
            ("1e999999999999", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(parse_scaled_length(text, power), expected, "{text}");
        }
    }

    #[test]
    fn plausible_resolutions_are_in_range_and_square() {
        let of = |x, y| Resolution::new(x, y, ResolutionSource::Tags).plausibility();
        assert_eq!((of(0.05, 0.05), of(20.0, 20.0)), (Plausibility::Plausible, Plausibility::Plausible));
        assert_eq!((of(0.049, 0.049), of(0.25, 20.1)), (Plausibility::OutOfRange, Plausibility::OutOfRange));
        assert_eq!((of(0.25, 0.2524), of(0.25, 0.253)), (Plausibility::Plausible, Plausibility::NotSquare));
        assert_eq!(of(f64::NAN, f64::NAN), Plausibility::OutOfRange);
    }
}
