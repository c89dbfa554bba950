//! Gray JPEG images of any size, whose blocks are all equal (ITU-T T.81).

/// Returns a baseline JPEG of three components in which every block codes "no change": two zero bits.
///
/// `restart` is the number of blocks between two restart markers.
pub(crate) fn gray(width: u16, height: u16, restart: Option<u16>) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    let mut segment = |marker: u8, content: &[u8]| {
        file.extend([0xff, marker]);
        file.extend(u16::try_from(content.len() + 2).unwrap().to_be_bytes());
        file.extend(content);
    };
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
    segment(0xc0, &[&[8][..], &size, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat());
    // One code of one bit, for the value 0: no difference, and the end of the block.
    let lengths = [[1].as_slice(), &[0; 15], &[0]].concat();
    segment(0xc4, &[&[0x00][..], &lengths].concat());
    segment(0xc4, &[&[0x10][..], &lengths].concat());
    if let Some(blocks) = restart {
        segment(0xdd, &blocks.to_be_bytes());
    }
    segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut remaining_blocks = usize::from(width.div_ceil(8)) * usize::from(height.div_ceil(8));
    let blocks_per_interval = restart.map_or(remaining_blocks, usize::from);
    for number in 0.. {
        let bits = 6 * remaining_blocks.min(blocks_per_interval);
        file.extend(vec![0; bits / 8]);
        if !bits.is_multiple_of(8) {
            file.push(0xff >> (bits % 8));
        }
        remaining_blocks -= remaining_blocks.min(blocks_per_interval);
        if remaining_blocks == 0 {
            break;
        }
        file.extend([0xff, 0xd0 + number % 8]);
    }
    file.extend([0xff, 0xd9]);
    file
}
