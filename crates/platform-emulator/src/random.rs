use parking_lot::Mutex;
use uuid::{Builder, Uuid};

/// A source of ids, codes and secrets: unpredictable, or reproducible with a seed.
#[derive(Default)]
pub(crate) struct Random(Option<Mutex<fastrand::Rng>>);

impl Random {
    /// Creates the source of the emulator's start number `start`, from 0. With the same seed, each start on a data
    /// folder has its own sequence, because the folder holds the ids of the earlier ones.
    pub(crate) fn new(seed: Option<u64>, start: u64) -> Self {
        let seeded = |seed| (0..start).fold(fastrand::Rng::with_seed(seed), |mut random, _| random.fork());
        Self(seed.map(|seed| Mutex::new(seeded(seed))))
    }

    pub(crate) fn uuid(&self) -> Uuid {
        match &self.0 {
            Some(seeded) => Builder::from_random_bytes(seeded.lock().u128(..).to_be_bytes()).into_uuid(),
            None => Uuid::new_v4(),
        }
    }

    /// Returns 122 random bits in hexadecimal.
    pub(crate) fn token(&self) -> String {
        self.uuid().simple().to_string()
    }

    /// Returns a number in the range 0 to 1, excluding 1.
    pub(crate) fn part(&self) -> f64 {
        match &self.0 {
            Some(seeded) => seeded.lock().f64(),
            None => fastrand::f64(),
        }
    }

    /// Returns true with a probability of 1 in `number`; never for 0.
    pub(crate) fn one_of(&self, number: u32) -> bool {
        let roll = |number| match &self.0 {
            Some(seeded) => seeded.lock().u32(0..number),
            None => fastrand::u32(0..number),
        };
        number > 0 && roll(number) == 0
    }
}
