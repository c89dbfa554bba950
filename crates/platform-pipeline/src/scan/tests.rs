//! Tests of the scan: slides that are read, and files that are skipped.

mod cache;
mod skipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use tempfile::TempDir;

use crate::{Error, Event, Observer, Prepare, Prepared};

/// Returns a slide with one byte per pixel, at 0.5 µm per pixel. `shade` is the value of all pixels.
fn slide(shade: u8) -> Vec<u8> {
    let entries: [(u16, u16, u32); 11] = [
        (256, 4, 16),
        (257, 4, 8),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (279, 4, 128),
        (282, 5, 136),
        (283, 5, 136),
        (296, 3, 3),
    ];
    let mut bytes = [b"II*\0".as_slice(), &144_u32.to_le_bytes(), &[shade; 128]].concat();
    bytes.extend([20_000_u32, 1].iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(11_u16.to_le_bytes());
    for (tag, kind, value) in entries {
        bytes.extend([tag, kind].iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend([1, value].iter().flat_map(|number| number.to_le_bytes()));
    }
    bytes.extend([0; 4]);
    bytes
}

/// A clock that is ahead of the system clock by the given duration.
#[derive(Debug)]
struct ClockAhead(Duration);

impl Clock for ClockAhead {
    fn now(&self) -> SystemTime {
        auth_core::SystemClock.now() + self.0
    }
}

/// A folder with slides and a table.
struct TestFolder {
    folder: TempDir,
}

impl TestFolder {
    fn new(slides: &[&str]) -> Self {
        let lab = Self { folder: TempDir::new().unwrap() };
        for (name, shade) in slides.iter().zip(1..) {
            lab.write(name, &slide(shade));
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("slides").join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn csv(&self) -> PathBuf {
        self.folder.path().join("slides.csv")
    }

    /// Prepares the table with a clock that makes the last change of each file appear a minute old.
    async fn prepare(&self, prepare: Prepare) -> Result<(Prepared, Vec<Event>), Error> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let observer: Observer = Arc::new(move |event| log.lock().unwrap().push(event));
        let prepare = prepare.with_clock(Arc::new(ClockAhead(Duration::from_secs(60))));
        let prepared = prepare.run(&self.csv(), &self.path(""), &observer).await?;
        let events = events.lock().unwrap().clone();
        Ok((prepared, events))
    }

    /// Prepares the table, and panics if that fails.
    async fn prepare_successfully(&self, prepare: Prepare) -> Prepared {
        self.prepare(prepare).await.unwrap().0
    }
}

fn ids(prepared: &Prepared) -> Vec<&str> {
    prepared.table.rows().iter().map(crate::SlideRow::external_id).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
