//! Unpacks a kernel image: a bzImage holds a compressed ELF. Called when symbols are loaded.

use std::io::Read;

/// A kernel larger than this is not believed.
const UNPACKED_LIMIT_BYTES: u64 = 512 << 20;

/// Why an image could not be unpacked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageError {
    /// The setup header names bytes beyond the end of the file.
    #[error(
        "the kernel image is cut short: its payload ends at byte {end:#x}, the file at {file:#x}"
    )]
    Truncated {
        /// Where the payload should end.
        end: usize,
        /// Where the file ends.
        file: usize,
    },
    /// The payload begins with bytes of no known compressor.
    #[error(
        "the kernel is compressed in a way that is not known here (it begins with {magic:02x?})"
    )]
    UnknownCompression {
        /// First bytes of the payload.
        magic: [u8; 4],
    },
    /// The compressor's data is damaged.
    #[error("the kernel's {format} data is damaged after {unpacked_bytes:#x} unpacked bytes")]
    Damaged {
        /// Which compressor.
        format: &'static str,
        /// How far it came.
        unpacked_bytes: usize,
    },
    /// The unpacked payload is not an ELF file.
    #[error("the unpacked kernel is no ELF file")]
    NotElf,
}

/// Whether `image` has the setup header of the Linux boot protocol.
#[must_use]
pub fn is_bzimage(image: &[u8]) -> bool {
    image.get(0x202..0x206) == Some(b"HdrS")
}

/// The ELF file within `image`, which may be an ELF file already.
///
/// # Errors
/// When the image is cut short, damaged, or compressed in an unknown way.
pub fn unpack(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    if image.starts_with(b"\x7fELF") {
        return Ok(image.to_vec());
    }
    let field = |at: usize| -> usize {
        image
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, |b| u32::from_le_bytes(b) as usize)
    };
    let setup_sectors = match image.get(0x1f1) {
        Some(0) | None => 4,
        Some(n) => usize::from(*n),
    };
    let start = (setup_sectors + 1) * 512 + field(0x248);
    let end = start + field(0x24c);
    let payload = image.get(start..end).ok_or(ImageError::Truncated {
        end,
        file: image.len(),
    })?;
    let kernel = decompress(payload)?;
    if kernel.starts_with(b"\x7fELF") {
        Ok(kernel)
    } else {
        Err(ImageError::NotElf)
    }
}

fn decompress(payload: &[u8]) -> Result<Vec<u8>, ImageError> {
    // The build appends the unpacked size to the compressed data: four bytes that are no part of it.
    let body = &payload[..payload.len().saturating_sub(4)];
    match payload {
        [0x02, 0x21, 0x4c, 0x18, ..] => lz4_legacy(body),
        [0x1f, 0x8b, ..] => read_all("gzip", flate2::read::GzDecoder::new(payload)),
        [0xfd, b'7', b'z', b'X', ..] => read_all("xz", lzma_rust2::XzReader::new(body, false)),
        [0x5d, 0x00, 0x00, ..] => match lzma_rust2::LzmaReader::new_mem_limit(body, u32::MAX, None)
        {
            Ok(reader) => read_all("lzma", reader),
            Err(_) => Err(damaged("lzma", 0)),
        },
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match ruzstd::decoding::StreamingDecoder::new(body) {
            Ok(reader) => read_all("zstd", reader),
            Err(_) => Err(damaged("zstd", 0)),
        },
        _ => {
            let mut magic = [0; 4];
            for (to, from) in magic.iter_mut().zip(payload) {
                *to = *from;
            }
            Err(ImageError::UnknownCompression { magic })
        }
    }
}

const fn damaged(format: &'static str, unpacked_bytes: usize) -> ImageError {
    ImageError::Damaged {
        format,
        unpacked_bytes,
    }
}

fn read_all(format: &'static str, reader: impl Read) -> Result<Vec<u8>, ImageError> {
    let mut out = Vec::new();
    match reader.take(UNPACKED_LIMIT_BYTES).read_to_end(&mut out) {
        Ok(_) => Ok(out),
        Err(_) => Err(damaged(format, out.len())),
    }
}

/// The legacy LZ4 container: after the magic number, blocks of `length, data`, each at most
/// 8 MiB unpacked. It has no end mark.
fn lz4_legacy(payload: &[u8]) -> Result<Vec<u8>, ImageError> {
    const BLOCK_BYTES: usize = 8 << 20;
    let mut out = Vec::new();
    let mut rest = payload.get(4..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some(block) = after.get(..length) else {
            return Err(damaged("LZ4", out.len()));
        };
        match lz4_flex::block::decompress(block, BLOCK_BYTES) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => return Err(damaged("LZ4", out.len())),
        }
        rest = &after[length..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_around(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0_u8; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250]
            .copy_from_slice(&u32::try_from(payload.len()).expect("small").to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn lz4_payload(content: &[u8]) -> Vec<u8> {
        let block = lz4_flex::block::compress(content);
        let mut payload = vec![0x02, 0x21, 0x4c, 0x18];
        payload.extend_from_slice(&u32::try_from(block.len()).expect("small").to_le_bytes());
        payload.extend_from_slice(&block);
        payload.extend_from_slice(&u32::try_from(content.len()).expect("small").to_le_bytes());
        payload
    }

    #[test]
    fn an_lz4_kernel_is_unpacked() {
        let content = b"\x7fELF and more and more and more and more".to_vec();
        let image = image_around(&lz4_payload(&content));
        assert!(is_bzimage(&image));
        assert_eq!(unpack(&image), Ok(content));
    }

    #[test]
    fn a_gzip_kernel_is_unpacked() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(b"\x7fELF hello").expect("in memory");
        let image = image_around(&encoder.finish().expect("in memory"));
        assert_eq!(unpack(&image), Ok(b"\x7fELF hello".to_vec()));
    }

    #[test]
    fn a_truncated_image_is_named_as_such() {
        let mut image = image_around(&lz4_payload(b"\x7fELF"));
        image.truncate(1030);
        assert!(matches!(
            unpack(&image),
            Err(ImageError::Truncated { file: 1030, .. })
        ));
    }

    #[test]
    fn a_damaged_block_is_an_error() {
        let mut image = image_around(&lz4_payload(b"\x7fELF with some content"));
        image[1024 + 4] = 0xff;
        assert!(matches!(
            unpack(&image),
            Err(ImageError::Damaged { format: "LZ4", .. })
        ));
    }

    #[test]
    fn an_unknown_compressor_is_named_by_its_first_bytes() {
        let image = image_around(b"????");
        assert_eq!(
            unpack(&image),
            Err(ImageError::UnknownCompression { magic: *b"????" })
        );
    }
}
