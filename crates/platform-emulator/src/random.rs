use uuid::Uuid;

/// A text that nobody can guess: 122 random bits in hexadecimal.
pub(crate) fn token() -> String {
    Uuid::new_v4().simple().to_string()
}
