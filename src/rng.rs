//! Keys that split by name or index, and streams of random numbers from these keys. This is the only source of
//! randomness.
//!
//! A draw is a pure function of its key and position (Philox4x32-10, Salmon et al. 2011,
//! <https://doi.org/10.1145/2063384.2063405>). Results therefore never depend on threads, order of evaluation or
//! resumption, and a new consumer never changes the numbers of another.

/// Names a stream of random numbers. Equal keys give equal streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// Counter words that keep splits by index, splits by name and streams apart.
const INDEX: u32 = 1;
const STREAM: u32 = 2;

impl Key {
    /// The root key of a run: all its other keys are derived from it.
    pub fn root(seed: u64) -> Self {
        Self(seed).split("sempair")
    }

    /// The key for one purpose, such as `"augment"`.
    #[must_use]
    pub fn split(self, name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let word = |i: usize| u32::from_le_bytes(std::array::from_fn(|b| hash.as_bytes()[4 * i + b]));
        self.derive([word(0), word(1), word(2), word(3)])
    }

    /// The key for one element, such as an epoch, an image or a view.
    #[must_use]
    pub fn at(self, index: u64) -> Self {
        self.derive([index as u32, (index >> 32) as u32, 0, INDEX])
    }

    /// The stream of this key, from its start.
    pub fn stream(self) -> Stream {
        Stream { key: self, block: 0, buffer: [0; 4], used: 4 }
    }

    fn derive(self, counter: [u32; 4]) -> Self {
        let out = philox(counter, [self.0 as u32, (self.0 >> 32) as u32]);
        Self(u64::from(out[0]) | u64::from(out[1]) << 32)
    }
}

/// The random numbers of one key, in order.
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    block: u64,
    buffer: [u32; 4],
    used: usize,
}

impl Stream {
    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.block as u32, (self.block >> 32) as u32, 0, STREAM];
            self.buffer = philox(counter, [self.key.0 as u32, (self.key.0 >> 32) as u32]);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.buffer[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1), on a grid of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.uniform() < p
    }

    /// Uniform in 0..n, without bias (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below: n is 0");
        let n = n as u64;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if (wide as u64) >= n.wrapping_neg() % n {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Standard normal (Box-Muller; `libm`, so that every machine agrees).
    pub fn normal(&mut self) -> f32 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - f64::from(self.uniform())));
        (radius * libm::cos(std::f64::consts::TAU * f64::from(self.uniform()))) as f32
    }

    /// Puts the items into random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// 0..n in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

/// Philox4x32 with ten rounds.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    // Known answers of Random123's kat_vectors, philox4x32 with 10 rounds.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut stream = Key::root(1).split("moments").stream();
        let n = 100_000;
        let (mut sum, mut square, mut uniform) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = f64::from(stream.normal());
            sum += x;
            square += x * x;
            uniform += f64::from(stream.uniform());
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 0.015 && (square / n - 1.0).abs() < 0.02 && (uniform / n - 0.5).abs() < 0.005);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut stream = Key::root(2).stream();
        let mut seen = [0; 7];
        for _ in 0..7_000 {
            seen[stream.below(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
    }

    #[test]
    fn streams_of_different_keys_differ_and_a_permutation_is_one() {
        let key = Key::root(3);
        let firsts = [key, key.at(0), key.at(1), key.split("a"), key.split("b")].map(|k| k.stream().next_u64());
        for (i, a) in firsts.iter().enumerate() {
            assert!(firsts[..i].iter().all(|b| a != b));
        }
        let mut order = key.stream().permutation(100);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
