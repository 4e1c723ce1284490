//! Bilinear rotation about the centre, with zeros outside the image; torchvision's `rotate(.., BILINEAR)`.

/// Writes planes (3, size, size), rotated counter-clockwise by `degrees`, into `out`.
///
/// A pixel between the border and the outside is interpolated with zeros, as in torchvision with `fill=None`.
///
/// # Panics
/// When a slice does not have the right length.
pub fn rotate(planes: &[f32], size: usize, degrees: f32, out: &mut [f32]) {
    assert_eq!(planes.len(), 3 * size * size, "three planes of {size}x{size}");
    assert_eq!(out.len(), planes.len(), "rotated planes");
    let angle = f64::from(degrees).to_radians();
    let (sin, cos) = (libm::sin(angle) as f32, libm::cos(angle) as f32);
    let centre = (size as f32 - 1.0) / 2.0;
    for y in 0..size {
        let dy = y as f32 - centre;
        for x in 0..size {
            let dx = x as f32 - centre;
            let corners = corners(cos * dx - sin * dy + centre, sin * dx + cos * dy + centre, size);
            for (plane, out) in planes.chunks_exact(size * size).zip(out.chunks_exact_mut(size * size)) {
                out[y * size + x] = corners.iter().map(|&(place, weight)| weight * plane[place]).sum();
            }
        }
    }
}

/// Returns the positions of the four pixels around (x, y) and their weights. A pixel outside the image has weight 0.
fn corners(x: f32, y: f32, size: usize) -> [(usize, f32); 4] {
    // A rotated corner lies less than `size` outside the image, so the sums are positive and `as` rounds down. `floor`
    // would be a function call on processors without SSE4.1.
    let (left, top) = ((x + size as f32) as i32 - size as i32, (y + size as f32) as i32 - size as i32);
    let (right, low) = (x - left as f32, y - top as f32);
    let corner = |dx: i32, dy: i32, weight: f32| {
        let (x, y) = ((left + dx) as u32 as usize, (top + dy) as u32 as usize); // negative values become huge
        if x < size && y < size { (y * size + x, weight) } else { (0, 0.0) }
    };
    [
        corner(0, 0, (1.0 - right) * (1.0 - low)),
        corner(1, 0, right * (1.0 - low)),
        corner(0, 1, (1.0 - right) * low),
        corner(1, 1, right * low),
    ]
}
