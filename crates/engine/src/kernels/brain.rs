//! Products with bfloat16 weights, which lie in pairs: two inputs of an output side by side.
//!
//! Instruction sets differ in what they do with a pair ([`Step`]): widen both and add one product after the other, or let one
//! instruction multiply both with activations that were rounded to bfloat16 as well. Either way every output is summed by
//! itself, pair by pair in ascending order, so that a row's result does not depend on its company.

use std::marker::PhantomData;
use std::ops::Range;

use super::matmul::{
    self, AHEAD, Job, MANY, Partial, ROW_BLOCK, Widen, even_share, finish, finish_rows, load_sums, store_sums,
};
use super::panel::{PANEL, Sums, VECTORS, by_rows, unroll, zeros};
use super::simd::Simd;

/// How a pair of inputs is multiplied.
///
/// # Safety
/// As for [`Simd`].
pub(super) trait Step {
    /// The instruction set.
    type S: Simd;
    /// What the activations of a pair lie as.
    type Activations: Copy;
    /// A pair of activations, in all lanes.
    type X: Copy;
    /// A pair of weights of `LANES` outputs.
    type W: Copy;

    /// Where the activations of a row begin.
    unsafe fn row(job: Job, row: usize) -> *const Self::Activations;
    /// Loads the pair `pair`, of which there are `inputs`: one or two.
    unsafe fn activations(x: *const Self::Activations, pair: usize, inputs: usize) -> Self::X;
    /// Loads `LANES` pairs.
    unsafe fn weights(from: *const u32) -> Self::W;
    /// Adds the products of a pair.
    unsafe fn add(sum: <Self::S as Simd>::V, x: Self::X, w: Self::W) -> <Self::S as Simd>::V;
}

/// Widens weights, and takes activations as they are.
pub(super) struct Widened<S>(PhantomData<S>);

impl<S: Simd> Step for Widened<S> {
    type S = S;
    type Activations = [f32; 2];
    type X = [S::V; 2];
    type W = [S::V; 2];

    #[inline(always)]
    unsafe fn row(job: Job, row: usize) -> *const [f32; 2] {
        // SAFETY: the row exists.
        unsafe { job.x.numbers.add(row * job.x.stride).cast() }
    }
    #[inline(always)]
    unsafe fn activations(x: *const [f32; 2], pair: usize, inputs: usize) -> [S::V; 2] {
        // SAFETY: the row has so many inputs.
        unsafe {
            let x = x.add(pair).cast::<f32>();
            [S::splat(*x), if inputs == 2 { S::splat(*x.add(1)) } else { S::zero() }]
        }
    }
    #[inline(always)]
    unsafe fn weights(from: *const u32) -> [S::V; 2] {
        // SAFETY: forwarded.
        unsafe { S::load_pairs(from) }
    }
    #[inline(always)]
    unsafe fn add(sum: S::V, x: [S::V; 2], w: [S::V; 2]) -> S::V {
        // SAFETY: forwarded.
        unsafe { S::fma(x[1], w[1], S::fma(x[0], w[0], sum)) }
    }
}

/// Activations rounded to bfloat16 in pairs. Kept between steps so that a step allocates nothing once it has reached its
/// size.
#[derive(Default)]
pub(super) struct Rounded {
    pairs: Vec<u32>,
    width: usize,
}

/// Where rounded rows lie.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 multiplies such pairs"))]
pub(super) struct Rows {
    pairs: *const u32,
    /// Pairs of a row.
    width: usize,
}

impl Rows {
    /// Of a product that needs none.
    pub(super) const NONE: Self = Self { pairs: std::ptr::null(), width: 0 };

    /// The row `row`.
    ///
    /// # Safety
    /// There must be such a row.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 multiplies such pairs"))]
    #[inline(always)]
    pub(super) unsafe fn row(self, row: usize) -> *const u32 {
        // SAFETY: the row exists.
        unsafe { self.pairs.add(row * self.width) }
    }
}

impl Rounded {
    /// Makes room for `rows` rows of `k` numbers; where they begin, and pairs of a row.
    pub(super) fn resize(&mut self, rows: usize, k: usize) -> (*mut u32, usize) {
        self.width = k.div_ceil(2);
        if self.pairs.len() < rows * self.width {
            self.pairs.resize(rows * self.width, 0);
        }
        (self.pairs.as_mut_ptr(), self.width)
    }

    /// Where the rows lie.
    pub(super) fn rows(&self) -> Rows {
        Rows { pairs: self.pairs.as_ptr(), width: self.width }
    }
}

/// Computes the outputs of the panels `from..to`, one pair after another.
///
/// # Safety
/// As for [`matmul::panels`].
#[inline(always)]
pub(super) unsafe fn panels<P: Step>(job: Job, from: usize, to: usize) {
    // SAFETY: tiles stay within `rows` and `from..to`.
    unsafe {
        let mut first = 0;
        while first < job.rows {
            let rows = even_share(job.rows - first, ROW_BLOCK);
            let mut panel = from;
            while panel < to {
                // Few rows leave registers for more panels, whose sums do not wait for each other.
                if rows == 1 && panel + 4 <= to {
                    tile::<P, 1, 4>(job, first, panel);
                    panel += 4;
                } else if (rows == 2 || P::S::TILE_ROWS == 12) && panel + 2 <= to {
                    row_block::<P, 2>(job, first, rows, panel);
                    panel += 2;
                } else {
                    row_block::<P, 1>(job, first, rows, panel);
                    panel += 1;
                }
            }
            first += rows;
        }
    }
}

/// Pairs of inputs that are passed at a time: weights of two panels, and as much of twelve rows, stay in the first-level cache.
const CHUNK: usize = 128;

/// One or two panels for the rows of a block: at once where they are one tile, else in chunks of inputs.
#[inline(always)]
unsafe fn row_block<P: Step, const PANELS: usize>(job: Job, first: usize, rows: usize, panel: usize) {
    if rows <= P::S::TILE_ROWS {
        // SAFETY: these rows and panels exist.
        return unsafe { by_rows!(rows, P::S::TILE_ROWS, tile, [P], PANELS, (job, first, panel)) };
    }
    let whole = job.k.div_ceil(2);
    let mut partial = Partial::new();
    // SAFETY: these rows, panels and pairs exist.
    unsafe {
        let mut from = 0;
        while from < whole {
            let pairs = from..whole.min(from + CHUNK);
            from = pairs.end;
            let mut r = 0;
            while r < rows {
                let size = even_share(rows - r, P::S::TILE_ROWS);
                let (row, to, pairs) = (first + r, partial.row(r, PANELS), pairs.clone());
                by_rows!(size, P::S::TILE_ROWS, part, [P], PANELS, (job, row, panel, pairs, to));
                r += size;
            }
        }
        finish_rows::<P::S>(job, first, rows, panel, PANELS, &mut partial);
    }
}

/// Some pairs of a few rows and panels, added to the sums at `partial`.
#[inline(always)]
unsafe fn part<P: Step, const ROWS: usize, const PANELS: usize>(
    job: Job,
    row: usize,
    panel: usize,
    pairs: Range<usize>,
    partial: *mut f32,
) {
    // SAFETY: these rows and pairs exist; `partial` has room for the rows.
    unsafe {
        let mut sums = load_sums::<P::S, ROWS, PANELS>(partial);
        pass::<P, ROWS, PANELS>(job, row, panel, pairs, &mut sums);
        store_sums::<P::S, ROWS, PANELS>(partial, &sums);
    }
}

/// All inputs of a few rows and panels at once.
#[inline(always)]
unsafe fn tile<P: Step, const ROWS: usize, const PANELS: usize>(job: Job, row: usize, panel: usize) {
    // SAFETY: these rows and panels exist.
    unsafe {
        let mut sums = zeros::<P::S, ROWS, PANELS>();
        pass::<P, ROWS, PANELS>(job, row, panel, 0..job.k.div_ceil(2), &mut sums);
        finish::<P::S, ROWS, PANELS>(job, row, panel, &sums);
    }
}

/// Some pairs, of the last of which there may be one input only.
#[inline(always)]
unsafe fn pass<P: Step, const ROWS: usize, const PANELS: usize>(
    job: Job,
    row: usize,
    panel: usize,
    pairs: Range<usize>,
    sums: &mut Sums<P::S, ROWS, PANELS>,
) {
    // SAFETY: these rows, panels and pairs exist.
    unsafe {
        let x: [_; ROWS] = std::array::from_fn(|r| P::row(job, row + r));
        let w: [*const u32; PANELS] = std::array::from_fn(|p| job.w.add((panel + p) * job.panel_bytes).cast());
        for pair in pairs.start..pairs.end.min(job.k / 2) {
            step::<P, ROWS, PANELS>(x, w, pair, 2, sums);
        }
        if pairs.end > job.k / 2 {
            step::<P, ROWS, PANELS>(x, w, job.k / 2, 1, sums);
        }
    }
}

/// One pair of `inputs` inputs.
#[inline(always)]
unsafe fn step<P: Step, const ROWS: usize, const PANELS: usize>(
    x: [*const P::Activations; ROWS],
    w: [*const u32; PANELS],
    pair: usize,
    inputs: usize,
    sums: &mut Sums<P::S, ROWS, PANELS>,
) {
    // SAFETY: the pair exists in every row and panel.
    unsafe {
        let mut weights = [[P::weights(w[0].add(pair * PANEL)); VECTORS]; PANELS];
        for (weights, w) in weights.iter_mut().zip(w) {
            let w = w.add(pair * PANEL);
            P::S::prefetch(w.cast::<u8>().wrapping_add(AHEAD));
            for (v, weights) in weights.iter_mut().enumerate().take(PANEL / P::S::LANES) {
                *weights = P::weights(w.add(v * P::S::LANES));
            }
        }
        unroll!(ROWS, row => {
            let x = P::activations(x[row], pair, inputs);
            for panel in 0..PANELS {
                for v in 0..PANEL / P::S::LANES {
                    sums[row][panel][v] = P::add(sums[row][panel][v], x, weights[panel][v]);
                }
            }
        });
    }
}

/// As [`panels`]; many rows have the weights widened once for many of them.
///
/// # Safety
/// As for [`matmul::panels`].
#[inline(always)]
pub(super) unsafe fn panels_widened<S: Simd>(job: Job, from: usize, to: usize) {
    // SAFETY: forwarded.
    unsafe {
        if job.rows < MANY {
            panels::<Widened<S>>(job, from, to);
        } else {
            matmul::row_blocks::<S, Pairs>(job, from, to);
        }
    }
}

/// Weights in pairs.
struct Pairs;

impl Widen for Pairs {
    #[inline(always)]
    unsafe fn widen<S: Simd>(w: *const u8, k: usize, count: usize, wide: *mut f32) -> *const f32 {
        // SAFETY: `k` is even, so that a pair begins there; there is room for the second input of the last pair, too.
        unsafe {
            let w = w.cast::<u32>().add(k / 2 * PANEL);
            for pair in 0..count.div_ceil(2) {
                for v in (0..PANEL).step_by(S::LANES) {
                    let [first, second] = S::load_pairs(w.add(pair * PANEL + v));
                    S::store(wide.add(2 * pair * PANEL + v), first);
                    S::store(wide.add((2 * pair + 1) * PANEL + v), second);
                }
            }
            wide
        }
    }
}
