//! Mappings, which set values of slides by external id: `REGEX:KEY=VALUE,KEY=VALUE…`, as in the Python tool.

use std::str::FromStr;

use regex::Regex;

use super::{EXTERNAL_ID, SlideTable};

/// A mapping, which sets values in the rows whose `external_id` matches a regular expression.
/// ```
/// use platform_pipeline::Mapping;
/// let mapping: Mapping = r"\.svs$:tissue=LUNG,disease=LUNG_CANCER".parse()?;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mapping {
    regex: Regex,
    values: Vec<(String, String)>,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The expression may contain colons. It ends at the first colon that is followed only by `KEY=VALUE` pairs.
        let splits = text.match_indices(':').map(|(index, _)| (&text[..index], &text[index + 1..]));
        let parts =
            splits.filter(|(regex, _)| !regex.is_empty()).find_map(|(regex, rest)| Some((regex, parse_values(rest)?)));
        let (regex, values) = parts.ok_or("it is not of the form REGEX:KEY=VALUE,KEY=VALUE")?;
        if values.iter().any(|(key, _)| key == EXTERNAL_ID) {
            return Err(format!("{EXTERNAL_ID} cannot be set: see --external-id"));
        }
        let regex = Regex::new(regex.trim()).map_err(|_| format!("invalid regular expression `{regex}`"))?;
        Ok(Self { regex, values })
    }
}

/// Parses `KEY=VALUE,KEY=VALUE`. Values cannot contain commas.
fn parse_values(text: &str) -> Option<Vec<(String, String)>> {
    let parse_pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let is_name = !key.is_empty() && key.chars().all(|character| character.is_alphanumeric() || character == '_');
        (is_name && !value.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
    };
    text.split(',').map(parse_pair).collect()
}

/// The effect of mappings on a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MappingEffect {
    /// The number of cells whose value was replaced with another value.
    pub(crate) replaced: usize,
    /// The keys that are not columns of the table.
    pub(crate) unknown: Vec<String>,
    /// The expressions that match no slide.
    pub(crate) unmatched: Vec<String>,
}

/// Applies mappings in order, so that the last mapping takes precedence.
pub(crate) fn apply(mappings: &[Mapping], table: &mut SlideTable) -> MappingEffect {
    let mut effect = MappingEffect::default();
    for mapping in mappings {
        if !table.rows.iter().any(|row| mapping.regex.is_match(row.external_id())) {
            effect.unmatched.push(mapping.regex.to_string());
        }
        for (key, value) in &mapping.values {
            if !table.has_column(key) {
                if !effect.unknown.contains(key) {
                    effect.unknown.push(key.clone());
                }
                continue;
            }
            for row in table.rows.iter_mut().filter(|row| mapping.regex.is_match(row.external_id())) {
                effect.replaced += usize::from(!row.get(key).is_empty() && row.get(key) != value);
                row.set(key, value.clone());
            }
        }
    }
    effect
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SlideTable {
        SlideTable::parse(
            b"external_id;tissue;disease\n/a/1.svs;;\n/b/2.svs;LIVER;\n",
            "slides.csv",
            std::path::Path::new(""),
        )
        .unwrap()
    }

    #[test]
    fn mapping_sets_values_of_matching_rows() {
        let mut table = table();
        let mappings = [r"/b/:tissue=LUNG,disease=A=B", r"\.svs$:disease=LUNG_CANCER,stain=H&E", "/c/:tissue=COLON"];
        let effect = apply(&mappings.map(|text| text.parse().unwrap()), &mut table);
        assert_eq!(
            effect,
            MappingEffect { replaced: 2, unknown: vec!["stain".to_owned()], unmatched: vec!["/c/".to_owned()] }
        );
        let cells = table.rows.iter().map(|row| (row.get("tissue"), row.get("disease"))).collect::<Vec<_>>();
        assert_eq!(cells, [("", "LUNG_CANCER"), ("LUNG", "LUNG_CANCER")]);
    }

    #[test]
    fn expression_of_a_mapping_can_contain_colons() {
        let mapping: Mapping = r"(?:1|2)\.svs:tissue=LUNG".parse().unwrap();
        assert_eq!(apply(&[mapping], &mut table()).replaced, 1);
    }

    #[test]
    fn invalid_mapping_is_rejected() {
        for text in [
            "",
            ".*",
            ".*:",
            ":tissue=LUNG",
            ".*:tissue",
            ".*:tissue=",
            ".*:tissue=A,",
            "(:tissue=A",
            ".*:external_id=b",
        ] {
            assert!(text.parse::<Mapping>().is_err(), "{text}");
        }
    }
}
