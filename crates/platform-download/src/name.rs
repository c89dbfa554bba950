//! Names that any file system can hold, made of names that none need hold.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// What some file system cannot hold in a name or takes for something else, and the `%` itself, so
/// that the way back is unambiguous.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '%' | '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// No name is longer than this in bytes: with an ending it still fits the 255 of most file systems.
const LONGEST: usize = 200;
/// So much of a name that is too long is kept, before its hash.
const KEPT: usize = 160;

/// A name for one file or folder that stands for `name`: percent-encoded where need be, never
/// empty, `.` or `..`, never hidden, never a path, never too long. Different names give different
/// ones, and percent-decoding gives the name back, unless it was empty (`%`) or too long (`…%~` and
/// part of its SHA-256).
///
/// ```
/// assert_eq!(platform_download::escape("Präparat 1.tiff"), "Präparat 1.tiff");
/// assert_eq!(platform_download::escape("tissue:heatmap"), "tissue%3Aheatmap");
/// assert_eq!(platform_download::escape("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
/// ```
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        // No other name is encoded to a lone `%`.
        return "%".to_owned();
    }
    let mut safe = String::with_capacity(name.len());
    for character in name.chars() {
        if is_unsafe(character) {
            safe.extend(utf8_percent_encode(character.encode_utf8(&mut [0; 4]), NON_ALPHANUMERIC));
        } else {
            safe.push(character);
        }
    }
    if safe.starts_with('.') {
        safe.replace_range(..1, "%2E");
    }
    if safe.ends_with(['.', ' ']) {
        let last = if safe.ends_with('.') { "%2E" } else { "%20" };
        safe.truncate(safe.len() - 1);
        safe.push_str(last);
    }
    if is_reserved(&safe) {
        let first = safe.remove(0);
        safe.insert_str(0, &format!("%{:02X}", u32::from(first)));
    }
    if safe.len() > LONGEST {
        let kept = (0..=KEPT).rev().find(|end| safe.is_char_boundary(*end)).unwrap_or_default();
        safe.truncate(kept);
        safe.push_str("%~");
        safe.extend(Sha256::digest(name).iter().take(16).map(|byte| format!("{byte:02x}")));
    }
    safe
}

/// The device names of Windows, with or without an ending, and the name of the manifest.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(|number| matches!(number.as_bytes(), [b'1'..=b'9']));
    name.eq_ignore_ascii_case("manifest.jsonl")
        || matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || numbered("COM")
        || numbered("LPT")
}

/// The usual ending of files of a media type (RFC 6838), with its dot; `.bin` if there is none.
///
/// ```
/// assert_eq!(platform_download::extension("text/csv; charset=utf-8"), ".csv");
/// assert_eq!(platform_download::extension("application/x-unheard-of"), ".bin");
/// ```
pub fn extension(media_type: &str) -> &'static str {
    let essence: Cow<'_, str> = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into();
    match essence.as_ref() {
        "image/tiff" => ".tiff",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "text/csv" => ".csv",
        "text/plain" => ".txt",
        "application/json" => ".json",
        "application/geo+json" => ".geojson",
        "application/vnd.apache.parquet" => ".parquet",
        "application/pdf" => ".pdf",
        "application/zip" => ".zip",
        _ => ".bin",
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_file_system_cannot_hold_is_escaped() {
        for (name, expected) in [
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            (".hidden", "%2Ehidden"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a\\b", "a%5Cb"),
            ("nul\0", "nul%00"),
            ("next\u{85}line", "next%C2%85line"),
            ("trailing. ", "trailing.%20"),
            ("50%", "50%25"),
            ("CON", "%43ON"),
            ("com1.tiff", "%63om1.tiff"),
            ("common", "common"),
            ("manifest.jsonl", "%6Danifest.jsonl"),
            ("slide.tiff", "slide.tiff"),
        ] {
            assert_eq!(escape(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_stays_unlike_others() {
        let [one, other] = ["a", "b"].map(|last| escape(&("ü:".repeat(200) + last)));
        assert!(one.len() <= 200 && one.starts_with("ü%3A") && one != other, "{one}");
        assert_eq!(escape(&"x".repeat(200)), "x".repeat(200));
    }

    proptest! {
        #[test]
        fn escaping_is_reversible_and_never_a_path(name in any::<String>()) {
            let safe = escape(&name);
            prop_assert!(!safe.contains(['/', '\\', '\0']) && !safe.starts_with('.') && !safe.is_empty());
            prop_assert!(safe.len() <= 200);
            prop_assume!(!safe.contains("%~"));
            let back = percent_decode_str(&safe).decode_utf8().unwrap();
            let back = if safe == "%" { "".into() } else { back };
            prop_assert_eq!(back, name);
        }
    }
}
