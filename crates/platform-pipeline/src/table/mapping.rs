//! Mappings of values to slides by external id: `REGEX:KEY=VALUE,KEY=VALUE…`, as in the Python tool.

use std::str::FromStr;

use regex::Regex;

use super::{EXTERNAL_ID, SlideTable};

/// Values for the rows whose `external_id` matches the expression.
#[derive(Clone, Debug)]
pub struct Mapping {
    regex: Regex,
    values: Vec<(String, String)>,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The expression may contain colons: it ends at the first one that is followed only by values.
        let halves = text.match_indices(':').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let found =
            halves.filter(|(regex, _)| !regex.is_empty()).find_map(|(regex, rest)| Some((regex, values(rest)?)));
        let (regex, values) = found.ok_or("it is not of the form REGEX:KEY=VALUE,KEY=VALUE")?;
        if values.iter().any(|(key, _)| key == EXTERNAL_ID) {
            return Err(format!("{EXTERNAL_ID} cannot be set: see --external-id"));
        }
        let regex = Regex::new(regex.trim()).map_err(|_| format!("invalid regular expression `{regex}`"))?;
        Ok(Self { regex, values })
    }
}

/// Parses `KEY=VALUE,KEY=VALUE`; values cannot contain commas.
fn values(text: &str) -> Option<Vec<(String, String)>> {
    let value = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let is_name = !key.is_empty() && key.chars().all(|character| character.is_alphanumeric() || character == '_');
        (is_name && !value.is_empty()).then(|| (key.to_owned(), value.trim().to_owned()))
    };
    text.split(',').map(value).collect()
}

/// The effect of mappings on a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The number of cells with a different value before.
    pub(crate) replaced: usize,
    /// Keys that are not columns.
    pub(crate) unknown: Vec<String>,
    /// Expressions that match no slide.
    pub(crate) unmatched: Vec<String>,
}

/// Applies mappings in order, so that the last one takes precedence.
pub(crate) fn apply(mappings: &[Mapping], table: &mut SlideTable) -> Applied {
    let mut applied = Applied::default();
    for mapping in mappings {
        if !table.rows.iter().any(|row| mapping.regex.is_match(row.external_id())) {
            applied.unmatched.push(mapping.regex.to_string());
        }
        for (key, value) in &mapping.values {
            if !table.has(key) {
                if !applied.unknown.contains(key) {
                    applied.unknown.push(key.clone());
                }
                continue;
            }
            for row in table.rows.iter_mut().filter(|row| mapping.regex.is_match(row.external_id())) {
                applied.replaced += usize::from(!row.get(key).is_empty() && row.get(key) != value);
                row.set(key, value.clone());
            }
        }
    }
    applied
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
    fn the_rows_whose_names_fit_get_the_values() {
        let mut table = table();
        let mappings = [r"/b/:tissue=LUNG,disease=A=B", r"\.svs$:disease=LUNG_CANCER,stain=H&E", "/c/:tissue=COLON"];
        let applied = apply(&mappings.map(|text| text.parse().unwrap()), &mut table);
        assert_eq!(
            applied,
            Applied { replaced: 2, unknown: vec!["stain".to_owned()], unmatched: vec!["/c/".to_owned()] }
        );
        let cells = table.rows.iter().map(|row| (row.get("tissue"), row.get("disease"))).collect::<Vec<_>>();
        assert_eq!(cells, [("", "LUNG_CANCER"), ("LUNG", "LUNG_CANCER")]);
    }

    #[test]
    fn an_expression_may_hold_colons() {
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
