//! The JSON of a prepared table. `docs/schemas/prepared.json` describes it.

use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::prepare::Prepared;
use crate::privacy::{SlideRemarks, identifiers, warnings};

impl Serialize for Prepared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let slides = self.table.rows().iter().zip(&self.states);
        let slides = slides.map(
            |(row, state)| json!({ "external_id": row.external_id(), "file": row.get("file"), "state": state.name() }),
        );
        let skipped = self.skipped.iter().map(
            |skipped| json!({ "file": path_text(&skipped.path), "kind": skipped.kind.name(), "reason": skipped.reason }),
        );
        let links =
            self.links.iter().map(|(path, target)| json!({ "file": path_text(path), "target": path_text(target) }));
        let duplicates =
            self.duplicates.iter().map(|(path, same)| json!({ "file": path_text(path), "same_as": path_text(same) }));
        let unusable = self.unusable.iter().map(|(path, reason)| json!({ "file": path_text(path), "reason": reason }));
        let record = json!({
            "slides": slides.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
            "links": links.collect::<Vec<_>>(),
            "duplicates": duplicates.collect::<Vec<_>>(),
            "failed": unusable.collect::<Vec<_>>(),
            "excluded": self.excluded.iter().map(|path| path_text(path)).collect::<Vec<_>>(),
            "remarks": self.remarks,
        });
        record.serialize(serializer)
    }
}

impl Serialize for SlideRemarks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = json!({
            "file": path_text(&self.path),
            "warnings": warnings(&self.warnings),
            "identifiers": identifiers(&self.identifiers),
        });
        record.serialize(serializer)
    }
}

/// Returns a path as text. Bytes that are not valid UTF-8 are replaced.
fn path_text(path: &Path) -> String {
    path.display().to_string()
}
