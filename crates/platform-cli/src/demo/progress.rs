use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use platform_resources::Event;

/// How many steps the demo has.
const STEPS: u8 = 8;

/// What is going on, on stderr: a line for each step, and bars if it is a terminal.
#[derive(Clone, Debug)]
pub(super) struct Progress(MultiProgress);

impl Progress {
    pub(super) fn new() -> Self {
        Self(MultiProgress::new())
    }

    pub(super) fn step(&self, number: u8, text: &str) {
        use std::io::Write;
        // There is nobody to tell that stderr is closed.
        self.0.suspend(|| {
            let _ = writeln!(std::io::stderr(), "[{number}/{STEPS}] {text}");
        });
    }

    /// A bar for so many bytes.
    pub(super) fn upload(&self, bytes: u64) -> ProgressBar {
        self.bar("upload {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", bytes)
    }

    pub(super) fn follow(&self) -> Bars {
        Bars {
            items: self.bar("items  {bar:40} {pos}/{len}", 0),
            bytes: self.bar("bytes  {bar:40} {bytes}/{total_bytes} {bytes_per_sec}", 0),
        }
    }

    fn bar(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.add(ProgressBar::new(length).with_style(style))
    }
}

/// How far the items of a run are, and the bytes of their artifacts.
pub(super) struct Bars {
    items: ProgressBar,
    bytes: ProgressBar,
}

impl Bars {
    pub(super) fn show(&self, event: Event) {
        match event {
            Event::Items { ended, all } => {
                self.items.set_length(all as u64);
                self.items.set_position(ended as u64);
            }
            Event::Planned { bytes, .. } => self.bytes.inc_length(bytes),
            Event::Received(bytes) => self.bytes.inc(bytes),
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.items.finish_and_clear();
        self.bytes.finish_and_clear();
    }
}
