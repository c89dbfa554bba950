//! Random ids, codes and events, which a seed makes reproducible.

use parking_lot::Mutex;
use uuid::{Builder, Uuid};

/// A source of ids, codes and secrets. It is unpredictable, unless it has a seed.
#[derive(Default)]
pub(crate) struct Random(Option<Mutex<fastrand::Rng>>);

impl Random {
    /// Creates a source. `earlier_starts` is the number of earlier starts on the data folder. With a seed, each start
    /// has a different sequence, because the data folder contains ids of earlier starts.
    pub(crate) fn new(seed: Option<u64>, earlier_starts: u64) -> Self {
        let seeded = |seed| (0..earlier_starts).fold(fastrand::Rng::with_seed(seed), |mut random, _| random.fork());
        Self(seed.map(|seed| Mutex::new(seeded(seed))))
    }

    pub(crate) fn uuid(&self) -> Uuid {
        match &self.0 {
            Some(generator) => Builder::from_random_bytes(generator.lock().u128(..).to_be_bytes()).into_uuid(),
            None => Uuid::new_v4(),
        }
    }

    /// Returns 122 random bits in hexadecimal.
    pub(crate) fn token(&self) -> String {
        self.uuid().simple().to_string()
    }

    /// Returns a number in the range 0 to 1, excluding 1.
    pub(crate) fn fraction(&self) -> f64 {
        match &self.0 {
            Some(generator) => generator.lock().f64(),
            None => fastrand::f64(),
        }
    }

    /// Returns true with a probability of 1 in `number`. Returns false if `number` is 0.
    pub(crate) fn one_in(&self, number: u32) -> bool {
        let roll = |number| match &self.0 {
            Some(generator) => generator.lock().u32(0..number),
            None => fastrand::u32(0..number),
        };
        number > 0 && roll(number) == 0
    }
}
