//! Small sample slides: pyramidal TIFFs with tissue-like shapes, generated deterministically.

use std::fs::{self, File};
use std::io::{self, Cursor, Write as _};
use std::path::{Path, PathBuf};

use tiff::TiffResult;
use tiff::encoder::colortype::RGB8;
use tiff::encoder::{Compression, DeflateLevel, Rational, TiffEncoder};
use tiff::tags::{ResolutionUnit, Tag};

/// The slides: name, width and height in pixels, and pixels per centimeter (20,000 is 0.5 µm per pixel).
const SLIDES: [(&str, u32, u32, u32); 3] =
    [("biopsy.tiff", 1536, 1024, 20_000), ("resection.tiff", 2048, 1536, 20_000), ("smear.svs", 1024, 1024, 40_000)];
/// The number of images per pyramid. Each image has half the width and height of the previous one.
const LEVELS: u32 = 3;

/// Writes three slides into `folder`, which is created if necessary, and returns their paths in the order of their
/// names. Samples that exist are kept. The function blocks.
///
/// # Errors
///
/// The folder or a file cannot be written, or another file has the name of a sample.
pub fn write(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let with_path =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("'{}': {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| with_path(folder, error))?;
    let mut paths = Vec::new();
    for (seed, (name, width, height, resolution)) in (0..).zip(SLIDES) {
        let path = folder.join(name);
        let slide = encode(&Picture::paint(seed, width, height), resolution).map_err(io::Error::other)?;
        store(&path, &slide).map_err(|error| with_path(&path, error))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Writes a sample, unless it exists.
fn store(path: &Path, slide: &[u8]) -> io::Result<()> {
    match File::create_new(path) {
        Ok(mut file) => file.write_all(slide),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_sample = fs::read(path)? == slide;
            let conflict =
                || io::Error::new(error.kind(), "another file has the name of a sample: choose another folder");
            if is_sample { Ok(()) } else { Err(conflict()) }
        }
        Err(error) => Err(error),
    }
}

fn encode(picture: &Picture, resolution: u32) -> TiffResult<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let encoder = TiffEncoder::new(&mut file)?;
    let mut encoder = encoder.with_compression(Compression::Deflate(DeflateLevel::Fast));
    let mut level = picture.clone();
    for number in 0..LEVELS {
        let mut image = encoder.new_image::<RGB8>(level.width, level.height)?;
        let per_centimeter = Rational { n: resolution >> number, d: 1 };
        image.resolution(ResolutionUnit::Centimeter, per_centimeter);
        // Bit 0: the image is a reduced version of another image in the file (TIFF 6.0, section 8).
        image.encoder().write_tag(Tag::NewSubfileType, u32::from(number > 0))?;
        image.write_data(&level.pixels)?;
        level = level.halved();
    }
    Ok(file.into_inner())
}

/// RGB pixels, row-major.
#[derive(Clone)]
struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    fn paint(seed: u32, width: u32, height: u32) -> Self {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| color(seed, x, y, width, height)));
        Self { width, height, pixels: pixels.collect() }
    }

    /// Returns the picture with half the width and height. Each pixel is the mean of four pixels.
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let sample =
            |x: u32, y: u32, channel: u32| u32::from(self.pixels[((y * self.width + x) * 3 + channel) as usize]);
        let mean = |x: u32, y: u32, channel: u32| {
            let sum = sample(2 * x, 2 * y, channel)
                + sample(2 * x + 1, 2 * y, channel)
                + sample(2 * x, 2 * y + 1, channel)
                + sample(2 * x + 1, 2 * y + 1, channel);
            u8::try_from(sum / 4).unwrap_or(u8::MAX)
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |channel| (x, y, channel))));
        Self { width, height, pixels: pixels.map(|(x, y, channel)| mean(x, y, channel)).collect() }
    }
}

/// Returns the color of a pixel of the picture: two pieces of pink tissue with violet nuclei and wavy edges, on glass.
/// One of them has a hole.
fn color(seed: u32, x: u32, y: u32, width: u32, height: u32) -> [u8; 3] {
    const GLASS: [u8; 3] = [244, 241, 245];
    const STROMA: [u8; 3] = [226, 148, 188];
    const NUCLEUS: [u8; 3] = [98, 62, 142];
    let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
    let phase = f64::from(seed);
    let distance = |center_x: f64, center_y: f64, radius: f64| {
        let (dx, dy) = (u - center_x, v - center_y);
        let wave = 1.0 + 0.15 * (5.0 * dy.atan2(dx) + phase).sin();
        dx.hypot(dy) / (radius * wave)
    };
    let large = distance(0.35, 0.45, 0.24);
    let small = distance(0.75, 0.6, 0.14);
    let noise = noise(x, y, seed);
    let color_without_noise = match () {
        () if small < 1.0 || (0.3..1.0).contains(&large) => {
            let nucleus = noise_at(x / 6, y / 6, seed) > 200 && (x % 6 + y % 6) < 8;
            if nucleus { NUCLEUS } else { STROMA }
        }
        () => GLASS,
    };
    color_without_noise.map(|channel| channel.saturating_sub(noise % 8))
}

fn noise(x: u32, y: u32, seed: u32) -> u8 {
    noise_at(x, y, seed + 1000)
}

/// Returns a hash of the arguments, which serves as noise.
fn noise_at(x: u32, y: u32, seed: u32) -> u8 {
    let mut hash = u64::from(x) << 32 | u64::from(y);
    hash ^= u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    (hash >> 56) as u8
}
