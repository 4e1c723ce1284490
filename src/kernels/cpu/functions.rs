//! Lane-wise functions that processors have no instruction for: the exponential and the tail of the normal
//! distribution.

use super::vector::Vector;

/// e^x for x <= 0, within 2 units in the last place. An x below -87 is treated as -87. NaN stays NaN.
///
/// The polynomial is the Chebyshev interpolation of e^r for |r| <= ln 2 / 2, with a relative error of 2e-8.
///
/// # Safety
/// The instruction set of V must be enabled in the caller.
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    const POLYNOMIAL: [f32; 7] = [0.001_394_110_9, 0.008_375_126, 0.041_666_35, 0.166_664_15, 0.5, 1.0, 1.0];
    // ln 2 in two parts. The first has so few digits that its product with an exponent is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // SAFETY: guaranteed by the caller.
    unsafe {
        let x = V::splat(-87.0).max(x);
        let exponent = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let r = x.add_product(exponent, V::splat(-LN_2_HIGH)).add_product(exponent, V::splat(-LN_2_LOW));
        polynomial(r, &POLYNOMIAL).mul(exponent.power_of_two())
    }
}

/// Returns the probability that a standard normal variable exceeds a, for a >= 0, and the density at a.
///
/// The tail is e^(-a²/2) t P(t) with t = 1 / (1 + 0.35 a), where P is the Chebyshev interpolation of erfc(a / √2)
/// e^(a²/2) / (2 t) for a <= 13.3, with a relative error of 8e-8.
///
/// # Safety
/// The instruction set of V must be enabled in the caller.
#[inline(always)]
pub unsafe fn normal_tail<V: Vector>(a: V) -> (V, V) {
    const POLYNOMIAL: [f32; 9] = [
        -0.029_576_544,
        0.146_069_03,
        -0.260_032_9,
        0.164_063_5,
        -0.026_422_694,
        0.106_876_46,
        0.119_498_14,
        0.139_905_97,
        0.139_619_02,
    ];
    const DENSITY_AT_0: f32 = 0.398_942_3;
    // SAFETY: guaranteed by the caller.
    unsafe {
        let decay = exp(a.mul(a).mul(V::splat(-0.5)));
        let t = V::splat(1.0).div(V::splat(1.0).add_product(a, V::splat(0.35)));
        (decay.mul(t).mul(polynomial(t, &POLYNOMIAL)), decay.mul(V::splat(DENSITY_AT_0)))
    }
}

/// Evaluates a polynomial with Horner's scheme. The coefficient of the highest power comes first.
#[inline(always)]
unsafe fn polynomial<V: Vector, const N: usize>(x: V, coefficients: &[f32; N]) -> V {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let mut value = V::splat(coefficients[0]);
        for &coefficient in &coefficients[1..] {
            value = V::splat(coefficient).add_product(value, x);
        }
        value
    }
}
