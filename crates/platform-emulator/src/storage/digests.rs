//! Digests of a body stated by its sender: CRC32C, CRC32, MD5 and SHA-256, in the headers of S3 and Google.

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::Refusal;

/// The stated digests, each with the running digest of the bytes received.
pub(super) struct Stated(Vec<(&'static str, Vec<u8>, Running)>);

enum Running {
    Crc32c(u32),
    Crc32(crc32fast::Hasher),
    Md5(Md5),
    Sha256(Context),
}

impl Stated {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut stated = Vec::new();
        let crc32c = || ("CRC32C", Running::Crc32c(0));
        let md5 = || ("MD5", Running::Md5(Md5::new()));
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let of_google = text("x-goog-hash").unwrap_or_default().split(',').map(str::trim);
        let of_google = of_google.filter_map(|hash| {
            let (name, value) = hash.split_once('=')?;
            match name {
                "crc32c" => Some((crc32c(), value)),
                "md5" => Some((md5(), value)),
                _ => None,
            }
        });
        let others = [
            (text("content-md5"), md5()),
            (text("x-amz-checksum-crc32c"), crc32c()),
            (text("x-amz-checksum-crc32"), ("CRC32", Running::Crc32(crc32fast::Hasher::new()))),
            (text("x-amz-checksum-sha256"), ("SHA-256", Running::Sha256(Context::new(&SHA256)))),
        ];
        let others = others.into_iter().filter_map(|(value, running)| Some((running, value?)));
        for ((name, running), value) in of_google.chain(others) {
            let digest = STANDARD.decode(value);
            let malformed =
                |_| Refusal::new(StatusCode::BAD_REQUEST, "InvalidDigest", format!("the stated {name} is not base64"));
            stated.push((name, digest.map_err(malformed)?, running));
        }
        Ok(Self(stated))
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        for (_, _, running) in &mut self.0 {
            match running {
                Running::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, piece),
                Running::Crc32(hasher) => hasher.update(piece),
                Running::Md5(hasher) => hasher.update(piece),
                Running::Sha256(context) => context.update(piece),
            }
        }
    }

    /// Rejects a body that does not match a stated digest.
    pub(super) fn check(self) -> Result<(), Refusal> {
        for (name, stated, running) in self.0 {
            let found = match running {
                Running::Crc32c(crc) => crc.to_be_bytes().to_vec(),
                Running::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
                Running::Md5(hasher) => hasher.finalize().to_vec(),
                Running::Sha256(context) => context.finish().as_ref().to_vec(),
            };
            if found != stated {
                let message = format!("the body does not have the {name} that was stated");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "BadDigest", message));
            }
        }
        Ok(())
    }
}
