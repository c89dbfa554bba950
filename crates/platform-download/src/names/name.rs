//! File names that are valid on any file system, for arbitrary names.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization;

use super::reserved::{SUMS, is_manifest};
use crate::digest::Sha256;

/// Returns true for characters that are invalid or special on a file system, and for `%` itself, so that decoding is
/// unambiguous.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '%' | '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// The maximum length of a name in bytes: with an extension, it fits the 255 bytes of most file systems.
const LONGEST: usize = 200;
/// The length to which a longer name is truncated, before its hash.
const KEPT: usize = 160;
/// The prefix of a hash. No name is encoded to it.
const MARK: &str = "%~";
/// The hash lengths in bytes: for names that are too long, and for names that are too similar to another.
const HASHES: (usize, usize) = (16, 8);

/// Encodes `name` as a file or folder name: percent-encoded where necessary, never empty, `.` or `..`, hidden, a path,
/// or too long. Different names have different encodings, which [`unescape`] decodes. A truncated name ends with `%~`
/// and part of its SHA-256, and cannot be decoded.
///
/// ```
/// assert_eq!(platform_download::escape("Präparat 1.tiff"), "Präparat 1.tiff");
/// assert_eq!(platform_download::escape("tissue:heatmap"), "tissue%3Aheatmap");
/// assert_eq!(platform_download::escape("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
/// ```
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        // No other name is encoded to a single `%`.
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
        safe.push_str(&hash(name, HASHES.0));
    }
    safe
}

/// Returns the mark and the start of the SHA-256 of a text.
fn hash(text: &str, bytes: usize) -> String {
    let digest = Sha256::of(text.as_bytes());
    digest.as_bytes().iter().take(bytes).fold(MARK.to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// Decodes a name of [`escape`] or [`safe_names`]; `None` if it was truncated or is not theirs.
///
/// ```
/// assert_eq!(platform_download::unescape("tissue%3Aheatmap").as_deref(), Some("tissue:heatmap"));
/// ```
pub fn unescape(safe: &str) -> Option<String> {
    if safe == "%" {
        return Some(String::new());
    }
    let name = match safe.split_once(MARK) {
        Some((name, hash)) if hash.len() == 2 * HASHES.1 => name,
        Some(_) => return None,
        None => safe,
    };
    let name = if name == "%" { "" } else { name };
    percent_decode_str(name).decode_utf8().ok().map(Cow::into_owned)
}

/// Encodes the names of files or folders in one folder as by [`escape`]. Names that a file system may treat as equal,
/// due to case or Unicode normalization, all get `%~` and part of the SHA-256 of their identity. A name depends on the
/// set of names, but not on their order.
///
/// Each name has an identity, which distinguishes it from an equal name: an id, or the name itself.
///
/// ```
/// let names = platform_download::safe_names(&[("Slide", "Slide"), ("slide", "slide"), ("other", "other")]);
/// assert!(names[0].starts_with("Slide%~") && names[1].starts_with("slide%~") && names[2] == "other");
/// ```
pub fn safe_names(names: &[(&str, &str)]) -> Vec<String> {
    let mut siblings = Siblings::default();
    for (name, _) in names {
        siblings.add(name, &escape(name));
    }
    names.iter().map(|(name, identity)| siblings.distinct(name, escape(name), identity)).collect()
}

/// The number of names in a folder that a file system may treat as equal. Only digests of the names are kept, because a folder
/// can have many.
#[derive(Clone, Debug, Default)]
pub struct Siblings {
    /// The numbers by the first bytes of the SHA-256 of the folded name, and of the folded safe name. Both are needed: of two
    /// names that differ in case, such as `CON` and `con`, only one may be escaped; and neither is reserved as a part of a
    /// longer name.
    alike: [HashMap<[u8; 16], u32>; 2],
}

impl Siblings {
    /// Adds a name, and its name in the file system.
    pub fn add(&mut self, name: &str, safe: &str) {
        for (alike, name) in self.alike.iter_mut().zip([name, safe]) {
            *alike.entry(folded(name)).or_default() += 1;
        }
    }

    /// Returns the name in the file system: `safe`, or [disambiguated](disambiguate) from similar names by `identity`.
    pub fn distinct(&self, name: &str, safe: String, identity: &str) -> String {
        let count = |(alike, name): (&HashMap<_, _>, &str)| alike.get(&folded(name)).copied().unwrap_or_default();
        let is_alike = self.alike.iter().zip([name, &safe]).map(count).any(|count: u32| count > 1);
        if is_alike { disambiguate(safe, identity) } else { safe }
    }
}

/// Appends part of the SHA-256 of an identity to a name of [`escape`], to distinguish it from similar ones.
pub fn disambiguate(safe: String, identity: &str) -> String {
    safe + &hash(identity, HASHES.1)
}

/// Returns a form of a name that is equal for names that a file system may treat as equal, such as `Slide` and `slide`.
///
/// ```
/// assert_eq!(platform_download::fold("Straße"), platform_download::fold("STRASSE"));
/// ```
pub fn fold(name: &str) -> String {
    // Both case conversions are needed: some letters have no upper case.
    name.nfkd().collect::<String>().to_uppercase().to_lowercase().nfkd().collect()
}

/// Returns a digest of the folded name.
fn folded(name: &str) -> [u8; 16] {
    let digest = Sha256::of(fold(name).as_bytes());
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// Returns true for Windows device names, with or without an extension, and for the names of manifests and checksum
/// files.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |prefix| stem.strip_prefix(prefix).is_some_and(|number| DEVICES.contains(&number));
    is_manifest(&name.to_ascii_lowercase())
        || name.eq_ignore_ascii_case(SUMS)
        || matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
}

/// Windows device numbers. Windows treats superscript digits as digits.
const DEVICES: [&str; 13] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];

/// Returns the usual file extension of a media type (RFC 6838), with its dot; `.bin` if there is none.
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
    use std::collections::HashSet;
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn invalid_file_name_characters_are_escaped() {
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
            ("com².txt", "%63om².txt"),
            ("manifest.jsonl", "%6Danifest.jsonl"),
            ("Manifest.0-of-4.jsonl", "%4Danifest.0-of-4.jsonl"),
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

    #[test]
    fn colliding_names_are_disambiguated_in_any_order() {
        let alike = [
            ["Slide", "slide"],
            ["stra\u{df}e", "STRASSE"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["\u{212a}", "k"],
            ["\u{17f}", "S"],
            ["\u{130}", "i\u{307}"],
        ];
        for [one, other] in alike {
            let forth = safe_names(&[(one, one), (other, other), ("third", "third")]);
            let back = safe_names(&[("third", "third"), (other, other), (one, one)]);
            assert_ne!(folded(&forth[0]), folded(&forth[1]), "{one} {other}");
            assert_eq!(forth, back.into_iter().rev().collect::<Vec<_>>());
            assert_eq!([&forth[0], &forth[1]].map(|name| unescape(name).unwrap()), [one, other]);
            assert_eq!(forth[2], "third");
        }
        let same = safe_names(&[("areas", "id-1"), ("areas", "id-2")]);
        assert!(same[0] != same[1] && same.iter().all(|name| unescape(name).unwrap() == "areas"), "{same:?}");
    }

    /// Returns a hostile or unusual name.
    fn hostile(random: &mut fastrand::Rng) -> String {
        const PARTS: [&str; 26] = [
            "..",
            "/",
            "\\",
            "\0",
            ".",
            "%",
            "%~",
            "%2E",
            ":",
            " ",
            "CON",
            "com1",
            "LPT\u{b9}",
            "manifest.jsonl",
            "C:\\",
            "~",
            "\u{202e}",
            "\u{df}",
            "e\u{301}",
            "\u{e9}",
            "a",
            "A",
            "b",
            "\u{212a}",
            "\r\n",
            "\u{1f9ec}",
        ];
        let mut name = String::new();
        for _ in 0..random.usize(0..6) {
            match random.u8(..) {
                0..8 => name.extend(std::iter::repeat_n('x', random.usize(100..250))),
                8..40 => name.extend(std::iter::repeat_with(|| random.char(..)).take(3)),
                _ => name.push_str(PARTS[random.usize(..PARTS.len())]),
            }
        }
        name
    }

    #[test]
    fn hostile_names_stay_inside_round_trip_and_never_collide() {
        let mut random = fastrand::Rng::with_seed(49);
        let mut all = 0;
        while all < 100_000 {
            let names: HashSet<String> = std::iter::repeat_with(|| hostile(&mut random)).take(500).collect();
            let given: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            let safe = safe_names(&given);
            let mut folds = HashSet::new();
            for (name, safe) in names.iter().zip(&safe) {
                let components: Vec<_> = Path::new(safe).components().collect();
                assert!(matches!(components[..], [Component::Normal(_)]), "{name:?} {safe:?}");
                assert!(!safe.contains(['/', '\\', '\0', ':']) && !safe.starts_with('.') && !safe.is_empty());
                assert!(!safe.ends_with(['.', ' ']) && !is_reserved(safe) && safe.len() <= 220, "{safe:?}");
                assert!(folds.insert(folded(safe)), "{safe:?} is taken");
                match unescape(safe) {
                    Some(back) => assert_eq!(&back, name),
                    // The name was truncated: only the manifest has it.
                    None => assert!(escape(name).contains(MARK), "{name:?} is not too long"),
                }
            }
            all += names.len();
        }
    }
}
