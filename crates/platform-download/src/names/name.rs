//! Conversion of arbitrary names to file names that are valid on all supported file systems.

use std::borrow::Cow;
use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization;

use super::reserved::{SHA256SUMS, is_manifest};
use crate::digest::Sha256;

/// Returns true for characters that are invalid or special on a file system. `%` is included, because an unescaped `%`
/// would make decoding ambiguous.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '%' | '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// The maximum length of an encoded name, in bytes. With an extension, it is below the limit of most file systems
/// (255).
const MAX_NAME_BYTES: usize = 200;
/// The length in bytes to which a longer name is truncated, without the hash that is appended.
const TRUNCATED_NAME_BYTES: usize = 160;
/// The prefix of an appended hash. The encoding of a name never contains it, because `%` is always escaped.
const HASH_PREFIX: &str = "%~";
/// The length of the hash of a name that was truncated, in bytes.
const LONG_NAME_HASH_BYTES: usize = 16;
/// The length of the hash of a name that a file system may treat as equal to another, in bytes.
const SIBLING_HASH_BYTES: usize = 8;

/// Returns a valid file or folder name for an arbitrary `name`. Characters are percent-encoded where necessary. The
/// result is never empty, `.`, `..`, a path, hidden, or longer than 200 bytes. Different names have different
/// encodings, which [`unescape`] decodes. A name that is too long is truncated, and `%~` and the first bytes of its
/// SHA-256 are appended. A truncated name cannot be decoded.
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
        let encoded_last = if safe.ends_with('.') { "%2E" } else { "%20" };
        safe.truncate(safe.len() - 1);
        safe.push_str(encoded_last);
    }
    if is_reserved(&safe) {
        let first = safe.remove(0);
        safe.insert_str(0, &format!("%{:02X}", u32::from(first)));
    }
    if safe.len() > MAX_NAME_BYTES {
        let kept_bytes = (0..=TRUNCATED_NAME_BYTES).rev().find(|end| safe.is_char_boundary(*end)).unwrap_or_default();
        safe.truncate(kept_bytes);
        safe.push_str(&hash(name, LONG_NAME_HASH_BYTES));
    }
    safe
}

/// Returns [`HASH_PREFIX`] and the first `bytes` bytes of the SHA-256 of a text, in hexadecimal.
fn hash(text: &str, bytes: usize) -> String {
    let digest = Sha256::of(text.as_bytes());
    digest.as_bytes().iter().take(bytes).fold(HASH_PREFIX.to_owned(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// Decodes a name that [`escape`] or [`safe_names`] returned. Returns `None` if the name was truncated, or is not a
/// valid encoding.
///
/// ```
/// assert_eq!(platform_download::unescape("tissue%3Aheatmap").as_deref(), Some("tissue:heatmap"));
/// ```
pub fn unescape(safe: &str) -> Option<String> {
    if safe == "%" {
        return Some(String::new());
    }
    let name = match safe.split_once(HASH_PREFIX) {
        Some((name, hash)) if hash.len() == 2 * SIBLING_HASH_BYTES => name,
        Some(_) => return None,
        None => safe,
    };
    let name = if name == "%" { "" } else { name };
    percent_decode_str(name).decode_utf8().ok().map(Cow::into_owned)
}

/// Encodes the names of all files or folders in one folder, like [`escape`]. If a file system may treat several of them
/// as equal, because they differ only in case or Unicode normalization, `%~` and the first bytes of the SHA-256 of
/// its identity are appended to each of them. The result depends on the set of names, but not on their order.
///
/// `names` are pairs of a name and an identity. The identity distinguishes equal names: it is an id, or the name
/// itself.
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

/// The names in a folder, for finding names that a file system may treat as equal. It stores digests instead of names,
/// because a folder can contain very many names.
#[derive(Clone, Debug, Default)]
pub struct Siblings {
    /// The number of names with each [`fold_digest`]: first for the original names, then for the encoded names. Both
    /// are needed, because the encodings of names that differ only in case, such as `CON` and `con`, can differ in
    /// more.
    counts: [HashMap<[u8; 16], u32>; 2],
}

impl Siblings {
    /// Adds a name, and `safe`, its encoding by [`escape`].
    pub fn add(&mut self, name: &str, safe: &str) {
        for (counts, name) in self.counts.iter_mut().zip([name, safe]) {
            *counts.entry(fold_digest(name)).or_default() += 1;
        }
    }

    /// Returns `safe`, the encoding of `name`, if no other added name is treated as equal to it. Otherwise returns the
    /// encoding [disambiguated](disambiguate) by `identity`.
    pub fn distinct(&self, name: &str, safe: String, identity: &str) -> String {
        let count =
            |(counts, name): (&HashMap<_, _>, &str)| counts.get(&fold_digest(name)).copied().unwrap_or_default();
        let is_ambiguous = self.counts.iter().zip([name, &safe]).map(count).any(|count: u32| count > 1);
        if is_ambiguous { disambiguate(safe, identity) } else { safe }
    }
}

/// Appends `%~` and the first bytes of the SHA-256 of `identity` to `safe`, a name that [`escape`] returned. The result
/// differs from that of similar names.
pub fn disambiguate(safe: String, identity: &str) -> String {
    safe + &hash(identity, SIBLING_HASH_BYTES)
}

/// Returns the case-folded and normalized form of a name. It is equal for names that a file system may treat as equal,
/// such as `Slide` and `slide`.
///
/// ```
/// assert_eq!(platform_download::fold("Straße"), platform_download::fold("STRASSE"));
/// ```
pub fn fold(name: &str) -> String {
    // Both case conversions are needed, because some letters have no upper case.
    name.nfkd().collect::<String>().to_uppercase().to_lowercase().nfkd().collect()
}

/// Returns the first 16 bytes of the SHA-256 of the [folded](fold) name.
fn fold_digest(name: &str) -> [u8; 16] {
    let digest = Sha256::of(fold(name).as_bytes());
    std::array::from_fn(|index| digest.as_bytes()[index])
}

/// Returns true for Windows device names, and for the names of manifests and checksum files.
fn is_reserved(name: &str) -> bool {
    is_manifest(&name.to_ascii_lowercase()) || name.eq_ignore_ascii_case(SHA256SUMS) || is_device(name)
}

/// Returns true for Windows device names, with or without an extension.
pub(super) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_numbered_device = |prefix| stem.strip_prefix(prefix).is_some_and(|number| DEVICE_NUMBERS.contains(&number));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || is_numbered_device("COM")
        || is_numbered_device("LPT")
}

/// Windows device numbers. Windows treats superscript digits as digits.
const DEVICE_NUMBERS: [&str; 13] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"];

/// Returns the usual file extension of a media type (RFC 6838), with its dot. Returns `.bin` for an unknown media type.
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
    fn long_name_is_truncated_and_stays_unique() {
        let [one, other] = ["a", "b"].map(|last| escape(&("ü:".repeat(200) + last)));
        assert!(one.len() <= 200 && one.starts_with("ü%3A") && one != other, "{one}");
        assert_eq!(escape(&"x".repeat(200)), "x".repeat(200));
    }

    #[test]
    fn colliding_names_are_disambiguated_in_any_order() {
        let similar_pairs = [
            ["Slide", "slide"],
            ["stra\u{df}e", "STRASSE"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["\u{212a}", "k"],
            ["\u{17f}", "S"],
            ["\u{130}", "i\u{307}"],
        ];
        for [one, other] in similar_pairs {
            let forward = safe_names(&[(one, one), (other, other), ("third", "third")]);
            let backward = safe_names(&[("third", "third"), (other, other), (one, one)]);
            assert_ne!(fold_digest(&forward[0]), fold_digest(&forward[1]), "{one} {other}");
            assert_eq!(forward, backward.into_iter().rev().collect::<Vec<_>>());
            assert_eq!([&forward[0], &forward[1]].map(|name| unescape(name).unwrap()), [one, other]);
            assert_eq!(forward[2], "third");
        }
        let equal_names = safe_names(&[("areas", "id-1"), ("areas", "id-2")]);
        assert!(
            equal_names[0] != equal_names[1] && equal_names.iter().all(|name| unescape(name).unwrap() == "areas"),
            "{equal_names:?}"
        );
    }

    /// Returns a hostile or unusual name.
    fn hostile_name(random: &mut fastrand::Rng) -> String {
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
    fn hostile_names_stay_in_their_folder_and_never_collide() {
        let mut random = fastrand::Rng::with_seed(49);
        let mut count = 0;
        while count < 100_000 {
            let names: HashSet<String> = std::iter::repeat_with(|| hostile_name(&mut random)).take(500).collect();
            let names_and_identities: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            let safe = safe_names(&names_and_identities);
            let mut folds = HashSet::new();
            for (name, safe) in names.iter().zip(&safe) {
                let components: Vec<_> = Path::new(safe).components().collect();
                assert!(matches!(components[..], [Component::Normal(_)]), "{name:?} {safe:?}");
                assert!(!safe.contains(['/', '\\', '\0', ':']) && !safe.starts_with('.') && !safe.is_empty());
                assert!(!safe.ends_with(['.', ' ']) && !is_reserved(safe) && safe.len() <= 220, "{safe:?}");
                assert!(folds.insert(fold_digest(safe)), "{safe:?} is taken");
                match unescape(safe) {
                    Some(decoded) => assert_eq!(&decoded, name),
                    // A truncated name cannot be decoded.
                    None => assert!(escape(name).contains(HASH_PREFIX), "{name:?} is not too long"),
                }
            }
            count += names.len();
        }
    }
}
