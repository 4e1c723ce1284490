//! Element by element; plain loops that stand in for the fast kernels. Results are written (=).

use super::check_len;
use super::vector::Element;

/// y = max(x, 0).
pub fn relu<E: Element>(y: &mut [E], x: &[E]) {
    map2(y, x, x, |x, _| x.max(0.0));
}

/// dx = dy where y > 0, else 0, with y the output of `relu`.
pub fn relu_backward<E: Element>(dx: &mut [E], dy: &[E], y: &[E]) {
    map2(dx, dy, y, |dy, y| if y > 0.0 { dy } else { 0.0 });
}

/// y = a + b.
pub fn add<E: Element>(y: &mut [E], a: &[E], b: &[E]) {
    map2(y, a, b, |a, b| a + b);
}

fn map2<E: Element>(y: &mut [E], a: &[E], b: &[E], f: impl Fn(f32, f32) -> f32) {
    check_len("elementwise", "first", a, y.len());
    check_len("elementwise", "second", b, y.len());
    y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = E::from_f32(f(a.to_f32(), b.to_f32())));
}
