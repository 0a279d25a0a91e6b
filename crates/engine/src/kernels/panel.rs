//! The one inner loop of everything that multiplies: 16 outputs side by side, a panel, for several rows at once.
//!
//! A panel holds one value of each of its outputs, then the next of each, and so on, so weights are read in the order in
//! which they lie and no sum is ever reduced across lanes. Every output is summed by itself in ascending order; tiles
//! only decide which outputs are computed at the same time. So a row's result does not depend on its company.

use super::simd::Simd;

/// Outputs of a panel. A multiple of every instruction set's lanes, so one layout serves all.
pub(crate) const PANEL: usize = 16;
/// Vectors of a panel at most.
pub(super) const VECTORS: usize = 4;

/// Sums of `ROWS` rows by `PANELS` panels. Only the first `PANEL / LANES` vectors of each are used.
pub(super) type Sums<S, const ROWS: usize, const PANELS: usize> = [[[<S as Simd>::V; VECTORS]; PANELS]; ROWS];

/// Writes a block out for `$r` from 0 up to below `$count`, which is at most 12. What arrays hold at such constant places
/// stays in registers; of a loop that the compiler unrolls only late, it went through memory.
macro_rules! unroll {
    ($count:expr, $r:ident => $body:block) => {
        unroll!(@each $count, $r, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@each $count:expr, $r:ident, $body:block, $($at:literal)*) => {$(
        if $at < $count {
            let $r: usize = $at;
            $body
        }
    )*};
}
pub(super) use unroll;

/// Calls `$f` for as many rows as `$size` says, 1 to `$most` (6 or 12), as a constant between its types and `$panels`.
macro_rules! by_rows {
    ($size:expr, $most:expr, $f:ident, [$($type:ty),*], $panels:expr, $arguments:tt) => {
        if $most == 6 {
            by_rows!(@each $size, $f, [$($type),*], $panels, $arguments, 1 2 3 4 5, 6)
        } else {
            by_rows!(@each $size, $f, [$($type),*], $panels, $arguments, 1 2 3 4 5 6 7 8 9 10 11, 12)
        }
    };
    (@each $size:expr, $f:ident, $types:tt, $panels:expr, $arguments:tt, $($rows:literal)*, $last:literal) => {
        match $size {
            $($rows => by_rows!(@call $f, $types, $rows, $panels, $arguments),)*
            _ => by_rows!(@call $f, $types, $last, $panels, $arguments),
        }
    };
    (@call $f:ident, [$($type:ty),*], $rows:literal, $panels:expr, ($($argument:expr),*)) => {
        $f::<$($type,)* $rows, { $panels }>($($argument),*)
    };
}
pub(super) use by_rows;

/// A number that a vector load can widen to f32.
pub(super) trait Element: Copy {
    /// Whether it is f32 already.
    const SINGLE: bool;
    /// Loads `S::LANES` elements.
    ///
    /// # Safety
    /// As for [`Simd::load`].
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    /// As f32.
    fn to_single(self) -> f32;
    /// From f32, rounded.
    fn from_single(value: f32) -> Self;
}

impl Element for f32 {
    const SINGLE: bool = true;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: forwarded.
        unsafe { S::load(from) }
    }
    #[inline(always)]
    fn to_single(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_single(value: f32) -> Self {
        value
    }
}

impl Element for half::bf16 {
    const SINGLE: bool = false;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: forwarded; bf16 is a transparent u16.
        unsafe { S::load_bf16(from.cast()) }
    }
    #[inline(always)]
    fn to_single(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn from_single(value: f32) -> Self {
        Self::from_f32(value)
    }
}

impl Element for half::f16 {
    const SINGLE: bool = false;
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: forwarded; f16 is a transparent u16.
        unsafe { S::load_f16(from.cast()) }
    }
    #[inline(always)]
    fn to_single(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn from_single(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// Sums at zero.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn zeros<S: Simd, const ROWS: usize, const PANELS: usize>() -> Sums<S, ROWS, PANELS> {
    // SAFETY: the caller has the instruction set.
    unsafe { [[[S::zero(); VECTORS]; PANELS]; ROWS] }
}

/// Adds `x[row][i] · w[panel][i · stride ..][..16]` for `i` in `0..count` to the sums.
///
/// # Safety
/// Each `x` must be valid for `count` numbers, each `w` for `count` runs of 16, and the processor must have `S`.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, E: Element, const ROWS: usize, const PANELS: usize>(
    x: [*const f32; ROWS],
    w: [*const E; PANELS],
    stride: usize,
    count: usize,
    sums: &mut Sums<S, ROWS, PANELS>,
) {
    // SAFETY: by this function's own contract.
    unsafe {
        for i in 0..count {
            if ROWS < PANELS {
                // Few rows: their values stay in registers, and every weight is used as it comes.
                let mut values = [S::zero(); ROWS];
                for (value, x) in values.iter_mut().zip(x) {
                    *value = S::splat(*x.add(i));
                }
                unroll!(PANELS, panel => {
                    for v in 0..PANEL / S::LANES {
                        let weight = E::load::<S>(w[panel].add(i * stride + v * S::LANES));
                        for (sums, value) in sums.iter_mut().zip(values) {
                            sums[panel][v] = S::fma(value, weight, sums[panel][v]);
                        }
                    }
                });
            } else {
                let mut weights = [[S::zero(); VECTORS]; PANELS];
                for (weights, w) in weights.iter_mut().zip(w) {
                    for (v, weight) in weights.iter_mut().enumerate().take(PANEL / S::LANES) {
                        *weight = E::load::<S>(w.add(i * stride + v * S::LANES));
                    }
                }
                unroll!(ROWS, row => {
                    let value = S::splat(*x[row].add(i));
                    for panel in 0..PANELS {
                        for v in 0..PANEL / S::LANES {
                            sums[row][panel][v] = S::fma(value, weights[panel][v], sums[row][panel][v]);
                        }
                    }
                });
            }
        }
    }
}

/// Loads the sums of one row and panel from 16 numbers.
///
/// # Safety
/// As for [`Simd::load`].
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(from: *const f32, sums: &mut [S::V; VECTORS]) {
    for (v, sum) in sums.iter_mut().enumerate().take(PANEL / S::LANES) {
        // SAFETY: forwarded.
        *sum = unsafe { S::load(from.add(v * S::LANES)) };
    }
}

/// Stores the sums of one row and panel to 16 numbers.
///
/// # Safety
/// As for [`Simd::store`].
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(to: *mut f32, sums: &[S::V; VECTORS]) {
    for (v, sum) in sums.iter().enumerate().take(PANEL / S::LANES) {
        // SAFETY: forwarded.
        unsafe { S::store(to.add(v * S::LANES), *sum) };
    }
}
