//! A compact list of values, serialized in large blocks.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The size of a block, in bytes.
const BLOCK_BYTES: usize = 64 << 10;

/// A list of values that are read once, in order. The values are serialized, because very many small allocations would
/// waste more memory by fragmentation than the values need.
pub(super) struct PackedList<T> {
    /// Values as lines of JSON. Each block is freed when it has been read.
    blocks: Vec<Vec<u8>>,
    len: usize,
    value_type: PhantomData<fn() -> T>,
}

impl<T> Default for PackedList<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), len: 0, value_type: PhantomData }
    }
}

impl<T: Serialize> Extend<T> for PackedList<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            #[expect(clippy::expect_used, reason = "strings, numbers and lists can always be serialized")]
            let line = serde_json::to_vec(&value).expect("the value can be serialized");
            if self.blocks.last().is_none_or(|block| block.len() + line.len() >= BLOCK_BYTES) {
                self.blocks.push(Vec::with_capacity(BLOCK_BYTES));
            }
            let block = self.blocks.last_mut().into_iter();
            block.for_each(|block| block.extend(line.iter().chain(b"\n")));
            self.len += 1;
        }
    }
}

impl<T> PackedList<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the values as the type `U`, which may have fewer fields. The values remain in the list.
    pub(super) fn iter_as<'a, U: serde::Deserialize<'a>>(&'a self) -> impl Iterator<Item = U> + Clone {
        self.blocks.iter().flat_map(|block| lines(block)).map(|line| deserialize(line))
    }
}

impl<T: DeserializeOwned> PackedList<T> {
    /// Returns the values. Each block is freed after its values were read.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.blocks.into_iter().flat_map(|block| lines(&block).map(|line| deserialize(line)).collect::<Vec<_>>())
    }
}

fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[expect(clippy::expect_used, reason = "the line was written by this list")]
fn deserialize<'a, U: serde::Deserialize<'a>>(line: &'a [u8]) -> U {
    serde_json::from_slice(line).expect("the line is a serialized value")
}
