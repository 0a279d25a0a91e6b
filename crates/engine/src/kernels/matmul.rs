//! Products of activations with packed weights in single and half precision.

use super::panel::{Element, PANEL, Sums, accumulate, by_rows, load, store, unroll, zeros};
use super::simd::Simd;

/// One product: `out[r][c] (+)= x[r] · w[c] + bias[c]`, for panels of columns.
#[derive(Clone, Copy)]
pub(super) struct Job {
    /// Activations, `rows × k`.
    pub(super) x: Activations,
    pub(super) rows: usize,
    pub(super) k: usize,
    /// Packed weights; those of a panel are `panel_bytes` long.
    pub(super) w: *const u8,
    pub(super) panel_bytes: usize,
    /// Outputs that there are; the last panel may be padded.
    pub(super) columns: usize,
    /// Null for none.
    pub(super) bias: *const f32,
    /// Results, rows `out_stride` apart.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    /// Whether results are added to what is there.
    pub(super) add: bool,
}

/// Where activations lie: as they are, and quantized or rounded where the weights ask for it.
#[derive(Clone, Copy)]
pub(super) struct Activations {
    /// Rows `stride` apart.
    pub(super) numbers: *const f32,
    pub(super) stride: usize,
    pub(super) quantized: super::quantize::Rows,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 multiplies such pairs"))]
    pub(super) rounded: super::brain::Rows,
}

/// From this many rows on, weights are widened once for many tiles.
pub(super) const MANY: usize = 16;
/// Inputs whose weights are widened at a time, an even number: 16 KiB stay in the first-level cache.
const CHUNK: usize = 256;
/// Rows whose sums are kept while the chunks pass.
pub(super) const ROW_BLOCK: usize = 96;

/// How far ahead of the loads memory is asked for, in bytes: what passes while an answer takes its way.
pub(super) const AHEAD: usize = 1024;

/// Computes the outputs of the panels `from..to`.
///
/// # Safety
/// The job's pointers must be valid for its sizes, nobody else may touch those outputs, and the processor must have `S`.
#[inline(always)]
pub(super) unsafe fn panels<S: Simd, E: Element>(job: Job, from: usize, to: usize) {
    // SAFETY: tiles stay within `rows` and `from..to`.
    unsafe {
        let mut panel = from;
        match job.rows {
            1 => {
                while panel + 4 <= to {
                    tile::<S, E, 1, 4>(job, 0, panel);
                    panel += 4;
                }
                if panel + 2 <= to {
                    tile::<S, E, 1, 2>(job, 0, panel);
                    panel += 2;
                }
                if panel < to {
                    tile::<S, E, 1, 1>(job, 0, panel);
                }
            }
            2 => {
                while panel + 2 <= to {
                    tile::<S, E, 2, 2>(job, 0, panel);
                    panel += 2;
                }
                if panel < to {
                    tile::<S, E, 2, 1>(job, 0, panel);
                }
            }
            3..MANY => {
                while panel < to {
                    let mut row = 0;
                    while row < job.rows {
                        let size = even_share(job.rows - row, 6);
                        match size {
                            1 => tile::<S, E, 1, 1>(job, row, panel),
                            2 => tile::<S, E, 2, 1>(job, row, panel),
                            3 => tile::<S, E, 3, 1>(job, row, panel),
                            4 => tile::<S, E, 4, 1>(job, row, panel),
                            5 => tile::<S, E, 5, 1>(job, row, panel),
                            _ => tile::<S, E, 6, 1>(job, row, panel),
                        }
                        row += size;
                    }
                    panel += 1;
                }
            }
            _ => row_blocks::<S, E>(job, from, to),
        }
    }
}

/// Weights that can be widened to single precision.
///
/// # Safety
/// As for [`Simd`].
pub(super) trait Widen {
    /// Widens `count` inputs of the panel at `w`, from input `k` on, a multiple of the size of a chunk, into `wide`. Where they
    /// lie then: there, or where they lay.
    unsafe fn widen<S: Simd>(w: *const u8, k: usize, count: usize, wide: *mut f32) -> *const f32;
}

impl<E: Element> Widen for E {
    #[inline(always)]
    unsafe fn widen<S: Simd>(w: *const u8, k: usize, count: usize, wide: *mut f32) -> *const f32 {
        // SAFETY: the inputs exist, and there is room for them.
        unsafe {
            let from = w.cast::<E>().add(k * PANEL);
            if E::SINGLE {
                return from.cast::<f32>();
            }
            for i in (0..count * PANEL).step_by(S::LANES) {
                S::store(wide.add(i), E::load::<S>(from.add(i)));
            }
            wide
        }
    }
}

/// The first share when `left` is cut into as few shares of at most `most` as can be, of sizes as even as can be.
#[inline(always)]
pub(super) fn even_share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

#[inline(always)]
unsafe fn weights_of<E>(job: Job, panel: usize) -> *const E {
    // SAFETY: the panel exists.
    unsafe { job.w.add(panel * job.panel_bytes).cast() }
}

#[inline(always)]
unsafe fn rows_of<const ROWS: usize>(job: Job, row: usize, k: usize) -> [*const f32; ROWS] {
    // SAFETY: the rows exist, and `k` is in them.
    std::array::from_fn(|r| unsafe { job.x.numbers.add((row + r) * job.x.stride + k) })
}

/// All inputs of a few rows and panels at once.
#[inline(always)]
unsafe fn tile<S: Simd, E: Element, const ROWS: usize, const PANELS: usize>(job: Job, row: usize, panel: usize) {
    // SAFETY: these rows and panels exist.
    unsafe {
        let mut sums = zeros::<S, ROWS, PANELS>();
        let w: [*const E; PANELS] = std::array::from_fn(|p| weights_of(job, panel + p));
        let x = rows_of::<ROWS>(job, row, 0);
        let lines = PANEL * size_of::<E>() / 16;
        let mut k = 0;
        // A cache line of every panel, or two, at a time.
        while k + 4 <= job.k {
            for w in w {
                let ahead = w.add(k * PANEL).cast::<u8>().wrapping_add(AHEAD);
                for line in 0..lines {
                    S::prefetch(ahead.wrapping_add(64 * line));
                }
            }
            accumulate::<S, E, ROWS, PANELS>(x.map(|x| x.add(k)), w.map(|w| w.add(k * PANEL)), PANEL, 4, &mut sums);
            k += 4;
        }
        accumulate::<S, E, ROWS, PANELS>(x.map(|x| x.add(k)), w.map(|w| w.add(k * PANEL)), PANEL, job.k - k, &mut sums);
        finish::<S, ROWS, PANELS>(job, row, panel, &sums);
    }
}

#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct Aligned<const N: usize>([f32; N]);

/// Sums of the rows of a block, for two panels at most.
pub(super) type Partial = Aligned<{ ROW_BLOCK * PANEL * 2 }>;

impl Partial {
    pub(super) fn new() -> Self {
        Self([0.0; ROW_BLOCK * PANEL * 2])
    }

    /// Where the sums of row `row` of the block begin, of `panels` panels.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize, panels: usize) -> *mut f32 {
        debug_assert!(row < ROW_BLOCK && panels <= 2);
        self.0.as_mut_ptr().wrapping_add(row * panels * PANEL)
    }
}

/// Many rows, in blocks for which weights are widened once.
///
/// # Safety
/// As for [`panels`].
#[inline(always)]
pub(super) unsafe fn row_blocks<S: Simd, W: Widen>(job: Job, from: usize, to: usize) {
    let mut row = 0;
    while row < job.rows {
        let rows = even_share(job.rows - row, ROW_BLOCK);
        let mut panel = from;
        // SAFETY: these rows and panels exist.
        unsafe {
            // Where there are registers for the sums of two panels, activations are loaded half as often.
            while S::TILE_ROWS == 12 && panel + 2 <= to {
                row_block::<S, W, 2>(job, row, rows, panel);
                panel += 2;
            }
            while panel < to {
                row_block::<S, W, 1>(job, row, rows, panel);
                panel += 1;
            }
        }
        row += rows;
    }
}

/// One or two panels for the rows of a block: in chunks of inputs, whose weights are widened first.
#[inline(always)]
unsafe fn row_block<S: Simd, W: Widen, const PANELS: usize>(job: Job, row: usize, rows: usize, panel: usize) {
    let mut wide = Aligned([0.0; CHUNK * PANEL]);
    let mut partial = Partial::new();
    // SAFETY: rows stay below `row + rows`, which is at most ROW_BLOCK more; inputs stay below `k`; the chunks of all panels
    // together have CHUNK inputs.
    unsafe {
        let mut k = 0;
        while k < job.k {
            let count = (CHUNK / PANELS).min(job.k - k);
            let mut weights = [std::ptr::null(); PANELS];
            for (p, weights) in weights.iter_mut().enumerate() {
                let room = wide.0.as_mut_ptr().add(p * (CHUNK / PANELS) * PANEL);
                *weights = W::widen::<S>(weights_of(job, panel + p), k, count, room);
            }
            let mut r = 0;
            while r < rows {
                let size = even_share(rows - r, S::TILE_ROWS);
                let (row, to) = (row + r, partial.row(r, PANELS));
                by_rows!(size, S::TILE_ROWS, chunk, [S], PANELS, (job, row, k, count, weights, to));
                r += size;
            }
            k += count;
        }
        finish_rows::<S>(job, row, rows, panel, PANELS, &mut partial);
    }
}

/// `count` inputs from `k` on, added to the sums at `partial`.
#[inline(always)]
unsafe fn chunk<S: Simd, const ROWS: usize, const PANELS: usize>(
    job: Job,
    row: usize,
    k: usize,
    count: usize,
    weights: [*const f32; PANELS],
    partial: *mut f32,
) {
    // SAFETY: these rows and inputs exist; `partial` has room for the rows.
    unsafe {
        let mut sums = load_sums::<S, ROWS, PANELS>(partial);
        accumulate::<S, f32, ROWS, PANELS>(rows_of::<ROWS>(job, row, k), weights, PANEL, count, &mut sums);
        store_sums::<S, ROWS, PANELS>(partial, &sums);
    }
}

/// The sums that lie at `from`, row by row.
///
/// # Safety
/// As for [`Simd::load`].
#[inline(always)]
pub(super) unsafe fn load_sums<S: Simd, const ROWS: usize, const PANELS: usize>(
    from: *const f32,
) -> Sums<S, ROWS, PANELS> {
    // SAFETY: forwarded.
    unsafe {
        let mut sums = zeros::<S, ROWS, PANELS>();
        unroll!(ROWS, r => {
            for (p, sums) in sums[r].iter_mut().enumerate() {
                load::<S>(from.add((r * PANELS + p) * PANEL), sums);
            }
        });
        sums
    }
}

/// Puts the sums where [`load_sums`] finds them.
///
/// # Safety
/// As for [`Simd::store`].
#[inline(always)]
pub(super) unsafe fn store_sums<S: Simd, const ROWS: usize, const PANELS: usize>(
    to: *mut f32,
    sums: &Sums<S, ROWS, PANELS>,
) {
    // SAFETY: forwarded.
    unsafe {
        unroll!(ROWS, r => {
            for (p, sums) in sums[r].iter().enumerate() {
                store::<S>(to.add((r * PANELS + p) * PANEL), sums);
            }
        });
    }
}

/// [`finish`] for the rows of a block.
///
/// # Safety
/// As for [`panels`].
#[inline(always)]
pub(super) unsafe fn finish_rows<S: Simd>(
    job: Job,
    row: usize,
    rows: usize,
    panel: usize,
    panels: usize,
    partial: &mut Partial,
) {
    for r in 0..rows {
        for p in 0..panels {
            // SAFETY: this row and panel exist.
            unsafe { finish_panel::<S>(job, row + r, panel + p, partial.row(r, panels).add(p * PANEL)) };
        }
    }
}

/// Adds bias and what was there, as asked, and writes the results.
///
/// # Safety
/// As for [`panels`].
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const ROWS: usize, const PANELS: usize>(
    job: Job,
    row: usize,
    panel: usize,
    sums: &Sums<S, ROWS, PANELS>,
) {
    let mut lanes = [[Aligned([0.0; PANEL]); PANELS]; ROWS];
    // SAFETY: these rows and columns exist.
    unsafe {
        store_sums::<S, ROWS, PANELS>(lanes.as_mut_ptr().cast(), sums);
        for (r, lanes) in lanes.iter().enumerate() {
            for (p, lanes) in lanes.iter().enumerate() {
                finish_panel::<S>(job, row + r, panel + p, lanes.0.as_ptr());
            }
        }
    }
}

/// The same for one row and panel, whose sums lie at `from`.
#[inline(always)]
unsafe fn finish_panel<S: Simd>(job: Job, row: usize, panel: usize, from: *const f32) {
    let column = panel * PANEL;
    // SAFETY: this row and these columns exist.
    unsafe {
        let to = job.out.add(row * job.out_stride + column);
        if column + PANEL <= job.columns {
            for at in (0..PANEL).step_by(S::LANES) {
                let mut sum = S::load(from.add(at));
                if !job.bias.is_null() {
                    sum = S::add(sum, S::load(job.bias.add(column + at)));
                }
                if job.add {
                    sum = S::add(S::load(to.add(at)), sum);
                }
                S::store(to.add(at), sum);
            }
        } else {
            for at in 0..job.columns - column {
                let mut sum = *from.add(at);
                if !job.bias.is_null() {
                    sum += *job.bias.add(column + at);
                }
                *to.add(at) = if job.add { *to.add(at) + sum } else { sum };
            }
        }
    }
}
