use parking_lot::Mutex;
use uuid::{Builder, Uuid};

/// Ids, codes and secrets: such as nobody can guess, or, from a seed, the same every time.
#[derive(Default)]
pub(crate) struct Random(Option<Mutex<fastrand::Rng>>);

impl Random {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.map(|seed| Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    pub(crate) fn uuid(&self) -> Uuid {
        match &self.0 {
            Some(seeded) => Builder::from_random_bytes(seeded.lock().u128(..).to_be_bytes()).into_uuid(),
            None => Uuid::new_v4(),
        }
    }

    /// A text of 122 random bits in hexadecimal.
    pub(crate) fn token(&self) -> String {
        self.uuid().simple().to_string()
    }

    /// A number from 0 up to, but not, 1.
    pub(crate) fn part(&self) -> f64 {
        match &self.0 {
            Some(seeded) => seeded.lock().f64(),
            None => fastrand::f64(),
        }
    }

    /// Whether one of so many events happens now; none does for 0.
    pub(crate) fn one_of(&self, number: u32) -> bool {
        let roll = |number| match &self.0 {
            Some(seeded) => seeded.lock().u32(0..number),
            None => fastrand::u32(0..number),
        };
        number > 0 && roll(number) == 0
    }
}
